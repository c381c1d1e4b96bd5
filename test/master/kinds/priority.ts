/** PriorityClasses and PodDisruptionBudgets: validation, and what a class does to pods. */
import t from 'tap';
import { bootstrap } from '../../../master/api/bootstrap.ts';
import { RESOURCES } from '../../../master/api/client.ts';
import { KIND_MODULES } from '../../../master/api/kinds/all.ts';
import { createLocalClient } from '../../../master/api/local-client.ts';
import { createRegistry } from '../../../master/api/registry.ts';
import { openMemoryStore } from '../../../master/store/memory-store.ts';
import type {
  Pod,
  PodDisruptionBudget,
  PodDisruptionBudgetSpec,
  PodSpec,
  PriorityClass,
} from '../../../protocol/kinds/types.ts';

async function start() {
  const registry = await createRegistry({
    store: openMemoryStore(),
    memoryStore: openMemoryStore(),
    modules: KIND_MODULES,
    disableAdmissionPlugins: ['ServiceAccount'],
  });
  const client = createLocalClient(registry, { name: 'admin', groups: ['system:masters'] });
  await bootstrap(client, { serviceIp: '10.43.0.1', dnsIp: '10.43.0.10' });
  const makeClass = (name: string, value: number, more: Partial<PriorityClass> = {}) =>
    client.create<PriorityClass>(RESOURCES.priorityClasses, { metadata: { name }, value, ...more });
  const makePod = (name: string, spec: Partial<PodSpec> = {}) =>
    client.create<Pod>(RESOURCES.pods, {
      metadata: { name, namespace: 'default' },
      spec: { containers: [{ name: 'c', image: 'i' }], ...spec },
    });
  return { client, makeClass, makePod };
}

t.test('classes are held to their bounds', async (t) => {
  const { client, makeClass } = await start();
  await t.rejects(makeClass('huge', 1_000_000_001), {
    message: /value: Forbidden: maximum allowed value of a user defined priority is 1000000000$/,
  });
  await t.rejects(makeClass('system-mine', 1), {
    message: /prefix are reserved for system use only. error: system-mine is not a known system/,
  });
  await t.rejects(makeClass('odd', 1, { preemptionPolicy: 'Sometimes' }), {
    message: /supported values: "Never", "PreemptLowerPriority"/,
  });
  const made = await makeClass('high', 1_000, { globalDefault: true });
  t.equal(made.preemptionPolicy, 'PreemptLowerPriority', 'the default');
  await t.rejects(client.update(RESOURCES.priorityClasses, { ...made, value: 7 }), {
    message: /value: Forbidden: may not be changed in an update\.$/,
  });
  await t.rejects(makeClass('other', 1, { globalDefault: true }), {
    code: 403,
    message: /PriorityClass high is already marked as default. Only one default can exist$/,
  });
  await client.update(RESOURCES.priorityClasses, { ...made, description: 'still the default' });
  const { value } = await client.get<PriorityClass>(
    RESOURCES.priorityClasses,
    '',
    'system-node-critical',
  );
  t.equal(value, 2_000_001_000, 'every cluster has the classes of the system');
});

t.test('a pod gets the number of its class, and sets none by hand', async (t) => {
  const { client, makeClass, makePod } = await start();
  t.match((await makePod('plain')).spec, { priority: 0, preemptionPolicy: 'PreemptLowerPriority' });
  await t.rejects(makePod('lost', { priorityClassName: 'nothing' }), {
    code: 403,
    message: 'pods "lost" is forbidden: no PriorityClass with name nothing was found',
  });
  await makeClass('polite', 500, { preemptionPolicy: 'Never' });
  t.match((await makePod('polite', { priorityClassName: 'polite' })).spec, {
    priority: 500,
    preemptionPolicy: 'Never',
  });
  await t.rejects(makePod('pushy', { priorityClassName: 'polite', priority: 501 }), {
    code: 403,
    message: /integer value of priority \(501\) must not be provided in pod spec; .* computed 500 /,
  });
  await t.rejects(
    makePod('pushy', { priorityClassName: 'polite', preemptionPolicy: 'PreemptLowerPriority' }),
    { code: 403, message: /value of PreemptionPolicy \(PreemptLowerPriority\) must not/ },
  );
  await t.resolves(makePod('exact', { priorityClassName: 'polite', priority: 500 }));
  await makeClass('usual', 10, { globalDefault: true });
  t.match((await makePod('usual')).spec, { priority: 10, priorityClassName: 'usual' });
  await client.delete(RESOURCES.priorityClasses, '', 'usual');
  const kept = await client.get<Pod>(RESOURCES.pods, 'default', 'usual');
  t.equal(kept.spec?.priority, 10, 'a pod keeps what it got');
});

t.test('budgets are held to what can be counted', async (t) => {
  const { client } = await start();
  const make = (name: string, spec: PodDisruptionBudgetSpec) =>
    client.create<PodDisruptionBudget>(RESOURCES.podDisruptionBudgets, {
      metadata: { name, namespace: 'default' },
      spec,
    });
  const table: [string, PodDisruptionBudgetSpec, RegExp][] = [
    ['both', { minAvailable: 1, maxUnavailable: 1 }, /cannot be both set$/],
    ['negative', { minAvailable: -1 }, /spec.minAvailable: Invalid value: -1: must be greater/],
    ['percent', { maxUnavailable: '101%' }, /"101%": must not be greater than 100%$/],
    ['word', { maxUnavailable: 'many' }, /a valid percent string must be a numeric string/],
    ['policy', { unhealthyPodEvictionPolicy: 'Never' }, /"AlwaysAllow", "IfHealthyBudget"$/],
    [
      'selector',
      { selector: { matchExpressions: [{ key: 'a', operator: 'Like' }] } },
      /spec.selector.matchExpressions\[0\].operator/,
    ],
  ];
  for (const [name, spec, message] of table) await t.rejects(make(name, spec), { message }, name);
  const made = await make('web', { minAvailable: '50%' });
  t.match(made.status, { disruptionsAllowed: 0 }, 'nothing is allowed before it is counted');
});

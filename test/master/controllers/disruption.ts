/** PodDisruptionBudgets: what their controller counts, and what evictions they refuse. */
import t from 'tap';
import { RESOURCES } from '../../../master/api/client.ts';
import { KIND_MODULES } from '../../../master/api/kinds/all.ts';
import { createLocalClient } from '../../../master/api/local-client.ts';
import { createRegistry } from '../../../master/api/registry.ts';
import { reconcileDisruption } from '../../../master/controllers/disruption.ts';
import { reconcileStaleDisruption } from '../../../master/controllers/stale-disruption.ts';
import { openMemoryStore } from '../../../master/store/memory-store.ts';
import type {
  Pod,
  PodDisruptionBudget,
  PodDisruptionBudgetSpec,
  PodDisruptionBudgetStatus,
} from '../../../protocol/kinds/types.ts';
import { ApiError, type Status } from '../../../protocol/status.ts';

const READY = { type: 'Ready', status: 'True' };
const NOW = { monotonicMs: 1_000_000, timestamp: '2026-01-01T00:00:00Z' };

function podOf(name: string, owner: string, more: Partial<Pod> = {}): Pod {
  const controller = {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    name: owner,
    uid: owner,
    controller: true,
  };
  return {
    metadata: {
      name,
      namespace: 'default',
      labels: { app: 'web' },
      ...(owner === '' ? {} : { ownerReferences: [controller] }),
      ...more.metadata,
    },
    status: { phase: 'Running', conditions: [READY], ...more.status },
  };
}

interface Counted {
  readonly spec: PodDisruptionBudgetSpec;
  readonly pods: readonly Pod[];
  readonly status?: PodDisruptionBudgetStatus;
  readonly grantedMsAgo?: number;
}

function count({ spec, pods, status, grantedMsAgo = 0 }: Counted) {
  const metadata = { name: 'web', namespace: 'default', generation: 3, resourceVersion: '7' };
  const budget: PodDisruptionBudget = {
    metadata,
    spec,
    ...(status === undefined ? {} : { status }),
  };
  const scaleOf = (uid: string) =>
    uid === 'rs' || uid === 'old' ? { app: 'd', replicas: 4 } : undefined;
  const grantedSinceMs = (): number => NOW.monotonicMs - grantedMsAgo;
  const actions = reconcileDisruption({ budget, pods, scaleOf, grantedSinceMs }, NOW);
  const write = actions.find(({ type }) => type === 'updateStatus');
  const next: PodDisruptionBudget = write?.type === 'updateStatus' ? write.object : {};
  return { actions, next: next.status ?? {}, version: next.metadata?.resourceVersion };
}

t.test('a budget counts healthy pods against what must stay', async (t) => {
  const four = ['a', 'b', 'c', 'd'].map((name) => podOf(name, 'rs'));
  const unready = podOf('d', 'rs', { status: { conditions: [] } });
  const going = podOf('d', 'rs', { metadata: { name: 'd', deletionTimestamp: NOW.timestamp } });
  const ended = podOf('e', 'rs', { status: { phase: 'Succeeded' } });
  // Name, what is asked, the pods, and: allowed, healthy, desired, expected.
  const table: [string, PodDisruptionBudgetSpec, Pod[], [number, number, number, number]][] = [
    ['no pods', { minAvailable: 1 }, [], [0, 0, 1, 0]],
    ['minAvailable', { minAvailable: 3 }, four, [1, 4, 3, 4]],
    ['minAvailable of all', { minAvailable: 4 }, four, [0, 4, 4, 4]],
    ['minAvailable 0', { minAvailable: 0 }, four, [4, 4, 0, 4]],
    ['minAvailable in percent rounds up', { minAvailable: '30%' }, four, [2, 4, 2, 4]],
    ['maxUnavailable', { maxUnavailable: 1 }, four, [1, 4, 3, 4]],
    ['maxUnavailable in percent rounds up', { maxUnavailable: '30%' }, four, [2, 4, 2, 4]],
    ['maxUnavailable of more than all', { maxUnavailable: 9 }, four, [4, 4, 0, 4]],
    ['maxUnavailable 0', { maxUnavailable: 0 }, four, [0, 4, 4, 4]],
    ['one is not ready', { maxUnavailable: 1 }, [...four.slice(0, 3), unready], [0, 3, 3, 4]],
    ['one is going', { maxUnavailable: 1 }, [...four.slice(0, 3), going], [0, 3, 3, 4]],
    ['pods are missing', { maxUnavailable: 1 }, four.slice(0, 2), [0, 2, 3, 4]],
    ['one has ended', { minAvailable: 1 }, [...four.slice(0, 2), ended], [1, 2, 1, 2]],
    ['two sets of one app', { maxUnavailable: 1 }, [...four, podOf('x', 'old')], [2, 5, 3, 4]],
  ];
  for (const [name, spec, pods, expected] of table) {
    const { next } = count({ spec, pods });
    const { disruptionsAllowed, currentHealthy, desiredHealthy, expectedPods } = next;
    t.same([disruptionsAllowed, currentHealthy, desiredHealthy, expectedPods], expected, name);
  }
  const { next, version } = count({ spec: { minAvailable: 4 }, pods: four });
  t.match(next.conditions, [
    {
      type: 'DisruptionAllowed',
      status: 'False',
      reason: 'InsufficientPods',
      observedGeneration: 3,
    },
  ]);
  t.equal(version, '7', 'written only if no eviction was faster');
  t.same(count({ spec: { minAvailable: 4 }, pods: four, status: next }).actions, [], 'once');
});

t.test('pods without a number of replicas are named, and count for nothing', async (t) => {
  const lone = [podOf('lone', ''), podOf('a', 'rs')];
  const { actions, next } = count({ spec: { maxUnavailable: 1 }, pods: lone });
  t.match(actions[0], {
    type: 'event',
    reason: 'UnmanagedPods',
    message: /\(lone\).*minAvailable/,
  });
  t.equal(next.expectedPods, 4);
  t.equal(count({ spec: { minAvailable: 1 }, pods: lone }).next.disruptionsAllowed, 1);
});

t.test('a granted eviction counts until the pod goes, or two minutes', async (t) => {
  const pods = ['a', 'b'].map((name) => podOf(name, 'rs'));
  const status = { disruptedPods: { a: NOW.timestamp, gone: NOW.timestamp } };
  const spec = { minAvailable: 1 };
  const soon = count({ spec, pods, status, grantedMsAgo: 119_000 });
  t.match(soon.next, { disruptionsAllowed: 0, currentHealthy: 1 });
  t.same(Object.keys(soon.next.disruptedPods ?? {}), ['a'], 'a pod that is gone is forgotten');
  t.match(soon.actions, [{}, { type: 'requeueAfter', delayMs: 1_000 }]);
  const late = count({ spec, pods, status, grantedMsAgo: 120_000 });
  t.match(late.next, { disruptionsAllowed: 1, currentHealthy: 2 });
});

t.test('what announced an end that has not come is taken back after two minutes', async (t) => {
  const target = {
    type: 'DisruptionTarget',
    status: 'True',
    reason: 'PreemptionByScheduler',
    message: 'to be ended',
    lastTransitionTime: '2025-12-31T23:57:59Z',
  };
  const told = (condition: object, more: Partial<Pod> = {}): Pod =>
    podOf('a', 'rs', {
      ...more,
      metadata: { name: 'a', resourceVersion: '7', ...more.metadata },
      status: { conditions: [READY, { ...target, ...condition }], ...more.status },
    });
  const after = (pod: Pod, announcedMsAgo = 600_000) =>
    reconcileStaleDisruption(pod, NOW.monotonicMs - announcedMsAgo, NOW);

  t.same(after(told({}), 119_000), [{ type: 'requeueAfter', delayMs: 1_000 }]);
  const [write] = after(told({}), 120_000);
  const written: Pod = write?.type === 'updateStatus' ? write.object : {};
  t.same(written.status, {
    phase: 'Running',
    conditions: [
      READY,
      { type: 'DisruptionTarget', status: 'False', lastTransitionTime: NOW.timestamp },
    ],
  });
  t.equal(written.metadata?.resourceVersion, '7', 'a write of somebody else is a Conflict');

  const kept: [string, Pod][] = [
    ['it is going', told({}, { metadata: { name: 'a', deletionTimestamp: NOW.timestamp } })],
    ['it has ended', told({}, { status: { phase: 'Failed' } })],
    ["it is its board's word", told({ reason: 'TerminationByKubelet' })],
    ['it is taken back already', told({ status: 'False' })],
    ['nothing was announced', podOf('a', 'rs')],
  ];
  for (const [why, pod] of kept) t.same(after(pod), [], why);
});

const USER = { name: 'admin', groups: ['system:masters'] };

async function startRegistry() {
  const registry = await createRegistry({
    store: openMemoryStore(),
    memoryStore: openMemoryStore(),
    modules: KIND_MODULES,
    disableAdmissionPlugins: ['ServiceAccount'],
  });
  const client = createLocalClient(registry, USER);
  await client.create(RESOURCES.namespaces, { metadata: { name: 'default' } });
  const makePod = async (name: string, conditions = [READY], phase = 'Running'): Promise<void> => {
    const made = await client.create<Pod>(RESOURCES.pods, {
      metadata: { name, namespace: 'default', labels: { app: 'web' } },
      spec: { containers: [{ name: 'c', image: 'i' }], nodeName: 'n' },
    });
    await client.update<Pod>(RESOURCES.pods, { ...made, status: { phase, conditions } }, 'status');
  };
  const makeBudget = async (
    name: string,
    status: PodDisruptionBudgetStatus,
    spec: PodDisruptionBudgetSpec = {},
  ): Promise<void> => {
    const made = await client.create<PodDisruptionBudget>(RESOURCES.podDisruptionBudgets, {
      metadata: { name, namespace: 'default' },
      spec: { minAvailable: 1, selector: { matchLabels: { app: 'web' } }, ...spec },
    });
    const next = { ...made, status: { ...made.status, observedGeneration: 1, ...status } };
    await client.update(RESOURCES.podDisruptionBudgets, next, 'status');
  };
  /** 'evicted', or the Status. */
  const evict = async (name: string, uid?: string): Promise<'evicted' | Status> => {
    const path = { resource: registry.table.get(RESOURCES.pods), namespace: 'default', name };
    const options = uid === undefined ? {} : { preconditions: { uid } };
    try {
      await registry.evict(USER, path, options, false);
      return 'evicted';
    } catch (error) {
      if (error instanceof ApiError) return error.toStatus();
      throw error;
    }
  };
  return { client, makePod, makeBudget, evict };
}

const REFUSED = {
  code: 429,
  reason: 'TooManyRequests',
  message: "Cannot evict pod as it would violate the pod's disruption budget.",
};

t.test('an eviction spends the budget, and is refused in the words of Kubernetes', async (t) => {
  const { client, makePod, makeBudget, evict } = await startRegistry();
  for (const name of ['a', 'b', 'c']) await makePod(name);
  t.match(await evict('nobody'), { code: 404 });
  t.match(await evict('a', 'another'), { code: 409 }, 'another life of the pod');
  await makeBudget('web', { disruptionsAllowed: 1, currentHealthy: 3, desiredHealthy: 2 });
  const results = await Promise.all(['a', 'b'].map((name) => evict(name)));
  t.equal(results.filter((one) => one === 'evicted').length, 1, 'two at once: one');
  const evicted = results[0] === 'evicted' ? 'a' : 'b';
  t.match(
    results.find((one) => one !== 'evicted'),
    {
      ...REFUSED,
      details: {
        causes: [
          {
            reason: 'DisruptionBudget',
            message: 'The disruption budget web needs 2 healthy pods and has 3 currently',
          },
        ],
      },
    },
  );
  const budget = await client.get<PodDisruptionBudget>(
    RESOURCES.podDisruptionBudgets,
    'default',
    'web',
  );
  t.match(budget.status, { disruptionsAllowed: 0, conditions: [{ reason: 'InsufficientPods' }] });
  t.same(Object.keys(budget.status?.disruptedPods ?? {}), [evicted]);
  const gone = await client.get<Pod>(RESOURCES.pods, 'default', evicted);
  t.ok(gone.metadata?.deletionTimestamp, 'with its grace period');
  const [ready, target] = gone.status?.conditions ?? [];
  t.match(ready, READY, 'what it said before stays');
  t.match(target, { type: 'DisruptionTarget', status: 'True', reason: 'EvictionByEvictionAPI' });
  const kept = await client.get<Pod>(RESOURCES.pods, 'default', 'c');
  t.equal(kept.status?.conditions?.length, 1, 'nobody evicted this one');
  t.equal(await evict(evicted), 'evicted', 'what goes already costs nothing');
});

t.test('which pods need no budget, and which budgets say no to all', async (t) => {
  const { makePod, makeBudget, evict } = await startRegistry();
  await makePod('pending', [], 'Pending');
  await makePod('failed', [], 'Failed');
  await makePod('sick', []);
  await makePod('well');
  await makeBudget('web', { disruptionsAllowed: 0, currentHealthy: 1, desiredHealthy: 1 });
  t.equal(await evict('pending'), 'evicted');
  t.equal(await evict('failed'), 'evicted');
  t.equal(await evict('sick'), 'evicted', 'not ready, and the others suffice');
  t.match(await evict('well'), REFUSED);
  await makeBudget('second', { disruptionsAllowed: 5 });
  t.match(await evict('well'), { code: 500, message: /more than one PodDisruptionBudget/ });
});

t.test('a budget whose numbers are old or wanting says so', async (t) => {
  const { makePod, makeBudget, evict } = await startRegistry();
  await makePod('sick', []);
  await makeBudget('web', { disruptionsAllowed: 1, observedGeneration: 0, desiredHealthy: 2 });
  t.match(await evict('sick'), {
    ...REFUSED,
    details: {
      retryAfterSeconds: 10,
      causes: [{ message: 'The disruption budget web is still being processed by the server.' }],
    },
  });
  const lenient = await startRegistry();
  await lenient.makePod('sick', []);
  await lenient.makeBudget(
    'web',
    { disruptionsAllowed: 0, desiredHealthy: 2 },
    { unhealthyPodEvictionPolicy: 'AlwaysAllow' },
  );
  t.equal(await lenient.evict('sick'), 'evicted', 'AlwaysAllow');
});

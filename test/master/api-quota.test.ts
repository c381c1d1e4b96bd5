/** What a namespace may take, what is stored without anybody who acts on it, and kinds that are views of others. */
import t from 'tap';
import { podAmounts } from '../../master/api/quota/amounts.ts';
import { violations } from '../../master/api/quota/limits.ts';
import { isInScope, resourceOf, totalUsage, usageOf } from '../../master/api/quota/usage.ts';
import type { Container, LimitRangeItem, Pod } from '../../protocol/kinds/types.ts';
import { CONFIG_MAPS, configMap, type Fixture, pod, SERVICES, startApi } from './api-fixture.ts';

// A busy machine may take long; nothing here waits for a time.
t.setTimeout(120_000);

let api: Fixture;
t.before(async () => {
  api = await startApi();
});
t.teardown(() => api.close());

const NETWORKING = '/apis/networking.k8s.io/v1';
const inNamespace = (namespace: string, resource: string) =>
  `/api/v1/namespaces/${namespace}/${resource}`;
const namespace = (name: string) =>
  api.call('POST', '/api/v1/namespaces', { body: { metadata: { name } } });
type Amounts = Record<string, string>;
const container = (name: string, requests: Amounts = {}, limits: Amounts = {}) => ({
  name,
  image: 'busybox',
  resources: { requests, limits },
});
const podOf = (name: string, ...containers: object[]) => ({
  metadata: { name },
  spec: { containers },
});

t.test('a pod asks for its most demanding moment', (t) => {
  const cpu = (name: string, amount: string, more: Partial<Container> = {}): Container => ({
    ...container(name, { cpu: amount }),
    ...more,
  });
  const spec = {
    initContainers: [
      cpu('first', '900m'),
      cpu('side', '200m', { restartPolicy: 'Always' }),
      cpu('second', '1'),
    ],
    containers: [cpu('a', '300m'), cpu('b', '400m')],
  };
  t.same(podAmounts(spec, 'requests'), { cpu: '1200m' }, 'the second beside the sidecar');
  t.same(podAmounts({ ...spec, initContainers: [] }, 'requests'), { cpu: '700m' });
  const heavy = { containers: spec.containers, overhead: { cpu: '100m', memory: '1Mi' } };
  t.same(podAmounts(heavy, 'requests'), { cpu: '800m', memory: '1Mi' });
  t.same(podAmounts(heavy, 'limits'), {}, 'no limit stays no limit');
  t.end();
});

t.test('what counts towards a quota', (t) => {
  const pods = { group: '', plural: 'pods' };
  const one: Pod = podOf('a', container('c', { cpu: '1', 'a.example/gpu': '2' })) as Pod;
  t.match(usageOf(pods, one), {
    'count/pods': '1',
    pods: '1',
    cpu: '1',
    'requests.cpu': '1',
    'requests.a.example/gpu': '2',
  });
  t.same(usageOf(pods, { ...one, status: { phase: 'Succeeded' } } as Pod), { 'count/pods': '1' });
  t.same(resourceOf('count/deployments.apps'), { group: 'apps', plural: 'deployments' });
  t.same(resourceOf('requests.a.example/gpu'), pods);
  t.equal(resourceOf('nonsense'), undefined);
  const scoped = (scopes: string[]) => ({ spec: { hard: { pods: '1' }, scopes } });
  t.equal(isInScope(scoped(['BestEffort']), pods, one), false);
  t.equal(isInScope(scoped(['NotBestEffort', 'NotTerminating']), pods, one), true);
  t.equal(isInScope(scoped(['Terminating']), { group: '', plural: 'secrets' }, {}), false);
  const quota = { spec: { hard: { pods: '5', cpu: '4', services: '1' } } };
  t.same(totalUsage(quota, [{ resource: pods, objects: [one, one] }]), {
    pods: '2',
    cpu: '2',
    services: '0',
  });
  t.end();
});

t.test('a limit range names each bound that is broken', (t) => {
  const item: LimitRangeItem = {
    type: 'Container',
    min: { cpu: '100m' },
    max: { cpu: '1', memory: '1Gi' },
    maxLimitRequestRatio: { cpu: '4' },
  };
  const of = (requests: Amounts, limits: Amounts) =>
    violations(item, { containers: [container('c', requests, limits) as Container] });
  t.same(of({ cpu: '50m' }, { cpu: '2' }), [
    'minimum cpu usage per Container is 100m, but request is 50m',
    'maximum cpu usage per Container is 1, but limit is 2',
    'maximum memory usage per Container is 1Gi.  No limit is specified',
    'cpu max limit to request ratio per Container is 4, but provided ratio is 40.000000',
  ]);
  t.same(of({ cpu: '500m' }, { cpu: '1', memory: '1Mi' }), []);
  const sums: LimitRangeItem = { type: 'Pod', max: { cpu: '1' } };
  const two = [container('a', {}, { cpu: '600m' }), container('b', {}, { cpu: '600m' })];
  t.same(violations(sums, { containers: two as Container[] }), [
    'maximum cpu usage per Pod is 1, but limit is 1200m',
  ]);
  t.end();
});

t.test('a limit range fills in what a pod leaves out, and refuses what is too much', async (t) => {
  await namespace('ranged');
  const limits = [
    { type: 'Container', default: { cpu: '500m' }, max: { memory: '1Gi' }, min: { memory: '1Mi' } },
  ];
  const made = await api.call('POST', inNamespace('ranged', 'limitranges'), {
    body: { metadata: { name: 'bounds' }, spec: { limits } },
  });
  t.same(made.json.spec.limits[0].default, { cpu: '500m', memory: '1Gi' });
  t.same(made.json.spec.limits[0].defaultRequest, { cpu: '500m', memory: '1Gi' });
  const filled = await api.call('POST', inNamespace('ranged', 'pods'), { body: pod('plain') });
  t.same(filled.json.spec.containers[0].resources, {
    limits: { cpu: '500m', memory: '1Gi' },
    requests: { cpu: '500m', memory: '1Gi' },
  });
  t.match(
    filled.json.metadata.annotations['kubernetes.io/limit-ranger'],
    /cpu, memory request for/,
  );
  t.equal(filled.json.status.qosClass, 'Guaranteed', 'counted after the defaults');
  const large = await api.call('POST', inNamespace('ranged', 'pods'), {
    body: podOf('large', container('c', {}, { memory: '2Gi' })),
  });
  t.match(large.json, {
    code: 403,
    reason: 'Forbidden',
    message:
      'pods "large" is forbidden: [maximum memory usage per Container is 1Gi, but limit is 2Gi, ' +
      'maximum memory usage per Container is 1Gi, but request is 2Gi]',
  });
  const wrong = await api.call('POST', inNamespace('ranged', 'limitranges'), {
    body: {
      metadata: { name: 'wrong' },
      spec: { limits: [{ type: 'Container', min: { cpu: '2' }, max: { cpu: '1' } }] },
    },
  });
  t.match(wrong.json, { code: 422, message: /min value 2 is greater than max value 1/ });
});

t.test('a quota is never exceeded, also by many at once', async (t) => {
  await namespace('tight');
  const hard = { pods: '3', 'requests.cpu': '1', configmaps: '2', 'services.nodeports': '1' };
  const quotas = inNamespace('tight', 'resourcequotas');
  await api.call('POST', quotas, { body: { metadata: { name: 'q' }, spec: { hard } } });
  const create = (name: string, cpu: string, query = '') =>
    api.call('POST', inNamespace('tight', `pods${query}`), {
      body: podOf(name, container('c', { cpu })),
    });
  const unsaid = await api.call('POST', inNamespace('tight', 'pods'), { body: pod('unsaid') });
  t.match(unsaid.json, {
    code: 403,
    message: /failed quota: q: must specify requests.cpu for: c$/,
  });
  t.equal((await create('dry', '500m', '?dryRun=All')).code, 201);
  const codes = await Promise.all(
    Array.from({ length: 8 }, async (_, i) => (await create(`p${i}`, '200m')).code),
  );
  t.equal(codes.filter((code) => code === 201).length, 3, codes.join(' '));
  t.match((await create('more', '200m')).json, {
    code: 403,
    message:
      'pods "more" is forbidden: exceeded quota: q, requested: pods=1, used: pods=3, limited: pods=3',
  });
  const list = await api.call('GET', inNamespace('tight', 'pods'));
  const gone = list.json.items[0].metadata.name;
  await api.call('DELETE', `${inNamespace('tight', 'pods')}/${gone}?gracePeriodSeconds=0`);
  t.match((await create('heavy', '900m')).json, {
    message: /requested: requests.cpu=900m, used: req/,
  });
  t.equal((await create('light', '200m')).code, 201, 'room again');

  const maps = inNamespace('tight', 'configmaps');
  for (const name of ['a', 'b']) await api.call('POST', maps, { body: configMap(name) });
  t.equal((await api.call('POST', maps, { body: configMap('c') })).code, 403);
  const change = { body: { data: { x: '1' } }, type: 'application/merge-patch+json' };
  t.equal((await api.call('PATCH', `${maps}/a`, change)).code, 200, 'a change costs nothing');
  const service = { metadata: { name: 's' }, spec: { type: 'NodePort', ports: [{ port: 80 }] } };
  t.equal((await api.call('POST', inNamespace('tight', 'services'), { body: service })).code, 201);
  const grown = {
    body: {
      spec: { ports: [{ port: 80 }, { port: 81 }].map((p, i) => ({ ...p, name: `n${i}` })) },
    },
    type: 'application/merge-patch+json',
  };
  const refused = await api.call('PATCH', `${inNamespace('tight', 'services')}/s`, grown);
  t.match(refused.json, { code: 403, message: /services.nodeports=1/ });
  t.equal((await api.call('POST', CONFIG_MAPS, { body: configMap('elsewhere') })).code, 201);
  t.equal((await api.call('GET', SERVICES)).code, 200);
});

t.test(
  'a quota says what it cannot count, and refuses scopes that exclude each other',
  async (t) => {
    const quotas = inNamespace('default', 'resourcequotas');
    const body = (spec: object) => ({ body: { metadata: { name: 'odd' }, spec } });
    const both = await api.call('POST', quotas, body({ scopes: ['BestEffort', 'NotBestEffort'] }));
    t.match(both.json, { code: 422, message: /conflicting scopes/ });
    const odd = await api.call('POST', quotas, body({ hard: { 'example.com/gpu': '1' } }));
    t.equal(odd.code, 201);
    t.match(odd.headers.warning, /example.com.gpu.*does not count this resource yet/);
  },
);

t.test('a runtime class gives its pods overhead and a place', async (t) => {
  const classes = '/apis/node.k8s.io/v1/runtimeclasses';
  const pods = inNamespace('default', 'pods');
  const missing = await api.call('POST', pods, { body: pod('x', { runtimeClassName: 'none' }) });
  t.match(missing.json, { code: 403, message: /pod rejected: RuntimeClass "none" not found/ });
  const handler = await api.call('POST', classes, {
    body: { metadata: { name: 'bad' }, handler: 'Not_A_Label' },
  });
  t.equal(handler.code, 422);
  await api.call('POST', classes, {
    body: {
      metadata: { name: 'vm' },
      handler: 'kata',
      overhead: { podFixed: { memory: '64Mi' } },
      scheduling: { nodeSelector: { vm: 'yes' }, tolerations: [{ key: 'vm', operator: 'Exists' }] },
    },
  });
  const made = await api.call('POST', pods, { body: pod('in-vm', { runtimeClassName: 'vm' }) });
  t.match(made.json.spec, {
    overhead: { memory: '64Mi' },
    nodeSelector: { vm: 'yes' },
    tolerations: [{ key: 'vm' }],
  });
  t.match(made.headers.warning, /choose runtimes by class/);
});

t.test('claims are counted, bounded, and get the default class', async (t) => {
  await namespace('stored');
  const limits = [
    { type: 'PersistentVolumeClaim', min: { storage: '1Mi' }, max: { storage: '2Gi' } },
  ];
  await api.call('POST', inNamespace('stored', 'limitranges'), {
    body: { metadata: { name: 'bounds' }, spec: { limits } },
  });
  const perClass = 'local-path.storageclass.storage.k8s.io/persistentvolumeclaims';
  const hard = { 'requests.storage': '3Gi', persistentvolumeclaims: '5', [perClass]: '2' };
  await api.call('POST', inNamespace('stored', 'resourcequotas'), {
    body: { metadata: { name: 'tight' }, spec: { hard } },
  });
  const claim = (name: string, storage: string, more = {}) =>
    api.call('POST', inNamespace('stored', 'persistentvolumeclaims'), {
      body: {
        metadata: { name },
        spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage } }, ...more },
      },
    });
  const made = await claim('one', '2Gi');
  t.equal(made.code, 201, made.text);
  t.equal(made.json.spec.storageClassName, 'local-path');
  const message = (words: string) => ({ code: 403, message: new RegExp(words) });
  t.match(
    (await claim('large', '4Gi')).json,
    message('maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 4Gi'),
  );
  t.match(
    (await claim('small', '1Ki')).json,
    message('minimum storage usage per PersistentVolumeClaim is 1Mi, but request is 1Ki'),
  );
  t.match(
    (await claim('more', '2Gi')).json,
    message(
      'exceeded quota: tight, requested: requests.storage=2Gi, used: requests.storage=2Gi, limited: requests.storage=3Gi',
    ),
  );
  t.equal((await claim('two', '1Mi')).code, 201);
  t.match(
    (await claim('three', '1Mi')).json,
    message('exceeded quota: tight, requested: local-path'),
  );
  const none = await claim('classless', '1Mi', { storageClassName: '' });
  t.equal(none.code, 201, 'an empty name is a wish: no class');
  t.equal(none.json.spec.storageClassName, '');
});

t.test(
  'networking kinds are checked as Kubernetes does, and what nothing acts on says so',
  async (t) => {
    const refused = async (path: string, body: object, words: RegExp) => {
      const answer = await api.call('POST', path, { body: { metadata: { name: 'x' }, ...body } });
      t.equal(answer.code, 422, answer.text);
      t.match(answer.json.message, words);
    };
    const accepted = async (path: string, body: object, warning: RegExp | undefined) => {
      const answer = await api.call('POST', path, { body: { metadata: { name: 'x' }, ...body } });
      t.equal(answer.code, 201, answer.text);
      if (warning === undefined) t.notOk(answer.headers.warning);
      else t.match(answer.headers.warning, warning);
      return answer.json;
    };
    const ingresses = `${NETWORKING}/namespaces/default/ingresses`;
    const backend = { service: { name: 'web', port: { number: 80 } } };
    const rules = (path: object) => ({ spec: { rules: [{ http: { paths: [path] } }] } });
    await refused(ingresses, { spec: {} }, /either `defaultBackend` or `rules` must be specified/);
    await refused(ingresses, rules({ path: '/', backend }), /pathType must be specified/);
    await refused(ingresses, rules({ path: 'a', pathType: 'Prefix', backend }), /absolute path/);
    await refused(
      ingresses,
      rules({ path: '/', pathType: 'Exact', backend: { service: { name: 'web' } } }),
      /port name or number is required/,
    );
    await accepted(ingresses, rules({ path: '/', pathType: 'Prefix', backend }), undefined);
    await api.call('DELETE', `${ingresses}/x`);
    const resource = { resource: { kind: 'Bucket', name: 'b' } };
    const stored = rules({ path: '/', pathType: 'Prefix', backend: resource });
    await accepted(
      ingresses,
      stored,
      /spec\.rules\[0\]\.http\.paths\[0\]\.backend\.resource: stored, but/,
    );
    await api.call('DELETE', `${ingresses}/x`);
    const { spec } = rules({ path: '/', pathType: 'Prefix', backend });
    const nameless = { spec: { ...spec, tls: [{ hosts: ['a.example'] }] } };
    await accepted(ingresses, nameless, /spec\.tls\[0\]\.secretName: without it there is no/);
    await refused(`${NETWORKING}/ingressclasses`, { spec: { controller: 'x' } }, /domain-prefixed/);
    await accepted(`${NETWORKING}/ingressclasses`, { spec: { controller: 'a.io/b/c' } }, undefined);

    const policies = `${NETWORKING}/namespaces/default/networkpolicies`;
    await refused(policies, { spec: { ingress: [{ from: [{}] }] } }, /must specify a peer/);
    const outside = { ipBlock: { cidr: '10.0.0.0/24', except: ['10.1.0.0/25'] } };
    await refused(policies, { spec: { egress: [{ to: [outside] }] } }, /strict subset of `cidr`/);
    const policy = await accepted(policies, { spec: { egress: [{}] } }, /does not enforce/);
    t.same(policy.spec.policyTypes, ['Ingress', 'Egress']);

    const classes = '/apis/storage.k8s.io/v1/storageclasses';
    await refused(classes, { provisioner: '' }, /provisioner: Required value/);
    const storage = await accepted(classes, { provisioner: 'a.io/b' }, undefined);
    t.match(storage, { reclaimPolicy: 'Delete', volumeBindingMode: 'Immediate' });
    const moved = await api.call('PATCH', `${classes}/x`, {
      body: { reclaimPolicy: 'Retain' },
      type: 'application/merge-patch+json',
    });
    t.match(moved.json, { code: 422, message: /updates to this field are forbidden/ });

    const templates = inNamespace('default', 'podtemplates');
    await refused(
      templates,
      { template: { spec: { containers: [] } } },
      /containers: Required value/,
    );
    const never = { template: { spec: { restartPolicy: 'Never', containers: [container('c')] } } };
    t.equal((await accepted(templates, never, undefined)).template.spec.restartPolicy, 'Never');
  },
);

t.test('events of both versions are the same events', async (t) => {
  const core = inNamespace('default', 'events');
  const events = '/apis/events.k8s.io/v1/namespaces/default/events';
  const incomplete = await api.call('POST', events, { body: { metadata: { name: 'e' } } });
  t.match(incomplete.json, { code: 422, message: /eventTime: Required value.*action: Required/ });
  const stream = await api.stream(`${core}?watch=1&fieldSelector=involvedObject.name%3Dpi1`);
  t.teardown(() => stream.close());
  const made = await api.call('POST', events, {
    body: {
      metadata: { name: 'e' },
      eventTime: '2026-01-01T00:00:00.000001Z',
      reportingController: 'a.io/b',
      reportingInstance: 'b-1',
      action: 'Binding',
      reason: 'Scheduled',
      regarding: { kind: 'Node', name: 'pi1', namespace: 'default' },
      note: 'all is well',
      type: 'Normal',
    },
  });
  t.equal(made.code, 201, made.text);
  const old = {
    kind: 'Event',
    apiVersion: 'v1',
    involvedObject: { name: 'pi1' },
    message: 'all is well',
    reportingComponent: 'a.io/b',
  };
  t.match((await api.call('GET', `${core}/e`)).json, old);
  t.match(await stream.next(), { type: 'ADDED', object: old });
  const { json } = await api.call('GET', `${events}/e`);
  t.match(json, {
    apiVersion: 'events.k8s.io/v1',
    note: 'all is well',
    regarding: { name: 'pi1' },
  });
  t.equal(json.metadata.resourceVersion, made.json.metadata.resourceVersion);
  const type = 'application/merge-patch+json';
  const series = { count: 2, lastObservedTime: '2026-01-01T00:00:01.000000Z' };
  const again = await api.call('PATCH', `${events}/e`, { body: { series }, type });
  t.match(again.json, { series });
  t.match(await stream.next(), { type: 'MODIFIED', object: { series } });
  const renamed = await api.call('PATCH', `${events}/e`, { body: { note: 'no' }, type });
  t.match(renamed.json, { code: 422, message: /note: Invalid value: .*field is immutable/ });
  const found = await api.call('GET', `${events}?fieldSelector=regarding.name%3Dpi1`);
  t.equal(found.json.items.length, 1);
  t.equal((await api.call('GET', `${events}?fieldSelector=involvedObject.name%3Dpi1`)).code, 400);
  await api.call('POST', core, {
    body: {
      metadata: { name: 'old' },
      involvedObject: { name: 'x', namespace: 'default' },
      count: 3,
    },
  });
  t.match((await api.call('GET', `${events}/old`)).json, { deprecatedCount: 3 });
  t.equal((await api.call('DELETE', events)).code, 200);
  t.same((await api.call('GET', core)).json.items, []);
  t.match(await stream.next(), { type: 'DELETED', object: { ...old, series } });
});

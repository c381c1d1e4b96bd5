/**
 * What tests of Kubernetes' conformance suite ask of several controllers together; docs/CONFORMANCE.md says which.
 */
import t from 'tap';
import { type ApiClient, RESOURCES, type ResourceId } from '../../../master/api/client.ts';
import { withDisruption } from '../../../master/api/disruption.ts';
import type { KubeObject } from '../../../protocol/kinds/meta.ts';
import type {
  ConfigMap,
  Namespace,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  PodDisruptionBudget,
  PodSpec,
  ReplicationController,
  ResourceQuota,
} from '../../../protocol/kinds/types.ts';
import { until } from '../../support/fake-api.ts';
import { addBoard, startWhole } from './whole-fixture.ts';

const namespace = 'suite';
const containers = [{ name: 'main', image: 'web:1' }];

async function namespaceIn(client: ApiClient): Promise<void> {
  await client.create<Namespace>(RESOURCES.namespaces, { metadata: { name: namespace } });
}

function podNamed(name: string, metadata: KubeObject['metadata'] = {}, spec: object = {}): Pod {
  return { metadata: { ...metadata, name, namespace }, spec: { containers, ...spec } };
}

function controllerOf(name: string, replicas: number): ReplicationController {
  const metadata = { labels: { app: name } };
  return {
    metadata: { name, namespace },
    spec: { replicas, template: { metadata, spec: { containers } } },
  };
}

async function namesOf(client: ApiClient, id: ResourceId): Promise<string[]> {
  const { items } = await client.list(id, { namespace });
  return items.map(({ metadata }) => metadata?.name ?? '');
}

const isGone = (client: ApiClient, id: ResourceId, name: string) => async () =>
  !(await namesOf(client, id)).includes(name);

async function uidOf(client: ApiClient, id: ResourceId, name: string): Promise<string> {
  return (await client.get(id, namespace, name)).metadata?.uid ?? '';
}

t.test('pods of a namespace go before everything else in it', async (t) => {
  const { client } = await startWhole(t);
  await addBoard(client, 'a');
  await namespaceIn(client);
  await client.create(RESOURCES.pods, podNamed('held', { finalizers: ['example.com/finalizer'] }));
  await client.create(RESOURCES.configMaps, { metadata: { name: 'kept', namespace } });
  await client.delete(RESOURCES.namespaces, '', namespace);
  const going = () => client.get<Namespace>(RESOURCES.namespaces, '', namespace);
  await until('the namespace says what it waits for', async () => {
    const { conditions = [] } = (await going()).status ?? {};
    return conditions.some(({ type }) => type === 'NamespaceDeletionContentFailure');
  });
  t.match(await client.get(RESOURCES.pods, namespace, 'held'), {
    metadata: { deletionTimestamp: String },
  });
  const kept = await client.get(RESOURCES.configMaps, namespace, 'kept');
  t.equal(kept.metadata?.deletionTimestamp, undefined);
  await client.patch(RESOURCES.pods, namespace, 'held', { metadata: { finalizers: [] } });
  await until('it is gone', async () => {
    const { items } = await client.list(RESOURCES.namespaces);
    return items.every(({ metadata }) => metadata?.name !== namespace);
  });
});

t.test('pods and services of a namespace are not there when it is made again', async (t) => {
  const { client } = await startWhole(t);
  await addBoard(client, 'a');
  await namespaceIn(client);
  await client.create(RESOURCES.pods, podNamed('one'));
  await client.create(RESOURCES.services, {
    metadata: { name: 'web', namespace },
    spec: { selector: { app: 'web' }, ports: [{ port: 80 }] },
  } as KubeObject);
  await client.delete(RESOURCES.namespaces, '', namespace);
  await until('it is gone', async () => {
    const { items } = await client.list(RESOURCES.namespaces);
    return items.every(({ metadata }) => metadata?.name !== namespace);
  });
  await namespaceIn(client);
  t.same(await namesOf(client, RESOURCES.pods), []);
  t.same(await namesOf(client, RESOURCES.services), []);
});

t.test('a circle of owners stops no deletion', async (t) => {
  const { client } = await startWhole(t);
  await addBoard(client, 'a');
  await namespaceIn(client);
  const names = ['pod1', 'pod2', 'pod3'] as const;
  for (const name of names) await client.create(RESOURCES.pods, podNamed(name));
  for (const [at, name] of names.entries()) {
    const owner = names[(at + 2) % 3] ?? '';
    const uid = await uidOf(client, RESOURCES.pods, owner);
    const reference = { apiVersion: 'v1', kind: 'Pod', name: owner, uid };
    const ownerReferences = [{ ...reference, controller: true, blockOwnerDeletion: true }];
    await client.patch(RESOURCES.pods, namespace, name, { metadata: { ownerReferences } });
  }
  await client.delete(RESOURCES.pods, namespace, 'pod1', { propagationPolicy: 'Foreground' });
  await until('all are gone', async () => (await namesOf(client, RESOURCES.pods)).length === 0);
});

t.test(
  'a replication controller takes its pods along, waits for them, or leaves them',
  async (t) => {
    const { client } = await startWhole(t);
    await addBoard(client, 'a');
    await namespaceIn(client);
    const id = RESOURCES.replicationControllers;
    const make = async (name: string) => {
      await client.create(id, controllerOf(name, 4));
      await until(`${name} has its pods`, async () => {
        const { status } = await client.get<ReplicationController>(id, namespace, name);
        return status?.readyReplicas === 4;
      });
    };
    await make('background');
    const uid = await uidOf(client, id, 'background');
    await client.delete(id, namespace, 'background', {
      propagationPolicy: 'Background',
      preconditions: { uid },
    });
    await until('no pod is left', async () => (await namesOf(client, RESOURCES.pods)).length === 0);

    await make('foreground');
    await client.delete(id, namespace, 'foreground', { propagationPolicy: 'Foreground' });
    await until('it is gone', isGone(client, id, 'foreground'));
    t.same(await namesOf(client, RESOURCES.pods), [], 'after its pods');

    // Two of four pods have a second owner that stays.
    await make('going');
    await client.create(id, controllerOf('staying', 0));
    const second = { apiVersion: 'v1', kind: 'ReplicationController', name: 'staying' };
    const staying = { ...second, uid: await uidOf(client, id, 'staying') };
    const { items } = await client.list<Pod>(RESOURCES.pods, { namespace });
    const shared = items.slice(0, 2).map(({ metadata }) => metadata?.name ?? '');
    for (const name of shared) {
      const { metadata } = await client.get(RESOURCES.pods, namespace, name);
      const ownerReferences = [...(metadata?.ownerReferences ?? []), staying];
      await client.patch(RESOURCES.pods, namespace, name, { metadata: { ownerReferences } });
    }
    await client.delete(id, namespace, 'going', { propagationPolicy: 'Foreground' });
    await until('it is gone', isGone(client, id, 'going'));
    const left = await client.list<Pod>(RESOURCES.pods, { namespace });
    t.same(left.items.map(({ metadata }) => metadata?.name).sort(), shared.sort());
    t.ok(
      left.items.every(({ metadata }) => metadata?.deletionTimestamp === undefined),
      'what somebody else owns, too, stays',
    );
  },
);

const rest: PodSpec = { containers };
const template = { metadata: { labels: { app: 'x' } }, spec: rest };
/** By the name that a quota counts them under. */
const COUNTED: readonly (readonly [string, ResourceId, string, object])[] = [
  ['services', RESOURCES.services, 'service', { spec: { ports: [{ port: 80 }] } }],
  ['count/configmaps', RESOURCES.configMaps, 'config', {}],
  ['count/secrets', RESOURCES.secrets, 'secret', {}],
  [
    'replicationcontrollers',
    RESOURCES.replicationControllers,
    'rc',
    { spec: { replicas: 0, template } },
  ],
  [
    'count/replicasets.apps',
    RESOURCES.replicaSets,
    'rs',
    { spec: { replicas: 0, selector: { matchLabels: { app: 'x' } }, template } },
  ],
  [
    'persistentvolumeclaims',
    RESOURCES.persistentVolumeClaims,
    'claim',
    { spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } } },
  ],
  ['pods', RESOURCES.pods, 'pod', { spec: rest }],
];

t.test('the status of a quota follows the life of what it counts', async (t) => {
  const { client } = await startWhole(t);
  await addBoard(client, 'a');
  await namespaceIn(client);
  const usedOf = async (quota: string) =>
    (await client.get<ResourceQuota>(RESOURCES.resourceQuotas, namespace, quota)).status?.used ??
    {};
  const isUsed = (quota: string, wanted: Record<string, string>) => async () => {
    const used = await usedOf(quota);
    return Object.entries(wanted).every(([name, amount]) => used[name] === amount);
  };
  const names = COUNTED.map(([name]) => name);
  await client.create(RESOURCES.resourceQuotas, {
    metadata: { name: 'all', namespace },
    spec: { hard: Object.fromEntries(names.map((name) => [name, '5'])) },
  } as ResourceQuota);
  await until('the status is calculated', async () => (await usedOf('all')).pods === '0');
  const { status } = await client.get<ResourceQuota>(RESOURCES.resourceQuotas, namespace, 'all');
  t.same(status?.hard, Object.fromEntries(names.map((name) => [name, '5'])));
  for (const [counted, id, name, rest] of COUNTED) {
    const before = Number((await usedOf('all'))[counted]);
    await client.create(id, { metadata: { name, namespace }, ...rest });
    await until(`${counted} went up`, isUsed('all', { [counted]: String(before + 1) }));
    await client.delete(id, namespace, name);
    await until(`${counted} went down`, isUsed('all', { [counted]: String(before) }));
  }
  await client.patch(RESOURCES.resourceQuotas, namespace, 'all', { spec: { hard: { pods: '1' } } });
  await until('a new bound is in the status', async () => {
    const quota = await client.get<ResourceQuota>(RESOURCES.resourceQuotas, namespace, 'all');
    return quota.status?.hard?.pods === '1';
  });
  await client.delete(RESOURCES.resourceQuotas, namespace, 'all');
  t.same(await namesOf(client, RESOURCES.resourceQuotas), []);

  for (const scope of ['BestEffort', 'NotBestEffort', 'Terminating', 'NotTerminating']) {
    await client.create(RESOURCES.resourceQuotas, {
      metadata: { name: scope.toLowerCase(), namespace },
      spec: { hard: { pods: '5' }, scopes: [scope] },
    } as ResourceQuota);
  }
  const resources = {
    requests: { cpu: '100m', memory: '16Mi' },
    limits: { cpu: '200m', memory: '32Mi' },
  };
  const burstable = { containers: [{ name: 'main', image: 'web:1', resources }] };
  const cases: [PodSpec, readonly string[]][] = [
    [rest, ['besteffort', 'notterminating']],
    [burstable, ['notbesteffort', 'notterminating']],
    [{ ...burstable, activeDeadlineSeconds: 3600 }, ['notbesteffort', 'terminating']],
  ];
  const all = ['besteffort', 'notbesteffort', 'terminating', 'notterminating'];
  for (const [spec, counting] of cases) {
    await client.create(RESOURCES.pods, podNamed('scoped', {}, spec));
    for (const quota of all) {
      const pods = counting.includes(quota) ? '1' : '0';
      await until(`${quota} counts ${pods}`, isUsed(quota, { pods }));
    }
    await client.delete(RESOURCES.pods, namespace, 'scoped');
    for (const quota of all) await until(`${quota} counts none`, isUsed(quota, { pods: '0' }));
  }
});

t.test('an eviction waits for the budget to allow it', async (t) => {
  const { client, registry } = await startWhole(t);
  await addBoard(client, 'a');
  await namespaceIn(client);
  const labels = { app: 'kept' };
  await client.create(RESOURCES.pods, podNamed('kept', { labels }));
  const spec = { minAvailable: 1, selector: { matchLabels: labels } };
  const budget: PodDisruptionBudget = { metadata: { name: 'one', namespace }, spec };
  await client.create(RESOURCES.podDisruptionBudgets, budget);
  const counts = (wanted: object) => async () => {
    const id = RESOURCES.podDisruptionBudgets;
    const { status } = await client.get<PodDisruptionBudget>(id, namespace, 'one');
    return Object.entries(wanted).every(
      ([name, value]) => Reflect.get(status ?? {}, name) === value,
    );
  };
  await until('the pod is healthy', counts({ currentHealthy: 1, desiredHealthy: 1 }));
  const user = { name: 'admin', groups: ['system:masters'] };
  const resource = registry.table.get(RESOURCES.pods);
  const evict = () => registry.evict(user, { resource, namespace, name: 'kept' }, {}, false);
  await t.rejects(evict(), { code: 429, reason: 'TooManyRequests' });
  const patch = { spec: { minAvailable: 0 } };
  await client.patch(RESOURCES.podDisruptionBudgets, namespace, 'one', patch);
  await until('it allows one', counts({ disruptionsAllowed: 1 }));
  await evict();
  await until('the pod is gone', isGone(client, RESOURCES.pods, 'kept'));
});

t.test('a pod that was to be ended and was not says so no more', async (t) => {
  const { client } = await startWhole(t, { rebalance: 'off' });
  await addBoard(client, 'a');
  await namespaceIn(client);
  await client.create(RESOURCES.pods, podNamed('spared'));
  const get = () => client.get<Pod>(RESOURCES.pods, namespace, 'spared');
  await until('it runs', async () => (await get()).status?.podIP !== undefined);
  const pod = await get();
  const conditions = withDisruption(pod.status, {
    reason: 'EvictionByEvictionAPI',
    message: 'Eviction API: evicting',
    timestamp: '2026-01-01T00:00:00Z',
  });
  await client.update(RESOURCES.pods, { ...pod, status: { ...pod.status, conditions } }, 'status');
  const condition = async () =>
    (await get()).status?.conditions?.find(({ type }) => type === 'DisruptionTarget');
  t.equal((await condition())?.status, 'True');
  await until('it is taken back', async () => (await condition())?.status === 'False', 20_000);
});

t.test('the root certificate is in every namespace, and comes back', async (t) => {
  const { client } = await startWhole(t, { caCertificate: 'PEM' });
  await namespaceIn(client);
  const id = RESOURCES.configMaps;
  const name = 'kube-root-ca.crt';
  const certificate = async () => {
    const { items } = await client.list<ConfigMap>(id, { namespace });
    return items.find(({ metadata }) => metadata?.name === name)?.data?.['ca.crt'];
  };
  await until('it is there', async () => (await certificate()) !== undefined);
  const was = await certificate();
  const uid = await uidOf(client, id, name);
  await client.delete(id, namespace, name);
  await until('it is made again', async () => (await certificate()) === was);
  t.not(await uidOf(client, id, name), uid);
  await client.patch(id, namespace, name, { data: { 'ca.crt': '' } });
  await until('it is put right', async () => (await certificate()) === was);
});

t.test('a replication controller says what it may not make, adopts and lets go', async (t) => {
  const { client } = await startWhole(t);
  await addBoard(client, 'a');
  await namespaceIn(client);
  const id = RESOURCES.replicationControllers;
  const get = (name: string) => client.get<ReplicationController>(id, namespace, name);
  const quota = { metadata: { name: 'two', namespace }, spec: { hard: { pods: '2' } } };
  await client.create<ResourceQuota>(RESOURCES.resourceQuotas, quota);
  await client.create(id, controllerOf('many', 3));
  const fails = async () =>
    (await get('many')).status?.conditions?.some(({ type }) => type === 'ReplicaFailure') === true;
  await until('it tells of the failure', fails);
  await client.patch(id, namespace, 'many', { spec: { replicas: 2 } });
  await until('it tells no more', async () => !(await fails()));
  await client.delete(id, namespace, 'many', { propagationPolicy: 'Foreground' });
  await until('it is gone', isGone(client, id, 'many'));

  await client.create(RESOURCES.pods, podNamed('alone', { labels: { app: 'adopter' } }));
  await client.create(id, controllerOf('adopter', 1));
  const owners = async () =>
    (await client.get(RESOURCES.pods, namespace, 'alone')).metadata?.ownerReferences ?? [];
  await until('the pod is adopted', async () => (await owners())[0]?.name === 'adopter');
  t.same(await namesOf(client, RESOURCES.pods), ['alone'], 'and no other made');
  await client.patch(RESOURCES.pods, namespace, 'alone', { metadata: { labels: { app: 'free' } } });
  await until('it is let go', async () => (await owners()).length === 0);
  await until('another is made', async () => (await namesOf(client, RESOURCES.pods)).length === 2);
});

t.test('a volume and its claim go when nobody needs them', async (t) => {
  const { client } = await startWhole(t);
  await namespaceIn(client);
  const amount = { accessModes: ['ReadWriteOnce'], storageClassName: 'by-hand' };
  const volume: PersistentVolume = {
    metadata: { name: 'disk' },
    spec: { ...amount, capacity: { storage: '2Gi' }, hostPath: { path: '/tmp/disk' } },
  };
  const quota = {
    metadata: { name: 'classes', namespace },
    spec: {
      hard: {
        'by-hand.storageclass.storage.k8s.io/persistentvolumeclaims': '1',
        'by-hand.storageclass.storage.k8s.io/requests.storage': '5Gi',
        'other.storageclass.storage.k8s.io/persistentvolumeclaims': '0',
      },
    },
  };
  await client.create<ResourceQuota>(RESOURCES.resourceQuotas, quota);
  const used = async (what: string) => {
    const id = RESOURCES.resourceQuotas;
    const { status } = await client.get<ResourceQuota>(id, namespace, 'classes');
    return status?.used?.[`by-hand.storageclass.storage.k8s.io/${what}`];
  };
  await until(
    'the quota is calculated',
    async () => (await used('persistentvolumeclaims')) === '0',
  );
  await client.create(RESOURCES.persistentVolumes, volume);
  await client.create<PersistentVolumeClaim>(RESOURCES.persistentVolumeClaims, {
    metadata: { name: 'data', namespace },
    spec: { ...amount, volumeName: 'disk', resources: { requests: { storage: '1Gi' } } },
  });
  await until(
    'the claim counts by its class',
    async () => (await used('requests.storage')) === '1Gi',
  );
  t.equal(await used('persistentvolumeclaims'), '1');
  await until('they are bound', async () => {
    const id = RESOURCES.persistentVolumeClaims;
    const { status } = await client.get<PersistentVolumeClaim>(id, namespace, 'data');
    return status?.phase === 'Bound';
  });
  await client.delete(RESOURCES.persistentVolumeClaims, namespace, 'data');
  await until('the claim is gone', isGone(client, RESOURCES.persistentVolumeClaims, 'data'));
  await until('and counts no more', async () => (await used('persistentvolumeclaims')) === '0');
  await client.delete(RESOURCES.persistentVolumes, '', 'disk');
  await until('the volume is gone', async () => {
    return (await client.list(RESOURCES.persistentVolumes)).items.length === 0;
  });
});

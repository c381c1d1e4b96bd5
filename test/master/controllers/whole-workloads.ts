/** Jobs, daemons and stateful apps in whole runs: scheduler and controllers over the real API layer. */
import t from 'tap';
import { type ApiClient, RESOURCES } from '../../../master/api/client.ts';
import { systemClock } from '../../../protocol/clock.ts';
import type {
  ControllerRevision,
  CronJob,
  DaemonSet,
  Deployment,
  EndpointSlice,
  HorizontalPodAutoscaler,
  Job,
  JobSpec,
  Namespace,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  ReplicationController,
  Service,
  StatefulSet,
} from '../../../protocol/kinds/types.ts';
import { until as untilWithin } from '../../support/fake-api.ts';
import { addBoard, startWhole } from './whole-fixture.ts';

const namespace = 'lab';
/** Whole runs take many steps, and the machine may be busy. */
const until = (what: string, condition: () => Promise<boolean>) =>
  untilWithin(what, condition, 60_000);

async function podsOf(client: ApiClient): Promise<readonly Pod[]> {
  return (await client.list<Pod>(RESOURCES.pods, { namespace })).items;
}

function exiting(name: string, code: number, spec: Partial<JobSpec> = {}): Job {
  const containers = [{ name: 'main', image: 'tool:1', command: ['exit', String(code)] }];
  return {
    metadata: { name, namespace },
    spec: { template: { spec: { restartPolicy: 'Never', containers } }, ...spec },
  };
}

t.test('jobs succeed, fail, and go with their pods', async (t) => {
  const { client } = await startWhole(t);
  await addBoard(client, 'a');
  await client.create<Namespace>(RESOURCES.namespaces, { metadata: { name: namespace } });
  const get = (name: string) => client.get<Job>(RESOURCES.jobs, namespace, name);
  const has = async (name: string, type: string): Promise<boolean> =>
    ((await get(name)).status?.conditions ?? []).some((one) => one.type === type);
  const spec = { completionMode: 'Indexed', completions: 5, parallelism: 2 };
  await client.create<Job>(RESOURCES.jobs, exiting('five', 0, spec));
  await until('it is complete', () => has('five', 'Complete'));
  const { status } = await get('five');
  t.match(status, { succeeded: 5, completedIndexes: '0-4', uncountedTerminatedPods: {} });
  const pods = await podsOf(client);
  t.equal(pods.length, 5, 'its pods stay to be looked at');
  t.ok(
    pods.every(
      ({ metadata }) => metadata?.finalizers === undefined || metadata.finalizers.length === 0,
    ),
  );

  await client.create<Job>(RESOURCES.jobs, exiting('bad', 3, { backoffLimit: 0 }));
  await until('it has failed', () => has('bad', 'Failed'));
  t.match((await get('bad')).status, { failed: 1 });
  t.equal((await get('bad')).status?.succeeded, undefined);

  const held = exiting('held', 0, { suspend: true });
  await client.create<Job>(RESOURCES.jobs, held);
  await until('it is suspended', () => has('held', 'Suspended'));
  await client.patch(RESOURCES.jobs, namespace, 'held', { spec: { suspend: false } });
  await until('it runs when it is resumed', () => has('held', 'Complete'));

  await client.create<Job>(RESOURCES.jobs, exiting('brief', 0, { ttlSecondsAfterFinished: 0 }));
  await until('it is removed after its time to live', async () => {
    const { items } = await client.list<Job>(RESOURCES.jobs, { namespace });
    return !items.some(({ metadata }) => metadata?.name === 'brief');
  });
  for (const name of ['five', 'bad', 'held']) {
    await client.delete(RESOURCES.jobs, namespace, name, { propagationPolicy: 'Background' });
  }
  await until('the pods go with their jobs', async () => (await podsOf(client)).length === 0);

  const endless = exiting('endless', 0);
  const containers = [{ name: 'main', image: 'tool:1' }];
  const template = { spec: { restartPolicy: 'Never', containers } };
  await client.create<Job>(RESOURCES.jobs, { ...endless, spec: { template } });
  await until('its pod runs', async () => (await podsOf(client))[0]?.status?.podIP !== undefined);
  await client.delete(RESOURCES.jobs, namespace, 'endless', { propagationPolicy: 'Orphan' });
  await until('an orphan is held by nothing', async () => {
    const [left] = await podsOf(client);
    return left !== undefined && (left.metadata?.finalizers ?? []).length === 0;
  });
});

t.test(
  'a cron job makes a job when its time has come, and takes it along when it goes',
  async (t) => {
    const { client } = await startWhole(t);
    await addBoard(client, 'a');
    await client.create<Namespace>(RESOURCES.namespaces, { metadata: { name: namespace } });
    const { spec } = exiting('', 0);
    await client.create<CronJob>(RESOURCES.cronJobs, {
      metadata: { name: 'tick', namespace },
      spec: { schedule: '@every 1s', jobTemplate: spec === undefined ? {} : { spec } },
    });
    const jobs = async () => (await client.list<Job>(RESOURCES.jobs, { namespace })).items;
    await until('a job of it is complete, and noted', async () => {
      const { status } = await client.get<CronJob>(RESOURCES.cronJobs, namespace, 'tick');
      return status?.lastSuccessfulTime !== undefined && status.lastScheduleTime !== undefined;
    });
    t.match((await jobs())[0]?.metadata?.ownerReferences, [{ kind: 'CronJob', name: 'tick' }]);
    await client.delete(RESOURCES.cronJobs, namespace, 'tick', { propagationPolicy: 'Background' });
    await until('its jobs and their pods are gone', async () => {
      return (await jobs()).length === 0 && (await podsOf(client)).length === 0;
    });
  },
);

t.test('daemons and stateful pods are made, rolled, rolled back and removed', async (t) => {
  const { client } = await startWhole(t);
  for (const name of ['a', 'b']) await addBoard(client, name);
  await client.create<Namespace>(RESOURCES.namespaces, { metadata: { name: namespace } });
  const spec = (app: string) => ({
    selector: { matchLabels: { app } },
    template: {
      metadata: { labels: { app } },
      spec: { containers: [{ name: 'main', image: 'tool:1' }] },
    },
  });
  const image = (tag: string) => ({
    spec: { template: { spec: { containers: [{ name: 'main', image: `tool:${tag}` }] } } },
  });
  const imagesOf = async (app: string): Promise<string[]> =>
    (await podsOf(client))
      .filter(({ metadata }) => metadata?.labels?.app === app)
      .map(({ spec }) => spec?.containers[0]?.image ?? '');
  const daemonsAre = async (tag: string): Promise<boolean> => {
    const { status } = await client.get<DaemonSet>(RESOURCES.daemonSets, namespace, 'eye');
    const images = await imagesOf('eye');
    return status?.numberAvailable === 2 && images.join(' ') === `tool:${tag} tool:${tag}`;
  };
  const memberAre = async (tag: string): Promise<boolean> => {
    const { status } = await client.get<StatefulSet>(RESOURCES.statefulSets, namespace, 'db');
    const images = await imagesOf('db');
    const isSettled = status?.currentRevision === status?.updateRevision;
    return (
      status?.readyReplicas === 2 && isSettled && images.join(' ') === `tool:${tag} tool:${tag}`
    );
  };
  await client.create<DaemonSet>(RESOURCES.daemonSets, {
    metadata: { name: 'eye', namespace },
    spec: spec('eye'),
  });
  await client.create<StatefulSet>(RESOURCES.statefulSets, {
    metadata: { name: 'db', namespace },
    spec: { ...spec('db'), replicas: 2, serviceName: 'db' },
  });
  await until('one daemon on each board', () => daemonsAre('1'));
  await until('two members', () => memberAre('1'));
  const placed = (await podsOf(client)).filter(({ metadata }) => metadata?.labels?.app === 'eye');
  t.same(placed.map(({ spec }) => spec?.nodeName).sort(), ['a', 'b']);
  await client.patch(RESOURCES.daemonSets, namespace, 'eye', image('2'));
  await client.patch(RESOURCES.statefulSets, namespace, 'db', image('2'));
  await until('the daemons are rolled', () => daemonsAre('2'));
  await until('the members are rolled', () => memberAre('2'));
  const names = (await podsOf(client)).map(({ metadata }) => metadata?.name);
  t.ok(names.includes('db-0') && names.includes('db-1'), 'with the names that they had');
  await client.patch(RESOURCES.daemonSets, namespace, 'eye', image('1'));
  await until('and back', () => daemonsAre('1'));
  const history = await client.list<ControllerRevision>(RESOURCES.controllerRevisions, {
    namespace,
  });
  t.same(history.items.map(({ revision }) => revision).sort(), [1, 2, 2, 3], 'two templates each');
  await addBoard(client, 'c');
  await until('a new board gets its daemon', async () => (await imagesOf('eye')).length === 3);
  for (const [id, name] of [
    [RESOURCES.daemonSets, 'eye'],
    [RESOURCES.statefulSets, 'db'],
  ] as const) {
    await client.delete(id, namespace, name, { propagationPolicy: 'Foreground' });
  }
  await until('all is gone, history included', async () => {
    const left = await client.list(RESOURCES.controllerRevisions, { namespace });
    return left.items.length === 0 && (await podsOf(client)).length === 0;
  });
});

t.test('a StatefulSet keeps its data: claims, volumes, boards', async (t) => {
  const { client } = await startWhole(t);
  for (const name of ['a', 'b']) {
    await addBoard(client, name);
    const annotations = { 'pier.local/volumes-directory': `/var/${name}` };
    await client.patch(RESOURCES.nodes, '', name, { metadata: { annotations } });
  }
  await client.create<Namespace>(RESOURCES.namespaces, { metadata: { name: namespace } });
  const claims = async () =>
    (await client.list<PersistentVolumeClaim>(RESOURCES.persistentVolumeClaims, { namespace }))
      .items;
  const volumes = async () =>
    (await client.list<PersistentVolume>(RESOURCES.persistentVolumes)).items;
  await client.create<StatefulSet>(RESOURCES.statefulSets, {
    metadata: { name: 'db', namespace },
    spec: {
      replicas: 2,
      serviceName: 'db',
      selector: { matchLabels: { app: 'db' } },
      template: {
        metadata: { labels: { app: 'db' } },
        spec: {
          containers: [
            { name: 'main', image: 'db:1', volumeMounts: [{ name: 'data', mountPath: '/data' }] },
          ],
        },
      },
      volumeClaimTemplates: [
        {
          metadata: { name: 'data' },
          spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
        },
      ],
    },
  });
  const isUp = async (count: number): Promise<boolean> => {
    const { status } = await client.get<StatefulSet>(RESOURCES.statefulSets, namespace, 'db');
    return status?.readyReplicas === count && status.replicas === count;
  };
  const areBound = async (): Promise<boolean> =>
    (await claims()).every(({ status }) => status?.phase === 'Bound');
  await until('both run', () => isUp(2));
  await until('both claims are bound', areBound);
  t.same((await claims()).map(({ metadata }) => metadata?.name).sort(), ['data-db-0', 'data-db-1']);
  const boards = new Map(
    (await podsOf(client)).map((one) => [one.metadata?.name, one.spec?.nodeName]),
  );
  for (const { metadata, spec } of await claims()) {
    t.equal(spec?.storageClassName, 'local-path', 'the default class');
    const volume = (await volumes()).find((one) => one.metadata?.name === spec?.volumeName);
    const board = boards.get(metadata?.name?.slice('data-'.length));
    t.match(volume?.spec, {
      local: { path: `/var/${board}/pvc-${metadata?.uid}` },
      claimRef: { name: metadata?.name, uid: metadata?.uid },
    });
  }
  await client.delete(RESOURCES.persistentVolumeClaims, namespace, 'data-db-1');
  await client.patch(RESOURCES.statefulSets, namespace, 'db', { spec: { replicas: 1 } });
  await until('one is gone', () => isUp(1));
  await until(
    'the claim that was deleted went with its pod',
    async () => (await claims()).length === 1,
  );
  await until('its volume waits for the board', async () =>
    (await volumes()).some(({ status }) => status?.phase === 'Released'),
  );
  await client.delete(RESOURCES.pods, namespace, 'db-0');
  await until('another one has its name', async () => {
    const [pod] = await podsOf(client);
    return pod?.metadata?.deletionTimestamp === undefined && (pod?.spec?.nodeName ?? '') !== '';
  });
  const [again] = await podsOf(client);
  t.equal(again?.spec?.nodeName, boards.get('db-0'), 'it comes back to its data');
  t.equal((await volumes()).length, 2, 'and nothing new was made');
});

t.test('a busy app grows to its bound, and its Service finds every pod', async (t) => {
  const names = new Set<string>();
  const { client } = await startWhole(t, {
    metrics: {
      nodes: () => [],
      pods: () =>
        [...names].map((name) => ({
          ...{ namespace, name, timestamp: '2026-01-01T00:00:00Z', window: '1s' },
          containers: [{ name: 'main', usage: { cpu: '200m' } }],
          measured: { receivedMs: systemClock.monotonicMs(), windowMs: 0 },
        })),
    },
  });
  await addBoard(client, 'a');
  await client.create<Namespace>(RESOURCES.namespaces, { metadata: { name: namespace } });
  const labels = { app: 'web' };
  const resources = { requests: { cpu: '100m' } };
  await client.create<Deployment>(RESOURCES.deployments, {
    metadata: { name: 'web', namespace },
    spec: {
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: { containers: [{ name: 'main', image: 'web:1', resources }] },
      },
    },
  });
  await client.create<Service>(RESOURCES.services, {
    metadata: { name: 'web', namespace },
    spec: { selector: labels, ports: [{ port: 80, targetPort: 8080 }] },
  });
  const slices = async () =>
    (await client.list<EndpointSlice>(RESOURCES.endpointSlices, { namespace })).items;
  const ready = async (): Promise<number> =>
    (await slices())
      .flatMap(({ endpoints }) => endpoints ?? [])
      .filter(({ conditions }) => conditions?.ready === true).length;
  await until('the first pod serves', async () => (await ready()) === 1);
  for (const { metadata } of await podsOf(client)) names.add(metadata?.name ?? '');
  const get = () =>
    client.get<HorizontalPodAutoscaler>(RESOURCES.horizontalPodAutoscalers, namespace, 'web');
  await client.create<HorizontalPodAutoscaler>(RESOURCES.horizontalPodAutoscalers, {
    metadata: { name: 'web', namespace },
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' },
      maxReplicas: 3,
      metrics: [
        {
          type: 'Resource',
          resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 50 } },
        },
      ],
    },
  });
  await until('three pods serve', async () => (await ready()) === 3);
  await until('it says so', async () => (await get()).status?.lastScaleTime !== undefined);
  const { status } = await get();
  const limit = status?.conditions?.find(({ type }) => type === 'ScalingLimited');
  t.match(limit, { status: 'True', reason: 'TooManyReplicas' });
  const [slice, ...others] = await slices();
  t.equal(others.length, 0);
  t.match(slice, {
    addressType: 'IPv4',
    ports: [{ name: '', port: 8080, protocol: 'TCP' }],
    metadata: { ownerReferences: [{ kind: 'Service', name: 'web' }] },
  });
  await client.delete(RESOURCES.services, namespace, 'web');
  await until('the slice goes with the Service', async () => (await slices()).length === 0);
});

t.test('a replication controller keeps its pods, and lets go of them', async (t) => {
  const { client } = await startWhole(t);
  await addBoard(client, 'a');
  await client.create<Namespace>(RESOURCES.namespaces, { metadata: { name: namespace } });
  const id = RESOURCES.replicationControllers;
  const labels = { app: 'old' };
  await client.create<ReplicationController>(id, {
    metadata: { name: 'old', namespace },
    spec: {
      replicas: 2,
      template: { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'web:1' }] } },
    },
  });
  const get = () => client.get<ReplicationController>(id, namespace, 'old');
  const ready = async (): Promise<number> => (await get()).status?.readyReplicas ?? 0;
  await until('two are ready', async () => (await ready()) === 2);
  const [first] = await podsOf(client);
  t.match(first?.metadata?.ownerReferences, [
    { apiVersion: 'v1', kind: 'ReplicationController', name: 'old', controller: true },
  ]);
  const name = first?.metadata?.name ?? '';
  await client.delete(RESOURCES.pods, namespace, name);
  await until('another takes its place', async () => {
    const pods = await podsOf(client);
    return pods.length === 2 && pods.every(({ metadata }) => metadata?.name !== name);
  });
  await client.delete(id, namespace, 'old', { propagationPolicy: 'Orphan' });
  await until('it is gone', async () => (await client.list(id, { namespace })).items.length === 0);
  const left = await podsOf(client);
  t.equal(left.length, 2, 'its pods stay');
  t.ok(left.every(({ metadata }) => (metadata?.ownerReferences ?? []).length === 0));
});

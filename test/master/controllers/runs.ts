/** Whole runs of all controllers over an API in memory, with a kubelet that only pretends. */
import t, { type Test } from 'tap';
import { RESOURCES, type ResourceId } from '../../../master/api/client.ts';
import { startControllers } from '../../../master/controllers/controllers.ts';
import { DEFAULT_LIFECYCLE_OPTIONS } from '../../../master/controllers/node-lifecycle.ts';
import { systemTimers } from '../../../master/informer/timers.ts';
import { systemClock } from '../../../protocol/clock.ts';
import type {
  Deployment,
  DeploymentSpec,
  Endpoints,
  Namespace,
  Node,
  Pod,
  Service,
} from '../../../protocol/kinds/types.ts';
import { FakeApi, until } from '../../support/fake-api.ts';
import { board, deployment, log, template } from './objects.ts';

/** Starts the controllers and a kubelet that makes bound pods ready and lets deleted ones go. */
async function startCluster(t: Test, api: FakeApi, lifecycle = DEFAULT_LIFECYCLE_OPTIONS) {
  const controllers = startControllers({
    client: api,
    clock: systemClock,
    log,
    timers: systemTimers,
    options: { lifecycle },
  });
  await controllers.ready;
  const abort = new AbortController();
  let ips = 0;
  const isDead = new Set<string>();
  const kubelet = (async () => {
    const watch = api.watch<Pod>(RESOURCES.pods, { resourceVersion: '0', signal: abort.signal });
    for await (const event of watch) {
      if (event.type === 'BOOKMARK' || event.type === 'DELETED') continue;
      const {
        namespace = '',
        name = '',
        uid = '',
        deletionTimestamp,
      } = event.object.metadata ?? {};
      const current = await api.get<Pod>(RESOURCES.pods, namespace, name).catch(() => undefined);
      if (current?.metadata?.uid !== uid) continue;
      const nodeName = current.spec?.nodeName;
      if (nodeName !== undefined && isDead.has(nodeName)) continue;
      if (deletionTimestamp !== undefined) {
        await api
          .delete(RESOURCES.pods, namespace, name, { gracePeriodSeconds: 0 })
          .catch(() => {});
      } else if (nodeName === undefined) {
        const alive = ['a', 'b', 'c'].filter((one) => !isDead.has(one));
        await api.bind(namespace, name, uid, alive[ips % alive.length] ?? 'a').catch(() => {});
      } else if (current.status?.podIP === undefined) {
        ips += 1;
        const status = {
          phase: 'Running',
          podIP: `10.42.0.${ips}`,
          conditions: [{ type: 'Ready', status: 'True' }],
        };
        await api.patch(RESOURCES.pods, namespace, name, { status }, 'status').catch(() => {});
      }
    }
  })();
  t.teardown(async () => {
    abort.abort();
    await kubelet;
    await controllers.stop();
  });
  return { controllers, isDead };
}

async function pods(api: FakeApi): Promise<readonly Pod[]> {
  return (await api.list<Pod>(RESOURCES.pods)).items;
}

async function isRolledOut(api: FakeApi, name: string): Promise<boolean> {
  const one = await api.get<Deployment>(RESOURCES.deployments, 'default', name);
  const wanted = one.spec?.replicas ?? 1;
  return (
    one.status?.observedGeneration === one.metadata?.generation &&
    one.status?.updatedReplicas === wanted &&
    one.status.replicas === wanted &&
    one.status.availableReplicas === wanted
  );
}

const fresh = (spec: Partial<DeploymentSpec> = {}): Deployment => {
  const { spec: full } = deployment(spec);
  return { metadata: { name: 'web', namespace: 'default' }, ...(full ? { spec: full } : {}) };
};

t.test('a Deployment rolls from one version to the next, end to end', async (t) => {
  const api = new FakeApi();
  for (const name of ['a', 'b', 'c']) await api.create(RESOURCES.nodes, board(name, 'True'));
  await startCluster(t, api);
  await api.create(RESOURCES.services, {
    metadata: { name: 'web', namespace: 'default' },
    spec: { selector: { app: 'web' }, ports: [{ port: 80 }] },
  } satisfies Service);
  await api.create(RESOURCES.deployments, fresh());
  await until('the first version is there', () => isRolledOut(api, 'web'));
  t.equal(
    api.writes.filter((write) => write.startsWith('create pods')).length,
    3,
    'three, not more',
  );

  let fewest = 99;
  let most = 0;
  api.beforeWrite = () => {
    void pods(api).then((all) => {
      const alive = all.filter(({ metadata }) => metadata?.deletionTimestamp === undefined);
      most = Math.max(most, alive.length);
      fewest = Math.min(fewest, alive.filter(({ status }) => status?.podIP !== undefined).length);
    });
  };
  await api.patch(RESOURCES.deployments, 'default', 'web', { spec: { template: template('v2') } });
  await until('the second version is there', () => isRolledOut(api, 'web'));
  api.beforeWrite = () => {};
  t.ok(most <= 4, `at most replicas + maxSurge pods: ${most}`);
  t.ok(fewest >= 3, `never fewer than replicas - maxUnavailable: ${fewest}`);
  const images = (await pods(api)).map(({ spec }) => spec?.containers[0]?.image);
  await until('the old pods are gone', async () => (await pods(api)).length === 3);
  t.ok(images.includes('v2'));
  const one = await api.get<Deployment>(RESOURCES.deployments, 'default', 'web');
  t.equal(one.metadata?.annotations?.['deployment.kubernetes.io/revision'], '2');
  await until('the Endpoints follow', async () => {
    const endpoints = await api.get<Endpoints>(RESOURCES.endpoints, 'default', 'web');
    return endpoints.subsets?.[0]?.addresses?.length === 3;
  });
  const nodes = (await api.list<Node>(RESOURCES.nodes)).items;
  t.equal(new Set(nodes.map(({ spec }) => spec?.podCIDR)).size, 3, 'each board has its range');

  await api.delete(RESOURCES.deployments, 'default', 'web', { propagationPolicy: 'Background' });
  await until('everything it owned is gone', async () => {
    const sets = await api.list(RESOURCES.replicaSets);
    return sets.items.length === 0 && (await pods(api)).length === 0;
  });
});

t.test('a cache that lags never makes pods twice', async (t) => {
  const api = new FakeApi();
  await api.create(RESOURCES.nodes, board('a', 'True'));
  const { controllers } = await startCluster(t, api);
  await api.create(RESOURCES.deployments, fresh({ replicas: 2 }));
  await until('two pods', () => isRolledOut(api, 'web'));
  let writes = 0;
  api.beforeWrite = (write) => {
    if (write.startsWith('create pods')) {
      writes += 1;
      // From the first creation on, the caches see nothing.
      api.holdWatches(true);
    }
  };
  await api.patch(RESOURCES.deployments, 'default', 'web', { spec: { replicas: 5 } });
  await until('three are made', () => writes >= 3);
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.equal(writes, 3, 'nothing is decided on the old state');
  api.beforeWrite = () => {};
  api.holdWatches(false);
  await until('five pods', () => isRolledOut(api, 'web'));
  t.equal((await pods(api)).length, 5);
  t.ok(controllers.informers.pods.hasSynced);
});

t.test('a refused creation is told in the status, and made good later', async (t) => {
  const api = new FakeApi();
  await api.create(RESOURCES.nodes, board('a', 'True'));
  await startCluster(t, api);
  let isRefusing = true;
  api.beforeWrite = (write) => {
    if (isRefusing && write.startsWith('create pods')) throw new Error('exceeded quota');
  };
  await api.create(RESOURCES.deployments, fresh());
  await until('the failure is visible', async () => {
    const one = await api.get<Deployment>(RESOURCES.deployments, 'default', 'web');
    return (one.status?.conditions ?? []).some(
      ({ type, message }) => type === 'ReplicaFailure' && message === 'exceeded quota',
    );
  });
  isRefusing = false;
  await until('the pods come', () => isRolledOut(api, 'web'));
  await until('the condition is gone', async () => {
    const one = await api.get<Deployment>(RESOURCES.deployments, 'default', 'web');
    return !(one.status?.conditions ?? []).some(({ type }) => type === 'ReplicaFailure');
  });
});

t.test('pods of a board that died come back on another', async (t) => {
  const api = new FakeApi();
  for (const name of ['a', 'b', 'c']) await api.create(RESOURCES.nodes, board(name, 'True'));
  const { isDead } = await startCluster(t, api, {
    ...DEFAULT_LIFECYCLE_OPTIONS,
    defaultTolerationMs: 50,
  });
  await api.create(RESOURCES.deployments, fresh());
  await until('three pods', () => isRolledOut(api, 'web'));
  const victims = (await pods(api)).filter(({ spec }) => spec?.nodeName === 'a');
  t.ok(victims.length > 0);
  isDead.add('a');
  const status = {
    conditions: [{ type: 'Ready', status: 'Unknown', reason: 'NodeStatusUnknown' }],
  };
  await api.patch(RESOURCES.nodes, '', 'a', { status }, 'status');
  await until('replacements are ready elsewhere', async () => {
    const ready = (await pods(api)).filter(
      (one) => one.spec?.nodeName !== 'a' && one.status?.podIP !== undefined,
    );
    return ready.length === 3;
  });
  await api.delete(RESOURCES.nodes, '', 'a');
  t.ok(
    (await pods(api)).some(({ spec }) => spec?.nodeName === 'a'),
    'the dead pods still end there',
  );
});

t.test('a deleted namespace is emptied and goes', async (t) => {
  const api = new FakeApi();
  await startCluster(t, api);
  await api.create(RESOURCES.namespaces, {
    metadata: { name: 'x' },
    spec: { finalizers: ['kubernetes'] },
  } satisfies Namespace);
  await api.create(RESOURCES.configMaps, { metadata: { name: 'c', namespace: 'x' } });
  await api.delete(RESOURCES.namespaces, '', 'x');
  await until('it is gone', async () => {
    const { items } = await api.list(RESOURCES.namespaces);
    return items.length === 0;
  });
  t.same((await api.list(RESOURCES.configMaps)).items, []);
});

t.test('foreground waits for what is owned, orphan leaves it', async (t) => {
  const api = new FakeApi();
  await api.create(RESOURCES.nodes, board('a', 'True'));
  await startCluster(t, api);
  const remove = (propagationPolicy: 'Foreground' | 'Orphan') =>
    api.delete(RESOURCES.deployments, 'default', 'web', { propagationPolicy });
  const count = async (id: ResourceId): Promise<number> => (await api.list(id)).items.length;
  await api.create(RESOURCES.deployments, fresh());
  await until('three pods', () => isRolledOut(api, 'web'));
  await remove('Foreground');
  await until('it is gone', async () => (await count(RESOURCES.deployments)) === 0);
  t.equal(await count(RESOURCES.replicaSets), 0, 'after its ReplicaSet');
  await until('the pods are gone', async () => (await count(RESOURCES.pods)) === 0);

  await api.create(RESOURCES.deployments, fresh());
  await until('three pods again', () => isRolledOut(api, 'web'));
  await remove('Orphan');
  await until('it is gone again', async () => (await count(RESOURCES.deployments)) === 0);
  const [left] = (await api.list(RESOURCES.replicaSets)).items;
  t.same(left?.metadata?.ownerReferences, [], 'its ReplicaSet belongs to nobody');
  await api.create(RESOURCES.deployments, fresh());
  await until('a new one of the same template adopts it', () => isRolledOut(api, 'web'));
  t.equal(await count(RESOURCES.replicaSets), 1);
  t.equal(await count(RESOURCES.pods), 3);
});

/**
 * Scheduler and controllers over the real API layer (defaults, validation, status and grace periods
 * included), with boards that only pretend: what the parts think of each other's rules is settled
 * here.
 */
import t from 'tap';
import { RESOURCES } from '../../../master/api/client.ts';
import type {
  Deployment,
  Endpoints,
  Event,
  Namespace,
  Node,
  Pod,
  ReplicaSet,
  Service,
} from '../../../protocol/kinds/types.ts';
import { until } from '../../support/fake-api.ts';
import { addBoard, startWhole } from './whole-fixture.ts';

function web(namespace: string, image: string): Deployment {
  return {
    metadata: { name: 'web', namespace },
    spec: {
      replicas: 3,
      selector: { matchLabels: { app: 'web' } },
      template: {
        metadata: { labels: { app: 'web' } },
        spec: {
          containers: [{ name: 'main', image, ports: [{ containerPort: 8080 }] }],
          topologySpreadConstraints: [
            {
              topologyKey: 'kubernetes.io/hostname',
              maxSkew: 1,
              whenUnsatisfiable: 'ScheduleAnyway',
              labelSelector: { matchLabels: { app: 'web' } },
            },
          ],
        },
      },
    },
  };
}

t.test('an app is rolled out, updated, moved from a dead board and removed', async (t) => {
  const { client, isDead, scheduler } = await startWhole(t);
  const namespace = 'shop';
  const pods = async () => (await client.list<Pod>(RESOURCES.pods, { namespace })).items;
  const get = () => client.get<Deployment>(RESOURCES.deployments, namespace, 'web');
  const isDone = async (): Promise<boolean> => {
    const { metadata, status } = await get();
    return (
      status?.observedGeneration === metadata?.generation &&
      status?.updatedReplicas === 3 &&
      status.replicas === 3 &&
      status.availableReplicas === 3
    );
  };
  const addresses = async (): Promise<number> => {
    const { subsets } = await client.get<Endpoints>(RESOURCES.endpoints, namespace, 'web');
    return subsets?.[0]?.addresses?.length ?? 0;
  };
  for (const name of ['a', 'b', 'c']) await addBoard(client, name);
  await client.create<Namespace>(RESOURCES.namespaces, { metadata: { name: namespace } });
  await client.create<Service>(RESOURCES.services, {
    metadata: { name: 'web', namespace },
    spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
  });
  await client.create<Deployment>(RESOURCES.deployments, web(namespace, 'hello:1'));
  await until('three pods are available', isDone);
  t.same((await pods()).map(({ spec }) => spec?.nodeName).sort(), ['a', 'b', 'c'], 'one each');
  await until('the Service has three addresses', async () => (await addresses()) === 3);
  const ranges = (await client.list<Node>(RESOURCES.nodes)).items.map(({ spec }) => spec?.podCIDR);
  t.same(ranges.sort(), ['10.42.0.0/24', '10.42.1.0/24', '10.42.2.0/24']);
  t.equal(scheduler.explain((await pods())[0] ?? {}).length, 3);

  const template = web(namespace, 'hello:2').spec?.template;
  await client.patch(RESOURCES.deployments, namespace, 'web', { spec: { template } });
  await until('the new version is there', isDone);
  await until('the old pods are gone', async () => (await pods()).length === 3);
  t.ok((await pods()).every(({ spec }) => spec?.containers[0]?.image === 'hello:2'));
  const sets = (await client.list<ReplicaSet>(RESOURCES.replicaSets, { namespace })).items;
  t.same(sets.map(({ spec }) => spec?.replicas).sort(), [0, 3]);
  t.match((await get()).status?.conditions, [
    { type: 'Available', status: 'True' },
    { type: 'Progressing', reason: 'NewReplicaSetAvailable' },
  ]);

  isDead.add('a');
  const conditions = [{ type: 'Ready', status: 'Unknown', reason: 'NodeStatusUnknown' }];
  await client.patch(RESOURCES.nodes, '', 'a', { status: { conditions } }, 'status');
  await until('the pod runs elsewhere', async () => {
    const alive = (await pods()).filter(({ spec }) => spec?.nodeName !== 'a');
    return alive.filter(({ status }) => status?.podIP !== undefined).length === 3;
  });
  const left = (await pods()).find(({ spec }) => spec?.nodeName === 'a');
  const target = left?.status?.conditions?.find(({ type }) => type === 'DisruptionTarget');
  t.match(target, { status: 'True', reason: 'DeletionByTaintManager' });
  await until('and serves', async () => (await addresses()) === 3);
  const list = await client.list<Event>(RESOURCES.events, { namespace });
  const reasons = new Set(list.items.map(({ reason }) => reason));
  for (const reason of [
    'Scheduled',
    'SuccessfulCreate',
    'SuccessfulDelete',
    'ScalingReplicaSet',
    'TaintManagerEviction',
  ]) {
    t.ok(reasons.has(reason), `an event says ${reason}`);
  }
  const told = await client.list<Event>(RESOURCES.events, { namespace: 'default' });
  t.ok(
    told.items.some(({ reason }) => reason === 'NodeNotReady'),
    'the board has its event',
  );
  const kubernetes = await client.get<Endpoints>(RESOURCES.endpoints, 'default', 'kubernetes');
  t.match(kubernetes.subsets, [{ addresses: [{ ip: '192.0.2.1' }] }], 'written Endpoints stay');
  isDead.delete('a');
  const ready = [{ type: 'Ready', status: 'True', reason: 'KubeletReady' }];
  await client.patch(RESOURCES.nodes, '', 'a', { status: { conditions: ready } }, 'status');
  await until('the taints are gone', async () => {
    const node = await client.get<Node>(RESOURCES.nodes, '', 'a');
    return (node.spec?.taints ?? []).length === 0;
  });
  // The returned agent lets the evicted pod end.
  for (const { metadata } of await pods()) {
    if (metadata?.deletionTimestamp === undefined) continue;
    await client.delete(RESOURCES.pods, namespace, metadata.name ?? '', { gracePeriodSeconds: 0 });
  }
  await client.delete(RESOURCES.namespaces, '', namespace);
  await until('the namespace is gone with all that was in it', async () => {
    const { items } = await client.list<Namespace>(RESOURCES.namespaces);
    return !items.some(({ metadata }) => metadata?.name === namespace);
  });
  t.same(await pods(), []);
});

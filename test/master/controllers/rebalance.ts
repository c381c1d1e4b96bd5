/** The rebalancer: when it may work, which pods it may move, and a whole run over the real API. */
import t from 'tap';
import { RESOURCES } from '../../../master/api/client.ts';
import type { RebalanceMode } from '../../../master/config.ts';
import { type ClusterApps, mobilityOf, whatGoesOn } from '../../../master/controllers/rebalance.ts';
import type {
  DaemonSet,
  DaemonSetSpec,
  Deployment,
  Event,
  Node,
  Pod,
  PodDisruptionBudget,
  StatefulSet,
} from '../../../protocol/kinds/types.ts';
import { until } from '../../support/fake-api.ts';
import { controlledBy, deployment, pod, replicaSet } from './objects.ts';
import { addBoard, startWhole } from './whole-fixture.ts';

const READY: Node = {
  metadata: { name: 'a' },
  status: { conditions: [{ type: 'Ready', status: 'True' }] },
};
const DONE = { replicas: 3, updatedReplicas: 3, observedGeneration: 1 };
const OWNER = controlledBy('ReplicaSet', 'web-v1', 'web-v1');

function apps(change: Partial<ClusterApps> = {}): ClusterApps {
  return {
    nodes: [READY],
    pods: [],
    deployments: [deployment({}, DONE)],
    daemonSets: [],
    statefulSets: [],
    replicaSets: [replicaSet('v1', 3)],
    budgets: [],
    ...change,
  };
}

t.test('nothing is moved while something else goes on', async (t) => {
  t.equal(whatGoesOn(apps()), undefined);
  const daemonSet = (change: DaemonSetSpec, updated: number): DaemonSet => ({
    metadata: { name: 'logs', namespace: 'x' },
    spec: change,
    status: {
      updatedNumberScheduled: updated,
      desiredNumberScheduled: 2,
      currentNumberScheduled: 2,
      numberMisscheduled: 0,
      numberReady: 2,
    },
  });
  const spec = { selector: {}, template: {} };
  const set = (partition: number): StatefulSet => ({
    metadata: { name: 'db', namespace: 'x' },
    spec: { ...spec, serviceName: 'db', updateStrategy: { rollingUpdate: { partition } } },
    status: { replicas: 1, currentRevision: '1', updateRevision: '2' },
  });
  const cases: [string, Partial<ClusterApps>, string | undefined][] = [
    ['a dead board', { nodes: [READY, { metadata: { name: 'b' } }] }, 'board b is not ready'],
    [
      'a pod that ends',
      { pods: [pod('web', { meta: { deletionTimestamp: '2026-01-01T00:00:00Z' } })] },
      'pod default/web is ending',
    ],
    [
      'a rollout',
      { deployments: [deployment({}, { ...DONE, updatedReplicas: 1 })] },
      'Deployment default/web is being rolled out',
    ],
    [
      'old pods that are still there',
      { deployments: [deployment({}, { ...DONE, replicas: 4 })] },
      'Deployment default/web is being rolled out',
    ],
    [
      'a new template that nobody has seen',
      { deployments: [deployment({}, { ...DONE, observedGeneration: 0 })] },
      'Deployment default/web is being rolled out',
    ],
    ['a DaemonSet', { daemonSets: [daemonSet(spec, 1)] }, 'DaemonSet x/logs is being rolled out'],
    ['a done DaemonSet', { daemonSets: [daemonSet(spec, 2)] }, undefined],
    [
      'a DaemonSet that people update',
      { daemonSets: [daemonSet({ ...spec, updateStrategy: { type: 'OnDelete' } }, 1)] },
      undefined,
    ],
    ['a StatefulSet', { statefulSets: [set(0)] }, 'StatefulSet x/db is being rolled out'],
    [
      'a moved pod that is not back',
      { replicaSets: [replicaSet('v1', 3, { available: 2 })], movedLast: 'web-v1' },
      'default/web-v1, of which a pod was moved, has not all its pods ready again',
    ],
    [
      'an app that is broken anyway',
      { replicaSets: [replicaSet('v1', 3, { available: 2 })] },
      undefined,
    ],
    ['a canary that stays', { statefulSets: [set(1)] }, undefined],
  ];
  for (const [name, change, expected] of cases) t.equal(whatGoesOn(apps(change)), expected, name);
});

t.test('which pods may move', async (t) => {
  const safe = (value: string) => ({
    annotations: { 'cluster-autoscaler.kubernetes.io/safe-to-evict': value },
  });
  const owned = (change: Partial<Pod['spec']> = {}, meta: Pod['metadata'] = {}): Pod => {
    const made = pod('web', { owner: OWNER, meta });
    return { ...made, spec: { containers: [], ...change } };
  };
  const volume = (source: object) => ({ volumes: [{ name: 'v', ...source }] });
  const budget = { namespace: 'default', selector: {}, disruptedPods: new Set<string>() };
  const none = apps({ budgets: [{ ...budget, disruptionsAllowed: 0 }] });
  const one = apps({ budgets: [{ ...budget, disruptionsAllowed: 1 }] });
  const elsewhere = apps({ budgets: [{ ...budget, namespace: 'x', disruptionsAllowed: 0 }] });
  const cases: [string, Pod, ReturnType<ReturnType<typeof mobilityOf>> | RegExp, ClusterApps?][] = [
    ['of a ReplicaSet', owned(), 'moves'],
    ['of a DaemonSet', pod('p', { owner: controlledBy('DaemonSet', 'd', 'd') }), 'of the board'],
    ['of nobody', pod('p'), /nobody would make it anew/],
    ['of a Job', pod('p', { owner: controlledBy('Job', 'j', 'j') }), /it belongs to a Job/],
    [
      'an app with a pod missing',
      owned(),
      /not all pods/,
      apps({ replicaSets: [replicaSet('v1', 3, { available: 2 })] }),
    ],
    ['with a claim', owned(volume({ persistentVolumeClaim: { claimName: 'c' } })), /its data/],
    ['with scratch data', owned(volume({ emptyDir: {} })), /its data/],
    ['that may lose it', owned(volume({ emptyDir: {} }), safe('true')), 'moves'],
    ['in memory', owned(volume({ emptyDir: { medium: 'Memory' } })), 'moves'],
    ['of the board itself', owned(volume({ hostPath: { path: '/dev' } })), /its data/],
    ['with settings', owned(volume({ configMap: { name: 'c' } })), 'moves'],
    ['asked to stay', owned({}, safe('false')), /safe-to-evict says so/],
    ['of the system', owned({ priority: 2_000_000_000 }), /system/],
    ['a budget that allows none', owned(), /disruption budget allows none/, none],
    ['a budget that allows one', owned(), 'moves', one],
    ["another one's budget", owned(), 'moves', elsewhere],
  ];
  for (const [name, asked, expected, view] of cases) {
    const answer = mobilityOf(view ?? apps())(asked);
    if (expected instanceof RegExp) t.match(answer, { stays: expected }, name);
    else t.equal(answer, expected, name);
  }
});

/** Board a, with little on it that stays, and board b, with more that may move. */
async function startScattered(t: Parameters<typeof startWhole>[0], mode: RebalanceMode) {
  const { client } = await startWhole(t, { rebalance: mode });
  const make = (name: string, cpu: string, replicas: number, board?: string) =>
    client.create<Deployment>(RESOURCES.deployments, {
      metadata: { name, namespace: 'default' },
      spec: {
        replicas,
        selector: { matchLabels: { app: name } },
        template: {
          metadata: { labels: { app: name } },
          spec: {
            containers: [{ name: 'main', image: 'x', resources: { requests: { cpu } } }],
            ...(board === undefined ? {} : { nodeSelector: { 'kubernetes.io/hostname': board } }),
          },
        },
      },
    });
  const settled = (name: string, boards: string[]) =>
    until(`${name} is on ${boards}`, async () => {
      const { items } = await client.list<Pod>(RESOURCES.pods, { labelSelector: `app=${name}` });
      const living = items.filter(({ metadata }) => metadata?.deletionTimestamp === undefined);
      return String(living.map(({ spec }) => spec?.nodeName ?? '').sort()) === String(boards);
    });
  const told = async (reason: string): Promise<Event[]> =>
    (await client.list<Event>(RESOURCES.events)).items.filter((event) => event.reason === reason);
  await addBoard(client, 'a');
  await make('big', '1900m', 1);
  await settled('big', ['a']);
  await addBoard(client, 'b');
  await make('web', '600m', 2);
  await settled('web', ['b', 'b']);
  await make('small', '100m', 1, 'a');
  await settled('small', ['a']);
  return { client, settled, told };
}

t.test('a board is freed when pods have ended, as the budget allows', async (t) => {
  const { client, settled, told } = await startScattered(t, 'move');
  await client.create<PodDisruptionBudget>(RESOURCES.podDisruptionBudgets, {
    metadata: { name: 'web', namespace: 'default' },
    spec: { minAvailable: 1, selector: { matchLabels: { app: 'web' } } },
  });
  await client.delete(RESOURCES.deployments, 'default', 'big', { propagationPolicy: 'Foreground' });
  await settled('web', ['a', 'a']);
  const events = await told('Rebalanced');
  t.equal(events.length, 2, 'one after the other');
  t.match(events[0], {
    message: 'Evicted so that board b becomes free; there is room on a',
    involvedObject: { kind: 'Pod' },
  });
  await until('the taint is gone', async () => {
    const { items } = await client.list<Node>(RESOURCES.nodes);
    return items.every((node) => (node.spec?.taints ?? []).length === 0);
  });
});

t.test('who only wants to be told is told once, on the board', async (t) => {
  const { client, settled, told } = await startScattered(t, 'propose');
  await client.delete(RESOURCES.deployments, 'default', 'big', { propagationPolicy: 'Foreground' });
  await until('it is proposed', async () => (await told('RebalanceProposed')).length > 0);
  const [event, ...more] = await told('RebalanceProposed');
  t.same(more, []);
  t.match(event, {
    involvedObject: { kind: 'Node', name: 'b' },
    message:
      /^Board b would be free after these moves: default\/web-\S+ to a, default\/web-\S+ to a$/,
  });
  await settled('web', ['b', 'b']);
});

/** Who must go for a pod of higher priority: tables after kube-scheduler's documented order, and the driver. */
import t from 'tap';
import { RESOURCES } from '../../../master/api/client.ts';
import { scheduleBatch } from '../../../master/scheduler/batch.ts';
import { compilePod } from '../../../master/scheduler/pod-info.ts';
import { type Budget, findPreemption } from '../../../master/scheduler/preemption.ts';
import { schedule } from '../../../master/scheduler/schedule.ts';
import type { ClusterSnapshot } from '../../../master/scheduler/snapshot.ts';
import type { Event, Pod, PodSpec } from '../../../protocol/kinds/types.ts';
import { FakeApi, until } from '../../support/fake-api.ts';
import { node, pod, snapshotOf, startScheduler } from './objects.ts';

function ranked(name: string, cpu: string, priority: number, spec: Partial<PodSpec> = {}): Pod {
  return pod(name, { cpu }, { priority, ...spec }, { app: name });
}

/** "board: victims", or the half of the message that says why not. */
function preempt(one: Pod, snapshot: ClusterSnapshot, budgets: readonly Budget[] = []): string {
  const info = compilePod(one, snapshot.resources);
  const decision = schedule(info, snapshot);
  if ('node' in decision) return `fits on ${decision.node}`;
  const before = JSON.stringify(snapshot.nodes.map(({ requested }) => requested));
  const result = findPreemption(info, decision.refusals, snapshot, budgets);
  const after = JSON.stringify(snapshot.nodes.map(({ requested }) => requested));
  if (before !== after) return 'the snapshot was left changed';
  if ('why' in result) return result.why;
  return `${result.node}: ${result.victims.map(({ name }) => name).join(' ')}`;
}

const NONE_FOUND = 'No preemption victims found for incoming pod';
const NO_HELP = 'Preemption is not helpful for scheduling';

t.test('preemption says why it cannot help', async (t) => {
  const full = snapshotOf(
    [node('a'), node('b', { unschedulable: true })],
    [['a', ranked('q', '4', 5)]],
  );
  t.equal(
    preempt(ranked('p', '1', 5), full),
    `preemption: 0/2 nodes are available: 1 ${NONE_FOUND}, 1 ${NO_HELP}.`,
    'equals are not pushed out',
  );
  t.equal(
    preempt(ranked('p', '5', 9), full),
    `preemption: 0/2 nodes are available: 1 ${NONE_FOUND}, 1 ${NO_HELP}.`,
    'too large even for an empty board',
  );
  t.equal(
    preempt(ranked('p', '1', 9, { preemptionPolicy: 'Never' }), full),
    'preemption: not eligible due to preemptionPolicy=Never.',
  );
  t.equal(
    preempt(ranked('p', '1', 9, { nodeSelector: { disk: 'ssd' } }), full),
    `preemption: 0/2 nodes are available: 2 ${NO_HELP}.`,
    'labels do not change when pods go',
  );
});

t.test('the fewest and the lowest go', async (t) => {
  const nodes = [node('a'), node('b')];
  const budget = (app: string, disruptionsAllowed: number): Budget => ({
    namespace: 'default',
    selector: { matchLabels: { app } },
    disruptionsAllowed,
    disruptedPods: new Set(),
  });
  const table: [string, [string, Pod][], Budget[], string][] = [
    [
      'those that can stay are given back, the important first',
      [
        ['a', ranked('low', '2', 1)],
        ['a', ranked('mid', '2', 3)],
        ['b', ranked('high', '4', 9)],
      ],
      [],
      'a: low',
    ],
    [
      'a board with the lower highest victim',
      [
        ['a', ranked('six', '4', 6)],
        ['b', ranked('one', '2', 1)],
        ['b', ranked('two', '2', 5)],
        ['b', ranked('idle', '0', 1)],
      ],
      [],
      'b: one',
    ],
    [
      'fewer victims of the same priority',
      [
        ['a', ranked('a1', '1', 1)],
        ['a', ranked('a2', '1', 1)],
        ['a', ranked('a3', '2', 9)],
        ['b', ranked('b1', '4', 1)],
      ],
      [],
      'b: b1',
    ],
    [
      'a budget is respected where another board will do',
      [
        ['a', ranked('kept', '4', 1)],
        ['b', ranked('free', '4', 5)],
      ],
      [budget('kept', 0)],
      'b: free',
    ],
    [
      'and broken where none will',
      [
        ['a', ranked('kept', '4', 1)],
        ['b', ranked('high', '4', 9)],
      ],
      [budget('kept', 0)],
      'a: kept',
    ],
    [
      'a budget that allows one is not broken by one',
      [
        ['a', ranked('kept', '4', 1)],
        ['b', ranked('free', '4', 5)],
      ],
      [budget('kept', 1)],
      'a: kept',
    ],
    [
      'on one board, pods whose budget would break stay before more important ones',
      [
        ['a', ranked('kept', '2', 1)],
        ['a', ranked('free', '2', 5)],
        ['b', ranked('high', '4', 9)],
      ],
      [budget('kept', 0)],
      'a: free',
    ],
  ];
  for (const [name, placed, budgets, expected] of table) {
    t.equal(preempt(ranked('p', '2', 8), snapshotOf(nodes, placed), budgets), expected, name);
  }
  const young = (name: string, created: string): Pod => {
    const one = ranked(name, '4', 1);
    return { ...one, metadata: { ...one.metadata, creationTimestamp: created } };
  };
  const ages: [string, Pod][] = [
    ['a', young('old', '2026-01-01T00:00:00Z')],
    ['b', young('new', '2026-02-01T00:00:00Z')],
  ];
  t.equal(preempt(ranked('p', '2', 8), snapshotOf(nodes, ages)), 'b: new', 'the youngest');
});

t.test('host ports and anti-affinity are reasons to push out as well', async (t) => {
  const ports: Partial<PodSpec> = {
    containers: [{ name: 'c', image: 'i', ports: [{ containerPort: 80, hostPort: 80 }] }],
  };
  const taken = snapshotOf([node('a')], [['a', ranked('q', '0', 1, ports)]]);
  t.equal(preempt(ranked('p', '0', 8, ports), taken), 'a: q');
  const apart: Partial<PodSpec> = {
    affinity: {
      podAntiAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: [
          { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: { app: 'q' } } },
        ],
      },
    },
  };
  const near: [string, Pod][] = [
    ['a', ranked('other', '1', 1)],
    ['a', ranked('q', '1', 1)],
  ];
  t.equal(preempt(ranked('p', '0', 8, apart), snapshotOf([node('a')], near)), 'a: q');
});

t.test(
  'a board that is being cleared is kept from others of that priority and below',
  async (t) => {
    const snapshot = snapshotOf([node('a')]);
    const compile = (one: Pod) => compilePod(one, snapshot.resources);
    const waiting = compile(ranked('waiting', '3', 5));
    const nominations = new Map([[waiting.uid, { pod: waiting, node: 'a' }]]);
    snapshot.assume(waiting, 'a');
    const place = (one: Pod): boolean => {
      const [placed] = scheduleBatch([compile(one)], snapshot, { strategy: 'pack', nominations });
      if (placed === undefined || !('node' in placed.decision)) return false;
      snapshot.removePod(placed.pod.uid);
      return true;
    };
    t.equal(place(ranked('low', '2', 1)), false, 'a lower one');
    t.equal(place(ranked('same', '2', 5)), false, 'an equal one');
    t.equal(place(ranked('high', '2', 9)), true, 'a higher one takes it');
    t.equal(snapshot.nodeOfPod(waiting.uid), 'a', 'and the place is kept on');
    const [own] = scheduleBatch([waiting], snapshot, { strategy: 'pack', nominations });
    t.same(own?.decision, { node: 'a' }, 'the pod itself gets it');
  },
);

t.test('the driver pushes out, waits for the end, and binds', async (t) => {
  const api = new FakeApi();
  await api.create(RESOURCES.nodes, node('a', { cpu: '2' }));
  const { stop } = await startScheduler(api);
  t.teardown(stop);
  const get = (name: string) => api.get<Pod>(RESOURCES.pods, 'default', name);
  await api.create(RESOURCES.pods, ranked('low', '1', 1));
  await api.create(RESOURCES.pods, ranked('lowest', '1', 0));
  await until('both are bound', async () =>
    (await Promise.all([get('low'), get('lowest')])).every(({ spec }) => spec?.nodeName === 'a'),
  );
  await api.create(RESOURCES.pods, ranked('vital', '1', 100));
  await until('the lowest is ending', async () => {
    return (await get('lowest')).metadata?.deletionTimestamp !== undefined;
  });
  t.match((await get('lowest')).status?.conditions, [
    { type: 'DisruptionTarget', status: 'True', reason: 'PreemptionByScheduler' },
  ]);
  t.equal((await get('low')).metadata?.deletionTimestamp, undefined, 'the other stays');
  await until('the board is nominated', async () => {
    return (await get('vital')).status?.nominatedNodeName === 'a';
  });
  t.equal((await get('vital')).spec?.nodeName, undefined, 'its place is not free yet');
  await api.create(RESOURCES.pods, ranked('thief', '1', 50));
  await until('the thief is told off', async () => {
    const conditions = (await get('thief')).status?.conditions ?? [];
    return conditions.some(({ reason }) => reason === 'Unschedulable');
  });
  t.equal((await get('low')).metadata?.deletionTimestamp !== undefined, true, 'it pushes low out');
  await api.delete(RESOURCES.pods, 'default', 'lowest', { gracePeriodSeconds: 0 });
  await until('the pod has its place', async () => (await get('vital')).spec?.nodeName === 'a');
  const events = (await api.list<Event>(RESOURCES.events)).items;
  t.ok(
    events.some(
      ({ reason, message }) => reason === 'Preempted' && /on node a$/.test(message ?? ''),
    ),
  );
});

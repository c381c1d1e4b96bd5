/** Whole decisions: packing, spreading, affinity, batches, and the snapshot they are made on. */
import t from 'tap';
import { scheduleBatch } from '../../../master/scheduler/batch.ts';
import { compilePod } from '../../../master/scheduler/pod-info.ts';
import { explain, schedule } from '../../../master/scheduler/schedule.ts';
import type { Pod, PodSpec, Taint } from '../../../protocol/kinds/types.ts';
import { decide, node, pod, snapshotOf } from './objects.ts';

t.test('a pod that fits nowhere is told the reasons, counted and sorted', async (t) => {
  const taints: Taint[] = [{ key: 'gpu', value: 'yes', effect: 'NoSchedule' }];
  const snapshot = snapshotOf([
    node('a', { memory: '1Gi' }),
    node('b', { taints }),
    node('c', { taints }),
  ]);
  t.equal(
    decide(pod('p', { memory: '2Gi' }), snapshot),
    '0/3 nodes are available: 1 Insufficient memory, 2 node(s) had untolerated taint {gpu: yes}.',
  );
  t.equal(decide(pod('p'), snapshotOf([])), 'no nodes available to schedule pods');
});

t.test('packing fills the fullest board that fits; spread the emptiest', async (t) => {
  const nodes = [node('a'), node('b'), node('c')];
  const placed: [string, Pod][] = [['b', pod('q', { cpu: '2', memory: '2Gi' })]];
  t.equal(decide(pod('p', { cpu: '1', memory: '1Gi' }), snapshotOf(nodes, placed)), 'b');
  t.equal(decide(pod('p', { cpu: '1', memory: '1Gi' }), snapshotOf(nodes, placed), 'spread'), 'a');
  t.equal(
    decide(pod('p', { cpu: '3', memory: '1Gi' }), snapshotOf(nodes, placed)),
    'a',
    'when full',
  );
});

t.test('measured use, preferences and PreferNoSchedule move the choice', async (t) => {
  const busy = snapshotOf([node('a'), node('b')]);
  busy.setUsage('a', { cpuMillis: 3_900, memoryBytes: 0 });
  t.equal(decide(pod('p', { cpu: '1' }), busy), 'b', 'a board that works hard is a worse place');
  const calm = snapshotOf([node('a'), node('b')]);
  calm.setUsage('a', { cpuMillis: 400, memoryBytes: 0 });
  t.equal(decide(pod('p', { cpu: '1' }), calm), 'a', 'a little noise does not matter');
  const preferred: Partial<PodSpec> = {
    affinity: {
      nodeAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [
          {
            weight: 10,
            preference: {
              matchExpressions: [{ key: 'disk', operator: 'In', values: ['ssd'] }],
            },
          },
        ],
      },
    },
  };
  const disks = snapshotOf([node('a'), node('b', { labels: { disk: 'ssd' } })]);
  t.equal(decide(pod('p', {}, preferred), disks), 'b', 'preferred node affinity');
  const avoid: Taint[] = [{ key: 'x', effect: 'PreferNoSchedule' }];
  t.equal(decide(pod('p'), snapshotOf([node('a', { taints: avoid }), node('b')])), 'b');
});

t.test('topology spread keeps the skew and says so when it cannot', async (t) => {
  const spread: Partial<PodSpec> = {
    topologySpreadConstraints: [
      {
        topologyKey: 'kubernetes.io/hostname',
        maxSkew: 1,
        whenUnsatisfiable: 'DoNotSchedule',
        labelSelector: { matchLabels: { app: 'web' } },
      },
    ],
  };
  const web = (name: string): Pod => pod(name, {}, spread, { app: 'web' });
  const snapshot = snapshotOf([node('a'), node('b'), node('c')]);
  const places = ['1', '2', '3', '4'].map((name) => {
    const info = compilePod(web(name), snapshot.resources);
    const decision = schedule(info, snapshot);
    if ('node' in decision) snapshot.assume(info, decision.node);
    return 'node' in decision ? decision.node : '';
  });
  t.same(places.slice(0, 3).sort(), ['a', 'b', 'c'], 'one each first');
  const full = snapshotOf([node('a'), node('b', { cpu: '0' })], [['a', web('q')]]);
  t.equal(
    decide(pod('p', { cpu: '1' }, spread, { app: 'web' }), full),
    "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints.",
  );
  const bare = node('x');
  bare.metadata = { name: 'x' };
  t.equal(
    decide(web('p'), snapshotOf([bare])),
    "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label).",
  );
  const soft: Partial<PodSpec> = {
    topologySpreadConstraints: [
      {
        topologyKey: 'kubernetes.io/hostname',
        maxSkew: 1,
        whenUnsatisfiable: 'ScheduleAnyway',
        labelSelector: { matchLabels: { app: 'web' } },
      },
    ],
  };
  const one = snapshotOf(
    [node('a'), node('b')],
    [['a', pod('q', { cpu: '1' }, {}, { app: 'web' })]],
  );
  t.equal(decide(pod('p', { cpu: '1' }, soft, { app: 'web' }), one), 'b', 'ScheduleAnyway prefers');
});

t.test('pod affinity and anti-affinity hold in both directions', async (t) => {
  const term = (app: string) => ({
    topologyKey: 'kubernetes.io/hostname',
    labelSelector: { matchLabels: { app } },
  });
  const avoiding = (app: string): Partial<PodSpec> => ({
    affinity: {
      podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term(app)] },
    },
  });
  const joining = (app: string): Partial<PodSpec> => ({
    affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term(app)] } },
  });
  const nodes = [node('a'), node('b')];
  const web = pod('web', {}, {}, { app: 'web' });
  t.equal(decide(pod('p', {}, avoiding('web')), snapshotOf(nodes, [['a', web]])), 'b');
  t.equal(
    decide(pod('p', {}, avoiding('web')), snapshotOf([node('a')], [['a', web]])),
    "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules.",
  );
  const loner = pod('loner', {}, avoiding('web'));
  t.equal(
    decide(web, snapshotOf([node('a')], [['a', loner]])),
    "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules.",
  );
  t.equal(decide(pod('p', {}, joining('web')), snapshotOf(nodes, [['b', web]])), 'b');
  t.equal(
    decide(pod('p', {}, joining('web')), snapshotOf(nodes)),
    "0/2 nodes are available: 2 node(s) didn't match pod affinity rules.",
  );
  t.equal(
    decide(pod('p', {}, joining('web'), { app: 'web' }), snapshotOf(nodes)),
    'a',
    'the first of a group may start anywhere',
  );
  const elsewhere: Pod = { ...web, metadata: { ...web.metadata, namespace: 'other' } };
  t.match(
    decide(pod('p', {}, joining('web')), snapshotOf(nodes, [['b', elsewhere]])),
    /affinity rules/,
    'another namespace is not meant',
  );
  const soft: Partial<PodSpec> = {
    affinity: {
      podAntiAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [
          { weight: 100, podAffinityTerm: term('web') },
        ],
      },
    },
  };
  t.equal(decide(pod('p', {}, soft), snapshotOf(nodes, [['a', web]])), 'b', 'preferred');
});

t.test('replicas of one owner part when boards are equally good', async (t) => {
  const owned = (name: string): Pod => {
    const one = pod(name);
    const owner = {
      apiVersion: 'apps/v1',
      kind: 'ReplicaSet',
      name: 'r',
      uid: 'r',
      controller: true,
    };
    return { ...one, metadata: { ...one.metadata, ownerReferences: [owner] } };
  };
  const other = pod('other');
  const nodes = [node('a'), node('b')];
  t.equal(
    decide(
      owned('p'),
      snapshotOf(nodes, [
        ['a', owned('q')],
        ['b', other],
      ]),
    ),
    'b',
  );
});

t.test('a batch is packed largest first, and each placement counts for the next', async (t) => {
  const snapshot = snapshotOf([node('a'), node('b')]);
  const sizes = ['1', '3', '1', '3'];
  const infos = sizes.map((cpu, index) =>
    compilePod(pod(`p${index}`, { cpu, memory: '1Mi' }), snapshot.resources),
  );
  const placed = scheduleBatch(infos, snapshot);
  t.ok(
    placed.every(({ decision }) => 'node' in decision),
    'all four fit on two boards',
  );
  const boardOf = (name: string) => placed.find(({ pod: one }) => one.name === name)?.decision;
  t.notSame(boardOf('p1'), boardOf('p3'), 'the large ones do not share a board');
  const extra = compilePod(pod('extra', { cpu: '1' }), snapshot.resources);
  t.match(schedule(extra, snapshot), { unschedulable: /2 Insufficient cpu/ });
  t.same(
    explain(extra, snapshot).map(({ node: name, fits, filter }) => [name, fits, filter]),
    [
      ['a', false, 'NodeResourcesFit'],
      ['b', false, 'NodeResourcesFit'],
    ],
  );
});

t.test('the snapshot keeps its sums right while pods and nodes come and go', async (t) => {
  const snapshot = snapshotOf([node('a')]);
  const one = pod('p', { cpu: '1' }, { nodeName: 'a' });
  snapshot.setPod(one);
  snapshot.setPod(one);
  t.equal(snapshot.node('a')?.requested[0], 1_000, 'counted once');
  snapshot.removeNode('a');
  snapshot.setNode(node('a'));
  t.equal(snapshot.node('a')?.requested[0], 1_000, 'the pods of a node that returns are there');
  snapshot.setPod({ ...one, status: { phase: 'Succeeded' } });
  t.equal(snapshot.node('a')?.requested[0], 0, 'a pod that ended takes nothing');
  t.equal(snapshot.setNode(node('a')), false, 'an unchanged node is no news');
  t.equal(snapshot.setNode(node('a', { cpu: '8' })), true, 'a larger one is');
});

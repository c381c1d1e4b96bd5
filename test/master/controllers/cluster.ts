/** Boards, address ranges, garbage and namespaces. */
import t from 'tap';
import { RESOURCES } from '../../../master/api/client.ts';
import {
  reconcileAccess,
  reconcileAggregation,
} from '../../../master/controllers/access-controllers.ts';
import type { Now } from '../../../master/controllers/actions.ts';
import { reconcileEndedPods, reconcileGarbage } from '../../../master/controllers/garbage.ts';
import {
  type NamespaceContent,
  reconcileNamespace,
} from '../../../master/controllers/namespace.ts';
import { reconcileIpam } from '../../../master/controllers/node-ipam.ts';
import {
  DEFAULT_LIFECYCLE_OPTIONS,
  initialLifecycleState,
  type LifecycleView,
  reconcileLifecycle,
} from '../../../master/controllers/node-lifecycle.ts';
import { reconcileQuota } from '../../../master/controllers/quota-controller.ts';
import type { Namespace, Node, OwnerReference, Pod } from '../../../protocol/kinds/types.ts';
import { board, NOW, ofType, pod } from './objects.ts';

t.test(
  'a silent board is tainted, its pods leave after their time, and come no storms',
  async (t) => {
    const options = DEFAULT_LIFECYCLE_OPTIONS;
    const at = (monotonicMs: number): Now => ({ monotonicMs, timestamp: NOW.timestamp });
    const view = (lost: string[], pods: Pod[] = [pod('p')]): LifecycleView => ({
      boards: ['a', 'b', 'c', 'd', 'e'].map((name) => ({
        node: board(name, lost.includes(name) ? 'Unknown' : 'True'),
        pods: lost.includes(name) ? pods : [],
        notReadySinceMs: lost.includes(name) ? 0 : undefined,
        taintedSinceMs: () => 0,
      })),
      orphans: [],
    });
    const start = initialLifecycleState(options, 0);
    const first = reconcileLifecycle(view(['a']), start, options, at(0));
    t.match(ofType(first.actions, 'update')[0]?.object, {
      spec: {
        taints: [
          { key: 'node.kubernetes.io/unreachable', effect: 'NoSchedule' },
          { key: 'node.kubernetes.io/unreachable', effect: 'NoExecute' },
        ],
      },
    });
    t.match(ofType(first.actions, 'updateStatus')[0]?.object, {
      status: { conditions: [{ type: 'Ready', status: 'False' }] },
    });
    t.same(ofType(first.actions, 'delete'), [], 'not yet');
    t.match(ofType(first.actions, 'requeueAfter'), [{ delayMs: 10_000 }]);
    const later = reconcileLifecycle(view(['a']), first.state, options, at(10_000));
    t.match(ofType(later.actions, 'delete'), [{ name: 'p' }]);

    const patient = pod('patient');
    patient.spec = {
      containers: [],
      tolerations: [
        { key: 'node.kubernetes.io/unreachable', operator: 'Exists', tolerationSeconds: 60 },
      ],
    };
    const loyal = pod('loyal');
    loyal.spec = { containers: [], tolerations: [{ operator: 'Exists' }] };
    const mixed = reconcileLifecycle(view(['a'], [patient, loyal]), start, options, at(59_000));
    t.same(ofType(mixed.actions, 'delete'), []);
    const due = reconcileLifecycle(view(['a'], [patient, loyal]), start, options, at(60_000));
    t.same(
      ofType(due.actions, 'delete').map(({ name }) => name),
      ['patient'],
    );

    const most = reconcileLifecycle(view(['a', 'b', 'c']), start, options, at(20_000));
    t.same(ofType(most.actions, 'delete'), [], 'most boards gone: it is the network');
    t.equal(most.state.isHalted, true);
    const resumed = reconcileLifecycle(view(['a', 'b']), most.state, options, at(21_000));
    t.same(ofType(resumed.actions, 'delete'), [], 'and every wait starts anew');
    const strict = { ...options, evictionBurst: 1 };
    const limited = reconcileLifecycle(
      view(['a', 'b']),
      initialLifecycleState(strict, 30_000),
      strict,
      at(30_000),
    );
    t.equal(ofType(limited.actions, 'delete').length, 1, 'one board at a time');
    const next = reconcileLifecycle(view(['a', 'b']), limited.state, strict, at(40_000));
    t.equal(ofType(next.actions, 'delete').length, 2);
  },
);

t.test(
  'taints go when the board is well; deleted and retired boards give their pods free',
  async (t) => {
    const options = DEFAULT_LIFECYCLE_OPTIONS;
    const start = initialLifecycleState(options, 0);
    const run = (view: LifecycleView) => reconcileLifecycle(view, start, options, NOW).actions;
    const one = (node: Node, pods: Pod[], notReadySinceMs?: number): LifecycleView => ({
      boards: [
        { node, pods, notReadySinceMs, taintedSinceMs: () => NOW.monotonicMs },
        { node: board('z', 'True'), pods: [], notReadySinceMs: undefined, taintedSinceMs: () => 0 },
      ],
      orphans: [],
    });
    const own = { key: 'mine', effect: 'NoSchedule' };
    const well = board('a', 'True', {
      taints: [own, { key: 'node.kubernetes.io/unreachable', effect: 'NoExecute' }],
    });
    t.same(
      (ofType(run(one(well, [])), 'update')[0]?.object as Node | undefined)?.spec?.taints,
      [own],
      'taints of others stay',
    );
    const cordoned = board('a', 'True', { unschedulable: true });
    t.match(ofType(run(one(cordoned, [])), 'update')[0]?.object, {
      spec: { taints: [{ key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' }] },
    });
    const drained = board('a', 'True', { taints: [{ key: 'x', effect: 'NoExecute' }] });
    const byTaint = { reason: 'DeletionByTaintManager', timestamp: NOW.timestamp };
    t.match(
      ofType(run(one(drained, [pod('p')])), 'delete'),
      [{ name: 'p', disruption: byTaint }],
      'at once',
    );
    const retired = board('a', 'Unknown', {
      taints: [{ key: 'node.kubernetes.io/out-of-service', effect: 'NoExecute' }],
    });
    const ending = pod('p', { meta: { deletionTimestamp: NOW.timestamp } });
    t.match(ofType(run(one(retired, [ending], 0)), 'delete'), [
      { name: 'p', options: { gracePeriodSeconds: 0 } },
    ]);
    const orphans = [
      { pod: pod('old'), sinceMs: NOW.monotonicMs - 10_000 },
      { pod: pod('young'), sinceMs: NOW.monotonicMs },
    ];
    const actions = run({ boards: [], orphans });
    t.same(
      ofType(actions, 'delete').map(({ name }) => name),
      ['old'],
    );
    t.match(ofType(actions, 'delete')[0]?.disruption, {
      reason: 'DeletionByPodGC',
      hasFailed: true,
    });
    t.match(ofType(actions, 'requeueAfter'), [{ delayMs: 10_000 }]);
  },
);

t.test('silence is told of boards that were well, a halt of boards that hold pods', async (t) => {
  const options = DEFAULT_LIFECYCLE_OPTIONS;
  const view = (ready: Parameters<typeof board>[1], pods: Pod[] = []): LifecycleView => ({
    boards: ['a', 'b'].map((name) => ({
      node: board(name, ready),
      pods,
      notReadySinceMs: ready === 'True' ? undefined : 0,
      taintedSinceMs: () => 0,
    })),
    orphans: [],
  });
  const reasons = ({ actions }: ReturnType<typeof reconcileLifecycle>) =>
    ofType(actions, 'event').map(({ reason }) => reason);
  const start = initialLifecycleState(options, 0);
  const joined = reconcileLifecycle(view('False'), start, options, NOW);
  t.same(reasons(joined), [], 'boards that join are not ready yet, which is no news');
  const { boards } = view('True');
  const silent = boards.map((one) => ({ ...one, node: { metadata: one.node.metadata ?? {} } }));
  const made = reconcileLifecycle({ boards: silent, orphans: [] }, start, options, NOW);
  t.same(reasons(reconcileLifecycle(view('False'), made.state, options, NOW)), [], 'nor before');
  const well = reconcileLifecycle(view('True'), joined.state, options, NOW);
  t.same(reasons(well), ['NodeReady', 'NodeReady']);
  const seen = reconcileLifecycle(view('True'), start, options, NOW);
  t.same(reasons(seen), [], 'a master that starts tells nothing of boards that are well');
  const lost = reconcileLifecycle(view('Unknown', [pod('p')]), well.state, options, NOW);
  t.same(reasons(lost).sort(), [
    ...['EvictionHalted', 'EvictionHalted', 'NodeNotReady', 'NodeNotReady'],
  ]);
  const still = reconcileLifecycle(view('Unknown', [pod('p')]), lost.state, options, NOW);
  t.same(reasons(still), [], 'once');
});

t.test('each board gets a range of its own, the lowest that is free', async (t) => {
  const node = (name: string, podCIDR?: string): Node => ({
    metadata: { name },
    spec: podCIDR === undefined ? {} : { podCIDR },
  });
  const ranges = (nodes: Node[], clusterCidr = '10.42.0.0/16') =>
    ofType(reconcileIpam(nodes, { clusterCidr }), 'update').map(
      ({ object }) => (object as Node).spec?.podCIDR,
    );
  t.same(ranges([node('b'), node('a'), node('c', '10.42.0.0/24')]), [
    '10.42.1.0/24',
    '10.42.2.0/24',
  ]);
  const full = [node('a', '10.42.0.0/24'), node('b', '10.42.1.0/24'), node('c')];
  t.same(ranges(full, '10.42.0.0/23'), []);
  t.match(reconcileIpam(full, { clusterCidr: '10.42.0.0/23' }), [{ reason: 'CIDRNotAvailable' }]);
  t.throws(() => reconcileIpam([], { clusterCidr: '10.42.0.0/33' }), /no IPv4 range/);
});

t.test('garbage goes when the last owner is gone, and never on a guess', async (t) => {
  const owner = (uid: string): OwnerReference => ({
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    name: uid,
    uid,
  });
  const object = (references: OwnerReference[]): Pod => ({
    metadata: { name: 'p', namespace: 'default', uid: 'p', ownerReferences: references },
  });
  const id = RESOURCES.replicaSets;
  const decideOn = (owners: Parameters<typeof reconcileGarbage>[0]['owners']) =>
    reconcileGarbage({
      id: RESOURCES.pods,
      object: object(owners.map(({ reference }) => reference)),
      owners,
      dependents: [],
    });
  const gone = { reference: owner('x'), id, object: undefined };
  const here = { reference: owner('y'), id, object: { metadata: { uid: 'y' } } };
  const unknown = { reference: owner('z'), id: undefined, object: undefined };
  t.match(decideOn([gone]), [{ type: 'delete', unlessExists: [{ name: 'x', uid: 'x' }] }]);
  t.same(decideOn([gone, here]), []);
  t.same(decideOn([gone, unknown]), []);
  t.same(decideOn([]), []);
  const metadata = {
    uid: 'w',
    deletionTimestamp: NOW.timestamp,
    finalizers: ['foregroundDeletion'],
  };
  const waiting = { reference: owner('w'), id, object: { metadata } };
  t.match(decideOn([waiting]), [{ type: 'delete', options: { propagationPolicy: 'Foreground' } }]);
  for (const other of [here, unknown]) {
    const { reference } = other;
    t.match(
      decideOn([waiting, other]),
      [{ type: 'patch', mergePatch: { metadata: { ownerReferences: [reference] } } }],
      'it lets go of what somebody else owns, too',
    );
  }
  const ended = ['a', 'b', 'c'].map((name) => pod(name, { phase: 'Succeeded' }));
  t.same(
    reconcileEndedPods(ended, 1, (uid) => uid.charCodeAt(0)).map((action) =>
      action.type === 'delete' ? action.name : '',
    ),
    ['a', 'b'],
  );
});

t.test('a namespace empties before it goes', async (t) => {
  const namespace: Namespace = {
    metadata: { name: 'x', deletionTimestamp: NOW.timestamp },
    spec: { finalizers: ['kubernetes'] },
    status: { phase: 'Terminating' },
  };
  const run = (content: readonly NamespaceContent[], status: Namespace['status'] = {}) =>
    reconcileNamespace({ namespace: { ...namespace, status }, content }, NOW);
  const config = { id: RESOURCES.configMaps, objects: [{ metadata: { name: 'c' } }] };
  const podsOf = (...objects: Pod[]) => ({ id: RESOURCES.pods, objects });
  t.match(
    run([config, podsOf(pod('p'))]),
    [{ type: 'delete', name: 'p' }, { type: 'requeueAfter' }],
    'pods first',
  );
  t.match(run([config, podsOf()]), [{ type: 'delete', name: 'c' }, { type: 'requeueAfter' }]);
  const going = pod('p');
  const metadata = { ...going.metadata, deletionTimestamp: NOW.timestamp, finalizers: ['x.y/z'] };
  const [told, ...others] = run([config, podsOf({ ...going, metadata })]);
  t.match(others, [{ type: 'requeueAfter' }], 'what lingers is waited for');
  const conditions = told?.type === 'patch' ? told.mergePatch.status : undefined;
  t.match(conditions, {
    conditions: [
      { type: 'NamespaceDeletionContentFailure', status: 'False' },
      { status: 'True', message: 'Some resources are remaining: pods. has 1 resource instances' },
      { status: 'True', message: /finalizers remaining: x\.y\/z in 1 resource instances/ },
    ],
  });
  t.match(
    run([podsOf({ ...going, metadata })], conditions as Namespace['status']),
    [{ type: 'requeueAfter' }],
    'told once',
  );
  const [last] = run([]);
  t.equal(last?.type, 'update');
  t.same(last?.type === 'update' ? (last.object as Namespace).spec : undefined, {});
  t.same(reconcileNamespace({ namespace: { metadata: { name: 'x' } }, content: [] }, NOW), []);
});

t.test(
  'a namespace has its account and the root certificate, and a going one nothing new',
  async (t) => {
    const namespace: Namespace = { metadata: { name: 'a' } };
    const none = { namespace, hasAccount: false, rootCa: undefined };
    const going = { metadata: { name: 'a', deletionTimestamp: NOW.timestamp } };
    t.same(reconcileAccess({ ...none, namespace: going }, 'pem'), []);
    t.match(reconcileAccess(none, 'pem'), [
      { type: 'create', object: { metadata: { name: 'default', namespace: 'a' } } },
      { type: 'create', object: { data: { 'ca.crt': 'pem' } } },
    ]);
    t.equal(reconcileAccess(none, undefined).length, 1, 'no certificate, no ConfigMap');
    const rootCa = { metadata: { name: 'kube-root-ca.crt' }, data: { 'ca.crt': 'pem' } };
    t.same(reconcileAccess({ namespace, hasAccount: true, rootCa }, 'pem'), []);
    const changed = { ...rootCa, data: { 'ca.crt': 'x' } };
    t.match(reconcileAccess({ namespace, hasAccount: true, rootCa: changed }, 'pem'), [
      { type: 'update', object: rootCa },
    ]);
  },
);

t.test('an aggregated role shows the rules of the roles that it takes in', async (t) => {
  const rules = [{ verbs: ['get'], apiGroups: [''], resources: ['pods'] }];
  const part = { metadata: { name: 'part', labels: { to: 'whole' } }, rules };
  const whole = {
    metadata: { name: 'whole' },
    aggregationRule: { clusterRoleSelectors: [{ matchLabels: { to: 'whole' } }] },
  };
  t.match(reconcileAggregation([part, whole]), [{ type: 'update', object: { rules } }]);
  t.same(reconcileAggregation([part, { ...whole, rules }]), []);
});

t.test('a quota shows what is used of it, and only when that changed', async (t) => {
  const quota = { metadata: { name: 'q' }, spec: { hard: { pods: '3', secrets: '1' } } };
  const content = [{ resource: { group: '', plural: 'pods' }, objects: [pod('a'), pod('b')] }];
  const status = { hard: quota.spec.hard, used: { pods: '2', secrets: '0' } };
  t.match(reconcileQuota(quota, content), [{ type: 'updateStatus', object: { status } }]);
  t.same(reconcileQuota({ ...quota, status }, content), []);
});

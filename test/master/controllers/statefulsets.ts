/** StatefulSet as Kubernetes documents it. */
import t from 'tap';
import type { Action } from '../../../master/controllers/actions.ts';
import { templateHash } from '../../../master/controllers/pod-template.ts';
import { reconcileStatefulSet } from '../../../master/controllers/statefulset.ts';
import type {
  ControllerRevision,
  Pod,
  StatefulSet,
  StatefulSetSpec,
  StatefulSetStatus,
} from '../../../protocol/kinds/types.ts';
import { controlledBy, NO_TIMES, NOW, ofType, pod, template } from './objects.ts';

const HASH = 'controller-revision-hash';
const nameOf = (image: string): string => `db-${templateHash(template(image), 0)}`;

function set(
  spec: Partial<StatefulSetSpec> = {},
  status: Partial<StatefulSetStatus> = {},
): StatefulSet {
  return {
    metadata: { name: 'db', namespace: 'default', uid: 's', generation: 1 },
    spec: {
      replicas: 3,
      serviceName: 'db',
      selector: { matchLabels: { app: 'web' } },
      template: template('v1'),
      podManagementPolicy: 'OrderedReady',
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 0 } },
      revisionHistoryLimit: 10,
      ...spec,
    },
    status: { replicas: 0, currentRevision: nameOf('v1'), ...status },
  };
}

function revision(image: string, number: number): ControllerRevision {
  return {
    metadata: {
      name: nameOf(image),
      namespace: 'default',
      uid: `r-${image}`,
      labels: { app: 'web', [HASH]: templateHash(template(image), 0) },
      ownerReferences: controlledBy('StatefulSet', 'db', 's'),
    },
    data: { spec: { template: { ...template(image), $patch: 'replace' } } },
    revision: number,
  };
}

interface MemberOptions {
  image?: string;
  ready?: boolean;
  phase?: string;
  deleted?: boolean;
}

function member(ordinal: number, options: MemberOptions = {}): Pod {
  const { image = 'v1', ready = true, phase = 'Running' } = options;
  return pod(`db-${ordinal}`, {
    ready,
    phase,
    labels: { app: 'web', [HASH]: nameOf(image) },
    owner: controlledBy('StatefulSet', 'db', 's'),
    ...(options.deleted === true ? { meta: { deletionTimestamp: NOW.timestamp } } : {}),
  });
}

function decide(one: StatefulSet, pods: Pod[]): Action[] {
  const revisions = [revision('v1', 1), revision('v2', 2)];
  const current =
    one.spec?.template.spec?.containers[0]?.image === 'v2' ? revisions : [revision('v1', 1)];
  const view = { set: one, pods, claims: [], revisions: current, times: NO_TIMES };
  return reconcileStatefulSet(view, NOW);
}

/** "create db-0 v1, delete db-2" */
function pods(actions: readonly Action[]): string {
  return actions
    .flatMap((action) => {
      if (action.type === 'delete') return [`delete ${action.name}`];
      if (action.type !== 'create' || action.id.resource !== 'pods') return [];
      const { metadata, spec } = action.object as Pod;
      return [`create ${metadata?.name} ${spec?.containers[0]?.image}`];
    })
    .join(', ');
}

const statusIn = (actions: readonly Action[]): StatefulSetStatus | undefined =>
  (ofType(actions, 'updateStatus')[0]?.object as StatefulSet | undefined)?.status;

t.test('pods come and go in order', async (t) => {
  const parallel: Partial<StatefulSetSpec> = { podManagementPolicy: 'Parallel' };
  const table: [string, StatefulSet, Pod[], string][] = [
    ['the first first', set(), [], 'create db-0 v1'],
    ['it is waited for', set(), [member(0, { ready: false })], ''],
    ['then the next', set(), [member(0)], 'create db-1 v1'],
    ['a gap is filled before anything else', set(), [member(0), member(2)], 'create db-1 v1'],
    ['not while the old one ends', set(), [member(0), member(1, { deleted: true }), member(2)], ''],
    [
      'one that failed is made anew',
      set(),
      [member(0, { phase: 'Failed', ready: false }), member(1)],
      'delete db-0',
    ],
    [
      'the highest goes first',
      set({ replicas: 1 }),
      [0, 1, 2].map((at) => member(at)),
      'delete db-2',
    ],
    [
      'one at a time',
      set({ replicas: 1 }),
      [member(0), member(1), member(2, { deleted: true })],
      '',
    ],
    [
      'not while one below is unwell',
      set({ replicas: 1 }),
      [member(0, { ready: false }), member(1)],
      '',
    ],
    ['to none', set({ replicas: 0 }), [member(0)], 'delete db-0'],
    [
      'in parallel: all at once',
      set(parallel),
      [],
      'create db-0 v1, create db-1 v1, create db-2 v1',
    ],
    [
      'in parallel: down as well',
      set({ ...parallel, replicas: 0 }),
      [member(0), member(1)],
      'delete db-1, delete db-0',
    ],
    [
      'in parallel: unwell ones hold up nobody',
      set(parallel),
      [member(0, { ready: false }), member(1)],
      'create db-2 v1',
    ],
    [
      'ordinals may start elsewhere',
      set({ ordinals: { start: 5 } }),
      [member(5)],
      'create db-6 v1',
    ],
    ['all there', set(), [0, 1, 2].map((at) => member(at)), ''],
  ];
  for (const [name, one, existing, expected] of table) {
    t.equal(pods(decide(one, existing)), expected, name);
  }
  const going = set();
  const metadata = { ...going.metadata, deletionTimestamp: NOW.timestamp };
  t.same(decide({ ...going, metadata }, []), [], 'one that goes makes nothing');
});

t.test('a pod keeps its name, and knows it', async (t) => {
  const [create] = ofType(decide(set(), []), 'create');
  t.match(create?.object, {
    metadata: {
      name: 'db-0',
      labels: {
        app: 'web',
        'statefulset.kubernetes.io/pod-name': 'db-0',
        'apps.kubernetes.io/pod-index': '0',
        [HASH]: nameOf('v1'),
      },
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'StatefulSet', uid: 's', controller: true }],
    },
    spec: { hostname: 'db-0', subdomain: 'db' },
  });
  t.match(create?.announce?.success?.message, 'create Pod db-0 in StatefulSet db successful');
  const stray = pod('other', { labels: { app: 'web' } });
  t.same(ofType(decide(set(), [stray]), 'update'), [], 'a pod of another name is not adopted');
  const orphan = pod('db-0', { labels: { app: 'web' } });
  t.match(ofType(decide(set(), [orphan]), 'update'), [{ object: { metadata: { name: 'db-0' } } }]);
});

t.test('a rolling update goes from the highest down', async (t) => {
  const update = (strategy: StatefulSetSpec['updateStrategy'] = { type: 'RollingUpdate' }) =>
    set({
      template: template('v2'),
      ...(strategy === undefined ? {} : { updateStrategy: strategy }),
    });
  const old = (at: number) => member(at);
  const fresh = (at: number, ready = true) => member(at, { image: 'v2', ready });
  const partition = (from: number) =>
    update({ type: 'RollingUpdate', rollingUpdate: { partition: from } });
  const table: [string, StatefulSet, Pod[], string][] = [
    ['the highest first', update(), [old(0), old(1), old(2)], 'delete db-2'],
    ['made anew with the new template', update(), [old(0), old(1)], 'create db-2 v2'],
    ['waited for', update(), [old(0), old(1), fresh(2, false)], ''],
    ['then the next', update(), [old(0), old(1), fresh(2)], 'delete db-1'],
    ['down to the partition', partition(2), [old(0), old(1), fresh(2)], ''],
    ['below it the old template holds', partition(2), [old(0), fresh(2)], 'create db-1 v1'],
    ['OnDelete: people do it', update({ type: 'OnDelete' }), [old(0), old(1), old(2)], ''],
    ['and get the new template', update({ type: 'OnDelete' }), [old(0), old(2)], 'create db-1 v2'],
    ['done is done', update(), [fresh(0), fresh(1), fresh(2)], ''],
  ];
  for (const [name, one, existing, expected] of table) {
    t.equal(pods(decide(one, existing)), expected, name);
  }
});

t.test('the status says what kubectl rollout status reads', async (t) => {
  const all = [0, 1, 2].map((at) => member(at));
  t.match(statusIn(decide(set({}, { currentRevision: '' }), all)), {
    observedGeneration: 1,
    replicas: 3,
    readyReplicas: 3,
    availableReplicas: 3,
    currentReplicas: 3,
    updatedReplicas: 3,
    currentRevision: nameOf('v1'),
    updateRevision: nameOf('v1'),
  });
  const half = [member(0), member(1), member(2, { image: 'v2' })];
  t.match(statusIn(decide(set({ template: template('v2') }), half)), {
    currentReplicas: 2,
    updatedReplicas: 1,
    currentRevision: nameOf('v1'),
    updateRevision: nameOf('v2'),
  });
  const done = [0, 1, 2].map((at) => member(at, { image: 'v2' }));
  t.match(statusIn(decide(set({ template: template('v2') }), done)), {
    currentRevision: nameOf('v2'),
    currentReplicas: 3,
  });
  const status = statusIn(decide(set(), all));
  t.same(decide(set({}, status), all), [], 'nothing to do, nothing written');
});

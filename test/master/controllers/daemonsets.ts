/** DaemonSet and the history of templates as Kubernetes documents them. */
import t from 'tap';
import type { Action } from '../../../master/controllers/actions.ts';
import { reconcileDaemonSet } from '../../../master/controllers/daemonset.ts';
import { templateHash } from '../../../master/controllers/pod-template.ts';
import type {
  ControllerRevision,
  DaemonSet,
  DaemonSetSpec,
  DaemonSetStatus,
  Node,
  Pod,
} from '../../../protocol/kinds/types.ts';
import { board, controlledBy, NO_TIMES, NOW, ofType, pod, template } from './objects.ts';

const HASH = 'controller-revision-hash';

function daemonSet(
  spec: Partial<DaemonSetSpec> = {},
  status: Partial<DaemonSetStatus> = {},
): DaemonSet {
  return {
    metadata: {
      name: 'eye',
      namespace: 'default',
      uid: 'ds',
      generation: 1,
      annotations: { why: 'first' },
    },
    spec: {
      selector: { matchLabels: { app: 'web' } },
      template: template('v1'),
      updateStrategy: {
        type: 'RollingUpdate',
        rollingUpdate: { maxUnavailable: 1, maxSurge: 0 },
      },
      revisionHistoryLimit: 10,
      ...spec,
    },
    status: {
      currentNumberScheduled: 0,
      numberMisscheduled: 0,
      desiredNumberScheduled: 0,
      numberReady: 0,
      ...status,
    },
  };
}

/** A revision of the DaemonSet above. */
function revision(image: string, number: number): ControllerRevision {
  const hash = templateHash(template(image), 0);
  return {
    metadata: {
      name: `eye-${hash}`,
      namespace: 'default',
      uid: `r-${image}`,
      labels: { app: 'web', [HASH]: hash },
      ownerReferences: controlledBy('DaemonSet', 'eye', 'ds'),
    },
    data: { spec: { template: { ...template(image), $patch: 'replace' } } },
    revision: number,
  };
}

interface DaemonOptions {
  image?: string;
  ready?: boolean;
  phase?: string;
  deleted?: boolean;
}

function daemon(node: string, options: DaemonOptions = {}, name = `p-${node}`): Pod {
  const { image = 'v1', ready = true, phase = 'Running' } = options;
  return pod(name, {
    node,
    ready,
    phase,
    labels: { app: 'web', [HASH]: templateHash(template(image), 0) },
    owner: controlledBy('DaemonSet', 'eye', 'ds'),
    ...(options.deleted === true ? { meta: { deletionTimestamp: NOW.timestamp } } : {}),
  });
}

const BOARDS = ['a', 'b', 'c'].map((name) => board(name, 'True'));

function decide(
  one: DaemonSet,
  pods: Pod[],
  more: { nodes?: Node[]; revisions?: ControllerRevision[] } = {},
): Action[] {
  const { nodes = BOARDS, revisions = [revision('v1', 1)] } = more;
  return reconcileDaemonSet({ daemonSet: one, nodes, pods, revisions, times: NO_TIMES }, NOW);
}

/** "create b c, delete p-a" */
function pods(actions: readonly Action[]): string {
  const created = ofType(actions, 'create')
    .filter(({ id }) => id.resource === 'pods')
    .map(({ object }) => {
      const { spec } = object as Pod;
      const terms = spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
      return terms?.nodeSelectorTerms[0]?.matchFields?.[0]?.values?.[0] ?? '?';
    });
  const deleted = ofType(actions, 'delete')
    .filter(({ id }) => id.resource === 'pods')
    .map(({ name }) => name);
  return [
    ...(created.length > 0 ? [`create ${created.join(' ')}`] : []),
    ...(deleted.length > 0 ? [`delete ${deleted.join(' ')}`] : []),
  ].join(', ');
}

const statusIn = (actions: readonly Action[]): DaemonSetStatus | undefined =>
  (ofType(actions, 'updateStatus')[0]?.object as DaemonSet | undefined)?.status;

t.test('one pod on each board that fits', async (t) => {
  const tainted = (effect: string): Node => board('b', 'True', { taints: [{ key: 'x', effect }] });
  const [a = board('a', 'True'), , c = board('c', 'True')] = BOARDS;
  const chosen = { ...template('v1'), spec: { containers: [], nodeSelector: { disk: 'ssd' } } };
  const labelled = { ...a, metadata: { ...a.metadata, labels: { disk: 'ssd' } } };
  const named = { ...template('v1'), spec: { containers: [], nodeName: 'c' } };
  const all = ['a', 'b', 'c'].map((name) => daemon(name));
  const table: [string, Partial<DaemonSetSpec>, Pod[], Node[], string][] = [
    ['on every board', {}, [], BOARDS, 'create a b c'],
    ['where one is missing', {}, [daemon('a'), daemon('c')], BOARDS, 'create b'],
    ['all there', {}, all, BOARDS, ''],
    ['not while the old one ends', {}, [daemon('a', { deleted: true })], [a], ''],
    ['not on a tainted board', {}, [], [a, tainted('NoSchedule'), c], 'create a c'],
    ['a pod stays under NoSchedule', {}, all, [a, tainted('NoSchedule'), c], ''],
    ['and goes under NoExecute', {}, all, [a, tainted('NoExecute'), c], 'delete p-b'],
    [
      'on a cordoned board as well',
      {},
      [],
      [board('b', 'True', { unschedulable: true })],
      'create b',
    ],
    ['not on a board that does not answer', {}, [], [board('b', 'Unknown')], ''],
    ['where it stays, though', {}, [daemon('b', { ready: false })], [board('b', 'Unknown')], ''],
    ['only where the template wants to be', { template: chosen }, [], [labelled, c], 'create a'],
    ['only on the named board', { template: named }, [], BOARDS, 'create c'],
    ['the younger of two goes', {}, [daemon('a'), daemon('a', {}, 'p-z')], [a], 'delete p-z'],
    ['of a board that is gone', {}, [daemon('a'), daemon('x')], [a], 'delete p-x'],
    [
      'one that failed makes room',
      {},
      [daemon('a', { phase: 'Failed', ready: false })],
      [a],
      'delete p-a',
    ],
  ];
  for (const [name, spec, existing, nodes, expected] of table) {
    const current = {
      ...revision('v1', 1),
      data: { spec: { template: { ...(spec.template ?? template('v1')), $patch: 'replace' } } },
    };
    t.equal(
      pods(decide(daemonSet(spec), existing, { nodes, revisions: [current] })),
      expected,
      name,
    );
  }
  const young = {
    daemonSet: daemonSet(),
    nodes: [a],
    pods: [daemon('a', { phase: 'Failed', ready: false })],
    revisions: [revision('v1', 1)],
    times: { firstSeenMs: () => NOW.monotonicMs - 4_000, readySinceMs: () => 0 },
  };
  const waiting = reconcileDaemonSet(young, NOW);
  t.equal(pods(waiting), '', 'not at once, again and again');
  t.match(ofType(waiting, 'requeueAfter'), [{ delayMs: 6_000 }]);
});

t.test('its pods belong to their boards', async (t) => {
  const [create] = ofType(decide(daemonSet(), [], { nodes: BOARDS.slice(0, 1) }), 'create');
  const { spec, metadata } = (create?.object ?? {}) as Pod;
  t.match(metadata, {
    generateName: 'eye-',
    labels: { app: 'web', [HASH]: templateHash(template('v1'), 0) },
    ownerReferences: [{ kind: 'DaemonSet', uid: 'ds', controller: true }],
  });
  t.same(
    (spec?.tolerations ?? []).map(({ key, effect }) => `${key}:${effect}`),
    [
      'node.kubernetes.io/not-ready:NoExecute',
      'node.kubernetes.io/unreachable:NoExecute',
      'node.kubernetes.io/disk-pressure:NoSchedule',
      'node.kubernetes.io/memory-pressure:NoSchedule',
      'node.kubernetes.io/pid-pressure:NoSchedule',
      'node.kubernetes.io/unschedulable:NoSchedule',
      'pier.local/overheating:NoSchedule',
      'pier.local/under-voltage:NoSchedule',
    ],
  );
  t.equal(spec?.nodeName, undefined, 'the scheduler binds it');
});

t.test('a rolling update keeps its bounds', async (t) => {
  const both = { revisions: [revision('v1', 1), revision('v2', 2)] };
  const to = (maxUnavailable: number | string, maxSurge: number | string = 0) =>
    daemonSet({
      template: template('v2'),
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable, maxSurge } },
    });
  const old = (node: string, ready = true) => daemon(node, { ready });
  const fresh = (node: string, ready = true) => daemon(node, { image: 'v2', ready }, `q-${node}`);
  const table: [string, DaemonSet, Pod[], string][] = [
    ['one after the other', to(1), [old('a'), old('b'), old('c')], 'delete p-a'],
    ['not while a new one starts', to(1), [fresh('a', false), old('b'), old('c')], ''],
    ['then the next', to(1), [fresh('a'), old('b'), old('c')], 'delete p-b'],
    ['as many as allowed', to(2), [old('a'), old('b'), old('c')], 'delete p-a p-b'],
    ['percentages round up', to('40%'), [old('a'), old('b'), old('c')], 'delete p-a p-b'],
    ['a broken old one goes first', to(1), [old('a'), old('b', false), old('c')], 'delete p-b'],
    [
      'an old pod on its way out counts as missing',
      to(1),
      [daemon('a', { deleted: true }), old('b'), old('c')],
      '',
    ],
    ['done is done', to(1), [fresh('a'), fresh('b'), fresh('c')], ''],
    ['with surge the new one comes first', to(0, 1), [old('a'), old('b'), old('c')], 'create a'],
    ['and waits', to(0, 1), [old('a'), fresh('a', false), old('b'), old('c')], ''],
    ['before the old one goes', to(0, 1), [old('a'), fresh('a'), old('b'), old('c')], 'delete p-a'],
    [
      'OnDelete: people do it',
      daemonSet({ template: template('v2'), updateStrategy: { type: 'OnDelete' } }),
      [old('a'), old('b'), old('c')],
      '',
    ],
  ];
  for (const [name, one, existing, expected] of table) {
    t.equal(pods(decide(one, existing, both)), expected, name);
  }
  const silent = [board('a', 'Unknown'), board('b', 'True')];
  const held = decide(to(1), [daemon('a', { ready: false }), old('b')], { ...both, nodes: silent });
  t.equal(pods(held), 'delete p-b', 'a board that does not answer holds up nobody');
});

t.test('the status says what kubectl rollout status reads', async (t) => {
  const [a = board('a', 'True')] = BOARDS;
  const nodes = [...BOARDS, board('d', 'True', { taints: [{ key: 'x', effect: 'NoSchedule' }] })];
  const existing = [daemon('a'), daemon('b', { ready: false }), daemon('d')];
  t.match(statusIn(decide(daemonSet(), existing, { nodes })), {
    observedGeneration: 1,
    desiredNumberScheduled: 3,
    currentNumberScheduled: 2,
    numberMisscheduled: 1,
    numberReady: 1,
    numberAvailable: 1,
    numberUnavailable: 2,
    updatedNumberScheduled: 2,
  });
  const same = statusIn(decide(daemonSet(), [daemon('a')], { nodes: [a] }));
  t.same(
    decide(daemonSet({}, same), [daemon('a')], { nodes: [a] }),
    [],
    'nothing to do, nothing written',
  );
});

t.test('each template is a revision', async (t) => {
  const made = (actions: readonly Action[]) =>
    ofType(actions, 'create').filter(({ id }) => id.resource === 'controllerrevisions');
  const first = made(decide(daemonSet(), [], { revisions: [] }));
  const hash = templateHash(template('v1'), 0);
  t.match(first[0]?.object, {
    metadata: {
      name: `eye-${hash}`,
      labels: { app: 'web', [HASH]: hash },
      annotations: { why: 'first' },
      ownerReferences: [{ kind: 'DaemonSet', uid: 'ds', controller: true }],
    },
    data: { spec: { template: { $patch: 'replace', spec: { containers: [{ image: 'v1' }] } } } },
    revision: 1,
  });
  t.same(made(decide(daemonSet(), [])), [], 'known');
  const next = made(decide(daemonSet({ template: template('v2') }), []));
  t.match(next, [{ object: { revision: 2 } }]);
  const back = decide(daemonSet(), [], { revisions: [revision('v1', 1), revision('v2', 2)] });
  t.match(ofType(back, 'update'), [{ object: { metadata: { uid: 'r-v1' }, revision: 3 } }], 'undo');
  const foreign = { ...revision('v1', 1), data: {}, metadata: { name: `eye-${hash}` } };
  const taken = decide(daemonSet(), [], { revisions: [foreign] });
  t.equal(pods(taken), '', 'a name that is taken comes first');
  t.equal(statusIn(taken)?.collisionCount, 1);
  const images = ['v0', 'v2', 'v3', 'v1'].map((image, at) => revision(image, at + 1));
  const limited = daemonSet({ revisionHistoryLimit: 1 });
  const live = [daemon('a', { image: 'v0' }), daemon('b'), daemon('c')];
  const dropped = ofType(decide(limited, live, { revisions: images }), 'delete').filter(
    ({ id }) => id.resource === 'controllerrevisions',
  );
  t.same(
    dropped.map(({ uid }) => uid),
    ['r-v2'],
    'the oldest that no pod has',
  );
});

/** Deployment as Kubernetes documents it. */
import t from 'tap';
import type { Action } from '../../../master/controllers/actions.ts';
import { reconcileDeployment } from '../../../master/controllers/deployment.ts';
import { limitsOf, resolveIntOrPercent } from '../../../master/controllers/deployment-rollout.ts';
import { sameTemplate, templateHash } from '../../../master/controllers/pod-template.ts';
import type { Deployment, DeploymentSpec, Pod, ReplicaSet } from '../../../protocol/kinds/types.ts';
import { controlledBy, deployment, NOW, ofType, pod, replicaSet, template } from './objects.ts';

/** "web-v1 2": what the patches of ReplicaSets ask for. */
function sizes(actions: readonly Action[]): string[] {
  return ofType(actions, 'patch').flatMap(({ id, name, mergePatch }) => {
    const { replicas } = (mergePatch.spec ?? {}) as { replicas?: number };
    return id.resource === 'replicasets' && replicas !== undefined ? [`${name} ${replicas}`] : [];
  });
}

function decide(one: Deployment, sets: ReplicaSet[], pods: Pod[] = []): Action[] {
  return reconcileDeployment({ deployment: one, replicaSets: sets, pods, progressSinceMs: 0 }, NOW);
}

t.test('percentages round as Kubernetes documents', async (t) => {
  t.equal(resolveIntOrPercent('25%', 10, 'up'), 3);
  t.equal(resolveIntOrPercent('25%', 10, 'down'), 2);
  t.equal(resolveIntOrPercent(4, 10, 'down'), 4);
  const limits = (replicas: number, maxSurge: number | string, maxUnavailable: number | string) =>
    limitsOf(
      deployment({
        replicas,
        strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge, maxUnavailable } },
      }),
    );
  t.match(limits(3, '25%', '25%'), { maxSurge: 1, maxUnavailable: 0 });
  t.match(limits(3, 0, 0), { maxSurge: 0, maxUnavailable: 1 }, 'both zero would never move');
  t.match(limits(3, 0, '100%'), { maxUnavailable: 3 });
  t.match(limits(2, '100%', 5), { maxSurge: 2, maxUnavailable: 2 }, 'never more than there are');
});

t.test('a rolling update keeps its bounds in each step', async (t) => {
  const rolling = (
    replicas: number,
    maxSurge: number | string,
    maxUnavailable: number | string,
  ): Partial<DeploymentSpec> => ({
    replicas,
    template: template('v2'),
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge, maxUnavailable } },
  });
  const table: [string, Partial<DeploymentSpec>, ReplicaSet[], string[]][] = [
    [
      'the new one grows by the surge first',
      rolling(3, 1, 0),
      [replicaSet('v1', 3), replicaSet('v2', 0, { revision: 2 })],
      ['web-v2 1'],
    ],
    [
      'nothing moves while the new pod is not available',
      rolling(3, 1, 0),
      [replicaSet('v1', 3), replicaSet('v2', 1, { revision: 2, available: 0 })],
      [],
    ],
    [
      'an available new pod lets an old one go',
      rolling(3, 1, 0),
      [replicaSet('v1', 3), replicaSet('v2', 1, { revision: 2 })],
      ['web-v1 2'],
    ],
    [
      'without surge the old one shrinks first',
      rolling(3, 0, 1),
      [replicaSet('v1', 3), replicaSet('v2', 0, { revision: 2 })],
      ['web-v1 2'],
    ],
    [
      'maxUnavailable 100% replaces all at once',
      rolling(3, 0, '100%'),
      [replicaSet('v1', 3), replicaSet('v2', 0, { revision: 2 })],
      ['web-v1 0'],
    ],
    [
      'old pods that are not available go first',
      rolling(3, 1, 1),
      [replicaSet('v1', 3, { available: 1 }), replicaSet('v2', 1, { revision: 2, available: 1 })],
      ['web-v1 1'],
    ],
    [
      'the last old pod goes when all new ones are available',
      rolling(3, 1, 0),
      [replicaSet('v1', 1), replicaSet('v2', 3, { revision: 2 })],
      ['web-v1 0'],
    ],
    [
      'zero replicas',
      rolling(0, 1, 0),
      [replicaSet('v1', 2), replicaSet('v2', 0, { revision: 2 })],
      ['web-v1 0'],
    ],
    [
      'the oldest ReplicaSet shrinks first, by revision',
      rolling(3, 1, 1),
      [
        replicaSet('v1', 1, { revision: 2 }),
        replicaSet('v0', 1, { revision: 1 }),
        replicaSet('v2', 2, { revision: 3, available: 1 }),
      ],
      ['web-v0 0'],
    ],
    ['done is done', { replicas: 3 }, [replicaSet('v1', 3)], []],
    ['too many are taken away', { replicas: 3 }, [replicaSet('v1', 5)], ['web-v1 3']],
  ];
  for (const [name, spec, sets, expected] of table) {
    t.same(sizes(decide(deployment(spec), sets)), expected, name);
  }
});

t.test('a new template makes a ReplicaSet with hash, revision and owner', async (t) => {
  const [create] = ofType(decide(deployment(), []), 'create');
  const object = create?.object as ReplicaSet;
  const hash = object.metadata?.labels?.['pod-template-hash'] ?? '';
  t.match(hash, /^[b-df-hj-np-tv-xz2-9]+$/);
  t.match(object, {
    metadata: {
      name: `web-${hash}`,
      annotations: {
        'deployment.kubernetes.io/revision': '1',
        'deployment.kubernetes.io/desired-replicas': '3',
        'deployment.kubernetes.io/max-replicas': '4',
      },
      ownerReferences: [{ kind: 'Deployment', uid: 'd', controller: true }],
    },
    spec: { replicas: 3, selector: { matchLabels: { app: 'web', 'pod-template-hash': hash } } },
  });
  const next = decide(deployment({ template: template('v2') }), [replicaSet('v1', 3)]);
  t.match(ofType(next, 'create')[0]?.object, {
    metadata: { annotations: { 'deployment.kubernetes.io/revision': '2' } },
    spec: { replicas: 1 },
  });
  t.match(ofType(next, 'patch')[0]?.mergePatch, {
    metadata: { annotations: { 'deployment.kubernetes.io/revision': '2' } },
  });
});

t.test('a name that is taken by another template makes another name', async (t) => {
  const [create] = ofType(decide(deployment(), []), 'create');
  const taken = { ...create?.object, metadata: { name: create?.object.metadata?.name ?? '' } };
  const actions = decide(deployment(), [taken]);
  t.same(ofType(actions, 'create'), []);
  const [status] = ofType(actions, 'updateStatus');
  t.match(status?.object, { status: { collisionCount: 1 } });
  const again = decide(deployment({}, { collisionCount: 1 }), [taken]);
  t.not(ofType(again, 'create')[0]?.object.metadata?.name, taken.metadata.name);
  t.equal(templateHash(template('v1'), 0), templateHash(template('v1'), 0));
  t.ok(sameTemplate(template('v1'), replicaSet('v1', 1).spec?.template), 'the hash label is ours');
});

t.test('going back to an old template makes its ReplicaSet the newest', async (t) => {
  const actions = decide(deployment(), [
    replicaSet('v1', 0, { revision: 1 }),
    replicaSet('v2', 3, { revision: 2 }),
  ]);
  t.same(sizes(actions), ['web-v1 1']);
  t.match(ofType(actions, 'patch')[0], {
    name: 'web-v1',
    mergePatch: { metadata: { annotations: { 'deployment.kubernetes.io/revision': '3' } } },
  });
});

t.test('Recreate waits until the last old pod is gone', async (t) => {
  const spec: Partial<DeploymentSpec> = {
    template: template('v2'),
    strategy: { type: 'Recreate' },
  };
  t.same(sizes(decide(deployment(spec), [replicaSet('v1', 3)])), ['web-v1 0']);
  const ending = pod('p', {
    owner: controlledBy('ReplicaSet', 'web-v1', 'web-v1'),
    meta: { deletionTimestamp: NOW.timestamp },
  });
  const empty = [replicaSet('v1', 0)];
  t.same(ofType(decide(deployment(spec), empty, [ending]), 'create'), []);
  t.match(ofType(decide(deployment(spec), empty), 'create')[0]?.object, { spec: { replicas: 3 } });
  // Its pods are on their way: the cache of pods does not have them yet.
  const counting = replicaSet('v1', 0, { status: { replicas: 2 } });
  t.same(ofType(decide(deployment(spec), [counting]), 'create'), []);
  const unaware = replicaSet('v1', 0, {
    metadata: { generation: 2 },
    status: { replicas: 0, observedGeneration: 1 },
  });
  t.same(ofType(decide(deployment(spec), [unaware]), 'create'), []);
});

t.test('pause stops the rollout but not scaling; scaling is proportional', async (t) => {
  const annotations = {
    'deployment.kubernetes.io/desired-replicas': '10',
    'deployment.kubernetes.io/max-replicas': '13',
  };
  const paused = deployment({ paused: true, template: template('v2') });
  t.same(sizes(decide(paused, [replicaSet('v1', 3)])), ['web-v1 3']);
  t.same(ofType(decide(paused, [replicaSet('v1', 3)]), 'create'), []);
  t.match(ofType(decide(paused, [replicaSet('v1', 3)]), 'updateStatus')[0]?.object, {
    status: {
      conditions: [{}, { type: 'Progressing', status: 'Unknown', reason: 'DeploymentPaused' }],
    },
  });
  // Kubernetes' own example: 10 to 15 in the middle of a rollout with maxSurge 3.
  const grown = deployment({
    replicas: 15,
    template: template('v2'),
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 3, maxUnavailable: 2 } },
  });
  const middle = [
    replicaSet('v1', 8, { annotations }),
    replicaSet('v2', 5, { annotations, revision: 2, available: 0 }),
  ];
  t.same(sizes(decide(grown, middle)).sort(), ['web-v1 11', 'web-v2 7']);
});

t.test('ReplicaSets are adopted and let go by labels and owner', async (t) => {
  const orphan = replicaSet('v1', 3, { metadata: { ownerReferences: [] } });
  t.match(ofType(decide(deployment(), [orphan]), 'update')[0]?.object.metadata, {
    ownerReferences: [{ kind: 'Deployment', uid: 'd' }],
  });
  const strayed = replicaSet('v1', 3, { metadata: { labels: { app: 'other' } } });
  t.same(
    ofType(decide(deployment(), [strayed]), 'update')[0]?.object.metadata?.ownerReferences,
    [],
  );
  const foreign = replicaSet('v1', 3, {
    metadata: { ownerReferences: controlledBy('Deployment', 'other', 'x') },
  });
  t.same(ofType(decide(deployment(), [foreign]), 'update'), []);
});

t.test('the status says what kubectl rollout status reads', async (t) => {
  const statusOf = (actions: readonly Action[]) =>
    (ofType(actions, 'updateStatus')[0]?.object as Deployment | undefined)?.status;
  t.match(statusOf(decide(deployment(), [replicaSet('v1', 3)])), {
    observedGeneration: 1,
    replicas: 3,
    updatedReplicas: 3,
    availableReplicas: 3,
    unavailableReplicas: 0,
    conditions: [
      { type: 'Available', status: 'True', reason: 'MinimumReplicasAvailable' },
      { type: 'Progressing', status: 'True', reason: 'NewReplicaSetAvailable' },
    ],
  });
  const stuck = deployment(
    { progressDeadlineSeconds: 10 },
    {
      updatedReplicas: 3,
      replicas: 3,
      conditions: [{ type: 'Progressing', status: 'True', reason: 'ReplicaSetUpdated' }],
    },
  );
  const view = (progressSinceMs: number) => ({
    deployment: stuck,
    replicaSets: [replicaSet('v1', 3, { available: 0 })],
    pods: [],
    progressSinceMs,
  });
  t.match(
    ofType(reconcileDeployment(view(95_000), NOW), 'requeueAfter'),
    [{ delayMs: 5_000 }],
    'before the deadline it looks again in time',
  );
  t.match(statusOf(reconcileDeployment(view(90_000), NOW))?.conditions, [
    { type: 'Available', status: 'False', reason: 'MinimumReplicasUnavailable' },
    { type: 'Progressing', status: 'False', reason: 'ProgressDeadlineExceeded' },
  ]);
});

t.test('old ReplicaSets beyond the limit are dropped when the rollout is complete', async (t) => {
  const sets = [1, 2, 3].map((revision) => replicaSet(`o${revision}`, 0, { revision }));
  const all = [...sets, replicaSet('v1', 3, { revision: 4 })];
  t.same(
    ofType(decide(deployment({ revisionHistoryLimit: 1 }), all), 'delete').map(({ name }) => name),
    ['web-o1', 'web-o2'],
  );
});

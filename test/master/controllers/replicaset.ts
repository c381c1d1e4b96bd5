/** ReplicaSet as Kubernetes documents it. */
import t from 'tap';
import type { Action } from '../../../master/controllers/actions.ts';
import {
  inVictimOrder,
  isPodAvailable,
  nextAvailableInMs,
  type PodTimes,
} from '../../../master/controllers/pods.ts';
import { reconcileReplicaSet } from '../../../master/controllers/replicaset.ts';
import type { Pod, ReplicaSet } from '../../../protocol/kinds/types.ts';
import { controlledBy, NO_TIMES, NOW, ofType, pod, replicaSet } from './objects.ts';

function decideSet(one: ReplicaSet, pods: Pod[], lastFailure?: string): Action[] {
  const view = { replicaSet: one, pods, related: pods, times: NO_TIMES, lastFailure };
  return reconcileReplicaSet(view, NOW);
}

t.test('a ReplicaSet makes and removes pods, adopts and lets go', async (t) => {
  const set = replicaSet('v1', 2);
  const owner = controlledBy('ReplicaSet', 'web-v1', 'web-v1');
  t.equal(ofType(decideSet(set, []), 'create').length, 2);
  t.match(ofType(decideSet(set, []), 'create')[0]?.object, {
    metadata: { generateName: 'web-v1-', labels: { app: 'web' } },
  });
  const pods = ['a', 'bb', 'ccc'].map((name) => pod(name, { owner }));
  t.equal(ofType(decideSet(set, pods), 'delete').length, 1);
  t.same(decideSet(replicaSet('v1', 0), []), [
    ...ofType(decideSet(replicaSet('v1', 0), []), 'updateStatus'),
  ]);
  const orphan = pod('orphan');
  const adopted = decideSet(set, [orphan, pod('a', { owner })]);
  t.match(ofType(adopted, 'update')[0]?.object.metadata, { ownerReferences: [{ uid: 'web-v1' }] });
  t.same(ofType(adopted, 'create'), [], 'an adopted pod counts');
  const strayed = pod('s', { owner, labels: { app: 'debug' } });
  const released = decideSet(set, [strayed, pod('a', { owner })]);
  t.same(ofType(released, 'update')[0]?.object.metadata?.ownerReferences, []);
  t.equal(ofType(released, 'create').length, 1, 'and is replaced');
  const foreign = pod('f', { owner: controlledBy('ReplicaSet', 'x', 'x') });
  t.equal(ofType(decideSet(set, [foreign]), 'create').length, 2, "another's pod is not ours");
  const ending = pod('e', { owner, meta: { deletionTimestamp: NOW.timestamp } });
  t.equal(ofType(decideSet(set, [ending]), 'create').length, 2, 'an ending pod does not count');
  const failed = pod('x', { owner, phase: 'Failed' });
  t.equal(ofType(decideSet(set, [failed]), 'create').length, 2, 'neither does one that failed');
  t.match(ofType(decideSet(set, [], 'quota exceeded'), 'updateStatus')[0]?.object, {
    status: { conditions: [{ type: 'ReplicaFailure', message: 'quota exceeded' }] },
  });
});

t.test('minReadySeconds is waited for on the monotonic clock', async (t) => {
  const set = replicaSet('v1', 1);
  set.spec = { ...set.spec, minReadySeconds: 10 };
  const owner = controlledBy('ReplicaSet', 'web-v1', 'web-v1');
  const times: PodTimes = { firstSeenMs: () => 0, readySinceMs: () => 96_000 };
  const pods = [pod('a', { owner })];
  const view = { replicaSet: set, pods, related: pods, times, lastFailure: undefined };
  const actions = reconcileReplicaSet(view, NOW);
  t.match(ofType(actions, 'updateStatus')[0]?.object, {
    status: { readyReplicas: 1, availableReplicas: 0 },
  });
  t.match(ofType(actions, 'requeueAfter'), [{ delayMs: 6_000 }]);
  // At the very moment the sums of fractions are rounded: 258074.274 + 8000 - 258074.274 is less than 8000.
  const [only] = pods;
  const since = { firstSeenMs: () => 0, readySinceMs: () => 258_074.274 };
  const dueMs = 258_074.274 + 8_000;
  t.equal(only && isPodAvailable(only, 8, since, dueMs), true);
  t.equal(nextAvailableInMs(pods, 8, since, dueMs), undefined);
  t.equal(nextAvailableInMs(pods, 8, since, dueMs - 0.25), 1, 'never less than a millisecond');
});

t.test('victims are chosen in the documented order', async (t) => {
  const cost = { annotations: { 'controller.kubernetes.io/pod-deletion-cost': '-5' } };
  const ordered = [
    pod('unassigned', { node: '', phase: 'Pending', ready: false }),
    pod('pending', { phase: 'Pending', ready: false, node: 'z' }),
    pod('unready', { ready: false, node: 'z' }),
    pod('cheap', { meta: cost, node: 'z' }),
    pod('crowded', { node: 'b' }),
    pod('crowded-too', { node: 'b' }),
    pod('restarted', { node: 'y', restarts: 3 }),
    pod('steady', { node: 'x' }),
  ];
  const names = (pods: readonly Pod[]) => pods.map(({ metadata }) => metadata?.name);
  const related = ordered.filter(({ spec }) => spec?.nodeName !== 'z');
  t.same(names(inVictimOrder([...ordered].reverse(), related, NO_TIMES)), names(ordered));
});

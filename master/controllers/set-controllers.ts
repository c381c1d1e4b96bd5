/**
 * DaemonSet and StatefulSet as the runner drives them: which changes touch which keys, and how a view is gathered from
 * the caches. The decisions are in the pure files of the same names.
 */
import { keyOf, splitKey } from '../informer/informer.ts';
import { BY_NAMESPACE, type SharedInformers } from '../informer/shared.ts';
import type { Action } from './actions.ts';
import { reconcileDaemonSet } from './daemonset.ts';
import { keysSelecting, ownerKeys, versionsOf } from './keys.ts';
import type { PodTimes } from './pods.ts';
import { type Controller, watchOf } from './runner.ts';
import { reconcileStatefulSet } from './statefulset.ts';

const WORKERS = 4;

export function daemonSetController(informers: SharedInformers, times: PodTimes): Controller {
  const { daemonSets, controllerRevisions, nodes, pods } = informers;
  return {
    name: 'daemonset-controller',
    workers: WORKERS,
    watches: [
      watchOf(daemonSets, ({ object }) => [keyOf(object)]),
      // Boards change rarely (heartbeats never reach the API), and each concerns every DaemonSet.
      watchOf(nodes, () => daemonSets.list().map((one) => keyOf(one))),
      watchOf(pods, (change) =>
        versionsOf(change).flatMap((pod) => ownerKeys(daemonSets, 'DaemonSet', pod)),
      ),
      watchOf(controllerRevisions, (change) =>
        versionsOf(change).flatMap((one) => ownerKeys(daemonSets, 'DaemonSet', one)),
      ),
    ],
    reconcile(key, now): Action[] {
      const daemonSet = daemonSets.getByKey(key);
      if (daemonSet === undefined) return [];
      const { namespace } = splitKey(key);
      const view = {
        daemonSet,
        nodes: nodes.list(),
        pods: pods.byIndex(BY_NAMESPACE, namespace),
        revisions: controllerRevisions.byIndex(BY_NAMESPACE, namespace),
        times,
      };
      return reconcileDaemonSet(view, now);
    },
  };
}

export function statefulSetController(informers: SharedInformers, times: PodTimes): Controller {
  const { statefulSets, controllerRevisions, persistentVolumeClaims, pods } = informers;
  return {
    name: 'statefulset-controller',
    workers: WORKERS,
    watches: [
      watchOf(statefulSets, ({ object }) => [keyOf(object)]),
      watchOf(pods, (change) =>
        versionsOf(change).flatMap((pod) => ownerKeys(statefulSets, 'StatefulSet', pod)),
      ),
      watchOf(controllerRevisions, (change) =>
        versionsOf(change).flatMap((one) => ownerKeys(statefulSets, 'StatefulSet', one)),
      ),
      // Claims carry the labels that the set selects, owned by it or not.
      watchOf(persistentVolumeClaims, ({ object }) => keysSelecting(statefulSets, object)),
    ],
    reconcile(key, now): Action[] {
      const set = statefulSets.getByKey(key);
      if (set === undefined) return [];
      const { namespace } = splitKey(key);
      const view = {
        set,
        pods: pods.byIndex(BY_NAMESPACE, namespace),
        revisions: controllerRevisions.byIndex(BY_NAMESPACE, namespace),
        claims: persistentVolumeClaims.byIndex(BY_NAMESPACE, namespace),
        times,
      };
      return reconcileStatefulSet(view, now);
    },
  };
}

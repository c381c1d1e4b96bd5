/**
 * PodDisruptionBudgets, and pods that say that they are about to be ended, as the runner drives them: which changes touch which
 * of them, and how a view is gathered.
 */
import type { KubeObject, ObjectMeta } from '../../protocol/kinds/meta.ts';
import type { Pod } from '../../protocol/kinds/types.ts';
import { matchesLabelSelector } from '../../protocol/selector.ts';
import { type Change, type Informer, keyOf } from '../informer/informer.ts';
import { BY_NAMESPACE, type SharedInformers } from '../informer/shared.ts';
import { type DisruptionView, reconcileDisruption } from './disruption.ts';
import { FirstSeen } from './observed-times.ts';
import { controllerOf } from './pods.ts';
import { type Controller, watchOf } from './runner.ts';
import { announcedDisruption, reconcileStaleDisruption } from './stale-disruption.ts';

interface Templated extends KubeObject {
  readonly spec?: { readonly template?: { readonly metadata?: ObjectMeta } };
}

export function disruptionController(informers: SharedInformers): Controller {
  const { podDisruptionBudgets: budgets, pods, replicaSets, statefulSets, deployments } = informers;
  const { replicationControllers } = informers;
  /** By the uid of the budget; bounded by the budgets and what is granted in them. */
  const granted = new Map<string, FirstSeen>();
  const keysOf = (namespace: string, labels: Record<string, string>): string[] =>
    budgets
      .byIndex(BY_NAMESPACE, namespace)
      .filter(({ spec }) => matchesLabelSelector(spec?.selector, labels))
      .map(keyOf);
  const keysOfPod = ({ metadata }: Pod): string[] =>
    keysOf(metadata?.namespace ?? '', metadata?.labels ?? {});
  /** The pods that a set makes have the labels of its template. */
  const keysOfTemplate = ({ object }: Change<Templated>): string[] =>
    keysOf(object.metadata?.namespace ?? '', object.spec?.template?.metadata?.labels ?? {});

  return {
    name: 'disruption-controller',
    workers: 2,
    watches: [
      watchOf(budgets, ({ type, object }) => {
        if (type === 'deleted') granted.delete(object.metadata?.uid ?? '');
        return [keyOf(object)];
      }),
      watchOf(pods, (change) =>
        change.type === 'modified'
          ? [...keysOfPod(change.object), ...keysOfPod(change.previous)]
          : keysOfPod(change.object),
      ),
      watchOf(replicaSets, keysOfTemplate),
      watchOf(replicationControllers, keysOfTemplate),
      watchOf(statefulSets, keysOfTemplate),
      watchOf(deployments, keysOfTemplate),
    ],
    reconcile(key, now) {
      const budget = budgets.getByKey(key);
      if (budget === undefined) return [];
      const namespace = budget.metadata?.namespace ?? '';
      const uid = budget.metadata?.uid ?? '';
      const scaleOf: DisruptionView['scaleOf'] = (ownerUid) => {
        const near = <T extends KubeObject>(informer: Informer<T>, ownUid: string) =>
          informer
            .byIndex(BY_NAMESPACE, namespace)
            .find(({ metadata }) => metadata?.uid === ownUid);
        const set =
          near(replicaSets, ownerUid) ??
          near(statefulSets, ownerUid) ??
          near(replicationControllers, ownerUid);
        if (set === undefined) return undefined;
        const deployment = near(deployments, controllerOf(set)?.uid ?? '');
        // Both sets of a rolling Deployment count as one app.
        return {
          app: deployment?.metadata?.uid ?? ownerUid,
          replicas: (deployment ?? set).spec?.replicas ?? 1,
        };
      };
      const covered = pods
        .byIndex(BY_NAMESPACE, namespace)
        .filter(({ metadata }) => matchesLabelSelector(budget.spec?.selector, metadata?.labels));
      const times = budget.status?.disruptedPods ?? {};
      const seen = granted.get(uid) ?? new FirstSeen();
      granted.set(uid, seen);
      seen.keepOnly(new Set(Object.keys(times)));
      return reconcileDisruption(
        {
          budget,
          pods: covered,
          scaleOf,
          grantedSinceMs: (pod) => seen.since(pod, String(times[pod] ?? ''), now.monotonicMs),
        },
        now,
      );
    },
  };
}

export function staleDisruptionController({ pods }: SharedInformers): Controller {
  /** By the uid of the pod; bounded by the pods that are about to be ended. */
  const announced = new FirstSeen();
  return {
    name: 'stale-disruption-controller',
    workers: 1,
    watches: [
      watchOf(pods, ({ type, object }) => {
        if (type !== 'deleted' && announcedDisruption(object) !== undefined) return [keyOf(object)];
        announced.forget(object.metadata?.uid ?? '');
        return [];
      }),
    ],
    reconcile(key, now) {
      const pod = pods.getByKey(key);
      const condition = pod && announcedDisruption(pod);
      if (pod === undefined || condition === undefined) return [];
      // Told anew, it begins anew.
      const words = JSON.stringify(condition);
      const sinceMs = announced.since(pod.metadata?.uid ?? '', words, now.monotonicMs);
      return reconcileStaleDisruption(pod, sinceMs, now);
    },
  };
}

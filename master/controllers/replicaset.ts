/**
 * ReplicaSet: keeps the wanted number of pods that match its selector. Pure. A ReplicationController is the same under
 * another name (as in Kubernetes, which runs both by one controller).
 *
 * Promises: it never touches a pod that another controller owns; it adopts matching orphans and
 * lets go of pods that no longer match; pods that are ending do not count. Source: Kubernetes'
 * documentation of ReplicaSet.
 */
import type { Pod, ReplicaSet, ReplicaSetCondition } from '../../protocol/kinds/types.ts';
import { matchesLabelSelector } from '../../protocol/selector.ts';
import { RESOURCES, type ResourceId } from '../api/client.ts';
import type { Action, Now } from './actions.ts';
import type { EventTarget } from './events.ts';
import { announcePod, claim, deletePod, podFromTemplate } from './ownership.ts';
import {
  inVictimOrder,
  isPodActive,
  isPodAvailable,
  isPodReady,
  nextAvailableInMs,
  type PodTimes,
} from './pods.ts';

/** Creates and deletes in one reconciliation; the rest follows in the next. */
const BURST_MAX = 500;

/** How a workload of this sort is named. */
interface SetKind {
  readonly apiVersion: string;
  readonly kind: string;
  readonly id: ResourceId;
}

const REPLICA_SET: SetKind = {
  ...{ apiVersion: 'apps/v1', kind: 'ReplicaSet' },
  id: RESOURCES.replicaSets,
};
export const REPLICATION_CONTROLLER: SetKind = {
  ...{ apiVersion: 'v1', kind: 'ReplicationController' },
  id: RESOURCES.replicationControllers,
};

interface ReplicaSetView {
  readonly replicaSet: ReplicaSet;
  /** Absent: it is what its name says. */
  readonly kind?: SetKind;
  /** All pods of the namespace, or at least those that it owns or that its selector matches. */
  readonly pods: readonly Pod[];
  /**
   * Pods of the same Deployment, this ReplicaSet's included: scaling down evens them out over
   * boards.
   */
  readonly related: readonly Pod[];
  readonly times: PodTimes;
  /** Why the last attempt failed, if it did. */
  readonly lastFailure: string | undefined;
}

export function reconcileReplicaSet(view: ReplicaSetView, now: Now): Action[] {
  const { replicaSet, times } = view;
  const { owned, actions } = claim({
    owner: targetOf(view),
    selector: replicaSet.spec?.selector,
    id: RESOURCES.pods,
    candidates: view.pods,
    mayAdopt: isPodActive,
  });
  const wanted = replicaSet.spec?.replicas ?? 1;
  const active = owned.filter(isPodActive);
  if (replicaSet.metadata?.deletionTimestamp === undefined) {
    if (active.length < wanted) {
      actions.push(...createPods(view, wanted - active.length));
    } else if (active.length > wanted) {
      actions.push(...deletePods(view, active, active.length - wanted));
    }
  }
  actions.push(...statusActions(view, active, now));
  const minReadySeconds = replicaSet.spec?.minReadySeconds ?? 0;
  const delayMs = nextAvailableInMs(active, minReadySeconds, times, now.monotonicMs);
  if (delayMs !== undefined) actions.push({ type: 'requeueAfter', delayMs });
  return actions;
}

function targetOf({ replicaSet, kind = REPLICA_SET }: ReplicaSetView): EventTarget {
  return { apiVersion: kind.apiVersion, kind: kind.kind, metadata: replicaSet.metadata ?? {} };
}

function createPods(view: ReplicaSetView, missing: number): Action[] {
  const { metadata, spec } = view.replicaSet;
  const target = targetOf(view);
  const object = podFromTemplate(spec?.template, target, {
    generateName: `${metadata?.name ?? ''}-`,
  });
  return Array.from({ length: Math.min(missing, BURST_MAX) }, () => ({
    type: 'create',
    id: RESOURCES.pods,
    object,
    announce: announcePod(target, 'create'),
  }));
}

function deletePods(view: ReplicaSetView, active: readonly Pod[], surplus: number): Action[] {
  return inVictimOrder(active, view.related, view.times)
    .slice(0, Math.min(surplus, BURST_MAX))
    .map((pod) => deletePod(pod, targetOf(view)));
}

function statusActions(view: ReplicaSetView, active: readonly Pod[], now: Now): Action[] {
  const { replicaSet, times, lastFailure } = view;
  const labels = replicaSet.spec?.template?.metadata?.labels ?? {};
  const minReadySeconds = replicaSet.spec?.minReadySeconds ?? 0;
  const generation = replicaSet.metadata?.generation;
  const conditions = failureConditions(replicaSet, lastFailure, now);
  const status = {
    replicas: active.length,
    fullyLabeledReplicas: active.filter((pod) =>
      matchesLabelSelector({ matchLabels: labels }, pod.metadata?.labels ?? {}),
    ).length,
    readyReplicas: active.filter(isPodReady).length,
    availableReplicas: active.filter((pod) =>
      isPodAvailable(pod, minReadySeconds, times, now.monotonicMs),
    ).length,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    ...(conditions.length === 0 ? {} : { conditions }),
  };
  const old = replicaSet.status;
  const same =
    old !== undefined &&
    (old.replicas ?? 0) === status.replicas &&
    (old.fullyLabeledReplicas ?? 0) === status.fullyLabeledReplicas &&
    (old.readyReplicas ?? 0) === status.readyReplicas &&
    (old.availableReplicas ?? 0) === status.availableReplicas &&
    old.observedGeneration === generation &&
    JSON.stringify(old.conditions ?? []) === JSON.stringify(conditions);
  if (same) return [];
  return [
    {
      type: 'updateStatus',
      id: (view.kind ?? REPLICA_SET).id,
      object: withStatus(replicaSet, status),
      evenAfterFailure: true,
    },
  ];
}

/**
 * The object with a new status; the executor puts it into the current state (only one controller
 * writes this status).
 */
export function withStatus<T extends { metadata?: ReplicaSet['metadata'] }, S>(
  object: T,
  status: S,
): T & { status: S } {
  const { resourceVersion: _dropped, ...metadata } = object.metadata ?? {};
  return { ...object, metadata, status };
}

function failureConditions(
  replicaSet: ReplicaSet,
  lastFailure: string | undefined,
  now: Now,
): ReplicaSetCondition[] {
  const conditions = replicaSet.status?.conditions ?? [];
  const others = conditions.filter((one) => one.type !== 'ReplicaFailure');
  if (lastFailure === undefined) return others;
  const known = conditions.find((one) => one.type === 'ReplicaFailure');
  if (known?.message === lastFailure) return conditions;
  return [
    ...others,
    {
      type: 'ReplicaFailure',
      status: 'True',
      lastTransitionTime: known?.lastTransitionTime ?? now.timestamp,
      reason: 'FailedCreate',
      message: lastFailure,
    },
  ];
}

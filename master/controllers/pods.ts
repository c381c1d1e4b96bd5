/**
 * What controllers ask about pods: active, ready, available, whose they are, and which go first.
 * Pure.
 */

import type { ObjectMeta, OwnerReference, Pod } from '../../protocol/kinds/types.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';

/**
 * Monotonic times at which this master first saw something of a pod. After a restart they begin
 * anew.
 */
export interface PodTimes {
  firstSeenMs(uid: string): number | undefined;
  readySinceMs(uid: string): number | undefined;
}

/** Ready=False with this reason: not the board says so, but its silence (Kubernetes' words). */
export const BOARD_SILENT_REASON = 'NodeNotReady';

/** The owner with `controller: true`; there is at most one. */
export function controllerOf(object: { metadata?: ObjectMeta }): OwnerReference | undefined {
  return object.metadata?.ownerReferences?.find((owner) => owner.controller === true);
}

export function isPodActive(pod: Pod): boolean {
  return !hasEnded(pod.status) && pod.metadata?.deletionTimestamp === undefined;
}

export function isPodReady(pod: Pod): boolean {
  return (
    pod.status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true
  );
}

/** Ready for at least `minReadySeconds`. */
export function isPodAvailable(
  pod: Pod,
  minReadySeconds: number,
  times: PodTimes,
  nowMs: number,
): boolean {
  if (!isPodReady(pod)) return false;
  if (minReadySeconds === 0) return true;
  const since = times.readySinceMs(pod.metadata?.uid ?? '');
  // The same sum as in `nextAvailableInMs`: with another rounding neither would be true at the very moment.
  return since !== undefined && nowMs >= since + minReadySeconds * 1_000;
}

/** Whole milliseconds until the next ready pod becomes available, or undefined when none is waiting. */
export function nextAvailableInMs(
  pods: readonly Pod[],
  minReadySeconds: number,
  times: PodTimes,
  nowMs: number,
): number | undefined {
  if (minReadySeconds === 0) return undefined;
  let next: number | undefined;
  for (const pod of pods) {
    if (!isPodReady(pod)) continue;
    const since = times.readySinceMs(pod.metadata?.uid ?? '') ?? nowMs;
    const wait = since + minReadySeconds * 1_000 - nowMs;
    if (wait > 0 && (next === undefined || wait < next)) next = wait;
  }
  return next === undefined ? undefined : Math.ceil(next);
}

const DELETION_COST = 'controller.kubernetes.io/pod-deletion-cost';

function deletionCost(pod: Pod): number {
  const text = pod.metadata?.annotations?.[DELETION_COST];
  const cost = text === undefined || !/^-?\d+$/.test(text) ? 0 : Number(text);
  return cost;
}

function phaseRank(pod: Pod): number {
  switch (pod.status?.phase) {
    case 'Running':
      return 2;
    case 'Unknown':
      return 1;
    default:
      return 0;
  }
}

function restarts(pod: Pod): number {
  let most = 0;
  for (const status of pod.status?.containerStatuses ?? []) {
    most = Math.max(most, status.restartCount);
  }
  return most;
}

/**
 * Orders pods so that those to delete come first (Kubernetes' documentation of ReplicaSet, "Scaling
 * a ReplicaSet"): unassigned, then not running, not ready, cheaper by the deletion-cost annotation,
 * on boards with more of the `related` pods, ready for a shorter time, restarted more often, newer;
 * then by name. Times are the master's own monotonic ones, since a board's clock may be wrong.
 */
export function inVictimOrder(
  pods: readonly Pod[],
  related: readonly Pod[],
  times: PodTimes,
): Pod[] {
  const perNode = new Map<string, number>();
  for (const pod of related) {
    const node = pod.spec?.nodeName ?? '';
    if (isPodActive(pod)) perNode.set(node, (perNode.get(node) ?? 0) + 1);
  }
  const crowd = (pod: Pod): number => perNode.get(pod.spec?.nodeName ?? '') ?? 0;
  const uid = (pod: Pod): string => pod.metadata?.uid ?? '';
  const isAssigned = (pod: Pod): number => ((pod.spec?.nodeName ?? '') === '' ? 0 : 1);
  return [...pods].sort(
    (a, b) =>
      isAssigned(a) - isAssigned(b) ||
      phaseRank(a) - phaseRank(b) ||
      Number(isPodReady(a)) - Number(isPodReady(b)) ||
      deletionCost(a) - deletionCost(b) ||
      crowd(b) - crowd(a) ||
      (times.readySinceMs(uid(b)) ?? 0) - (times.readySinceMs(uid(a)) ?? 0) ||
      restarts(b) - restarts(a) ||
      (times.firstSeenMs(uid(b)) ?? 0) - (times.firstSeenMs(uid(a)) ?? 0) ||
      ((a.metadata?.name ?? '') < (b.metadata?.name ?? '') ? -1 : 1),
  );
}

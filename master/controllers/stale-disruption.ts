/**
 * Takes back the condition DisruptionTarget of pods that were to be ended and were not: who told it has failed, or changed its
 * mind, and a Job must not take a later failure of the pod for the cluster's. Pure. Source: Kubernetes' disruption controller
 * (pkg/controller/disruption, stale DisruptionTarget conditions).
 */
import type { Pod, PodCondition } from '../../protocol/kinds/types.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import { RESOURCES } from '../api/client.ts';
import type { Action, Now } from './actions.ts';

/** As in Kubernetes (stalePodDisruptionTimeout). */
const STALE_MS = 120_000;
const TYPE = 'DisruptionTarget';

/**
 * The condition, where it announces a deletion that has not come. A board's own (TerminationByKubelet) is never stale: the
 * pod's end may take as long as its grace period says.
 */
export function announcedDisruption({ metadata, status }: Pod): PodCondition | undefined {
  if (metadata?.deletionTimestamp !== undefined || hasEnded(status)) return undefined;
  return status?.conditions?.find(
    ({ type, status, reason }) =>
      type === TYPE && status === 'True' && reason !== 'TerminationByKubelet',
  );
}

/** `announcedMs`: when the pod's present condition was first seen, by the clock of `now.monotonicMs`. */
export function reconcileStaleDisruption(pod: Pod, announcedMs: number, now: Now): Action[] {
  if (announcedDisruption(pod) === undefined) return [];
  const leftMs = announcedMs + STALE_MS - now.monotonicMs;
  if (leftMs > 0) return [{ type: 'requeueAfter', delayMs: leftMs }];
  const takenBack = { type: TYPE, status: 'False', lastTransitionTime: now.timestamp };
  const conditions = (pod.status?.conditions ?? []).map((one) =>
    one.type === TYPE ? takenBack : one,
  );
  const object: Pod = { ...pod, status: { ...pod.status, conditions } };
  return [{ type: 'updateStatus', id: RESOURCES.pods, object }];
}

/**
 * The condition DisruptionTarget of pods that are ended for reasons of the cluster's (Kubernetes: "Pod disruption conditions"): a
 * Job's podFailurePolicy can then tell them from pods that failed by themselves.
 */
import type { Pod, PodCondition } from '../../protocol/kinds/types.ts';

export interface DisruptionReason {
  readonly reason:
    | 'DeletionByPodGC'
    | 'DeletionByTaintManager'
    | 'EvictionByEvictionAPI'
    | 'PreemptionByScheduler';
  readonly message: string;
  /** RFC 3339. */
  readonly timestamp: string;
}

/** The conditions with this one; undefined when the pod says so already. */
export function withDisruption(
  status: Pod['status'],
  { reason, message, timestamp }: DisruptionReason,
): PodCondition[] | undefined {
  const type = 'DisruptionTarget';
  const all = status?.conditions ?? [];
  if (all.some((one) => one.type === type && one.reason === reason)) return undefined;
  const others = all.filter((one) => one.type !== type);
  return [...others, { type, status: 'True', lastTransitionTime: timestamp, reason, message }];
}

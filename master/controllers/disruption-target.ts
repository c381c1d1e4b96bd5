/**
 * The condition DisruptionTarget of pods that controllers end for reasons of the cluster's (Kubernetes: "Pod disruption conditions"):
 * a Job's podFailurePolicy can then tell them from pods that failed by themselves.
 */
import type { Pod, PodCondition } from '../../protocol/kinds/types.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import { type ApiClient, RESOURCES } from '../api/client.ts';

export interface Disruption {
  readonly reason: 'DeletionByTaintManager' | 'DeletionByPodGC';
  readonly message: string;
  /** RFC 3339. */
  readonly timestamp: string;
  /** Nobody is left who could say how it ended. */
  readonly hasFailed?: true;
}

/** Nothing when it says so already, or when the name belongs to another pod now. Throws `ApiError`, Conflict when somebody was faster. */
export async function tellDisruption(
  client: ApiClient,
  { namespace, name, uid }: { namespace: string; name: string; uid: string },
  disruption: Disruption,
): Promise<void> {
  const pod = await client.get<Pod>(RESOURCES.pods, namespace, name);
  if (pod.metadata?.uid !== uid) return;
  const status = disrupted(pod, disruption);
  if (status !== undefined) await client.update(RESOURCES.pods, { ...pod, status }, 'status');
}

function disrupted({ status = {} }: Pod, disruption: Disruption): Pod['status'] | undefined {
  const { reason, message, timestamp: lastTransitionTime, hasFailed } = disruption;
  const type = 'DisruptionTarget';
  const condition: PodCondition = { type, status: 'True', lastTransitionTime, reason, message };
  const all = status.conditions ?? [];
  if (hasEnded(status) || all.some((one) => one.type === type && one.reason === reason)) return;
  return {
    ...status,
    ...(hasFailed === true ? { phase: 'Failed' } : {}),
    conditions: [...all.filter((one) => one.type !== type), condition],
  };
}

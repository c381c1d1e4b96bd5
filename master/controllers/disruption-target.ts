/** Tells pods that controllers end for reasons of the cluster's so, before they are deleted. */
import type { Pod } from '../../protocol/kinds/types.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import { type ApiClient, RESOURCES } from '../api/client.ts';
import { type DisruptionReason, withDisruption } from '../api/disruption.ts';

export interface Disruption extends DisruptionReason {
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
  const conditions = hasEnded(status) ? undefined : withDisruption(status, disruption);
  if (conditions === undefined) return undefined;
  return { ...status, ...(disruption.hasFailed === true ? { phase: 'Failed' } : {}), conditions };
}

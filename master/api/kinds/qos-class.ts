/**
 * Quality of service of a pod, from its containers' requests and limits (Kubernetes: "Pod Quality of Service
 * Classes"): Guaranteed when each has cpu and memory limits that equal its requests, BestEffort when none has any.
 */
import type { PodSpec } from '../../../protocol/kinds/types.ts';
import { parseQuantity } from '../../../protocol/quantity.ts';

const COUNTED = ['cpu', 'memory'] as const;

export function qosClass(spec: PodSpec | undefined): 'BestEffort' | 'Burstable' | 'Guaranteed' {
  let any = false;
  let guaranteed = true;
  for (const { resources } of [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])]) {
    for (const name of COUNTED) {
      const request = nanosOf(resources?.requests?.[name]);
      const limit = nanosOf(resources?.limits?.[name]);
      if (request > 0n || limit > 0n) any = true;
      if (limit <= 0n || (request !== limit && request !== 0n)) guaranteed = false;
    }
  }
  if (!any) return 'BestEffort';
  return guaranteed ? 'Guaranteed' : 'Burstable';
}

/** A malformed quantity counts as none: validation refuses the pod and names the field. */
function nanosOf(quantity: string | undefined): bigint {
  if (quantity === undefined) return 0n;
  try {
    return parseQuantity(quantity).nanos;
  } catch {
    return 0n;
  }
}

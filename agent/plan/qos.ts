/**
 * The QoS class of a pod, as Kubernetes computes it from requests and limits of CPU and memory. Pure.
 */
import type { Container, PodSpec } from '../../protocol/kinds/types.ts';
import { milliValue } from '../../protocol/quantity.ts';

const COUNTED = ['cpu', 'memory'] as const;

/**
 * Guaranteed: every container limits both and requests as much. BestEffort: nobody asks for anything.
 * Burstable: the rest.
 */
export function qosClass(spec: PodSpec): 'Guaranteed' | 'Burstable' | 'BestEffort' {
  const containers = [...spec.containers, ...(spec.initContainers ?? [])];
  if (containers.every((container) => !asksForAnything(container))) return 'BestEffort';
  return containers.every(isGuaranteed) ? 'Guaranteed' : 'Burstable';
}

function asksForAnything({ resources }: Container): boolean {
  return COUNTED.some(
    (name) => isSet(resources?.requests?.[name]) || isSet(resources?.limits?.[name]),
  );
}

function isGuaranteed({ resources }: Container): boolean {
  return COUNTED.every((name) => {
    const limit = resources?.limits?.[name];
    if (limit === undefined || !isSet(limit)) return false;
    const request = resources?.requests?.[name] ?? limit;
    return milliValue(request) === milliValue(limit);
  });
}

function isSet(quantity: string | undefined): boolean {
  return quantity !== undefined && milliValue(quantity) > 0;
}

/**
 * How much an emptyDir volume may hold. Pure. Kubernetes' rules: one in memory is a tmpfs of its sizeLimit, but of no more
 * than the pod's memory limit or what the board can give; one on disk is measured, and its pod evicted when it is over.
 */
import type { PodSpec, Volume } from '../../protocol/kinds/types.ts';
import { value } from '../../protocol/quantity.ts';
import type { BoardPod } from './board-pod.ts';
import { EVICTED, type PodVerdict } from './pod-plan.ts';

/** Of a volume with the medium Memory. */
export function memoryBytes(spec: PodSpec, { emptyDir }: Volume, allocatableBytes: number): number {
  const limits = [allocatableBytes, podLimitBytes(spec), sizeLimitBytes(emptyDir?.sizeLimit)];
  return Math.max(1, Math.min(...limits.filter((bytes) => bytes > 0)));
}

/** Infinity when a container has none: then the pod has no limit. */
function podLimitBytes({ containers, initContainers = [] }: PodSpec): number {
  const limits = [...containers, ...initContainers].map(
    ({ resources }) => resources?.limits?.memory ?? '',
  );
  if (limits.includes('')) return Number.POSITIVE_INFINITY;
  return limits.reduce((sum, limit) => sum + value(limit), 0);
}

function sizeLimitBytes(limit: string | undefined): number {
  return limit === undefined ? 0 : value(limit);
}

export interface LimitedVolume {
  readonly name: string;
  readonly limitBytes: number;
  /** As the pod says it. */
  readonly limit: string;
}

/** The volumes on disk that must be measured. */
export function limitedVolumes({ spec }: Pick<BoardPod, 'spec'>): LimitedVolume[] {
  return (spec.volumes ?? []).flatMap(({ name, emptyDir }) => {
    const limit = emptyDir?.sizeLimit;
    const limitBytes = sizeLimitBytes(limit);
    if (limit === undefined || limitBytes <= 0 || emptyDir?.medium === 'Memory') return [];
    return [{ name, limitBytes, limit }];
  });
}

export function overLimit({ name, limit }: LimitedVolume): PodVerdict {
  const message = `Usage of EmptyDir volume "${name}" exceeds the limit "${limit}".`;
  return { reason: EVICTED, message };
}

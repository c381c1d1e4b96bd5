/**
 * How many replicas each ReplicaSet of a Deployment should have next. Pure arithmetic, no objects
 * made.
 *
 * Promises of a rolling update: never more than `replicas + maxSurge` pods wanted in total, and
 * never a scale-down that leaves fewer than `replicas - maxUnavailable` available.
 * Source: Kubernetes' documentation of Deployments: maxSurge rounds up, maxUnavailable down, and
 * both zero mean maxUnavailable 1.
 */
import type { Deployment, IntOrString, ReplicaSet } from '../../protocol/kinds/types.ts';

export const REVISION = 'deployment.kubernetes.io/revision';
export const DESIRED_REPLICAS = 'deployment.kubernetes.io/desired-replicas';
export const MAX_REPLICAS = 'deployment.kubernetes.io/max-replicas';

/** "25%" of `total`, or the number itself. Validation keeps anything else out. */
export function resolveIntOrPercent(
  amount: IntOrString | undefined,
  total: number,
  round: 'up' | 'down',
): number {
  if (typeof amount === 'number') return amount;
  const percent = /^(\d+)%$/.exec(amount ?? '25%');
  if (percent === null) return 0;
  const exact = (Number(percent[1]) * total) / 100;
  return round === 'up' ? Math.ceil(exact) : Math.floor(exact);
}

interface RolloutLimits {
  readonly replicas: number;
  readonly maxSurge: number;
  readonly maxUnavailable: number;
}

export function limitsOf(deployment: Deployment): RolloutLimits {
  const replicas = deployment.spec?.replicas ?? 1;
  const strategy = deployment.spec?.strategy;
  if (strategy?.type === 'Recreate') return { replicas, maxSurge: 0, maxUnavailable: 0 };
  const rolling = strategy?.rollingUpdate;
  const maxSurge = resolveIntOrPercent(rolling?.maxSurge, replicas, 'up');
  let maxUnavailable = resolveIntOrPercent(rolling?.maxUnavailable, replicas, 'down');
  if (maxSurge === 0 && maxUnavailable === 0) maxUnavailable = 1;
  return { replicas, maxSurge, maxUnavailable: Math.min(maxUnavailable, replicas) };
}

export interface Resize {
  readonly replicaSet: ReplicaSet;
  readonly replicas: number;
}

export function wantedOf(replicaSet: ReplicaSet | undefined): number {
  return replicaSet === undefined ? 0 : (replicaSet.spec?.replicas ?? 1);
}

function availableOf(replicaSet: ReplicaSet | undefined): number {
  return replicaSet?.status?.availableReplicas ?? 0;
}

export function sumWanted(replicaSets: readonly ReplicaSet[]): number {
  return replicaSets.reduce((sum, one) => sum + wantedOf(one), 0);
}

export function sumAvailable(replicaSets: readonly ReplicaSet[]): number {
  return replicaSets.reduce((sum, one) => sum + availableOf(one), 0);
}

/** The revision that its annotation names; 0 without one. */
export function revisionOf(object: { metadata?: ReplicaSet['metadata'] }): number {
  const revision = Number(object.metadata?.annotations?.[REVISION] ?? '0');
  return Number.isSafeInteger(revision) && revision > 0 ? revision : 0;
}

/** Oldest first, by revision (never by a clock), then by name. */
export function byRevision(a: ReplicaSet, b: ReplicaSet): number {
  const difference = revisionOf(a) - revisionOf(b);
  if (difference !== 0) return difference;
  return (a.metadata?.name ?? '') < (b.metadata?.name ?? '') ? -1 : 1;
}

/** How large the new ReplicaSet may be now; `current` is its size, `total` that of all together. */
export function nextNewSize(limits: RolloutLimits, current: number, total: number): number {
  const { replicas, maxSurge } = limits;
  if (current >= replicas) return replicas;
  const room = replicas + maxSurge - total;
  return room <= 0 ? current : current + Math.min(room, replicas - current);
}

/**
 * One step of a rolling update: grow the new one first; when it cannot grow, shrink the old ones.
 */
export function rollingStep(
  limits: RolloutLimits,
  newSet: ReplicaSet,
  oldSets: readonly ReplicaSet[],
): Resize[] {
  const total = sumWanted([newSet, ...oldSets]);
  const next = nextNewSize(limits, wantedOf(newSet), total);
  if (next !== wantedOf(newSet)) return [{ replicaSet: newSet, replicas: next }];
  return shrinkOld(limits, newSet, oldSets);
}

function shrinkOld(
  limits: RolloutLimits,
  newSet: ReplicaSet,
  oldSets: readonly ReplicaSet[],
): Resize[] {
  const old = [...oldSets].filter((one) => wantedOf(one) > 0).sort(byRevision);
  if (old.length === 0) return [];
  const minAvailable = limits.replicas - limits.maxUnavailable;
  const newUnavailable = Math.max(0, wantedOf(newSet) - availableOf(newSet));
  let removable = sumWanted([newSet, ...old]) - minAvailable - newUnavailable;
  if (removable <= 0) return [];
  const sizes = new Map(old.map((one) => [one, wantedOf(one)]));
  // Pods that are not available serve nobody: they go first.
  for (const one of old) {
    const gone = Math.max(0, Math.min(removable, wantedOf(one) - availableOf(one)));
    sizes.set(one, wantedOf(one) - gone);
    removable -= gone;
  }
  let spare = sumAvailable([newSet, ...old]) - minAvailable;
  for (const one of old) {
    const size = sizes.get(one) ?? 0;
    const gone = Math.max(0, Math.min(spare, size, removable));
    sizes.set(one, size - gone);
    spare -= gone;
    removable -= gone;
  }
  return old
    .map((replicaSet) => ({ replicaSet, replicas: sizes.get(replicaSet) ?? 0 }))
    .filter(({ replicaSet, replicas }) => replicas !== wantedOf(replicaSet));
}

/** Has `spec.replicas` changed since the ReplicaSets were last sized? */
export function isScaling(deployment: Deployment, replicaSets: readonly ReplicaSet[]): boolean {
  const wanted = String(deployment.spec?.replicas ?? 1);
  return replicaSets.some((one) => {
    const desired = one.metadata?.annotations?.[DESIRED_REPLICAS];
    return wantedOf(one) > 0 && desired !== undefined && desired !== wanted;
  });
}

/**
 * Sizes after `spec.replicas` changed, without taking the rollout a step further: all to the only
 * active ReplicaSet, or in the middle of a rollout to each in proportion to its size.
 */
export function scaleStep(
  deployment: Deployment,
  newSet: ReplicaSet | undefined,
  oldSets: readonly ReplicaSet[],
): Resize[] {
  const limits = limitsOf(deployment);
  const all = newSet === undefined ? [...oldSets] : [...oldSets, newSet];
  const active = all.filter((one) => wantedOf(one) > 0);
  if (active.length <= 1) {
    const only = active[0] ?? newSet ?? [...oldSets].sort(byRevision).at(-1);
    return only === undefined ? [] : [{ replicaSet: only, replicas: limits.replicas }];
  }
  const isSaturated =
    newSet !== undefined &&
    wantedOf(newSet) === limits.replicas &&
    newSet.metadata?.annotations?.[DESIRED_REPLICAS] === String(limits.replicas) &&
    availableOf(newSet) === limits.replicas;
  if (isSaturated) {
    return active
      .filter((one) => one !== newSet)
      .map((replicaSet) => ({ replicaSet, replicas: 0 }));
  }
  if (deployment.spec?.strategy?.type === 'Recreate') return [];
  return proportional(deployment, limits, active);
}

function proportional(
  deployment: Deployment,
  limits: RolloutLimits,
  active: readonly ReplicaSet[],
): Resize[] {
  const allowed = limits.replicas > 0 ? limits.replicas + limits.maxSurge : 0;
  const toAdd = allowed - sumWanted(active);
  // The largest first; among equals the newest grows first and the oldest shrinks first.
  const ordered = [...active].sort(
    (a, b) => wantedOf(b) - wantedOf(a) || (toAdd > 0 ? byRevision(b, a) : byRevision(a, b)),
  );
  let added = 0;
  const sizes = ordered.map((one) => {
    const left = toAdd - added;
    const share = shareOf(deployment, limits, one);
    const change = toAdd > 0 ? Math.min(share, left) : Math.max(share, left);
    added += change;
    return wantedOf(one) + change;
  });
  return ordered.map((replicaSet, index) => {
    const leftover = index === 0 ? toAdd - added : 0;
    return { replicaSet, replicas: Math.max(0, (sizes[index] ?? 0) + leftover) };
  });
}

/** By how much one ReplicaSet grows (or shrinks) with the whole. */
function shareOf(deployment: Deployment, limits: RolloutLimits, one: ReplicaSet): number {
  if (limits.replicas === 0) return -wantedOf(one);
  const annotated = Number(one.metadata?.annotations?.[MAX_REPLICAS] ?? '0');
  const before = annotated > 0 ? annotated : (deployment.status?.replicas ?? 0);
  if (before <= 0) return 0;
  const size = (wantedOf(one) * (limits.replicas + limits.maxSurge)) / before;
  return Math.round(size) - wantedOf(one);
}

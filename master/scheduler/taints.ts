/**
 * Taints and tolerations, and the taints that a board's conditions amount to. Pure.
 *
 * Source: Kubernetes' documentation "Taints and Tolerations" and "Taint nodes by condition". The
 * scheduler treats a condition as its taint at once, without waiting until the node lifecycle
 * controller wrote it.
 */
import type { Node, Taint, Toleration } from '../../protocol/kinds/types.ts';

export const TAINT_NOT_READY = 'node.kubernetes.io/not-ready';
export const TAINT_UNREACHABLE = 'node.kubernetes.io/unreachable';
export const TAINT_UNSCHEDULABLE = 'node.kubernetes.io/unschedulable';
export const TAINT_OUT_OF_SERVICE = 'node.kubernetes.io/out-of-service';

/**
 * Conditions that keep new pods away while they are True. The last two are boards' own troubles.
 */
const CONDITION_TAINTS: readonly (readonly [condition: string, taint: string])[] = [
  ['MemoryPressure', 'node.kubernetes.io/memory-pressure'],
  ['DiskPressure', 'node.kubernetes.io/disk-pressure'],
  ['PIDPressure', 'node.kubernetes.io/pid-pressure'],
  ['NetworkUnavailable', 'node.kubernetes.io/network-unavailable'],
  ['Overheating', 'pier.local/overheating'],
  ['UnderVoltage', 'pier.local/under-voltage'],
];

/**
 * Every taint key that conditions make; the lifecycle controller removes those that no longer
 * apply.
 */
export const CONDITION_TAINT_KEYS: ReadonlySet<string> = new Set([
  TAINT_NOT_READY,
  TAINT_UNREACHABLE,
  TAINT_UNSCHEDULABLE,
  ...CONDITION_TAINTS.map(([, taint]) => taint),
]);

export type Readiness = 'True' | 'False' | 'Unknown';

/** The node's Ready condition; a node that never reported is Unknown. */
export function readinessOf(node: Node): Readiness {
  const status = node.status?.conditions?.find((condition) => condition.type === 'Ready')?.status;
  return status === 'True' || status === 'False' ? status : 'Unknown';
}

/** The NoSchedule taints that conditions and `spec.unschedulable` amount to, in a fixed order. */
export function conditionTaints(node: Node): Taint[] {
  const keys: string[] = [];
  const readiness = readinessOf(node);
  const conditions = node.status?.conditions ?? [];
  if (readiness === 'False') keys.push(TAINT_NOT_READY);
  if (readiness === 'Unknown') {
    // A board that registered but has not reported yet is not ready; one that fell silent is
    // unreachable.
    const reported = conditions.some((condition) => condition.type === 'Ready');
    keys.push(reported ? TAINT_UNREACHABLE : TAINT_NOT_READY);
  }
  if (node.spec?.unschedulable === true) keys.push(TAINT_UNSCHEDULABLE);
  for (const [type, key] of CONDITION_TAINTS) {
    if (conditions.some((condition) => condition.type === type && condition.status === 'True')) {
      keys.push(key);
    }
  }
  return keys.map((key) => ({ key, effect: 'NoSchedule' }));
}

/**
 * Does this toleration accept the taint? An empty key with Exists accepts all; an empty effect any
 * effect.
 */
export function tolerates(toleration: Toleration, taint: Taint): boolean {
  const effect = toleration.effect ?? '';
  if (effect !== '' && effect !== taint.effect) return false;
  const key = toleration.key ?? '';
  if (key !== '' && key !== taint.key) return false;
  const operator = toleration.operator ?? 'Equal';
  if (operator === 'Exists') return true;
  // An empty key stands for every key only together with Exists.
  return key !== '' && (toleration.value ?? '') === (taint.value ?? '');
}

export function isTolerated(taint: Taint, tolerations: readonly Toleration[]): boolean {
  return tolerations.some((toleration) => tolerates(toleration, taint));
}

/** The first taint of one of the effects that no toleration accepts. */
export function firstUntolerated(
  taints: readonly Taint[],
  tolerations: readonly Toleration[],
  effects: readonly string[],
): Taint | undefined {
  return taints.find(
    (taint) => effects.includes(taint.effect ?? '') && !isTolerated(taint, tolerations),
  );
}

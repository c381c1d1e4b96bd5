/**
 * Readiness gates: conditions that someone outside sets, and without which a pod is not Ready however well its containers
 * are (Kubernetes: "Pod readiness"). The board knows nothing of them, as it knows no status; what it reports is
 * completed here. Pure.
 */
import type { Pod, PodCondition } from '../../protocol/kinds/types.ts';

/** The board's Ready condition, held back while a gate of the pod is closed. `now`: RFC 3339, for display. */
export function gatedConditions(
  pod: Pod,
  conditions: readonly PodCondition[],
  now: string,
): PodCondition[] {
  const closed = (pod.spec?.readinessGates ?? []).flatMap(({ conditionType }) => {
    const found = conditions.find(({ type }) => type === conditionType);
    if (found === undefined) {
      return [`corresponding condition of pod readiness gate "${conditionType}" does not exist.`];
    }
    if (found.status === 'True') return [];
    return [
      `the status of pod readiness gate "${conditionType}" is not "True", but ${found.status}`,
    ];
  });
  const gates = pod.spec?.readinessGates ?? [];
  if (gates.length === 0) return [...conditions];
  const before = pod.status?.conditions?.find(({ type }) => type === 'Ready');
  return conditions.map((condition) => {
    if (condition.type !== 'Ready' || condition.status !== 'True') return condition;
    const ready: PodCondition =
      closed.length === 0
        ? condition
        : {
            type: 'Ready',
            status: 'False',
            reason: 'ReadinessGatesNotReady',
            message: closed.join(', '),
          };
    // The board's time says when the containers were ready, not when the gates were.
    const kept = before?.status === ready.status ? before.lastTransitionTime : undefined;
    return { ...ready, lastTransitionTime: kept ?? now };
  });
}

/**
 * podFailurePolicy: what a pod's failure means for its Job. Pure. The first rule that matches decides; without one the
 * failure counts. Source: Kubernetes' documentation "Pod failure policy".
 */
import type {
  ContainerStatus,
  Pod,
  PodFailurePolicy,
  PodFailurePolicyRule,
} from '../../protocol/kinds/types.ts';

export interface FailurePolicyMatch {
  readonly action: string;
  /** Kubernetes' sentence for the Job's condition. */
  readonly message: string;
}

export function matchFailurePolicy(
  policy: PodFailurePolicy | undefined,
  pod: Pod,
): FailurePolicyMatch | undefined {
  // The exit codes of a pod that was only marked for deletion are not known yet.
  if (policy === undefined || pod.status?.phase !== 'Failed') return undefined;
  for (const [index, rule] of policy.rules.entries()) {
    const what = matchedExit(rule, pod) ?? matchedCondition(rule, pod);
    if (what === undefined) continue;
    const message = `${what} matching ${rule.action} rule at index ${index}`;
    return { action: rule.action, message };
  }
  return undefined;
}

function nameOf({ metadata }: Pod): string {
  return `${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`;
}

function matchedExit({ onExitCodes }: PodFailurePolicyRule, pod: Pod): string | undefined {
  if (onExitCodes === undefined) return undefined;
  const { containerName, operator, values } = onExitCodes;
  const statuses: ContainerStatus[] = [
    ...(pod.status?.containerStatuses ?? []),
    ...(pod.status?.initContainerStatuses ?? []),
  ];
  for (const { name, state } of statuses) {
    const code = state?.terminated?.exitCode ?? 0;
    if (code === 0 || (containerName !== undefined && name !== containerName)) continue;
    if (values.includes(code) !== (operator === 'In')) continue;
    return `Container ${name} for pod ${nameOf(pod)} failed with exit code ${code}`;
  }
  return undefined;
}

function matchedCondition(
  { onPodConditions = [] }: PodFailurePolicyRule,
  pod: Pod,
): string | undefined {
  for (const { type, status } of onPodConditions) {
    const isMet = (pod.status?.conditions ?? []).some(
      (one) => one.type === type && one.status === (status ?? 'True'),
    );
    if (isMet) return `Pod ${nameOf(pod)} has condition ${type}`;
  }
  return undefined;
}

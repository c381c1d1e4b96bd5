/**
 * Which boards a pod's nodeSelector and node affinity name. Pure.
 * Source: Kubernetes' "Assigning Pods to Nodes": terms are ORed, the expressions of one term ANDed;
 * a term without expressions matches nothing.
 */
import type {
  NodeSelectorRequirement,
  NodeSelectorTerm,
  Pod,
  PreferredSchedulingTerm,
} from '../../protocol/kinds/types.ts';

interface NodeIdentity {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

function matchesRequirement(
  requirement: NodeSelectorRequirement,
  actual: string | undefined,
): boolean {
  const values = requirement.values ?? [];
  switch (requirement.operator) {
    case 'In':
      return actual !== undefined && values.includes(actual);
    case 'NotIn':
      return actual === undefined || !values.includes(actual);
    case 'Exists':
      return actual !== undefined;
    case 'DoesNotExist':
      return actual === undefined;
    case 'Gt':
    case 'Lt':
      return compareNumbers(requirement.operator, actual, values[0]);
    default:
      return false;
  }
}

function compareNumbers(
  operator: 'Gt' | 'Lt',
  actual: string | undefined,
  wanted: string | undefined,
): boolean {
  const whole = /^[+-]?\d+$/;
  if (actual === undefined || wanted === undefined) return false;
  if (!whole.test(actual) || !whole.test(wanted)) return false;
  return operator === 'Gt' ? Number(actual) > Number(wanted) : Number(actual) < Number(wanted);
}

/** `metadata.name` is the one field that matchFields knows. */
function matchesTerm(term: NodeSelectorTerm, node: NodeIdentity): boolean {
  const expressions = term.matchExpressions ?? [];
  const fields = term.matchFields ?? [];
  if (expressions.length === 0 && fields.length === 0) return false;
  return (
    expressions.every((one) => matchesRequirement(one, node.labels[one.key ?? ''])) &&
    fields.every((one) =>
      matchesRequirement(one, one.key === 'metadata.name' ? node.name : undefined),
    )
  );
}

export interface NodeAffinityRules {
  readonly selector: readonly (readonly [key: string, value: string])[];
  /** Absent: no required affinity. Present and empty: nothing matches. */
  readonly required: readonly NodeSelectorTerm[] | undefined;
  readonly preferred: readonly PreferredSchedulingTerm[];
}

export function nodeAffinityOf(pod: Pod): NodeAffinityRules {
  const affinity = pod.spec?.affinity?.nodeAffinity;
  const required = affinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return {
    selector: Object.entries(pod.spec?.nodeSelector ?? {}),
    required: required === undefined ? undefined : (required.nodeSelectorTerms ?? []),
    preferred: affinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [],
  };
}

/** nodeSelector and required node affinity together. */
export function matchesNodeAffinity(rules: NodeAffinityRules, node: NodeIdentity): boolean {
  for (const [key, value] of rules.selector) {
    if (node.labels[key] !== value) return false;
  }
  return rules.required === undefined || matchesNodeTerms(rules.required, node);
}

/** One of the terms is enough; none at all matches nothing. */
export function matchesNodeTerms(terms: readonly NodeSelectorTerm[], node: NodeIdentity): boolean {
  return terms.some((term) => matchesTerm(term, node));
}

/** The sum of the weights of the preferred terms that match; an empty term counts for nothing. */
export function preferredWeight(rules: NodeAffinityRules, node: NodeIdentity): number {
  let sum = 0;
  for (const { weight, preference } of rules.preferred) {
    if (preference !== undefined && matchesTerm(preference, node)) sum += weight ?? 0;
  }
  return sum;
}

/**
 * topologySpreadConstraints: how many matching pods each domain holds, which boards would break the
 * skew, and which are emptiest. Pure. Source: Kubernetes' "Pod Topology Spread Constraints".
 */
import { matchesLabelSelector } from '../../protocol/selector.ts';
import { matchesNodeAffinity } from './node-affinity.ts';
import type { PodInfo, SpreadConstraint } from './pod-info.ts';
import type { ClusterSnapshot, NodeView } from './snapshot.ts';
import { firstUntolerated } from './taints.ts';

interface ConstraintCounts {
  readonly constraint: SpreadConstraint;
  /**
   * Domain (the label's value) -> matching pods in it; only domains that count for this constraint.
   */
  readonly domains: ReadonlyMap<string, number>;
  readonly fewest: number;
  /** 1 when the pod itself matches: it will be one more in its domain. */
  readonly self: 0 | 1;
}

export interface SpreadState {
  readonly required: readonly ConstraintCounts[];
  readonly preferred: readonly ConstraintCounts[];
}

const NO_SPREAD: SpreadState = { required: [], preferred: [] };

/** Counts once per decision, for all nodes. */
export function spreadState(pod: PodInfo, snapshot: ClusterSnapshot): SpreadState {
  if (pod.spread.length === 0) return NO_SPREAD;
  const required = pod.spread.filter((one) => one.required);
  const preferred = pod.spread.filter((one) => !one.required);
  return {
    required: required.map((one) => countConstraint(pod, one, required, snapshot)),
    preferred: preferred.map((one) => countConstraint(pod, one, preferred, snapshot)),
  };
}

function countConstraint(
  pod: PodInfo,
  constraint: SpreadConstraint,
  group: readonly SpreadConstraint[],
  snapshot: ClusterSnapshot,
): ConstraintCounts {
  const domains = new Map<string, number>();
  for (const node of snapshot.nodes) {
    // A board counts only when it bears the keys of all constraints of its group.
    if (!group.every((one) => node.labels[one.topologyKey] !== undefined)) continue;
    if (constraint.honorNodeAffinity && !matchesNodeAffinity(pod.nodeAffinity, node)) continue;
    if (
      constraint.honorNodeTaints &&
      firstUntolerated(node.taints, pod.tolerations, ['NoSchedule', 'NoExecute']) !== undefined
    ) {
      continue;
    }
    const domain = node.labels[constraint.topologyKey] ?? '';
    let count = domains.get(domain) ?? 0;
    for (const other of node.pods.values()) if (isCounted(other, pod, constraint)) count += 1;
    domains.set(domain, count);
  }
  const enough = domains.size >= constraint.minDomains;
  return {
    constraint,
    domains,
    fewest: enough && domains.size > 0 ? Math.min(...domains.values()) : 0,
    self: matchesLabelSelector(constraint.selector, pod.labels) ? 1 : 0,
  };
}

function isCounted(other: PodInfo, pod: PodInfo, constraint: SpreadConstraint): boolean {
  return (
    !other.terminating &&
    other.namespace === pod.namespace &&
    other.uid !== pod.uid &&
    matchesLabelSelector(constraint.selector, other.labels)
  );
}

type SpreadVerdict = 'fits' | 'skewed' | 'label missing';

export function checkSpread(state: SpreadState, node: NodeView): SpreadVerdict {
  for (const { constraint, domains, fewest, self } of state.required) {
    const domain = node.labels[constraint.topologyKey];
    if (domain === undefined) return 'label missing';
    if ((domains.get(domain) ?? 0) + self - fewest > constraint.maxSkew) return 'skewed';
  }
  return 'fits';
}

/**
 * For ScheduleAnyway: how crowded the node's domains are (lower is better); undefined without its
 * labels.
 */
export function spreadCrowding(state: SpreadState, node: NodeView): number | undefined {
  let crowding = 0;
  for (const { constraint, domains } of state.preferred) {
    const domain = node.labels[constraint.topologyKey];
    if (domain === undefined) return undefined;
    // Many domains make each count small: weigh it so that zones and boards compare.
    crowding += (domains.get(domain) ?? 0) * Math.log(domains.size + 2) + constraint.maxSkew - 1;
  }
  return crowding;
}

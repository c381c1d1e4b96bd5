/**
 * Pod affinity and anti-affinity, required and preferred, in both directions. Pure.
 * Source: Kubernetes' "Assigning Pods to Nodes", inter-pod affinity and anti-affinity.
 */
import { matchesLabelSelector } from '../../protocol/selector.ts';
import type { PodInfo, PodTerm } from './pod-info.ts';
import type { ClusterSnapshot, NodeView } from './snapshot.ts';

/** Topology key -> domain -> count or weight. */
type Domains = Map<string, Map<string, number>>;

export interface PodAffinityState {
  /** Pods that match every required affinity term, by the topology of each term. */
  readonly affinity: Domains;
  readonly antiAffinity: Domains;
  /** Domains that other pods' anti-affinity keeps this pod out of. */
  readonly refused: Domains;
  readonly preferred: Domains;
  /** The pod matches its own affinity terms, so it may be the first of its group. */
  readonly matchesItself: boolean;
}

function bump(domains: Domains, node: NodeView, topologyKey: string, by: number): void {
  const domain = node.labels[topologyKey];
  if (domain === undefined) return;
  let counts = domains.get(topologyKey);
  if (counts === undefined) {
    counts = new Map();
    domains.set(topologyKey, counts);
  }
  counts.set(domain, (counts.get(domain) ?? 0) + by);
}

function valueAt(domains: Domains, node: NodeView, topologyKey: string): number {
  const domain = node.labels[topologyKey];
  return domain === undefined ? 0 : (domains.get(topologyKey)?.get(domain) ?? 0);
}

/** Does `term`, which `owner` carries, mean the pod `other`? */
function meets(term: PodTerm, owner: PodInfo, other: PodInfo, snapshot: ClusterSnapshot): boolean {
  return (
    isNamespaceMeant(term, owner, other.namespace, snapshot) &&
    matchesLabelSelector(term.selector, other.labels)
  );
}

function isNamespaceMeant(
  term: PodTerm,
  owner: PodInfo,
  namespace: string,
  snapshot: ClusterSnapshot,
): boolean {
  if (term.namespaces.length === 0 && term.namespaceSelector === undefined) {
    return namespace === owner.namespace;
  }
  if (term.namespaces.includes(namespace)) return true;
  return (
    term.namespaceSelector !== undefined &&
    matchesLabelSelector(term.namespaceSelector, snapshot.namespaceLabels(namespace))
  );
}

/** Undefined when neither the pod nor any placed pod has such rules: nothing to look at. */
export function podAffinityState(
  pod: PodInfo,
  snapshot: ClusterSnapshot,
): PodAffinityState | undefined {
  const own =
    pod.affinity.length +
    pod.antiAffinity.length +
    pod.preferredAffinity.length +
    pod.preferredAntiAffinity.length;
  if (own === 0 && !concernsOthers(pod, snapshot)) return undefined;
  const state: PodAffinityState = {
    affinity: new Map(),
    antiAffinity: new Map(),
    refused: new Map(),
    preferred: new Map(),
    matchesItself: pod.affinity.every((term) => meets(term, pod, pod, snapshot)),
  };
  for (const { pod: other, node } of snapshot.podsWithTerms.values()) {
    if (other.uid !== pod.uid) countTheirTerms(state, pod, other, node, snapshot);
  }
  if (own === 0) return state;
  for (const node of snapshot.nodes) {
    for (const other of node.pods.values()) {
      if (other.uid !== pod.uid) countOwnTerms(state, pod, other, node, snapshot);
    }
  }
  return state;
}

/** Does the rule of any placed pod mean this one? */
export function concernsOthers(pod: PodInfo, snapshot: ClusterSnapshot): boolean {
  for (const { pod: other } of snapshot.podsWithTerms.values()) {
    if (other.uid === pod.uid) continue;
    const terms = [
      ...other.affinity,
      ...other.antiAffinity,
      ...other.preferredAffinity.map(({ term }) => term),
      ...other.preferredAntiAffinity.map(({ term }) => term),
    ];
    if (terms.some((term) => meets(term, other, pod, snapshot))) return true;
  }
  return false;
}

function countOwnTerms(
  state: PodAffinityState,
  pod: PodInfo,
  other: PodInfo,
  node: NodeView,
  snapshot: ClusterSnapshot,
): void {
  const all = pod.affinity;
  if (all.length > 0 && all.every((term) => meets(term, pod, other, snapshot))) {
    for (const term of all) bump(state.affinity, node, term.topologyKey, 1);
  }
  for (const term of pod.antiAffinity) {
    if (meets(term, pod, other, snapshot)) bump(state.antiAffinity, node, term.topologyKey, 1);
  }
  for (const { weight, term } of pod.preferredAffinity) {
    if (meets(term, pod, other, snapshot)) bump(state.preferred, node, term.topologyKey, weight);
  }
  for (const { weight, term } of pod.preferredAntiAffinity) {
    if (meets(term, pod, other, snapshot)) bump(state.preferred, node, term.topologyKey, -weight);
  }
}

function countTheirTerms(
  state: PodAffinityState,
  pod: PodInfo,
  other: PodInfo,
  node: NodeView,
  snapshot: ClusterSnapshot,
): void {
  for (const term of other.antiAffinity) {
    if (meets(term, other, pod, snapshot)) bump(state.refused, node, term.topologyKey, 1);
  }
  // A placed pod's required affinity draws its kin with weight 1, as in kube-scheduler.
  for (const term of other.affinity) {
    if (meets(term, other, pod, snapshot)) bump(state.preferred, node, term.topologyKey, 1);
  }
  for (const { weight, term } of other.preferredAffinity) {
    if (meets(term, other, pod, snapshot)) bump(state.preferred, node, term.topologyKey, weight);
  }
  for (const { weight, term } of other.preferredAntiAffinity) {
    if (meets(term, other, pod, snapshot)) bump(state.preferred, node, term.topologyKey, -weight);
  }
}

type AffinityVerdict = 'fits' | 'affinity' | 'anti-affinity' | 'refused by others';

export function checkPodAffinity(
  state: PodAffinityState,
  pod: PodInfo,
  node: NodeView,
): AffinityVerdict {
  if (!satisfiesAffinity(state, pod, node)) return 'affinity';
  for (const { topologyKey } of pod.antiAffinity) {
    if (valueAt(state.antiAffinity, node, topologyKey) > 0) return 'anti-affinity';
  }
  for (const [topologyKey, domains] of state.refused) {
    const domain = node.labels[topologyKey];
    if (domain !== undefined && (domains.get(domain) ?? 0) > 0) return 'refused by others';
  }
  return 'fits';
}

function satisfiesAffinity(state: PodAffinityState, pod: PodInfo, node: NodeView): boolean {
  if (pod.affinity.length === 0) return true;
  if (pod.affinity.some((term) => node.labels[term.topologyKey] === undefined)) return false;
  if (pod.affinity.every((term) => valueAt(state.affinity, node, term.topologyKey) > 0)) {
    return true;
  }
  // The first of a group that wants its own company may start anywhere.
  return state.affinity.size === 0 && state.matchesItself;
}

/** The sum of the weights that speak for (or, negative, against) the node. */
export function podAffinityWeight(state: PodAffinityState, node: NodeView): number {
  let sum = 0;
  for (const topologyKey of state.preferred.keys()) {
    sum += valueAt(state.preferred, node, topologyKey);
  }
  return sum;
}

/**
 * Preemption: which pods of lower priority must go so that a pod that fits nowhere gets a board. Pure but for the
 * snapshot, which is changed while it thinks and is as before when it returns.
 *
 * The rules are those of kube-scheduler's DefaultPreemption ("Pod Priority and Preemption"): on each board where
 * taking pods away can help, all of lower priority are taken away in thought; those that can stay are given back, pods
 * whose budget would break first, then the more important. Of the boards the best is the one with the fewest broken
 * budgets, then the lowest highest victim, the smallest sum of priorities, the fewest victims, the youngest
 * victims, the first name.
 */
import type { LabelSelector, PodDisruptionBudget } from '../../protocol/kinds/types.ts';
import { matchesLabelSelector } from '../../protocol/selector.ts';
import { type Refusal, refusalOf, startCycle } from './filters.ts';
import type { PodInfo } from './pod-info.ts';
import { countedReasons, type NodeRefusal } from './schedule.ts';
import type { ClusterSnapshot, NodeView } from './snapshot.ts';

/** So many boards with a way are compared, as in kube-scheduler. */
const CANDIDATES_MAX = 100;
/** Priorities are counted from here, so that fewer victims of negative priority are better too. */
const LOWEST_PRIORITY = -(2 ** 31);

/** What preemption must know of a PodDisruptionBudget. */
export interface Budget {
  readonly namespace: string;
  readonly selector: LabelSelector | undefined;
  readonly disruptionsAllowed: number;
  /** Names of pods whose disruption is counted already. */
  readonly disruptedPods: ReadonlySet<string>;
}

export function budgetOf({ metadata, spec, status }: PodDisruptionBudget): Budget {
  return {
    namespace: metadata?.namespace ?? '',
    selector: spec?.selector,
    disruptionsAllowed: status?.disruptionsAllowed ?? 0,
    disruptedPods: new Set(Object.keys(status?.disruptedPods ?? {})),
  };
}

export interface Preemption {
  readonly node: string;
  readonly victims: readonly PodInfo[];
}

export type PreemptionResult = Preemption | { readonly why: string };

interface Candidate extends Preemption {
  readonly brokenBudgets: number;
}

/** `refusals`: why each board refused the pod. `why` is the second half of the FailedScheduling message. */
export function findPreemption(
  pod: PodInfo,
  refusals: readonly NodeRefusal[],
  snapshot: ClusterSnapshot,
  budgets: readonly Budget[],
): PreemptionResult {
  if (!pod.preempts) {
    return { why: 'preemption: not eligible due to preemptionPolicy=Never.' };
  }
  const candidates: Candidate[] = [];
  let hopeless = 0;
  let helpless = 0;
  for (const { node, refusal } of refusals) {
    const view = snapshot.node(node);
    if (view === undefined || !mayHelp(refusal)) {
      hopeless += 1;
      continue;
    }
    const found = victimsOn(pod, view, snapshot, budgets);
    if (found === undefined) helpless += 1;
    else candidates.push(found);
    if (candidates.length >= CANDIDATES_MAX) break;
  }
  const best = candidates.sort(compare)[0];
  if (best !== undefined) return { node: best.node, victims: best.victims };
  const counts: [string, number][] = [];
  if (helpless > 0) counts.push(['No preemption victims found for incoming pod', helpless]);
  if (hopeless > 0) counts.push(['Preemption is not helpful for scheduling', hopeless]);
  return { why: `preemption: ${countedReasons(snapshot.nodes.length, counts)}` };
}

/** Would it help if pods were gone? Labels, taints and missing company stay as they are. */
function mayHelp({ filter, reasons }: Refusal): boolean {
  switch (filter) {
    case 'NodeResourcesFit':
    case 'NodePorts':
      return true;
    case 'PodTopologySpread':
      return !reasons.some((reason) => reason.endsWith('(missing required label)'));
    case 'InterPodAffinity':
      return !reasons.some((reason) => reason.endsWith("didn't match pod affinity rules"));
    default:
      return false;
  }
}

/** Undefined when the board would not do even without all pods of lower priority. */
function victimsOn(
  pod: PodInfo,
  view: NodeView,
  snapshot: ClusterSnapshot,
  budgets: readonly Budget[],
): Candidate | undefined {
  const lower = [...view.pods.values()].filter(({ priority }) => priority < pod.priority);
  if (lower.length === 0) return undefined;
  const gone = new Map(lower.map((one) => [one.uid, one]));
  for (const { uid } of lower) snapshot.removePod(uid);
  const fits = (): boolean => refusalOf(pod, view, startCycle(pod, snapshot)) === undefined;
  try {
    if (!fits()) return undefined;
    const { breaking, others } = byBudget(lower.sort(moreImportant), budgets);
    let brokenBudgets = 0;
    for (const [index, one] of [...breaking, ...others].entries()) {
      snapshot.assume(one, view.name);
      if (fits()) {
        gone.delete(one.uid);
        continue;
      }
      snapshot.removePod(one.uid);
      if (index < breaking.length) brokenBudgets += 1;
    }
    return { node: view.name, victims: [...gone.values()].sort(moreImportant), brokenBudgets };
  } finally {
    for (const one of lower) snapshot.assume(one, view.name);
  }
}

/** Higher priority first, then the older, then by name. */
function moreImportant(a: PodInfo, b: PodInfo): number {
  if (a.priority !== b.priority) return b.priority - a.priority;
  if (a.created !== b.created) return a.created < b.created ? -1 : 1;
  return a.key < b.key ? -1 : 1;
}

/** In the given order: those whose eviction a budget does not allow, after the ones before them, and the rest. */
function byBudget(
  pods: readonly PodInfo[],
  budgets: readonly Budget[],
): { readonly breaking: PodInfo[]; readonly others: PodInfo[] } {
  const left = budgets.map(({ disruptionsAllowed }) => disruptionsAllowed);
  const breaking: PodInfo[] = [];
  const others: PodInfo[] = [];
  for (const pod of pods) {
    let breaks = false;
    for (const [index, budget] of budgets.entries()) {
      if (!covers(budget, pod)) continue;
      left[index] = (left[index] ?? 0) - 1;
      if ((left[index] ?? 0) < 0) breaks = true;
    }
    (breaks ? breaking : others).push(pod);
  }
  return { breaking, others };
}

export function covers(
  { namespace, selector, disruptedPods }: Budget,
  pod: Pick<PodInfo, 'namespace' | 'name' | 'labels'>,
): boolean {
  return (
    namespace === pod.namespace &&
    !disruptedPods.has(pod.name) &&
    matchesLabelSelector(selector, pod.labels)
  );
}

function compare(a: Candidate, b: Candidate): number {
  const sum = ({ victims }: Candidate): number =>
    victims.reduce((total, { priority }) => total + priority - LOWEST_PRIORITY, 0);
  const [highestA, highestB] = [a.victims[0], b.victims[0]];
  return (
    a.brokenBudgets - b.brokenBudgets ||
    (highestA?.priority ?? LOWEST_PRIORITY) - (highestB?.priority ?? LOWEST_PRIORITY) ||
    sum(a) - sum(b) ||
    a.victims.length - b.victims.length ||
    youngestFirst(highestA, highestB) ||
    (a.node < b.node ? -1 : 1)
  );
}

function youngestFirst(a: PodInfo | undefined, b: PodInfo | undefined): number {
  const [createdA, createdB] = [a?.created ?? '', b?.created ?? ''];
  return createdA === createdB ? 0 : createdA > createdB ? -1 : 1;
}

/**
 * Scores: which of the boards that will do is the best place. Pure. Each score is 0 to 100, higher
 * is better; the total is the weighted sum. Ties: the board with fewer pods of the same owner, then
 * by name.
 *
 * The default strategy packs tightly, so that whole boards stay free; `spread` does the opposite.
 * Both look at measured use: a board that works far harder than its requests say is a worse place.
 */
import type { Cycle } from './filters.ts';
import { preferredWeight } from './node-affinity.ts';
import { podAffinityWeight } from './pod-affinity.ts';
import type { PodInfo } from './pod-info.ts';
import { CPU, MEMORY, PODS } from './resources.ts';
import type { NodeView } from './snapshot.ts';
import { isTolerated } from './taints.ts';
import { spreadCrowding } from './topology-spread.ts';

export type Strategy = 'pack' | 'spread';

export type ScoreName =
  | 'Resources'
  | 'MeasuredLoad'
  | 'TaintToleration'
  | 'NodeAffinity'
  | 'PodTopologySpread'
  | 'InterPodAffinity';

/** As in kube-scheduler, where a score exists there. */
const WEIGHTS: Readonly<Record<ScoreName, number>> = {
  Resources: 1,
  MeasuredLoad: 2,
  TaintToleration: 3,
  NodeAffinity: 2,
  PodTopologySpread: 2,
  InterPodAffinity: 2,
};

const SCORE_MAX = 100;
/** Measured use up to this share of the board above its requests is ordinary noise. */
const LOAD_NOISE = 0.2;
/** Below the score of any board that is not full. */
const OVERFULL_SCORE = 0.1;
/** What people call equal is equal, whatever the last digits of a sum say. */
const TOTAL_STEPS = 1e6;

interface ScoredNode {
  readonly node: NodeView;
  readonly total: number;
  readonly scores: Readonly<Record<ScoreName, number>>;
}

/**
 * How well the board's resources are used with the pod: 0 to 100. `pack` likes a full board; one that would be
 * fuller than full, by the amounts assumed for containers that ask for nothing, is a last resort.
 * Undefined shares: the board has none of it. `others` is the sum of `count` further shares.
 */
export function resourceScore(
  strategy: Strategy,
  cpuShare: number | undefined,
  memoryShare: number | undefined,
  others: number,
  count: number,
): number {
  const shares = count + (cpuShare === undefined ? 0 : 1) + (memoryShare === undefined ? 0 : 1);
  const cpu = cpuShare ?? 0;
  const memory = memoryShare ?? 0;
  const fullest = Math.max(cpu, memory);
  if (strategy === 'pack' && fullest > 1) return OVERFULL_SCORE / fullest;
  const sum = Math.min(1, cpu) + Math.min(1, memory) + others;
  const fullness = shares === 0 ? 0 : (SCORE_MAX * sum) / shares;
  return strategy === 'pack' ? fullness : SCORE_MAX - fullness;
}

/** `resourceScore` for a board, over the resources that matter to the pod. */
export function fullnessWith(pod: PodInfo, node: NodeView, strategy: Strategy): number {
  let others = 0;
  let count = 0;
  for (const { index, amount } of pod.requests) {
    const capacity = node.allocatable[index] ?? 0;
    if (index === CPU || index === MEMORY || index === PODS || capacity <= 0) continue;
    others += Math.min(1, ((node.requested[index] ?? 0) + amount) / capacity);
    count += 1;
  }
  const cpu = node.allocatable[CPU] ?? 0;
  const memory = node.allocatable[MEMORY] ?? 0;
  return resourceScore(
    strategy,
    cpu > 0 ? (node.scoringCpuMillis + pod.scoring.cpuMillis) / cpu : undefined,
    memory > 0 ? (node.scoringMemoryBytes + pod.scoring.memoryBytes) / memory : undefined,
    others,
    count,
  );
}

/** 100 while measured use stays near the requests; 0 when it is a whole board above them. */
export function loadScore(node: NodeView): number {
  const { usage } = node;
  if (usage === undefined) return SCORE_MAX;
  const excess = (measured: number, requested: number, capacity: number): number =>
    capacity <= 0 ? 0 : (measured - requested) / capacity;
  const worst = Math.max(
    excess(usage.cpuMillis, node.requested[CPU] ?? 0, node.allocatable[CPU] ?? 0),
    excess(usage.memoryBytes, node.requested[MEMORY] ?? 0, node.allocatable[MEMORY] ?? 0),
  );
  const beyond = (worst - LOAD_NOISE) / (1 - LOAD_NOISE);
  return SCORE_MAX * (1 - Math.min(1, Math.max(0, beyond)));
}

/**
 * Scales raw values onto 0..100 over the candidates; `equal` is what all get when they do not
 * differ.
 */
function normalize(raw: readonly number[], better: 'high' | 'low', equal: number): number[] {
  const lowest = raw.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const highest = raw.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  if (lowest === highest) return raw.map(() => equal);
  const range = highest - lowest;
  return raw.map((value) =>
    better === 'high'
      ? (SCORE_MAX * (value - lowest)) / range
      : (SCORE_MAX * (highest - value)) / range,
  );
}

/** Undefined where no candidate has such a taint: all are equal. */
function taintScores(pod: PodInfo, nodes: readonly NodeView[]): number[] | undefined {
  if (nodes.every((node) => node.taints.length === 0)) return undefined;
  const counts = nodes.map(
    (node) =>
      node.taints.filter(
        (taint) => taint.effect === 'PreferNoSchedule' && !isTolerated(taint, pod.tolerations),
      ).length,
  );
  return normalize(counts, 'low', SCORE_MAX);
}

function affinityScores(pod: PodInfo, nodes: readonly NodeView[]): number[] | undefined {
  if (pod.nodeAffinity.preferred.length === 0) return undefined;
  return normalize(
    nodes.map((node) => preferredWeight(pod.nodeAffinity, node)),
    'high',
    0,
  );
}

function companyScores({ podAffinity }: Cycle, nodes: readonly NodeView[]): number[] | undefined {
  if (podAffinity === undefined) return undefined;
  return normalize(
    nodes.map((node) => podAffinityWeight(podAffinity, node)),
    'high',
    0,
  );
}

function spreadScores(cycle: Cycle, nodes: readonly NodeView[]): number[] | undefined {
  if (cycle.spread.preferred.length === 0) return undefined;
  const crowding = nodes.map((node) => spreadCrowding(cycle.spread, node));
  const known = crowding.filter((one) => one !== undefined);
  if (known.length === 0) return undefined;
  const lowest = known.reduce((a, b) => Math.min(a, b));
  const highest = known.reduce((a, b) => Math.max(a, b));
  return crowding.map((one) => {
    if (one === undefined) return 0;
    return highest === 0 ? SCORE_MAX : (SCORE_MAX * (highest + lowest - one)) / highest;
  });
}

function scoreAll(
  pod: PodInfo,
  nodes: readonly NodeView[],
  cycle: Cycle,
  strategy: Strategy,
): ScoredNode[] {
  const taints = taintScores(pod, nodes);
  const affinity = affinityScores(pod, nodes);
  const company = companyScores(cycle, nodes);
  const spread = spreadScores(cycle, nodes);
  return nodes.map((node, index): ScoredNode => {
    const scores: Record<ScoreName, number> = {
      Resources: fullnessWith(pod, node, strategy),
      MeasuredLoad: loadScore(node),
      TaintToleration: taints?.[index] ?? SCORE_MAX,
      NodeAffinity: affinity?.[index] ?? 0,
      PodTopologySpread: spread?.[index] ?? 0,
      InterPodAffinity: company?.[index] ?? 0,
    };
    return { node, scores, total: totalOf(scores) };
  });
}

/** All candidates with their scores, best first. */
export function rank(
  pod: PodInfo,
  nodes: readonly NodeView[],
  cycle: Cycle,
  strategy: Strategy,
): ScoredNode[] {
  return scoreAll(pod, nodes, cycle, strategy).sort((a, b) => compare(pod, a, b));
}

/** The first of `rank`, without sorting the rest; undefined without candidates. */
export function best(
  pod: PodInfo,
  nodes: readonly NodeView[],
  cycle: Cycle,
  strategy: Strategy,
): NodeView | undefined {
  if (nodes.length === 1) return nodes[0];
  let first: ScoredNode | undefined;
  for (const one of scoreAll(pod, nodes, cycle, strategy)) {
    if (first === undefined || compare(pod, one, first) < 0) first = one;
  }
  return first?.node;
}

function totalOf(scores: Readonly<Record<ScoreName, number>>): number {
  return steps(
    WEIGHTS.Resources * scores.Resources +
      WEIGHTS.MeasuredLoad * scores.MeasuredLoad +
      WEIGHTS.TaintToleration * scores.TaintToleration +
      WEIGHTS.NodeAffinity * scores.NodeAffinity +
      WEIGHTS.PodTopologySpread * scores.PodTopologySpread +
      WEIGHTS.InterPodAffinity * scores.InterPodAffinity,
  );
}

/** The total of a board when nothing else makes a difference. */
export function plainTotal(resources: number, load: number): number {
  return steps(
    WEIGHTS.Resources * resources +
      WEIGHTS.MeasuredLoad * load +
      WEIGHTS.TaintToleration * SCORE_MAX,
  );
}

/** `plainTotal` of packing as a linear function of what the pod asks for; never below it, but for rounding. */
export function packBound(
  node: NodeView,
  load: number,
): { readonly base: number; readonly perCpu: number; readonly perMemory: number } {
  const cpu = node.allocatable[CPU] ?? 0;
  const memory = node.allocatable[MEMORY] ?? 0;
  const shares = (cpu > 0 ? 1 : 0) + (memory > 0 ? 1 : 0);
  const perCpu = cpu > 0 ? (WEIGHTS.Resources * SCORE_MAX) / (cpu * shares) : 0;
  const perMemory = memory > 0 ? (WEIGHTS.Resources * SCORE_MAX) / (memory * shares) : 0;
  const used = node.scoringCpuMillis * perCpu + node.scoringMemoryBytes * perMemory;
  return { base: plainTotal(0, load) + used, perCpu, perMemory };
}

/** Totals are held to be equal below this. */
export const TOTAL_EPSILON = 2 / TOTAL_STEPS;

function steps(total: number): number {
  return Math.round(total * TOTAL_STEPS) / TOTAL_STEPS;
}

function compare(pod: PodInfo, a: ScoredNode, b: ScoredNode): number {
  if (a.total !== b.total) return b.total - a.total;
  const siblings =
    (a.node.ownerCounts.get(pod.ownerUid) ?? 0) - (b.node.ownerCounts.get(pod.ownerUid) ?? 0);
  if (siblings !== 0) return siblings;
  return a.node.name < b.node.name ? -1 : 1;
}

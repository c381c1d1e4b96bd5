/**
 * The decision: a pod and a snapshot in, a board or the reasons out. Pure. `explain` answers `pier why`; pods that
 * arrived together are placed by batch.ts.
 */
import { type FilterName, type Refusal, refusalOf, startCycle } from './filters.ts';
import { concernsOthers } from './pod-affinity.ts';
import type { PodInfo } from './pod-info.ts';
import { best, rank, type ScoreName, type Strategy } from './scores.ts';
import type { ClusterSnapshot, NodeView } from './snapshot.ts';

export interface ScheduleOptions {
  readonly strategy: Strategy;
}

export const DEFAULT_SCHEDULE_OPTIONS: ScheduleOptions = { strategy: 'pack' };

/** One board that refused, and why. */
export interface NodeRefusal {
  readonly node: string;
  readonly refusal: Refusal;
}

export interface Unschedulable {
  /** As kube-scheduler words it: "0/3 nodes are available: 1 Insufficient memory, ...". */
  readonly unschedulable: string;
  /** The filters that refused boards: what must change before another try is worth while. */
  readonly refusedBy: readonly FilterName[];
  readonly refusals: readonly NodeRefusal[];
}

export type Decision = { readonly node: string } | Unschedulable;

/** Where `pod` should run. Same snapshot, same answer. */
export function schedule(
  pod: PodInfo,
  snapshot: ClusterSnapshot,
  options: ScheduleOptions = DEFAULT_SCHEDULE_OPTIONS,
): Decision {
  const { nodes } = snapshot;
  if (nodes.length === 0) {
    return { unschedulable: 'no nodes available to schedule pods', refusedBy: [], refusals: [] };
  }
  const fast = bestForPlain(pod, snapshot, options);
  if (fast !== undefined) return { node: fast };
  const cycle = startCycle(pod, snapshot);
  const candidates: NodeView[] = [];
  const refusals: NodeRefusal[] = [];
  for (const node of nodes) {
    const refusal = refusalOf(pod, node, cycle);
    if (refusal === undefined) candidates.push(node);
    else refusals.push({ node: node.name, refusal });
  }
  const blocked = cycle.volumes?.blocked;
  if (blocked !== undefined) {
    // One reason for all boards: kube-scheduler does not count them then.
    const message = `0/${nodes.length} nodes are available: ${blocked}.`;
    return { unschedulable: message, refusedBy: ['VolumeBinding'], refusals };
  }
  if (candidates.length === 0) return unschedulable(nodes.length, refusals);
  const chosen = best(pod, candidates, cycle, options.strategy);
  return chosen === undefined ? unschedulable(nodes.length, refusals) : { node: chosen.name };
}

/** Undefined when no board fits, or when the decision needs a closer look. */
function bestForPlain(
  pod: PodInfo,
  snapshot: ClusterSnapshot,
  options: ScheduleOptions,
): string | undefined {
  if (!pod.isPlain || concernsOthers(pod, snapshot)) return undefined;
  const slot = snapshot.fast.best(pod, options.strategy);
  return slot === undefined ? undefined : snapshot.nodes[slot]?.name;
}

function unschedulable(nodeCount: number, refusals: readonly NodeRefusal[]): Unschedulable {
  const counts = new Map<string, number>();
  for (const {
    refusal: { reasons },
  } of refusals) {
    for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  return {
    unschedulable: countedReasons(nodeCount, counts),
    refusedBy: [...new Set(refusals.map(({ refusal }) => refusal.filter))],
    refusals,
  };
}

/** "0/3 nodes are available: 1 Insufficient cpu, 2 ...", sorted as kube-scheduler sorts. */
export function countedReasons(
  nodeCount: number,
  counts: Iterable<readonly [reason: string, count: number]>,
): string {
  const parts = [...counts].map(([reason, count]) => `${count} ${reason}`).sort();
  return `0/${nodeCount} nodes are available: ${parts.join(', ')}.`;
}

export interface NodeExplanation {
  readonly node: string;
  readonly fits: boolean;
  /** The filter that refused the board, and its reasons; empty when it fits. */
  readonly filter: FilterName | '';
  readonly reasons: readonly string[];
  /** Only for boards that fit. */
  readonly scores: Readonly<Partial<Record<ScoreName, number>>>;
  readonly total: number;
}

/** For each board: it fits (with scores, best first), or exactly why not (by name). */
export function explain(
  pod: PodInfo,
  snapshot: ClusterSnapshot,
  options: ScheduleOptions = DEFAULT_SCHEDULE_OPTIONS,
): NodeExplanation[] {
  const cycle = startCycle(pod, snapshot);
  const candidates: NodeView[] = [];
  const refused: NodeExplanation[] = [];
  for (const node of snapshot.nodes) {
    const refusal = refusalOf(pod, node, cycle);
    if (refusal === undefined) {
      candidates.push(node);
      continue;
    }
    const { filter, reasons } = refusal;
    refused.push({ node: node.name, fits: false, filter, reasons, scores: {}, total: 0 });
  }
  const fitting = rank(pod, candidates, cycle, options.strategy).map(
    ({ node, scores, total }): NodeExplanation => ({
      node: node.name,
      fits: true,
      filter: '',
      reasons: [],
      scores,
      total,
    }),
  );
  return [...fitting, ...refused];
}

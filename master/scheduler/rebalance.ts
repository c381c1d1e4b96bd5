/**
 * Rebalancing: which pods would have to move so that a whole board becomes free. Pure but for the snapshot, which is
 * changed while it thinks and is as before when it returns.
 *
 * A plan holds only moves that the scheduler makes by itself when the pods are evicted one after the other while their
 * board carries REBALANCE_TAINT, and only onto boards that stay in use: each finished plan leaves one board less.
 */

import type { Taint } from '../../protocol/kinds/types.ts';
import { refusalOf, startCycle } from './filters.ts';
import type { PodInfo } from './pod-info.ts';
import { CPU, MEMORY } from './resources.ts';
import { best, type Strategy } from './scores.ts';
import type { ClusterSnapshot, NodeView } from './snapshot.ts';

/** So many pods of one board are moved at most: a few restarts for a board are a good trade, many are not. */
const MOVES_MAX = 10;
/** The work is bounded: one look is one pod held against one board. Some 100 ms for thousands of boards. */
const LOOKS_MAX = 100_000;

/** On the board that is being freed: new pods go there only when no other will do. */
export const REBALANCE_TAINT: Taint = {
  key: 'pier.local/rebalancing',
  effect: 'PreferNoSchedule',
};

export function isBeingFreed(taints: readonly Taint[] | undefined): boolean {
  return taints?.some(({ key }) => key === REBALANCE_TAINT.key) === true;
}

/** May the pod move? One that belongs to its board (a DaemonSet's) does not keep the board in use. */
export type Mobility = 'moves' | 'of the board' | { readonly stays: string };

export interface RebalanceView {
  mobility(pod: PodInfo): Mobility;
  /** The pod that will be made in its place; undefined when nobody would place it. */
  successor(pod: PodInfo): { readonly pod: PodInfo; readonly strategy: Strategy } | undefined;
}

export interface Move {
  /** namespace/name of the pod that is to be evicted. */
  readonly pod: string;
  readonly uid: string;
  readonly to: string;
}

export interface RebalancePlan {
  /** The board that becomes free; empty when none can. */
  readonly board: string;
  /** In order. */
  readonly moves: readonly Move[];
  /** Boards in use that were looked at before it, or all, with what keeps them in use. */
  readonly kept: readonly { readonly board: string; readonly why: string }[];
}

interface Candidate {
  readonly view: NodeView;
  readonly movers: readonly PodInfo[];
  readonly stays: string | undefined;
}

/**
 * The board that is being freed comes first, then those that are cheap to free: the fewest pods, then the least of their
 * resources in use.
 */
export function planRebalance(snapshot: ClusterSnapshot, view: RebalanceView): RebalancePlan {
  const inUse = snapshot.nodes.flatMap((board) => candidateOf(board, view) ?? []);
  const names = new Set(inUse.map((one) => one.view.name));
  const begun = ({ view: { taints } }: Candidate): number => Number(isBeingFreed(taints));
  inUse.sort(
    (a, b) =>
      begun(b) - begun(a) || a.movers.length - b.movers.length || share(a.view) - share(b.view),
  );
  const kept: { board: string; why: string }[] = [];
  let looks = 0;
  for (const { view: board, movers, stays } of inUse) {
    const keep = (why: string) => kept.push({ board: board.name, why });
    if (stays !== undefined) keep(stays);
    else if (movers.length > MOVES_MAX) keep(`it has more than ${MOVES_MAX} pods`);
    else if (looks >= LOOKS_MAX) keep('not looked at: others are easier to free');
    else {
      looks += movers.length * snapshot.nodes.length;
      names.delete(board.name);
      const moves = movesOff(board, movers, names, snapshot, view);
      if (typeof moves !== 'string') return { board: board.name, moves, kept };
      names.add(board.name);
      keep(moves);
    }
  }
  return { board: '', moves: [], kept };
}

/** Undefined for a board that is free. */
function candidateOf(board: NodeView, view: RebalanceView): Candidate | undefined {
  const movers: PodInfo[] = [];
  let stays: string | undefined;
  for (const pod of board.pods.values()) {
    const mobility = view.mobility(pod);
    if (mobility === 'moves') movers.push(pod);
    else if (mobility !== 'of the board') stays ??= `${pod.key} stays: ${mobility.stays}`;
  }
  if (stays === undefined && movers.length === 0) return undefined;
  movers.sort((a, b) => sizeOn(board, b) - sizeOn(board, a) || (a.key < b.key ? -1 : 1));
  return { view: board, movers, stays };
}

/** The moves, the largest pod first; or why the board cannot be freed. */
function movesOff(
  board: NodeView,
  movers: readonly PodInfo[],
  others: ReadonlySet<string>,
  snapshot: ClusterSnapshot,
  view: RebalanceView,
): Move[] | string {
  const moves: Move[] = [];
  const { taints } = board;
  if (!isBeingFreed(taints)) board.taints = [...taints, REBALANCE_TAINT];
  try {
    for (const pod of movers) {
      const { key, uid } = pod;
      snapshot.removePod(uid);
      const next = view.successor(pod);
      if (next === undefined) return `${key} stays: another scheduler places it`;
      const to = placeOf(next.pod, snapshot, next.strategy);
      if (to === undefined) return `${key} stays: it fits nowhere`;
      if (to === board.name) return `${key} stays: it fits nowhere else`;
      if (!others.has(to)) return `${key} stays: it would go to ${to}, which is free`;
      snapshot.assume(next.pod, to);
      moves.push({ pod: key, uid, to });
    }
    return moves;
  } finally {
    board.taints = taints;
    for (const pod of movers) snapshot.assume(pod, board.name);
  }
}

/** As `schedule` decides, whose fast path must not see a taint that is only thought of. */
function placeOf(pod: PodInfo, snapshot: ClusterSnapshot, strategy: Strategy): string | undefined {
  const cycle = startCycle(pod, snapshot);
  const open = snapshot.nodes.filter((node) => refusalOf(pod, node, cycle) === undefined);
  return best(pod, open, cycle, strategy)?.name;
}

function share({ allocatable, scoringCpuMillis, scoringMemoryBytes }: NodeView): number {
  return (
    scoringCpuMillis / Math.max(1, allocatable[CPU] ?? 0) +
    scoringMemoryBytes / Math.max(1, allocatable[MEMORY] ?? 0)
  );
}

function sizeOn({ allocatable }: NodeView, { scoring }: PodInfo): number {
  return Math.max(
    scoring.cpuMillis / Math.max(1, allocatable[CPU] ?? 0),
    scoring.memoryBytes / Math.max(1, allocatable[MEMORY] ?? 0),
  );
}

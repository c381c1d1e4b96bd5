/**
 * Pods that arrived together, placed as a whole. Pure but for the snapshot, in which each placement is assumed.
 *
 * Higher priorities come first, whatever it costs the lower ones. Within one priority the pods with rules about
 * other pods (spread, affinity, ports) go one by one, the largest first; then the plain ones are packed onto the
 * boards by one plan (packing.ts). What the plan leaves over goes one by one again, so that a pod gets its reasons,
 * and so that assumed amounts (for containers that ask for nothing) refuse nobody.
 */

import { refusalOf, startCycle } from './filters.ts';
import { type PackBoard, type PackShape, planPacking } from './packing.ts';
import { concernsOthers } from './pod-affinity.ts';
import type { PodInfo } from './pod-info.ts';
import { CPU, MEMORY, PODS } from './resources.ts';
import {
  DEFAULT_SCHEDULE_OPTIONS,
  type Decision,
  type ScheduleOptions,
  schedule,
} from './schedule.ts';
import type { ClusterSnapshot, NodeView } from './snapshot.ts';

export interface PlacedPod {
  readonly pod: PodInfo;
  readonly decision: Decision;
}

/** By uid: pods for which a board is being cleared. They stand in the snapshot as if they were there already. */
export type Nominations = ReadonlyMap<string, { readonly pod: PodInfo; readonly node: string }>;

export interface BatchOptions extends ScheduleOptions {
  readonly nominations?: Nominations;
}

/** Fewer are not worth a plan. */
const PLAN_MIN = 2;
/** The work of a plan grows with its pods and no further. */
const LOOKS_PER_POD = 4_000;
/** Boards whose measured use is far above what was asked for there are no part of a plan. */
const LOAD_SCORE_MIN = 75;
/** So many boards that hold pods are part of a plan: the fullest, which may refuse most of the pods. */
const OPEN_BOARDS_MIN = 64;
const OPEN_BOARDS_PER_POD = 4;

/** Decisions in the order in which they were made. */
export function scheduleBatch(
  pods: readonly PodInfo[],
  snapshot: ClusterSnapshot,
  options: BatchOptions = DEFAULT_SCHEDULE_OPTIONS,
): PlacedPod[] {
  const largest = largestBoard(snapshot);
  const ordered = pods
    .map((pod) => ({ pod, size: dominantShare(pod, largest) }))
    .sort(
      (a, b) =>
        b.pod.priority - a.pod.priority || b.size - a.size || (a.pod.key < b.pod.key ? -1 : 1),
    )
    .map(({ pod }) => pod);
  const placed: PlacedPod[] = [];
  let from = 0;
  while (from < ordered.length) {
    const priority = ordered[from]?.priority;
    let to = from;
    while (to < ordered.length && ordered[to]?.priority === priority) to += 1;
    placed.push(...aroundNominations(ordered.slice(from, to), snapshot, options));
    from = to;
  }
  return placed;
}

/**
 * What is being cleared for a pod is kept from others of its priority and below. Higher ones, and the pod itself, see the
 * board without it (Kubernetes: nominated pods).
 */
function aroundNominations(
  pods: readonly PodInfo[],
  snapshot: ClusterSnapshot,
  options: BatchOptions,
): PlacedPod[] {
  const { nominations = new Map() }: { nominations?: Nominations } = options;
  if (nominations.size === 0) return placeLevel(pods, snapshot, options);
  const priority = pods[0]?.priority ?? 0;
  const lower = [...nominations.values()].filter(({ pod }) => pod.priority < priority);
  for (const { pod } of lower) snapshot.removePod(pod.uid);
  const placed: PlacedPod[] = [];
  const others: PodInfo[] = [];
  for (const pod of pods) {
    const nominated = nominations.get(pod.uid);
    if (nominated === undefined) others.push(pod);
    else placed.push(placeNominated(pod, nominated.node, snapshot, options));
  }
  placed.push(...placeLevel(others, snapshot, options));
  for (const { pod, node } of lower) snapshot.assume(pod, node);
  return placed;
}

/** On the board that is being cleared for it, as soon as that will do; else wherever it fits. */
function placeNominated(
  pod: PodInfo,
  node: string,
  snapshot: ClusterSnapshot,
  options: ScheduleOptions,
): PlacedPod {
  snapshot.removePod(pod.uid);
  const view = snapshot.node(node);
  const fits = view !== undefined && refusalOf(pod, view, startCycle(pod, snapshot)) === undefined;
  const decision = fits ? { node } : schedule(pod, snapshot, options);
  if ('node' in decision) snapshot.assume(pod, decision.node);
  else if (view !== undefined) snapshot.assume(pod, node);
  return { pod, decision };
}

/** Pods of one priority, largest first. */
function placeLevel(
  pods: readonly PodInfo[],
  snapshot: ClusterSnapshot,
  options: ScheduleOptions,
): PlacedPod[] {
  const isPlain = (pod: PodInfo): boolean =>
    options.strategy === 'pack' &&
    pod.isPlain &&
    snapshot.fast.eligible(pod) !== undefined &&
    !concernsOthers(pod, snapshot);
  const plain = new Set(pods.filter(isPlain));
  const placed = oneByOne(
    pods.filter((pod) => !plain.has(pod)),
    snapshot,
    options,
  );
  if (plain.size < PLAN_MIN) return [...placed, ...oneByOne([...plain], snapshot, options)];
  const planned = placeByPlan([...plain], snapshot);
  const left = [...plain].filter((pod) => !planned.has(pod.uid));
  for (const { pod, node } of planned.values()) placed.push({ pod, decision: { node } });
  return [...placed, ...oneByOne(left, snapshot, options)];
}

function oneByOne(
  pods: readonly PodInfo[],
  snapshot: ClusterSnapshot,
  options: ScheduleOptions,
): PlacedPod[] {
  // A plain shape that fitted nowhere fits nowhere while nothing has changed.
  const failed = new Map<string, { readonly decision: Decision; readonly change: number }>();
  return pods.map((pod) => {
    const { lastChange } = snapshot.columns;
    const known = pod.isPlain ? failed.get(pod.shapeKey) : undefined;
    if (known?.change === lastChange) return { pod, decision: known.decision };
    const decision = schedule(pod, snapshot, options);
    if ('node' in decision) snapshot.assume(pod, decision.node);
    else failed.set(pod.shapeKey, { decision, change: lastChange });
    return { pod, decision };
  });
}

interface Shape extends PackShape {
  readonly pods: PodInfo[];
}

interface Planned {
  readonly pod: PodInfo;
  readonly node: string;
}

/** By uid: what one plan placed. Each placement is assumed in the snapshot. */
function placeByPlan(
  pods: readonly PodInfo[],
  snapshot: ClusterSnapshot,
): ReadonlyMap<string, Planned> {
  const resources = [...new Set(pods.flatMap((pod) => pod.requests.map(({ index }) => index)))];
  const views = usefulBoards(pods, snapshot);
  const indexes = [...new Set([CPU, MEMORY, PODS, ...resources])]
    .sort((a, b) => a - b)
    .filter((index) => index === CPU || mayRunOut(index, pods, views));
  const shapes = shapesOf(pods, indexes, views, snapshot);
  const boards = views.map(
    (view): PackBoard => ({ free: freeOn(view, indexes), isOpen: view.pods.size > 0 }),
  );
  const plan = planPacking(shapes, boards, { looksMax: LOOKS_PER_POD * pods.length });
  const planned = new Map<string, Planned>();
  for (const [at, pattern] of plan.entries()) {
    const view = views[at];
    for (const shape of pattern) {
      const pod = shapes[shape]?.pods.pop();
      if (view === undefined || pod === undefined) continue;
      snapshot.assume(pod, view.name);
      planned.set(pod.uid, { pod, node: view.name });
    }
  }
  return planned;
}

/** False when any of the boards has enough of it for all the pods: a plan need not look at it. */
function mayRunOut(index: number, pods: readonly PodInfo[], views: readonly NodeView[]): boolean {
  const wanted = pods.reduce((sum, pod) => sum + amountOf(pod, index), 0);
  return views.some((view) => (freeOn(view, [index])[0] ?? 0) < wanted);
}

/**
 * Boards that may take one of the pods: the fullest of those that hold pods, and empty ones; of each kind not many
 * more than there are pods.
 */
function usefulBoards(pods: readonly PodInfo[], snapshot: ClusterSnapshot): NodeView[] {
  const { views, load, cpuFree, memoryFree, cpuSize, memorySize } = snapshot.columns;
  const least = (index: number): number =>
    pods.reduce((low, pod) => Math.min(low, amountOf(pod, index)), Number.POSITIVE_INFINITY);
  const [cpu, memory] = [least(CPU), least(MEMORY)];
  const rules = [...new Set(pods.map((pod) => snapshot.fast.eligible(pod)))];
  const room = ({ slot }: NodeView): number =>
    (cpuFree[slot] ?? 0) / Math.max(1, cpuSize[slot] ?? 0) +
    (memoryFree[slot] ?? 0) / Math.max(1, memorySize[slot] ?? 0);
  const open: NodeView[] = [];
  const emptyByKind = new Map<string, NodeView[]>();
  const emptyMax = new Map<string, number>();
  /** Empty boards of one kind stand in rows by name: the one before says most of the time that there are enough of them. */
  let full: NodeView | undefined;
  const isLikeFull = (view: NodeView): boolean =>
    full !== undefined &&
    full.allocatable.length === view.allocatable.length &&
    full.allocatable.every((amount, index) => amount === view.allocatable[index]) &&
    rules.every((eligible) => eligible?.[full?.slot ?? -1] === eligible?.[view.slot]);
  for (const view of views) {
    const { slot } = view;
    if ((load[slot] ?? 0) < LOAD_SCORE_MIN) continue;
    if ((cpuFree[slot] ?? 0) < cpu || (memoryFree[slot] ?? 0) < memory) continue;
    if (!rules.some((eligible) => eligible?.[slot] === 1)) continue;
    if (view.pods.size > 0) {
      open.push(view);
      continue;
    }
    if (isLikeFull(view)) continue;
    const bits = rules.map((eligible) => eligible?.[slot] ?? 0).join('');
    const kind = `${view.allocatable.join(' ')} ${bits}`;
    const alike = emptyByKind.get(kind) ?? [];
    emptyByKind.set(kind, alike);
    const max = emptyMax.get(kind) ?? emptyBoardsMax(pods, view);
    emptyMax.set(kind, max);
    if (alike.length < max) alike.push(view);
    else full = view;
  }
  open.sort((a, b) => room(a) - room(b) || a.slot - b.slot);
  const openMax = OPEN_BOARDS_MIN + OPEN_BOARDS_PER_POD * pods.length;
  return [...open.slice(0, openMax), ...[...emptyByKind.values()].flat()];
}

/**
 * So many boards like this one are enough for a plan: of two boards that hold less than one could, one would not have been
 * opened, so on average they are more than half full in some resource. What goes beyond is placed one by one.
 */
function emptyBoardsMax(pods: readonly PodInfo[], { allocatable }: NodeView): number {
  // A board without something that is asked for makes the sum infinite.
  const part = (amount: number, index: number): number =>
    amount > 0 ? amount / (allocatable[index] ?? 0) : 0;
  let load = 0;
  for (const { scoring, requests } of pods) {
    load += part(scoring.cpuMillis, CPU) + part(scoring.memoryBytes, MEMORY);
    for (const { index, amount } of requests) {
      if (index !== CPU && index !== MEMORY) load += part(amount, index);
    }
  }
  return Math.min(pods.length, 2 + Math.ceil(2 * load));
}

function shapesOf(
  pods: readonly PodInfo[],
  indexes: readonly number[],
  views: readonly NodeView[],
  snapshot: ClusterSnapshot,
): Shape[] {
  const eligibleOf = new Map<string, Uint8Array>();
  const shapes = new Map<string, Shape & { count: number }>();
  for (const pod of pods) {
    const size = indexes.map((index) => amountOf(pod, index));
    const key = `${size.join(' ')} ${pod.staticKey}`;
    const known = shapes.get(key);
    if (known !== undefined) {
      known.pods.push(pod);
      known.count += 1;
      continue;
    }
    const bySlot = snapshot.fast.eligible(pod);
    const eligible =
      eligibleOf.get(pod.staticKey) ?? Uint8Array.from(views, ({ slot }) => bySlot?.[slot] ?? 0);
    eligibleOf.set(pod.staticKey, eligible);
    shapes.set(key, { size, eligible, count: 1, pods: [pod] });
  }
  return [...shapes.values()];
}

/** CPU and memory as scores count them: never less than the request. */
function amountOf(pod: PodInfo, index: number): number {
  if (index === CPU) return pod.scoring.cpuMillis;
  if (index === MEMORY) return pod.scoring.memoryBytes;
  return pod.requests.find((request) => request.index === index)?.amount ?? 0;
}

function freeOn(view: NodeView, indexes: readonly number[]): number[] {
  return indexes.map((index) => {
    const size = view.allocatable[index] ?? 0;
    if (index === CPU) return size - view.scoringCpuMillis;
    if (index === MEMORY) return size - view.scoringMemoryBytes;
    return size - (view.requested[index] ?? 0);
  });
}

function largestBoard(snapshot: ClusterSnapshot): number[] {
  const largest: number[] = [];
  for (const node of snapshot.nodes) {
    node.allocatable.forEach((amount, index) => {
      largest[index] = Math.max(largest[index] ?? 0, amount);
    });
  }
  return largest;
}

/**
 * The largest share of any one resource of the largest board: the size of a pod in several
 * dimensions.
 */
function dominantShare(pod: PodInfo, largest: readonly number[]): number {
  let share = 0;
  for (const { index, amount } of pod.requests) {
    const capacity = largest[index] ?? 0;
    if (index !== PODS && capacity > 0) share = Math.max(share, amount / capacity);
  }
  const assumed = Math.max(
    pod.scoring.cpuMillis / Math.max(1, largest[CPU] ?? 0),
    pod.scoring.memoryBytes / Math.max(1, largest[MEMORY] ?? 0),
  );
  return Math.max(share, Math.min(1, assumed) * 1e-3);
}

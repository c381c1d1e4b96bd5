/**
 * The decision for plain pods, as the filters and scores would make it, without asking them board by board. Pure.
 *
 * A pod is plain when only what it asks for and the board's labels and taints matter: no host ports, no spread,
 * no pod affinity in either direction, no preferences. For such a pod the choice is one scan over columns. Pods
 * of one shape (replicas) share a tournament tree over all boards, of which each decision only plays again the
 * boards that changed since: O(log boards) instead of O(boards).
 *
 * Promise: the same board as `best` in scores.ts (test/master/scheduler/fast-path.ts compares the two).
 */
import type { Columns } from './columns.ts';
import { processorOf } from './image-catalog.ts';
import { matchesNodeAffinity } from './node-affinity.ts';
import type { PodInfo } from './pod-info.ts';
import { CPU, FIXED_RESOURCES, MEMORY, PODS, STORAGE } from './resources.ts';
import { fullnessWith, plainTotal, resourceScore, type Strategy, TOTAL_EPSILON } from './scores.ts';
import { firstUntolerated, isTolerated, TAINT_UNSCHEDULABLE } from './taints.ts';

/** Trees that are kept; each takes about 40 bytes per board. */
const TREES_MAX = 64;
/** Shapes that were seen once, and kinds of pods by labels and taints. */
const SEEN_MAX = 4_096;
const NOT_FITTING = -1;
export const NO_BOARD = -1;

/** Which boards a kind of pod may use at all; undefined where taints make some boards less liked. */
type Eligibility = Uint8Array | 'preferences';

export class FastPath {
  readonly #columns: Columns;
  readonly #eligible = new Map<string, Eligibility>();
  readonly #seen = new Set<string>();
  readonly #trees = new Map<string, Tournament>();

  constructor(columns: Columns) {
    this.#columns = columns;
  }

  /** Labels or taints of some board have changed. */
  forgetEligibility(): void {
    this.#eligible.clear();
    this.#seen.clear();
    this.#trees.clear();
  }

  /** 1 for each board whose labels and taints let the pod in; undefined when preferences matter. */
  eligible(pod: PodInfo): Uint8Array | undefined {
    let known = this.#eligible.get(pod.staticKey);
    if (known === undefined) {
      known = eligibilityOf(pod, this.#columns);
      if (this.#eligible.size >= SEEN_MAX) this.#eligible.clear();
      this.#eligible.set(pod.staticKey, known);
    }
    return known === 'preferences' ? undefined : known;
  }

  /** The slot of the best board, NO_BOARD when none fits, undefined when the pod is not plain. */
  best(pod: PodInfo, strategy: Strategy): number | undefined {
    const eligible = this.eligible(pod);
    if (eligible === undefined) return undefined;
    const key = `${strategy} ${pod.shapeKey}`;
    const tree = this.#trees.get(key);
    if (tree !== undefined) {
      // The least recently used goes first.
      this.#trees.delete(key);
      this.#trees.set(key, tree);
      return tree.best();
    }
    const judge = new Judge(pod, this.#columns, eligible, strategy);
    if (!this.#seen.has(key)) {
      if (this.#seen.size >= SEEN_MAX) this.#seen.clear();
      this.#seen.add(key);
      return judge.scan();
    }
    const [oldest] = this.#trees.keys();
    if (this.#trees.size >= TREES_MAX && oldest !== undefined) this.#trees.delete(oldest);
    const grown = new Tournament(judge, this.#columns);
    this.#trees.set(key, grown);
    return grown.best();
  }
}

function eligibilityOf(pod: PodInfo, columns: Columns): Eligibility {
  const eligible = new Uint8Array(columns.views.length);
  for (const [slot, view] of columns.views.entries()) {
    if (
      view.taints.some(
        (taint) => taint.effect === 'PreferNoSchedule' && !isTolerated(taint, pod.tolerations),
      )
    ) {
      return 'preferences';
    }
    const cordon = view.taints.find(({ key }) => key === TAINT_UNSCHEDULABLE);
    const isOpen =
      (cordon === undefined || isTolerated(cordon, pod.tolerations)) &&
      firstUntolerated(view.taints, pod.tolerations, ['NoSchedule', 'NoExecute']) === undefined &&
      (pod.nodeName === '' || pod.nodeName === view.name) &&
      matchesNodeAffinity(pod.nodeAffinity, view) &&
      (pod.foreignTo.size === 0 || !pod.foreignTo.has(processorOf(view.labels)));
    eligible[slot] = isOpen ? 1 : 0;
  }
  return eligible;
}

/** Fits and scores of one shape of pods. */
class Judge {
  readonly #pod: PodInfo;
  readonly #columns: Columns;
  readonly #eligible: Uint8Array;
  readonly #strategy: Strategy;
  readonly #cpu: number;
  readonly #memory: number;
  readonly #storage: number;
  readonly #hasExtended: boolean;

  constructor(pod: PodInfo, columns: Columns, eligible: Uint8Array, strategy: Strategy) {
    const amount = (index: number): number =>
      pod.requests.find((request) => request.index === index)?.amount ?? Number.NEGATIVE_INFINITY;
    this.#pod = pod;
    this.#columns = columns;
    this.#eligible = eligible;
    this.#strategy = strategy;
    this.#cpu = amount(CPU);
    this.#memory = amount(MEMORY);
    this.#storage = amount(STORAGE);
    // Extended resources and storage count in the score: then the general function is asked.
    this.#hasExtended = pod.requests.some(
      ({ index }) => index >= FIXED_RESOURCES || index === STORAGE,
    );
  }

  scoreOf(slot: number): number {
    const columns = this.#columns;
    if (
      this.#eligible[slot] !== 1 ||
      this.#cpu > (columns.cpuFree[slot] ?? 0) ||
      this.#memory > (columns.memoryFree[slot] ?? 0) ||
      this.#storage > (columns.storageFree[slot] ?? 0) ||
      (columns.podsFree[slot] ?? 0) < 1
    ) {
      return NOT_FITTING;
    }
    const load = columns.load[slot] ?? 0;
    if (this.#hasExtended) return this.#slowScore(slot, load);
    const cpu = columns.cpuSize[slot] ?? 0;
    const memory = columns.memorySize[slot] ?? 0;
    const { cpuMillis, memoryBytes } = this.#pod.scoring;
    const cpuShare = cpu > 0 ? ((columns.cpuScored[slot] ?? 0) + cpuMillis) / cpu : undefined;
    const memoryShare =
      memory > 0 ? ((columns.memoryScored[slot] ?? 0) + memoryBytes) / memory : undefined;
    return plainTotal(resourceScore(this.#strategy, cpuShare, memoryShare, 0, 0), load);
  }

  #slowScore(slot: number, load: number): number {
    const view = this.#columns.views[slot];
    if (view === undefined) return NOT_FITTING;
    for (const { index, amount } of this.#pod.requests) {
      if (index === PODS) continue;
      if (amount > (view.allocatable[index] ?? 0) - (view.requested[index] ?? 0)) {
        return NOT_FITTING;
      }
    }
    return plainTotal(fullnessWith(this.#pod, view, this.#strategy), load);
  }

  siblingsOf(slot: number): number {
    if (this.#pod.ownerUid === '') return 0;
    return this.#columns.views[slot]?.ownerCounts.get(this.#pod.ownerUid) ?? 0;
  }

  /** For a shape that nobody has asked for before. */
  scan(): number {
    const isBounded = this.#strategy === 'pack' && !this.#hasExtended;
    return isBounded ? this.#boundedScan() : this.#fullScan();
  }

  #fullScan(): number {
    let first = NO_BOARD;
    let highest = 0;
    const boards = this.#columns.views.length;
    for (let slot = 0; slot < boards; slot += 1) {
      const score = this.scoreOf(slot);
      if (score === NOT_FITTING || !this.#beats(slot, score, first, highest)) continue;
      highest = score;
      first = slot;
    }
    return first;
  }

  /** Looks closely only where the bound says that the board may win. */
  #boundedScan(): number {
    const { cpuFree, memoryFree, podsFree, base, perCpu, perMemory } = this.#columns;
    const { cpuMillis, memoryBytes } = this.#pod.scoring;
    const cpu = this.#cpu;
    const memory = this.#memory;
    const boards = base.length;
    let first = NO_BOARD;
    let firstBound = Number.NaN;
    let highest = 0;
    for (let slot = 0; slot < boards; slot += 1) {
      const bound =
        (base[slot] ?? 0) + cpuMillis * (perCpu[slot] ?? 0) + memoryBytes * (perMemory[slot] ?? 0);
      if (bound < highest - TOTAL_EPSILON) continue;
      // Most boards of a calm cluster are in few states: one of the same as the best so far scores the same.
      if (bound === firstBound && this.#isLike(slot, first)) {
        if (this.siblingsOf(slot) < this.siblingsOf(first)) first = slot;
        continue;
      }
      if (cpu > (cpuFree[slot] ?? 0) || memory > (memoryFree[slot] ?? 0)) continue;
      if ((podsFree[slot] ?? 0) < 1) continue;
      const score = this.scoreOf(slot);
      if (score === NOT_FITTING || !this.#beats(slot, score, first, highest)) continue;
      highest = score;
      first = slot;
      firstBound = bound;
    }
    return first;
  }

  /** Judged alike, but for siblings. */
  #isLike(slot: number, other: number): boolean {
    const { cpuScored, memoryScored, cpuSize, memorySize, load } = this.#columns;
    const { cpuFree, memoryFree, storageFree, podsFree } = this.#columns;
    return (
      this.#eligible[slot] === this.#eligible[other] &&
      cpuScored[slot] === cpuScored[other] &&
      memoryScored[slot] === memoryScored[other] &&
      cpuSize[slot] === cpuSize[other] &&
      memorySize[slot] === memorySize[other] &&
      load[slot] === load[other] &&
      cpuFree[slot] === cpuFree[other] &&
      memoryFree[slot] === memoryFree[other] &&
      storageFree[slot] === storageFree[other] &&
      podsFree[slot] === podsFree[other]
    );
  }

  /** Boards come by name: of two that are equal in all, the first stays. */
  #beats(slot: number, score: number, first: number, highest: number): boolean {
    if (first === NO_BOARD || score > highest) return true;
    return score === highest && this.siblingsOf(slot) < this.siblingsOf(first);
  }
}

/** A tournament tree: each inner place holds the better of its two below, the top the best board. */
class Tournament {
  readonly #judge: Judge;
  readonly #columns: Columns;
  readonly #leaves: number;
  readonly #scores: Float64Array;
  readonly #siblings: Int32Array;
  readonly #winners: Int32Array;
  #seen = -1;

  constructor(judge: Judge, columns: Columns) {
    const boards = columns.views.length;
    this.#judge = judge;
    this.#columns = columns;
    this.#leaves = 2 ** Math.ceil(Math.log2(Math.max(1, boards)));
    this.#scores = new Float64Array(boards);
    this.#siblings = new Int32Array(boards);
    this.#winners = new Int32Array(2 * this.#leaves).fill(NO_BOARD);
  }

  best(): number {
    const { firstChange, lastChange } = this.#columns;
    if (this.#seen < firstChange) this.#playAll();
    else {
      for (let at = this.#seen; at < lastChange; at += 1) {
        this.#playAgain(this.#columns.changedSlot(at));
      }
    }
    this.#seen = lastChange;
    const winner = this.#winners[1] ?? NO_BOARD;
    return (this.#scores[winner] ?? NOT_FITTING) === NOT_FITTING ? NO_BOARD : winner;
  }

  #playAll(): void {
    for (let slot = 0; slot < this.#scores.length; slot += 1) {
      this.#judgeSlot(slot);
      this.#winners[this.#leaves + slot] = slot;
    }
    for (let place = this.#leaves - 1; place > 0; place -= 1) this.#play(place);
  }

  #playAgain(slot: number): void {
    if (slot < 0) return;
    this.#judgeSlot(slot);
    for (let place = (this.#leaves + slot) >> 1; place > 0; place >>= 1) this.#play(place);
  }

  #judgeSlot(slot: number): void {
    this.#scores[slot] = this.#judge.scoreOf(slot);
    this.#siblings[slot] = this.#judge.siblingsOf(slot);
  }

  #play(place: number): void {
    const left = this.#winners[2 * place] ?? NO_BOARD;
    const right = this.#winners[2 * place + 1] ?? NO_BOARD;
    this.#winners[place] = this.#isBetter(right, left) ? right : left;
  }

  /** Boards to the left come first by name: they win where all else is equal. */
  #isBetter(right: number, left: number): boolean {
    if (right === NO_BOARD) return false;
    if (left === NO_BOARD) return true;
    const a = this.#scores[left] ?? NOT_FITTING;
    const b = this.#scores[right] ?? NOT_FITTING;
    if (a !== b) return b > a;
    return (this.#siblings[right] ?? 0) < (this.#siblings[left] ?? 0);
  }
}

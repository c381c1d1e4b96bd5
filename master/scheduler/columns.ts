/**
 * The boards as columns of numbers, kept up to date one board at a time: what a decision over thousands of
 * boards reads. Pure state.
 *
 * Invariant: row `slot` says what `views[slot]` says, for every board that was touched since it changed. Rows
 * are in the order of names. `changes` is a log of touched rows, so that whoever keeps something per row looks
 * only at what changed; it is cut now and then (`firstChange` says where it begins).
 */
import { CPU, MEMORY, PODS, STORAGE } from './resources.ts';
import { loadScore, packBound } from './scores.ts';
import type { NodeView } from './snapshot.ts';

/** So many entries per board are kept in the log of changes, and a few more. */
const LOG_PER_BOARD = 4;
const LOG_MIN = 1_000;

export class Columns {
  readonly views: readonly NodeView[];
  readonly cpuFree: Float64Array;
  readonly memoryFree: Float64Array;
  readonly storageFree: Float64Array;
  readonly podsFree: Float64Array;
  readonly cpuScored: Float64Array;
  readonly memoryScored: Float64Array;
  readonly cpuSize: Float64Array;
  readonly memorySize: Float64Array;
  readonly load: Float64Array;
  /**
   * For packing, from above: a plain pod scores at most `base + cpu * perCpu + memory * perMemory` on the board.
   */
  readonly base: Float64Array;
  readonly perCpu: Float64Array;
  readonly perMemory: Float64Array;
  #changes: number[] = [];
  #firstChange = 0;

  /** `views` by name; each view's `slot` is set here. */
  constructor(views: readonly NodeView[]) {
    const column = (): Float64Array => new Float64Array(views.length);
    this.views = views;
    this.cpuFree = column();
    this.memoryFree = column();
    this.storageFree = column();
    this.podsFree = column();
    this.cpuScored = column();
    this.memoryScored = column();
    this.cpuSize = column();
    this.memorySize = column();
    this.load = column();
    this.base = column();
    this.perCpu = column();
    this.perMemory = column();
    for (const [slot, view] of views.entries()) {
      view.slot = slot;
      this.#read(view);
    }
  }

  /** Where the log begins and ends, as positions that only grow. */
  get firstChange(): number {
    return this.#firstChange;
  }

  get lastChange(): number {
    return this.#firstChange + this.#changes.length;
  }

  changedSlot(position: number): number {
    return this.#changes[position - this.#firstChange] ?? -1;
  }

  /** The board has changed. */
  touch(view: NodeView): void {
    this.#read(view);
    if (this.#changes.length >= LOG_MIN + LOG_PER_BOARD * this.views.length) {
      this.#firstChange += this.#changes.length;
      this.#changes = [];
    }
    this.#changes.push(view.slot);
  }

  #read(view: NodeView): void {
    const { slot, allocatable, requested } = view;
    const free = (index: number): number => (allocatable[index] ?? 0) - (requested[index] ?? 0);
    this.cpuFree[slot] = free(CPU);
    this.memoryFree[slot] = free(MEMORY);
    this.storageFree[slot] = free(STORAGE);
    this.podsFree[slot] = free(PODS);
    this.cpuScored[slot] = view.scoringCpuMillis;
    this.memoryScored[slot] = view.scoringMemoryBytes;
    this.cpuSize[slot] = allocatable[CPU] ?? 0;
    this.memorySize[slot] = allocatable[MEMORY] ?? 0;
    const load = loadScore(view);
    this.load[slot] = load;
    const { base, perCpu, perMemory } = packBound(view, load);
    this.base[slot] = base;
    this.perCpu[slot] = perCpu;
    this.perMemory[slot] = perMemory;
  }
}

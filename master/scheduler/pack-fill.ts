/**
 * Fills one board from a stock of pods: which subset of them leaves the least room over. Pure.
 *
 * Two ways, because none is best on every mix (bench/README.md has the figures):
 * - `seeded`: the largest pod goes in, then a bounded depth-first search over what is left, largest first, looks
 *   for the least slack (after Gupta and Ho's "minimum bin slack" heuristic, with a seed and in several resources).
 *   Best where boards hold many pods.
 * - `wide`: greedy by the L2 norm of what stays free (Panigrahy and others, "Heuristics for Vector Bin Packing"),
 *   but each step tries the two best pods, not one. Best where boards hold few pods, so that it matters that the
 *   resources run out together.
 * Slack is weighted by how much of each resource the stock still needs: scarce ones count.
 */

/** Rounding in sums of fractions of a board. */
export const EPSILON = 1e-9;
const WIDTH = 2;

export type FillMethod = 'seeded' | 'wide' | 'greedy';

export interface Stock {
  /** Resources per shape; sizes[shape * resources + resource], in boards. */
  readonly resources: number;
  readonly sizes: Float64Array;
  /** How many of each shape are left. */
  readonly counts: Int32Array;
  /** What is left of each resource over all shapes. */
  readonly demand: Float64Array;
}

/** Shapes, with repetition. */
export type Pattern = readonly number[];

export interface Fill {
  readonly pattern: Pattern;
  /** Weighted room that stays free, in boards. */
  readonly slack: number;
  readonly steps: number;
}

export interface FillOptions {
  readonly method: FillMethod;
  readonly stepsMax: number;
}

export function takeFromStock(stock: Stock, shape: number, times: number): void {
  const { resources, sizes, counts, demand } = stock;
  counts[shape] = (counts[shape] ?? 0) - times;
  for (let k = 0; k < resources; k += 1) {
    demand[k] = (demand[k] ?? 0) - times * (sizes[shape * resources + k] ?? 0);
  }
}

/** Fills boards from one stock, one after the other; it leaves the stock as it is. */
export class BoardFiller {
  readonly #stock: Stock;
  readonly #sizes: Float64Array;
  /** Lowered while a search holds a pod, and raised again. */
  readonly #counts: Int32Array;
  readonly #resources: number;
  readonly #free: Float64Array;
  readonly #current: number[] = [];
  /**
   * For each depth of a search, one after the other: the shapes that still fit. What does not fit on a board does not fit on it when it is
   * fuller, so each depth looks only at what the one above has left; most steps are made on boards that are nearly full, where that is little.
   */
  #fitting = new Int32Array(1_024);
  #weights: Float64Array;
  #stepsMax = 0;
  #width = WIDTH;
  #best: number[] = [];
  #bestSlack = Number.POSITIVE_INFINITY;
  #steps = 0;
  /** Found by #closest: shapes, or -1. */
  #first = -1;
  #second = -1;

  constructor(stock: Stock) {
    this.#stock = stock;
    this.#sizes = stock.sizes;
    this.#counts = stock.counts;
    this.#resources = stock.resources;
    this.#free = new Float64Array(stock.resources);
    this.#weights = this.#free;
  }

  /** The pods of `shapes` (those that the board may take, the largest first) that fill `free` best. */
  fill(free: Float64Array, shapes: readonly number[], { method, stepsMax }: FillOptions): Fill {
    this.#free.set(free);
    // The wide way lets scarce resources count more than in proportion: found by measuring.
    this.#weights = weightsOf(this.#stock.demand, method === 'seeded' ? 1 : 2);
    this.#stepsMax = stepsMax;
    this.#width = method === 'greedy' ? 1 : WIDTH;
    this.#best = [];
    this.#bestSlack = Number.POSITIVE_INFINITY;
    this.#steps = 0;
    this.#reserve(shapes.length);
    this.#fitting.set(shapes);
    if (method !== 'seeded') this.#widen(0, shapes.length);
    else if (!this.#seed(shapes)) return { pattern: [], slack: this.#slack(), steps: 0 };
    return { pattern: this.#best, slack: this.#bestSlack, steps: this.#steps };
  }

  /** False when nothing fits. */
  #seed(shapes: readonly number[]): boolean {
    const end = this.#stillFitting(0, shapes.length);
    const seed = this.#fitting[shapes.length];
    if (end === shapes.length || seed === undefined) return false;
    this.#put(seed);
    this.#deepen(shapes.length, end);
    this.#undo(seed);
    return true;
  }

  /** Candidates are at `from` to `to` of `#fitting`. */
  #deepen(from: number, to: number): void {
    this.#steps += 1;
    this.#remember();
    if (!this.#mayGoOn()) return;
    const end = this.#stillFitting(from, to);
    for (let at = to; at < end && this.#mayGoOn(); at += 1) {
      const shape = this.#fitting[at] ?? 0;
      this.#put(shape);
      this.#deepen(at, end);
      this.#undo(shape);
    }
  }

  /** Candidates are at `from` to `to` of `#fitting`. */
  #widen(from: number, to: number): void {
    this.#steps += 1;
    const end = this.#closest(from, to);
    const [first, second] = [this.#first, this.#second];
    if (first < 0) {
      this.#remember();
      return;
    }
    this.#put(first);
    this.#widen(to, end);
    this.#undo(first);
    if (second < 0 || this.#width < WIDTH || !this.#mayGoOn()) return;
    this.#put(second);
    this.#widen(to, end);
    this.#undo(second);
  }

  /**
   * Finds the two shapes that leave the shortest vector of free resources, and writes those that fit behind `to`; returns their end. The hot loop of
   * a plan: no calls in it.
   */
  #closest(from: number, to: number): number {
    this.#reserve(to + to - from);
    const fitting = this.#fitting;
    const sizes = this.#sizes;
    const counts = this.#counts;
    const free = this.#free;
    const weights = this.#weights;
    const resources = this.#resources;
    const [free0 = 0, free1 = 0] = free;
    const [weight0 = 0, weight1 = 0] = weights;
    let end = to;
    let first = -1;
    let second = -1;
    let least = Number.POSITIVE_INFINITY;
    let next = Number.POSITIVE_INFINITY;
    for (let place = from; place < to; place += 1) {
      const shape = fitting[place] ?? 0;
      if ((counts[shape] ?? 0) <= 0) continue;
      let norm = 0;
      if (resources === 2) {
        // CPU and memory alone, which is most plans: the loop below, unrolled.
        const rest0 = free0 - (sizes[2 * shape] ?? 0);
        const rest1 = free1 - (sizes[2 * shape + 1] ?? 0);
        if (rest0 < -EPSILON || rest1 < -EPSILON) continue;
        norm = weight0 * rest0 * rest0 + weight1 * rest1 * rest1;
      } else {
        for (let k = 0, at = shape * resources; k < resources; k += 1, at += 1) {
          const rest = (free[k] ?? 0) - (sizes[at] ?? 0);
          norm =
            rest < -EPSILON ? Number.POSITIVE_INFINITY : norm + (weights[k] ?? 0) * rest * rest;
        }
        if (norm === Number.POSITIVE_INFINITY) continue;
      }
      fitting[end] = shape;
      end += 1;
      if (norm < least) {
        second = first;
        next = least;
        first = shape;
        least = norm;
      } else if (norm < next) {
        second = shape;
        next = norm;
      }
    }
    this.#first = first;
    this.#second = second;
    return end;
  }

  /** Writes those that fit behind `to`; returns their end. */
  #stillFitting(from: number, to: number): number {
    this.#reserve(to + to - from);
    const fitting = this.#fitting;
    const sizes = this.#sizes;
    const counts = this.#counts;
    const free = this.#free;
    const resources = this.#resources;
    let end = to;
    for (let place = from; place < to; place += 1) {
      const shape = fitting[place] ?? 0;
      if ((counts[shape] ?? 0) <= 0) continue;
      let fits = true;
      for (let k = 0, at = shape * resources; k < resources; k += 1, at += 1) {
        if ((sizes[at] ?? 0) > (free[k] ?? 0) + EPSILON) fits = false;
      }
      if (!fits) continue;
      fitting[end] = shape;
      end += 1;
    }
    return end;
  }

  #reserve(length: number): void {
    if (length <= this.#fitting.length) return;
    const grown = new Int32Array(2 * length);
    grown.set(this.#fitting);
    this.#fitting = grown;
  }

  #mayGoOn(): boolean {
    return this.#steps < this.#stepsMax && this.#bestSlack > EPSILON;
  }

  #remember(): void {
    const slack = this.#slack();
    if (slack >= this.#bestSlack - EPSILON) return;
    this.#bestSlack = slack;
    this.#best = this.#current.slice();
  }

  #slack(): number {
    let slack = 0;
    for (let k = 0; k < this.#resources; k += 1) {
      slack += (this.#weights[k] ?? 0) * (this.#free[k] ?? 0);
    }
    return slack;
  }

  #put(shape: number): void {
    this.#current.push(shape);
    this.#move(shape, -1);
  }

  #undo(shape: number): void {
    this.#current.pop();
    this.#move(shape, 1);
  }

  #move(shape: number, sign: 1 | -1): void {
    this.#counts[shape] = (this.#counts[shape] ?? 0) + sign;
    for (let k = 0, at = shape * this.#resources; k < this.#resources; k += 1, at += 1) {
      this.#free[k] = (this.#free[k] ?? 0) + sign * (this.#sizes[at] ?? 0);
    }
  }
}

/** Shares of the demand, raised to `power`, that sum up to 1. */
export function weightsOf(demand: Float64Array, power: number): Float64Array {
  const weights = new Float64Array(demand.length);
  let sum = 0;
  for (let k = 0; k < weights.length; k += 1) {
    const amount = Math.max(0, demand[k] ?? 0);
    const weight = power === 1 ? amount : amount ** power;
    weights[k] = weight;
    sum += weight;
  }
  if (sum === 0) return weights.fill(1);
  for (let k = 0; k < weights.length; k += 1) weights[k] = (weights[k] ?? 0) / sum;
  return weights;
}

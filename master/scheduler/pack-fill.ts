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
  /** Of each shape, its size in the resource of which it takes most. */
  readonly largest: Float64Array;
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

/** The pods of `shapes` (those that the board may take, the largest first) that fill `free` best. Leaves stock and free as they are. */
export function fillBoard(
  stock: Stock,
  free: Float64Array,
  shapes: readonly number[],
  options: FillOptions,
): Fill {
  const search = new Search(stock, free, options);
  const waiting = shapes.filter((shape) => (stock.counts[shape] ?? 0) > 0);
  return options.method === 'seeded' ? search.seeded(waiting) : search.wide(waiting);
}

class Search {
  readonly #sizes: Float64Array;
  readonly #largest: Float64Array;
  readonly #counts: Int32Array;
  readonly #resources: number;
  readonly #free: Float64Array;
  readonly #weights: Float64Array;
  readonly #stepsMax: number;
  readonly #width: number;
  readonly #current: number[] = [];
  #best: number[] = [];
  #bestSlack = Number.POSITIVE_INFINITY;
  #steps = 0;

  constructor(stock: Stock, free: Float64Array, { method, stepsMax }: FillOptions) {
    this.#sizes = stock.sizes;
    this.#largest = stock.largest;
    this.#counts = stock.counts.slice();
    this.#resources = stock.resources;
    this.#free = free.slice();
    // The wide way lets scarce resources count more than in proportion: found by measuring.
    this.#weights = weightsOf(stock.demand, method === 'seeded' ? 1 : 2);
    this.#stepsMax = stepsMax;
    this.#width = method === 'greedy' ? 1 : WIDTH;
  }

  seeded(shapes: readonly number[]): Fill {
    const seed = shapes.find((shape) => this.#fits(shape));
    if (seed === undefined) return { pattern: [], slack: this.#slack(), steps: 0 };
    this.#put(seed);
    this.#deepen(shapes, 0);
    return { pattern: this.#best, slack: this.#bestSlack, steps: this.#steps };
  }

  wide(shapes: readonly number[]): Fill {
    this.#widen(shapes);
    return { pattern: this.#best, slack: this.#bestSlack, steps: this.#steps };
  }

  #deepen(ordered: readonly number[], from: number): void {
    this.#steps += 1;
    this.#remember();
    for (let at = from; at < ordered.length && this.#mayGoOn(); at += 1) {
      const shape = ordered[at] ?? 0;
      if (!this.#fits(shape)) continue;
      this.#put(shape);
      this.#deepen(ordered, at);
      this.#undo(shape);
    }
  }

  #widen(shapes: readonly number[]): void {
    this.#steps += 1;
    const ways = this.#closest(shapes);
    if (ways.length === 0) this.#remember();
    for (const shape of ways) {
      this.#put(shape);
      this.#widen(shapes);
      this.#undo(shape);
      if (!this.#mayGoOn()) return;
    }
  }

  /** The shapes that leave the shortest vector of free resources, best first. The hot loop of a plan: no calls in it. */
  #closest(shapes: readonly number[]): number[] {
    const sizes = this.#sizes;
    const counts = this.#counts;
    const free = this.#free;
    const weights = this.#weights;
    const resources = this.#resources;
    let [first, second] = [-1, -1];
    let [least, next] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    for (let from = this.#firstThatMayFit(shapes); from < shapes.length; from += 1) {
      const shape = shapes[from] ?? 0;
      if ((counts[shape] ?? 0) <= 0) continue;
      let norm = 0;
      for (let k = 0, at = shape * resources; k < resources; k += 1, at += 1) {
        const rest = (free[k] ?? 0) - (sizes[at] ?? 0);
        norm = rest < -EPSILON ? Number.POSITIVE_INFINITY : norm + (weights[k] ?? 0) * rest * rest;
      }
      if (norm < least) {
        [second, next] = [first, least];
        [first, least] = [shape, norm];
      } else if (norm < next) {
        [second, next] = [shape, norm];
      }
    }
    if (first < 0) return [];
    return second < 0 || this.#width < WIDTH ? [first] : [first, second];
  }

  /** Those before it are larger than all that is free. They come the largest first. */
  #firstThatMayFit(shapes: readonly number[]): number {
    const room = this.#free.reduce((a, b) => Math.max(a, b), 0) + EPSILON;
    let [low, high] = [0, shapes.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#largest[shapes[middle] ?? 0] ?? 0) > room) low = middle + 1;
      else high = middle;
    }
    return low;
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

  #sizeOf(shape: number, resource: number): number {
    return this.#sizes[shape * this.#resources + resource] ?? 0;
  }

  #fits(shape: number): boolean {
    if ((this.#counts[shape] ?? 0) <= 0) return false;
    for (let k = 0; k < this.#resources; k += 1) {
      if (this.#sizeOf(shape, k) > (this.#free[k] ?? 0) + EPSILON) return false;
    }
    return true;
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
    for (let k = 0; k < this.#resources; k += 1) {
      this.#free[k] = (this.#free[k] ?? 0) + sign * this.#sizeOf(shape, k);
    }
  }
}

/** Shares of the demand, raised to `power`, that sum up to 1. */
export function weightsOf(demand: Float64Array, power: number): Float64Array {
  const weights = demand.map((amount) => Math.max(0, amount) ** power);
  const sum = weights.reduce((a, b) => a + b, 0);
  return sum === 0 ? weights.fill(1) : weights.map((weight) => weight / sum);
}

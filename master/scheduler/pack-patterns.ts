/**
 * How often which pattern should be used, for many boards alike: the linear program of the cutting-stock problem, solved by
 * column generation (Gilmore and Gomory, "A Linear Programming Approach to the Cutting-Stock Problem", 1961). Pure.
 *
 * Where pods come in few shapes, filling board by board uses up one shape too early; prices for all shapes at once do
 * not. What the whole numbers leave over is little, and is filled board by board.
 */
import { EPSILON, type Pattern, type Stock, weightsOf } from './pack-fill.ts';

export interface PatternUse {
  readonly pattern: Pattern;
  /** Not whole. */
  readonly times: number;
}

/** With more shapes than this, filling board by board is as good and far cheaper. */
export const PATTERN_SHAPES_MAX = 64;
const ROUNDS_PER_SHAPE = 20;
/** Of the search for the best pattern at given prices. */
const STEPS_MAX = 150;
/** A pattern that is worth so much more than a board makes the plan better. */
const GAIN_MIN = 0.003;

/** For boards with `free` and the shapes in stock among `shapes`; those that do not fit on such a board are left out. */
export function patternsFor(
  stock: Stock,
  free: Float64Array,
  shapes: readonly number[],
): readonly PatternUse[] {
  const { resources, sizes, counts } = stock;
  const fits = (shape: number): boolean =>
    free.every((room, k) => (sizes[shape * resources + k] ?? 0) <= room + EPSILON);
  const wanted = shapes.filter((shape) => (counts[shape] ?? 0) > 0 && fits(shape));
  return wanted.length === 0 ? [] : new Program(stock, free, wanted).solve();
}

class Program {
  readonly #shapes: readonly number[];
  /** As many of each shape as there are. */
  readonly #counts: Float64Array;
  /** By shape: sizes in each resource. */
  readonly #sizes: readonly Float64Array[];
  readonly #free: Float64Array;
  /** What a shape takes of the board, in one number. */
  readonly #room: Float64Array;
  readonly #roomFree: number;
  /** One pattern per row: how many of each shape. */
  readonly #basis: Float64Array[];
  readonly #times: Float64Array;
  readonly #inverse: Float64Array[];

  constructor(stock: Stock, free: Float64Array, shapes: readonly number[]) {
    const { resources, sizes, counts, demand } = stock;
    // Nearly the scarcest resource alone: the bound of the search is tight then, whatever the mix.
    const weights = weightsOf(demand, 6);
    const roomOf = (amounts: Float64Array): number =>
      amounts.reduce((sum, amount, k) => sum + amount * (weights[k] ?? 0), 0);
    this.#shapes = shapes;
    this.#free = free;
    this.#sizes = shapes.map((shape) => sizes.subarray(shape * resources, (shape + 1) * resources));
    this.#counts = Float64Array.from(shapes, (shape) => counts[shape] ?? 0);
    this.#room = Float64Array.from(this.#sizes, roomOf);
    this.#roomFree = roomOf(free);
    const alone = this.#sizes.map((_, at) => this.#mostOf(at));
    this.#basis = alone.map((times, at) => unit(shapes.length, at, times));
    this.#inverse = alone.map((times, at) => unit(shapes.length, at, 1 / times));
    this.#times = Float64Array.from(alone, (times, at) => (this.#counts[at] ?? 0) / times);
  }

  solve(): readonly PatternUse[] {
    for (let round = 0; round < ROUNDS_PER_SHAPE * this.#shapes.length; round += 1) {
      const prices = this.#prices();
      const { pattern, worth } = this.#bestPattern(prices);
      if (worth <= 1 + GAIN_MIN || !this.#enter(pattern)) break;
    }
    return this.#basis.map((pattern, at) => ({
      pattern: this.#shapes.flatMap((shape, s) => new Array<number>(pattern[s] ?? 0).fill(shape)),
      times: this.#times[at] ?? 0,
    }));
  }

  /** What one pod of each shape is worth, when each pattern in use is worth one board. */
  #prices(): Float64Array {
    return Float64Array.from(this.#shapes, (_, s) =>
      this.#inverse.reduce((sum, row) => sum + (row[s] ?? 0), 0),
    );
  }

  /** Takes the pattern in for one that it makes needless; false when numbers fail. */
  #enter(pattern: Float64Array): boolean {
    const share = this.#inverse.map((row) =>
      row.reduce((sum, x, s) => sum + x * (pattern[s] ?? 0), 0),
    );
    let leaving = -1;
    let least = Number.POSITIVE_INFINITY;
    for (const [at, part] of share.entries()) {
      if (part <= EPSILON) continue;
      const times = (this.#times[at] ?? 0) / part;
      if (times >= least) continue;
      least = times;
      leaving = at;
    }
    const pivot = this.#inverse[leaving];
    const part = share[leaving];
    if (pivot === undefined || part === undefined) return false;
    for (let s = 0; s < pivot.length; s += 1) pivot[s] = (pivot[s] ?? 0) / part;
    for (const [at, row] of this.#inverse.entries()) {
      const factor = share[at] ?? 0;
      if (at === leaving || factor === 0) continue;
      for (let s = 0; s < row.length; s += 1) row[s] = (row[s] ?? 0) - factor * (pivot[s] ?? 0);
      this.#times[at] = Math.max(0, (this.#times[at] ?? 0) - factor * least);
    }
    this.#times[leaving] = least;
    this.#basis[leaving] = pattern;
    return true;
  }

  /** The pattern of the highest worth, by a bounded depth-first search, the best worth for its room first. */
  #bestPattern(prices: Float64Array): { readonly pattern: Float64Array; readonly worth: number } {
    const density = prices.map((price, s) => price / Math.max(EPSILON, this.#room[s] ?? 0));
    const order = [...prices.keys()]
      .filter((s) => (prices[s] ?? 0) > EPSILON)
      .sort((a, b) => (density[b] ?? 0) - (density[a] ?? 0) || a - b);
    const current = new Float64Array(prices.length);
    const free = this.#free.slice();
    let best = current.slice();
    let highest = 0;
    let steps = 0;
    const deepen = (from: number, worth: number, roomLeft: number): void => {
      if (worth > highest) {
        highest = worth;
        best = current.slice();
      }
      for (let at = from; at < order.length; at += 1) {
        const s = order[at] ?? 0;
        if (worth + roomLeft * (density[s] ?? 0) <= highest + EPSILON || steps >= STEPS_MAX) return;
        const size = this.#sizes[s];
        if (size === undefined || (current[s] ?? 0) >= (this.#counts[s] ?? 0)) continue;
        if (!size.every((amount, k) => amount <= (free[k] ?? 0) + EPSILON)) continue;
        steps += 1;
        current[s] = (current[s] ?? 0) + 1;
        for (const [k, amount] of size.entries()) free[k] = (free[k] ?? 0) - amount;
        deepen(at, worth + (prices[s] ?? 0), roomLeft - (this.#room[s] ?? 0));
        current[s] = (current[s] ?? 0) - 1;
        for (const [k, amount] of size.entries()) free[k] = (free[k] ?? 0) + amount;
      }
    };
    deepen(0, 0, this.#roomFree);
    return { pattern: best, worth: highest };
  }

  /** So many pods of one shape fit onto a board, and are there. */
  #mostOf(at: number): number {
    let fit = this.#counts[at] ?? 0;
    for (const [k, amount] of this.#sizes[at]?.entries() ?? []) {
      if (amount > 0) fit = Math.min(fit, Math.floor(((this.#free[k] ?? 0) + EPSILON) / amount));
    }
    return fit;
  }
}

function unit(length: number, at: number, value: number): Float64Array {
  const vector = new Float64Array(length);
  vector[at] = value;
  return vector;
}

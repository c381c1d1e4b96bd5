/**
 * Closes boards that a plan has opened: the emptiest first, each when all of its pods find room on the others,
 * straight or by pushing one smaller pod on to a third board. Bounded by looks; a board that cannot be closed stays
 * as it was. Pure.
 */
import { EPSILON } from './pack-fill.ts';
import type { Bin, Draft } from './packing.ts';

/** So many of the emptiest boards are tried, again after each success. */
const TRIES_MAX = 8;

interface Move {
  readonly shape: number;
  readonly from: number;
  readonly to: number;
}

export function closeBoards(draft: Draft, looksMax: number): void {
  const closing = new Closing(draft, looksMax);
  while (closing.closeOne()) {
    // Until none can be closed.
  }
}

class Closing {
  readonly #draft: Draft;
  /** By shape: the sum over all resources. */
  readonly #sizes: Float64Array;
  /** Boards in use but for the one that is to be closed. */
  #others: readonly Bin[] = [];
  #looksLeft: number;

  constructor(draft: Draft, looksMax: number) {
    const { resources, sizes, counts } = draft.stock;
    this.#draft = draft;
    this.#looksLeft = looksMax;
    this.#sizes = new Float64Array(counts.length);
    for (const [at, size] of sizes.entries()) {
      const shape = Math.floor(at / resources);
      this.#sizes[shape] = (this.#sizes[shape] ?? 0) + size;
    }
  }

  closeOne(): boolean {
    const { bins } = this.#draft;
    const emptiest = bins
      .filter(({ isOpen, index }) => !isOpen && this.#pods(index).length > 0)
      .map(({ index }) => ({ index, used: this.#usedIn(index) }))
      .sort((a, b) => a.used - b.used || a.index - b.index)
      .slice(0, TRIES_MAX);
    return emptiest.some(({ index }) => this.#close(index));
  }

  #close(index: number): boolean {
    const moves: Move[] = [];
    this.#others = this.#draft.bins.filter(
      (bin) => bin.index !== index && (bin.isOpen || this.#pods(bin.index).length > 0),
    );
    const pods = [...this.#pods(index)].sort((a, b) => this.#size(b) - this.#size(a) || a - b);
    for (const shape of pods) {
      if (this.#looksLeft <= 0 || !this.#moveAway(shape, index, moves)) {
        for (const move of moves.reverse()) this.#move(move.shape, move.to, move.from);
        return false;
      }
    }
    return true;
  }

  #moveAway(shape: number, from: number, moves: Move[]): boolean {
    const straight = this.#bestFor(shape, -1);
    if (straight !== undefined) {
      this.#record({ shape, from, to: straight }, moves);
      return true;
    }
    for (const bin of this.#others) {
      if (bin.takes[shape] !== 1) continue;
      for (const smaller of new Set(this.#pods(bin.index))) {
        if (this.#size(smaller) >= this.#size(shape)) continue;
        this.#looksLeft -= 1;
        if (!this.#fitsInsteadOf(shape, smaller, bin)) continue;
        const third = this.#bestFor(smaller, bin.index);
        if (third === undefined) continue;
        this.#record({ shape: smaller, from: bin.index, to: third }, moves);
        this.#record({ shape, from, to: bin.index }, moves);
        return true;
      }
      if (this.#looksLeft <= 0) return false;
    }
    return false;
  }

  /** The fullest board that can take it. */
  #bestFor(shape: number, not: number): number | undefined {
    let best: number | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const bin of this.#others) {
      if (!this.#fits(shape, bin) || bin.takes[shape] !== 1 || bin.index === not) continue;
      let room = 0;
      for (const free of bin.free) room += free;
      if (room < least) {
        least = room;
        best = bin.index;
      }
    }
    this.#looksLeft -= this.#draft.bins.length;
    return best;
  }

  #fits(shape: number, { free }: Bin): boolean {
    for (let k = 0; k < free.length; k += 1) {
      if (this.#sizeOf(shape, k) > (free[k] ?? 0) + EPSILON) return false;
    }
    return true;
  }

  #fitsInsteadOf(shape: number, other: number, { free }: Bin): boolean {
    for (let k = 0; k < free.length; k += 1) {
      if (this.#sizeOf(shape, k) > (free[k] ?? 0) + this.#sizeOf(other, k) + EPSILON) return false;
    }
    return true;
  }

  #record(move: Move, moves: Move[]): void {
    this.#move(move.shape, move.from, move.to);
    moves.push(move);
  }

  #move(shape: number, from: number, to: number): void {
    const source = this.#pods(from);
    source.splice(source.indexOf(shape), 1);
    this.#pods(to).push(shape);
    const [a, b] = [this.#draft.bins[from], this.#draft.bins[to]];
    for (let k = 0; k < this.#draft.stock.resources; k += 1) {
      const size = this.#sizeOf(shape, k);
      if (a !== undefined) a.free[k] = (a.free[k] ?? 0) + size;
      if (b !== undefined) b.free[k] = (b.free[k] ?? 0) - size;
    }
  }

  #pods(index: number): number[] {
    return this.#draft.patterns[index] ?? [];
  }

  #usedIn(index: number): number {
    return this.#pods(index).reduce((sum, shape) => sum + this.#size(shape), 0);
  }

  #size(shape: number): number {
    return this.#sizes[shape] ?? 0;
  }

  #sizeOf(shape: number, resource: number): number {
    const { sizes, resources } = this.#draft.stock;
    return sizes[shape * resources + resource] ?? 0;
  }
}

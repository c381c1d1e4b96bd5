/**
 * Packs a batch of pods onto boards as a whole, so that as few boards as possible are opened. Pure: the same input
 * gives the same plan, and the work is bounded by `looksMax`.
 *
 * Boards that hold pods already are filled first, the fullest first; then empty ones are opened one by one. Each is
 * filled from the whole stock (pack-fill.ts) instead of giving each pod its board in order of arrival. The whole
 * is done in several ways, until one opens as few boards as any plan must, and the best plan wins; if it opens more than that,
 * the emptiest of the opened boards are closed again where their pods find room elsewhere (pack-improve.ts).
 */
import {
  BoardFiller,
  EPSILON,
  type Fill,
  type FillMethod,
  type Pattern,
  type Stock,
  takeFromStock,
  weightsOf,
} from './pack-fill.ts';
import { closeBoards } from './pack-improve.ts';
import { PATTERN_SHAPES_MAX, patternsFor } from './pack-patterns.ts';

export interface PackShape {
  /** By resource, in any unit; the same unit as the boards'. */
  readonly size: readonly number[];
  readonly count: number;
  /** 1 for each board that may take it. Shapes that may go to the same boards share one array. */
  readonly eligible: Uint8Array;
}

export interface PackBoard {
  readonly free: readonly number[];
  /** It holds pods already. */
  readonly isOpen: boolean;
}

export interface PackOptions {
  /** Bounds the search: one look is one shape held against one place. */
  readonly looksMax: number;
}

/** By board: the shapes that it takes, with repetition. */
export type PackPlan = readonly Pattern[];

export interface Bin {
  readonly index: number;
  readonly isOpen: boolean;
  /** In boards of middle size. */
  readonly free: Float64Array;
  /** The shapes that it may take, the largest first, and the same as a bit per shape. */
  readonly shapes: readonly number[];
  readonly takes: Uint8Array;
}

export interface Draft {
  readonly bins: readonly Bin[];
  readonly stock: Stock;
  /** By bin: shapes, with repetition. */
  readonly patterns: number[][];
}

interface Method {
  readonly fill: FillMethod;
  /** How often which pattern is used is planned for all boards of the commonest kind first. */
  readonly byPatterns?: true;
}

const METHODS: readonly Method[] = [
  { fill: 'seeded' },
  { fill: 'wide' },
  { fill: 'greedy' },
  { fill: 'seeded', byPatterns: true },
  { fill: 'wide', byPatterns: true },
];
const FILL_STEPS_MAX = 500;
/** So many kinds of empty boards are tried for the next one to open. */
const KINDS_MAX = 8;
/** A kind that fills nearly as well as the best may be chosen for its size. */
const NEARLY = 0.05;

export function planPacking(
  shapes: readonly PackShape[],
  boards: readonly PackBoard[],
  { looksMax }: PackOptions,
): PackPlan {
  let best: Draft | undefined;
  const methods = methodsFor(shapes.length);
  const untouched = draftOf(shapes, boards);
  const least = leastOpened(untouched);
  for (const method of methods) {
    const draft = copyOf(untouched);
    construct(draft, method, looksMax / methods.length);
    if (best === undefined || isBetter(draft, best)) best = draft;
    if (unplacedIn(best) <= EPSILON && openedBy(best) <= least) return best.patterns;
  }
  if (best === undefined) return boards.map(() => []);
  closeBoards(best, looksMax);
  return best.patterns;
}

function methodsFor(shapes: number): readonly Method[] {
  // Replicas are the same to every method.
  if (shapes === 1) return METHODS.slice(0, 1);
  return METHODS.filter(({ byPatterns }) => shapes <= PATTERN_SHAPES_MAX || byPatterns !== true);
}

function draftOf(shapes: readonly PackShape[], boards: readonly PackBoard[]): Draft {
  const resources = shapes[0]?.size.length ?? 0;
  const unit = Array.from({ length: resources }, (_, k) => {
    const sum = boards.reduce((total, { free }) => total + Math.max(0, free[k] ?? 0), 0);
    return sum > 0 ? sum / boards.length : 1;
  });
  const inUnits = (amounts: readonly number[]): number[] =>
    unit.map((one, k) => (amounts[k] ?? 0) / one);
  const sizes = Float64Array.from(shapes.flatMap(({ size }) => inUnits(size)));
  const counts = Int32Array.from(shapes, ({ count }) => count);
  const demand = new Float64Array(resources);
  for (const [shape, { count }] of shapes.entries()) {
    for (let k = 0; k < resources; k += 1) {
      demand[k] = (demand[k] ?? 0) + count * (sizes[shape * resources + k] ?? 0);
    }
  }
  const rules = [...new Set(shapes.map(({ eligible }) => eligible))];
  const largest = Float64Array.from(shapes, (_, shape) => {
    let most = 0;
    for (let k = 0; k < resources; k += 1) {
      most = Math.max(most, sizes[shape * resources + k] ?? 0);
    }
    return most;
  });
  const bySize = [...shapes.keys()].sort((a, b) => (largest[b] ?? 0) - (largest[a] ?? 0) || a - b);
  const lists = new Map<string, Pick<Bin, 'shapes' | 'takes'>>();
  const bins = boards.map((board, index): Bin => {
    const open = rules.map((eligible) => eligible[index] ?? 0).join('');
    const known = lists.get(open);
    const list = known ?? listOf(shapes, bySize, index);
    if (known === undefined) lists.set(open, list);
    const free = Float64Array.from(inUnits(board.free));
    return { index, isOpen: board.isOpen, free, ...list };
  });
  const stock: Stock = { resources, sizes, counts, demand };
  return { bins, stock, patterns: boards.map(() => []) };
}

/** What a plan changes is copied, the rest is shared. */
function copyOf({ bins, stock }: Draft): Draft {
  return {
    bins: bins.map(
      ({ index, isOpen, free, shapes, takes }): Bin => ({
        index,
        isOpen,
        free: free.slice(),
        shapes,
        takes,
      }),
    ),
    stock: { ...stock, counts: stock.counts.slice(), demand: stock.demand.slice() },
    patterns: bins.map(() => []),
  };
}

function listOf(
  shapes: readonly PackShape[],
  bySize: readonly number[],
  board: number,
): Pick<Bin, 'shapes' | 'takes'> {
  const takes = Uint8Array.from(shapes, ({ eligible }) => eligible[board] ?? 0);
  return { takes, shapes: bySize.filter((shape) => takes[shape] === 1) };
}

function construct(draft: Draft, method: Method, looksMax: number): void {
  const { bins, stock } = draft;
  const filler = new BoardFiller(stock);
  let looksLeft = looksMax;
  const fill = (bin: Bin): Fill => {
    const shapes = Math.max(1, bin.shapes.length);
    const found = filler.fill(bin.free, bin.shapes, {
      method: looksLeft <= 0 ? 'greedy' : method.fill,
      stepsMax: Math.min(FILL_STEPS_MAX, Math.max(1, looksLeft / shapes)),
    });
    looksLeft -= found.steps * shapes;
    return found;
  };
  const weights = weightsOf(stock.demand, 1);
  const roomIn = ({ free }: Bin): number => {
    let room = 0;
    for (let k = 0; k < free.length; k += 1) room += (free[k] ?? 0) * (weights[k] ?? 0);
    return room;
  };
  const opened = bins
    .filter(({ isOpen }) => isOpen)
    .map((bin) => ({ bin, room: roomIn(bin) }))
    .sort((a, b) => a.room - b.room);
  for (const { bin } of opened) apply(draft, bin, fill(bin).pattern);
  const kinds = kindsOf(bins.filter(({ isOpen }) => !isOpen));
  if (method.byPatterns === true) usePatterns(draft, kinds);
  while (stock.counts.some((count) => count > 0)) {
    const kind = kindToOpen(kinds, fill, roomIn);
    if (kind === undefined) return;
    // The same pattern fills the next board of the kind as well, while the stock lasts.
    while (kind.bins.length > 0 && isInStock(stock, kind.pattern)) {
      const bin = kind.bins.shift();
      if (bin !== undefined) apply(draft, bin, kind.pattern);
    }
  }
}

/** Whole uses only; the rest is filled board by board. */
function usePatterns(draft: Draft, kinds: readonly Bin[][]): void {
  const { stock } = draft;
  const commonest = kinds.reduce<Bin[]>((a, b) => (b.length > a.length ? b : a), []);
  const [first] = commonest;
  if (first === undefined) return;
  for (const { pattern, times } of patternsFor(stock, first.free, first.shapes)) {
    for (let left = Math.floor(times + EPSILON); left > 0; left -= 1) {
      const bin = isInStock(stock, pattern) ? commonest.shift() : undefined;
      if (bin === undefined) break;
      apply(draft, bin, pattern);
    }
  }
}

/** Empty boards that look the same, in order of their index. */
function kindsOf(bins: readonly Bin[]): Bin[][] {
  /** Boards that may take the same shapes share their list of them. */
  const byShapes = new Map<readonly number[], Map<string, Bin[]>>();
  for (const bin of bins) {
    const kinds = byShapes.get(bin.shapes) ?? new Map<string, Bin[]>();
    byShapes.set(bin.shapes, kinds);
    const key = bin.free.join(' ');
    const known = kinds.get(key);
    if (known === undefined) kinds.set(key, [bin]);
    else known.push(bin);
  }
  return [...byShapes.values()].flatMap((kinds) => [...kinds.values()]);
}

function kindToOpen(
  kinds: readonly Bin[][],
  fill: (bin: Bin) => Fill,
  roomIn: (bin: Bin) => number,
): { readonly bins: Bin[]; readonly pattern: Pattern } | undefined {
  const tried = kinds
    .flatMap((bins) => {
      const [first] = bins;
      return first === undefined ? [] : [{ bins, first, room: roomIn(first) }];
    })
    .sort((a, b) => b.room - a.room || a.first.index - b.first.index)
    .slice(0, KINDS_MAX)
    .map(({ bins, first, room }) => {
      const { pattern, slack } = fill(first);
      return { bins, pattern, room, waste: room > 0 ? slack / room : 1 };
    })
    .filter(({ pattern }) => pattern.length > 0);
  const least = tried.reduce((waste, one) => Math.min(waste, one.waste), Number.POSITIVE_INFINITY);
  // Of those that fill well, the largest: fewer boards. They are sorted by size.
  return tried.find(({ waste }) => waste <= least + NEARLY);
}

function isInStock({ counts }: Stock, pattern: Pattern): boolean {
  const needed = new Map<number, number>();
  for (const shape of pattern) needed.set(shape, (needed.get(shape) ?? 0) + 1);
  return [...needed].every(([shape, times]) => (counts[shape] ?? 0) >= times);
}

function apply({ stock, patterns }: Draft, bin: Bin, pattern: Pattern): void {
  for (const shape of pattern) {
    takeFromStock(stock, shape, 1);
    for (let k = 0; k < stock.resources; k += 1) {
      bin.free[k] = (bin.free[k] ?? 0) - (stock.sizes[shape * stock.resources + k] ?? 0);
    }
    patterns[bin.index]?.push(shape);
  }
}

/**
 * More placed, then fewer boards opened, then less room left on the boards in use, then that room in larger pieces: the
 * next batch can use it.
 */
function isBetter(a: Draft, b: Draft): boolean {
  const placed = unplacedIn(a) - unplacedIn(b);
  if (Math.abs(placed) > EPSILON) return placed < 0;
  const opened = openedBy(a) - openedBy(b);
  if (opened !== 0) return opened < 0;
  const room = roomLeftIn(a, 1) - roomLeftIn(b, 1);
  if (Math.abs(room) > EPSILON) return room < 0;
  return roomLeftIn(a, 2) > roomLeftIn(b, 2);
}

/**
 * The lower bound of the boards that a plan opens when it places everything: what the boards in use have no room for, on the
 * largest empty ones, for each resource on its own.
 */
function leastOpened({ bins, stock }: Draft): number {
  let least = 0;
  for (const [k, demand] of stock.demand.entries()) {
    let left = demand;
    const rooms: number[] = [];
    for (const { isOpen, free } of bins) {
      const room = Math.max(0, free[k] ?? 0);
      if (isOpen) left -= room;
      else rooms.push(room);
    }
    rooms.sort((a, b) => b - a);
    let opened = 0;
    for (; left > EPSILON && opened < rooms.length; opened += 1) left -= rooms[opened] ?? 0;
    least = Math.max(least, opened);
  }
  return least;
}

function unplacedIn({ stock }: Draft): number {
  return stock.demand.reduce((x, y) => x + y, 0);
}

function isUsed({ patterns }: Draft, { isOpen, index }: Bin): boolean {
  return isOpen || (patterns[index] ?? []).length > 0;
}

/** Of the boards in use; each amount raised to `power`. */
function roomLeftIn(draft: Draft, power: number): number {
  let sum = 0;
  for (const bin of draft.bins) {
    if (!isUsed(draft, bin)) continue;
    for (const room of bin.free) sum += power === 1 ? room : room ** power;
  }
  return sum;
}

function openedBy(draft: Draft): number {
  return draft.bins.filter((bin) => !bin.isOpen && isUsed(draft, bin)).length;
}

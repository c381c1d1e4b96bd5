/**
 * Packing: how many boards a mix takes, by our decisions and by the known rules beside them, and how full a cluster is when
 * the first pod fits nowhere. The peers are written down here as their sources define them; ours is the real code.
 *
 * Sources: kube-scheduler's NodeResourcesFit (LeastAllocated, MostAllocated: mean over cpu and memory of the share
 * free or used with the pod); Panigrahy, Talwar, Uyeda, Wieder, "Heuristics for Vector Bin Packing" (dot product, L2).
 */
import { scheduleBatch } from '../master/scheduler/batch.ts';
import { schedule } from '../master/scheduler/schedule.ts';
import type { ClusterSnapshot } from '../master/scheduler/snapshot.ts';
import { type Json, printTable, round, say } from './benchmark.ts';
import {
  boardsUsed,
  clusterOf,
  compileAll,
  generator,
  instances,
  type Mix,
  randomMix,
  readBoards,
  readTrace,
  type Size,
} from './scheduler-mixes.ts';

interface Bin {
  readonly size: Size;
  cpu: number;
  memory: number;
}

/** Higher is better; the first of equals wins. */
type Rule = (bin: Bin, pod: Size) => number;

const share = (used: number, size: number): number => used / size;
const usedWith: Rule = (bin, [cpu, memory]) =>
  share(bin.cpu + cpu, bin.size[0]) + share(bin.memory + memory, bin.size[1]);

const RULES: Readonly<Record<string, Rule>> = {
  'first fit': () => 0,
  MostAllocated: usedWith,
  LeastAllocated: (bin, pod) => -usedWith(bin, pod),
  // Best fit by the larger of the two shares that stay free.
  'best fit': (bin, [cpu, memory]) =>
    -Math.max(
      share(bin.size[0] - bin.cpu - cpu, bin.size[0]),
      share(bin.size[1] - bin.memory - memory, bin.size[1]),
    ),
  'dot product': (bin, [cpu, memory]) =>
    share(cpu, bin.size[0]) * share(bin.size[0] - bin.cpu, bin.size[0]) +
    share(memory, bin.size[1]) * share(bin.size[1] - bin.memory, bin.size[1]),
};
/** They take any open board before they open another; LeastAllocated by its nature does not. */
const OPENING = ['first fit', 'MostAllocated', 'best fit', 'dot product'];

function fits(bin: Bin, [cpu, memory]: Size): boolean {
  return bin.cpu + cpu <= bin.size[0] && bin.memory + memory <= bin.size[1];
}

function choose(bins: readonly Bin[], pod: Size, rule: Rule): Bin | undefined {
  let best: Bin | undefined;
  let highest = Number.NEGATIVE_INFINITY;
  for (const bin of bins) {
    if (!fits(bin, pod)) continue;
    const score = rule(bin, pod);
    if (score > highest) {
      highest = score;
      best = bin;
    }
  }
  return best;
}

function put(bin: Bin, [cpu, memory]: Size): void {
  bin.cpu += cpu;
  bin.memory += memory;
}

/** Boards opened when each pod goes, in order of arrival, to the board that the rule likes best. */
function online({ pods, board }: Mix, rule: Rule): number {
  const bins: Bin[] = [];
  for (const pod of pods) {
    let bin = choose(bins, pod, rule);
    if (bin === undefined) {
      bin = { size: board, cpu: 0, memory: 0 };
      bins.push(bin);
    }
    put(bin, pod);
  }
  return bins.length;
}

/** Board by board: always the pod that the rule likes best for what is free, weighted by what still waits. */
function binCentric({ pods, board }: Mix, kind: 'dot' | 'l2'): number {
  const waiting = new Map<string, { size: Size; count: number }>();
  const demand: [number, number] = [0, 0];
  for (const size of pods) {
    const known = waiting.get(size.join());
    if (known === undefined) waiting.set(size.join(), { size, count: 1 });
    else known.count += 1;
    demand[0] += size[0] / board[0];
    demand[1] += size[1] / board[1];
  }
  let bins = 0;
  for (let left = pods.length; left > 0; bins += 1) {
    const free: [number, number] = [1, 1];
    for (;;) {
      let best: { size: Size; count: number } | undefined;
      let highest = Number.NEGATIVE_INFINITY;
      for (const one of waiting.values()) {
        const [cpu, memory] = [one.size[0] / board[0], one.size[1] / board[1]];
        if (one.count === 0 || cpu > free[0] + 1e-9 || memory > free[1] + 1e-9) continue;
        const score =
          kind === 'dot'
            ? demand[0] * cpu * free[0] + demand[1] * memory * free[1]
            : -(demand[0] * (free[0] - cpu) ** 2 + demand[1] * (free[1] - memory) ** 2);
        if (score > highest) {
          highest = score;
          best = one;
        }
      }
      if (best === undefined) break;
      best.count -= 1;
      left -= 1;
      for (const k of [0, 1] as const) {
        free[k] -= best.size[k] / board[k];
        demand[k] -= best.size[k] / board[k];
      }
    }
  }
  return bins;
}

/** No packing takes fewer: the sum of each resource. */
function lowerBound({ pods, board }: Mix): number {
  const sum = (k: 0 | 1): number => pods.reduce((total, size) => total + size[k], 0) / board[k];
  return Math.ceil(Math.max(sum(0), sum(1)) - 1e-9);
}

function emptyCluster({ pods, board }: Mix): ClusterSnapshot {
  // More than any rule needs; a pod on a board of its own would be the worst.
  const boards = Math.min(pods.length, 2 * lowerBound({ name: '', pods, board }) + 10);
  return clusterOf(Array.from({ length: boards }, () => board));
}

function oursOnline(mix: Mix): number {
  const snapshot = emptyCluster(mix);
  for (const pod of compileAll(snapshot, mix.pods)) {
    const decision = schedule(pod, snapshot);
    if (!('node' in decision)) throw new Error(decision.unschedulable);
    snapshot.assume(pod, decision.node);
  }
  return boardsUsed(snapshot);
}

function oursBatch(mix: Mix, size: number): { boards: number; ms: number } {
  const snapshot = emptyCluster(mix);
  const pods = compileAll(snapshot, mix.pods);
  const startMs = performance.now();
  for (let at = 0; at < pods.length; at += size) {
    for (const { decision } of scheduleBatch(pods.slice(at, at + size), snapshot)) {
      if (!('node' in decision)) throw new Error(decision.unschedulable);
    }
  }
  return { boards: boardsUsed(snapshot), ms: performance.now() - startMs };
}

/** The largest first; never more than 11/9 of the best in one dimension. */
function firstFitDecreasing({ name, pods, board }: Mix): number {
  const size = ([cpu, memory]: Size): number => Math.max(cpu / board[0], memory / board[1]);
  const sorted = [...pods].sort((a, b) => size(b) - size(a));
  return online({ name, board, pods: sorted }, () => 0);
}

/** The fewest boards that a known rule takes. */
function bestKnown(mix: Mix): number {
  return Math.min(
    ...OPENING.map((name) => online(mix, RULES[name] ?? usedWith)),
    firstFitDecreasing(mix),
    binCentric(mix, 'dot'),
    binCentric(mix, 'l2'),
  );
}

/** Whether the figures above hold elsewhere: a batch beside the best known rule, mix by mix. */
export function randomMixes(count: number): Json {
  const results = { mixes: count, fewer: 0, equal: 0, 'of these at the bound': 0, more: 0 };
  let boards = 0;
  let known = 0;
  const worse: string[] = [];
  for (let seed = 1; seed <= count; seed += 1) {
    const mix = randomMix(seed);
    const [ours, best] = [oursBatch(mix, mix.pods.length).boards, bestKnown(mix)];
    boards += ours;
    known += best;
    if (ours < best) results.fewer += 1;
    if (ours === best) results.equal += 1;
    if (ours === best && ours === lowerBound(mix)) results['of these at the bound'] += 1;
    if (ours <= best) continue;
    results.more += 1;
    worse.push(`${mix.name}: ${ours}, not ${best}`);
  }
  const all = { ...results, boards, 'best known': known };
  process.stdout.write('\na batch beside the best known rule, on random mixes\n');
  printTable([Object.keys(all), Object.values(all)]);
  if (worse.length > 0) process.stdout.write(`${worse.join('\n')}\n`);
  return { ...all, worse };
}

const BATCH = 500;

export function boardsOpened(folder: string): Json {
  const results = instances(folder).map((mix) => {
    say(`packing ${mix.name}: ${mix.pods.length} pods`);
    const peers = Object.fromEntries(
      OPENING.map((name) => [name, online(mix, RULES[name] ?? usedWith)]),
    );
    const whole = oursBatch(mix, mix.pods.length);
    return {
      mix: mix.name,
      pods: mix.pods.length,
      lowerBound: lowerBound(mix),
      ...peers,
      'first fit decreasing': firstFitDecreasing(mix),
      'bin-centric dot': binCentric(mix, 'dot'),
      'bin-centric L2': binCentric(mix, 'l2'),
      'ours online': oursOnline(mix),
      [`ours by ${BATCH}`]: oursBatch(mix, BATCH).boards,
      'ours whole': whole.boards,
      'whole ms': round(whole.ms, 0),
    };
  });
  const head = Object.keys(results[0] ?? {});
  process.stdout.write('boards that each mix takes\n');
  printTable([head, ...results.map((row) => Object.values(row))]);
  return results;
}

/** The trace again and again, shuffled, until the first pod that fits nowhere on the boards of the trace. */
export function firstRefusal(folder: string): Json {
  const boards = readBoards(folder);
  const largest: Size = [
    boards.reduce((max, [cpu]) => Math.max(max, cpu), 0),
    boards.reduce((max, [, memory]) => Math.max(max, memory), 0),
  ];
  const pods = readTrace(folder, 'default').pods.filter(
    ([cpu, memory]) => cpu <= largest[0] && memory <= largest[1],
  );
  const rounds = [1, 2, 3].map((seed) => endless(pods, seed));
  const rows = [...Object.keys(RULES), 'ours online'].map((name) => {
    say(`first refusal: ${name}`);
    const shares = rounds.map((next) => fillUntilRefused(name, boards, next()));
    const mean = (pick: (one: Filled) => number): number =>
      round(shares.reduce((sum, one) => sum + pick(one), 0) / shares.length, 1);
    return {
      rule: name,
      'pods placed': mean((one) => one.pods),
      'cpu %': mean((one) => one.cpu),
      'memory %': mean((one) => one.memory),
      'boards after 4000 pods': mean((one) => one.boardsThen),
    };
  });
  process.stdout.write(
    `\n${boards.length} boards of the trace, until the first pod fits nowhere\n`,
  );
  printTable([Object.keys(rows[0] ?? {}), ...rows.map((row) => Object.values(row))]);
  return rows;
}

interface Filled {
  readonly pods: number;
  readonly cpu: number;
  readonly memory: number;
  /** Boards in use when MEASURED_AT pods were placed. */
  readonly boardsThen: number;
}

/** The pods of the trace in a random order, endlessly; the same for every rule. */
function endless(pods: readonly Size[], seed: number): () => () => Size {
  return () => {
    const random = generator(seed);
    return () => pods[Math.floor(random() * pods.length)] ?? [0, 0];
  };
}

function fillUntilRefused(name: string, boards: readonly Size[], next: () => Size): Filled {
  const rule = RULES[name];
  const bins = boards.map((size): Bin => ({ size, cpu: 0, memory: 0 }));
  const snapshot = rule === undefined ? clusterOf(boards) : undefined;
  let boardsThen = 0;
  for (let placed = 0; ; placed += 1) {
    if (placed === MEASURED_AT) boardsThen = bins.filter(({ cpu }) => cpu > 0).length;
    const size = next();
    const bin = rule === undefined ? ours(snapshot, bins, placed, size) : choose(bins, size, rule);
    if (bin === undefined) {
      const total = (pick: (one: Bin) => number): number =>
        bins.reduce((sum, one) => sum + pick(one), 0);
      return {
        pods: placed,
        cpu: (100 * total((one) => one.cpu)) / total((one) => one.size[0]),
        memory: (100 * total((one) => one.memory)) / total((one) => one.size[1]),
        boardsThen,
      };
    }
    put(bin, size);
  }
}

const MEASURED_AT = 4_000;

function ours(
  snapshot: ClusterSnapshot | undefined,
  bins: readonly Bin[],
  index: number,
  size: Size,
): Bin | undefined {
  if (snapshot === undefined) return undefined;
  const [pod] = compileAll(snapshot, [size]);
  if (pod === undefined) return undefined;
  const decision = schedule(pod, snapshot);
  if (!('node' in decision)) return undefined;
  snapshot.assume({ ...pod, uid: `uid-${index}`, key: `default/pod-${index}` }, decision.node);
  return bins[snapshot.node(decision.node)?.slot ?? -1];
}

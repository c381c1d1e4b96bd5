/** Batches: what a plan may never do, and what it is for. */
import fc from 'fast-check';
import t from 'tap';
import { scheduleBatch } from '../../../master/scheduler/batch.ts';
import { patternsFor } from '../../../master/scheduler/pack-patterns.ts';
import { type PackBoard, type PackShape, planPacking } from '../../../master/scheduler/packing.ts';
import { compilePod, type PodInfo } from '../../../master/scheduler/pod-info.ts';
import { schedule } from '../../../master/scheduler/schedule.ts';
import type { ClusterSnapshot } from '../../../master/scheduler/snapshot.ts';
import type { Node, PodSpec } from '../../../protocol/kinds/types.ts';
import { node, pod, snapshotOf } from './objects.ts';

const all = (boards: number): Uint8Array => new Uint8Array(boards).fill(1);
const empty = (count: number, free: number[]): PackBoard[] =>
  Array.from({ length: count }, () => ({ free, isOpen: false }));
const opened = (plan: readonly (readonly number[])[]): number =>
  plan.filter((pattern) => pattern.length > 0).length;

t.test('a plan finds the packing that greedy ways miss', async (t) => {
  // In tenths of a board: 5+3+2 and 4+4+2 fill; largest first would leave 5+4 and 4+3+2.
  const shapes = [5, 4, 3, 2].map(
    (size, at): PackShape => ({
      size: [size],
      count: at === 0 || at === 2 ? 1 : 2,
      eligible: all(3),
    }),
  );
  t.equal(opened(planPacking(shapes, empty(3, [10]), { looksMax: 10_000 })), 2);
  t.same(planPacking([], empty(2, []), { looksMax: 10 }), [[], []], 'nothing to place');
  const unfit: PackShape[] = [{ size: [11], count: 1, eligible: all(1) }];
  t.equal(opened(planPacking(unfit, empty(1, [10]), { looksMax: 10 })), 0, 'too large for any');
});

/** Pods of few templates, in hundredths of a board; the same in every run. */
function templates(seed: number): { shapes: PackShape[]; boards: number } {
  let state = seed * 7_919;
  const next = (max: number): number => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return 1 + (Math.floor(state / 65_536) % max);
  };
  const made = Array.from({ length: 3 + (seed % 6) }, () => ({
    size: [next(60), next(60)],
    count: 10 + next(60),
  }));
  const boards = made.reduce((sum, { count }) => sum + count, 0);
  return { boards, shapes: made.map((shape) => ({ ...shape, eligible: all(boards) })) };
}

t.test('of few templates no more boards are opened than by first fit decreasing', async (t) => {
  let fewer = 0;
  for (let seed = 1; seed <= 30; seed += 1) {
    const { shapes, boards } = templates(seed);
    const largest = ({ size }: PackShape): number => Math.max(...size);
    const bins: number[][] = [];
    for (const { size, count } of [...shapes].sort((a, b) => largest(b) - largest(a))) {
      for (let left = count; left > 0; left -= 1) {
        const fits = (bin: number[]): boolean => size.every((amount, k) => amount <= (bin[k] ?? 0));
        const bin = bins.find(fits) ?? bins[bins.push([100, 100]) - 1];
        for (const [k, amount] of size.entries()) if (bin) bin[k] = (bin[k] ?? 0) - amount;
      }
    }
    const plan = planPacking(shapes, empty(boards, [100, 100]), { looksMax: 400_000 });
    t.equal(plan.flat().length, boards, 'all are placed');
    t.ok(opened(plan) <= bins.length, `seed ${seed}: ${opened(plan)}, not over ${bins.length}`);
    if (opened(plan) < bins.length) fewer += 1;
  }
  t.ok(fewer >= 10, `fewer on ${fewer} of 30`);
});

t.test(
  'the program for patterns covers all pods, and at their price no pattern is cheaper',
  async (t) => {
    // Thirds and halves of a board: 2 thirds and 3 halves would be wrong in either order.
    const sizes = Float64Array.from([0.5, 0.34, 0.16, 2]);
    const counts = Int32Array.from([10, 20, 20, 1]);
    const demand = Float64Array.from([17]);
    const stock = { resources: 1, sizes, largest: sizes, counts, demand };
    const uses = patternsFor(stock, Float64Array.from([1]), [0, 1, 2, 3]);
    const covered = [0, 0, 0, 0];
    for (const { pattern, times } of uses) {
      for (const shape of pattern) covered[shape] = (covered[shape] ?? 0) + times;
      const room = pattern.reduce((sum, shape) => sum + (sizes[shape] ?? 0), 0);
      t.ok(room <= 1 + 1e-9, pattern.join(' '));
    }
    for (const [shape, count] of [10, 20, 20, 0].entries()) {
      t.ok(Math.abs((covered[shape] ?? 0) - count) < 1e-6, `shape ${shape}: ${covered[shape]}`);
    }
    const boards = uses.reduce((sum, { times }) => sum + times, 0);
    t.ok(
      Math.abs(boards - 15) < 0.05,
      `${boards} boards: 10 of 0.5+0.34+0.16, 5 of two thirds and two sixths`,
    );
  },
);

t.test('boards with pods come before empty ones, the fullest first', async (t) => {
  const shapes: PackShape[] = [{ size: [2], count: 2, eligible: all(3) }];
  const boards: PackBoard[] = [
    { free: [10], isOpen: false },
    { free: [8], isOpen: true },
    { free: [3], isOpen: true },
  ];
  t.same(planPacking(shapes, boards, { looksMax: 1_000 }), [[], [0], [0]]);
});

t.test('a large board is opened when much waits, a small one for a little', async (t) => {
  const boards: PackBoard[] = [
    { free: [8], isOpen: false },
    { free: [2], isOpen: false },
  ];
  const waiting = (count: number): PackShape[] => [{ size: [1], count, eligible: all(2) }];
  t.same(planPacking(waiting(2), boards, { looksMax: 1_000 }), [[], [0, 0]]);
  t.equal(opened(planPacking(waiting(8), boards, { looksMax: 1_000 })), 1);
});

t.test('no plan overfills a board or takes one that is not eligible', async (t) => {
  const amounts = fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 9 }));
  const shapes = fc.array(fc.tuple(amounts, fc.integer({ min: 1, max: 6 }), fc.nat()), {
    maxLength: 6,
  });
  const boards = fc.array(fc.tuple(amounts, fc.boolean()), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(shapes, boards, fc.integer({ min: 1, max: 500 }), (some, those, looksMax) => {
      const list = some.map(
        ([size, count, mask]): PackShape => ({
          size,
          count,
          eligible: Uint8Array.from(those, (_, at) => (mask >> at) & 1),
        }),
      );
      const plan = planPacking(
        list,
        those.map(([free, isOpen]) => ({ free, isOpen })),
        { looksMax },
      );
      const used = list.map(() => 0);
      for (const [at, pattern] of plan.entries()) {
        const sum = [0, 0];
        for (const shape of pattern) {
          used[shape] = (used[shape] ?? 0) + 1;
          if (list[shape]?.eligible[at] !== 1) throw new Error('not eligible');
          for (const k of [0, 1]) sum[k] = (sum[k] ?? 0) + (list[shape]?.size[k] ?? 0);
        }
        const free = those[at]?.[0] ?? [0, 0];
        if ((sum[0] ?? 0) > free[0] || (sum[1] ?? 0) > free[1]) throw new Error('overfilled');
      }
      if (used.some((count, shape) => count > (list[shape]?.count ?? 0))) throw new Error('twice');
    }),
    { numRuns: 300 },
  );
  t.pass();
});

/** A small generator, so that the mixes are the same in every run. */
function mixOf(seed: number, count: number): { cpu: string; memory: string }[] {
  let state = seed;
  const next = (max: number): number => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return 1 + (state % max);
  };
  return Array.from({ length: count }, () => ({
    cpu: `${100 * next(22)}m`,
    memory: `${128 * next(20)}Mi`,
  }));
}

function boardsUsed(snapshot: ClusterSnapshot): number {
  return snapshot.nodes.filter(({ pods }) => pods.size > 0).length;
}

t.test('a batch takes fewer boards than one by one, on mixes of many kinds', async (t) => {
  let together = 0;
  let apart = 0;
  for (let seed = 1; seed <= 12; seed += 1) {
    const boards = Array.from({ length: 80 }, (_, index) => node(`n${index}`));
    const both = [snapshotOf(boards), snapshotOf(boards)] as const;
    const infos = (snapshot: ClusterSnapshot): PodInfo[] =>
      mixOf(seed, 100).map((size, at) => compilePod(pod(`p${at}`, size), snapshot.resources));
    const placed = scheduleBatch(infos(both[0]), both[0]);
    if (placed.some(({ decision }) => !('node' in decision))) t.fail('a pod has no board');
    for (const info of infos(both[1])) {
      const decision = schedule(info, both[1]);
      if ('node' in decision) both[1].assume(info, decision.node);
    }
    together += boardsUsed(both[0]);
    apart += boardsUsed(both[1]);
  }
  t.ok(together < apart * 0.97, `${together} boards, not ${apart}`);
});

t.test(
  'a batch keeps priorities, rules and what is assumed for pods that ask nothing',
  async (t) => {
    const one = snapshotOf([node('a', { cpu: '2' })]);
    const compile = (
      snapshot: ClusterSnapshot,
      name: string,
      requests: Record<string, string>,
      spec: Partial<PodSpec> = {},
    ): PodInfo => compilePod(pod(name, requests, spec, { app: 'x' }), snapshot.resources);
    const names = (placed: ReturnType<typeof scheduleBatch>): string[] =>
      placed.filter(({ decision }) => 'node' in decision).map(({ pod: { name } }) => name);
    const scarce = [
      compile(one, 'big', { cpu: '2' }),
      compile(one, 'vital1', { cpu: '1' }, { priority: 9 }),
      compile(one, 'vital2', { cpu: '500m' }, { priority: 9 }),
    ];
    t.same(names(scheduleBatch(scarce, one)).sort(), ['vital1', 'vital2'], 'the higher priority');
    const two: Node[] = [node('a'), node('b')];
    const apart: Partial<PodSpec> = {
      affinity: {
        podAntiAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [
            { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: { app: 'x' } } },
          ],
        },
      },
    };
    const ruled = snapshotOf(two);
    const lone = [compile(ruled, 'p', {}, apart), compile(ruled, 'q', {}, apart)];
    const places = scheduleBatch(lone, ruled).map(({ decision }) => decision);
    t.same(places.map((place) => ('node' in place ? place.node : '')).sort(), ['a', 'b']);
    const idle = snapshotOf([node('a', { memory: '1Gi' }), node('b', { memory: '1Gi' })]);
    const eager = Array.from({ length: 24 }, (_, at) => compile(idle, `e${at}`, {}));
    t.equal(names(scheduleBatch(eager, idle)).length, 24, 'pods that ask for nothing fit');
    t.same(
      idle.nodes.map(({ pods }) => pods.size),
      [12, 12],
      'and do not all lie on one board',
    );
  },
);

/**
 * Tests the test: each bug that is planted in the product must be caught by the simulation. `seed` is the one that shows it
 * soonest; should the simulation change, one of the next ones does. PIER_BUG: only those with this in their name.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { Planted } from './bundle.ts';
import { bundleWorker, runSeeds } from './cluster/workers.ts';

interface Bug {
  readonly name: string;
  readonly seed: number;
  /** What the simulation has to say of it. */
  readonly finds: RegExp;
  readonly planted: readonly Planted[];
}

const bugs: readonly Bug[] = [
  {
    name: 'the scheduler does not look at capacity',
    seed: 9,
    finds: /which is full/,
    planted: [
      {
        file: 'master/scheduler/filters.ts',
        from: 'if (amount <= free) continue;',
        to: 'if (amount >= 0 || free) continue;',
      },
    ],
  },
  {
    name: 'a bound pod is bound again',
    seed: 1,
    finds: /moved from/,
    planted: [
      {
        file: 'master/api/pod-subresources.ts',
        from: "if (spec.nodeName !== undefined && spec.nodeName !== '') {",
        to: 'if (spec.nodeName === name) {',
      },
      {
        file: 'master/scheduler/scheduler.ts',
        from: 'await this.#writes.bind(object, pod, nodeName);',
        to: "for (const name of [nodeName, 'board-1']) await this.#writes.bind(object, pod, name);",
      },
    ],
  },
  {
    name: 'Recreate does not wait',
    seed: 26,
    finds: /\(Recreate\)/,
    planted: [
      {
        file: 'master/controllers/deployment.ts',
        from: 'if (oldSets.some(mayHavePods) || hasOldPods(view, newSet)) return { actions: [] };',
        to: 'void hasOldPods; void mayHavePods;',
      },
    ],
  },
  {
    name: 'maxUnavailable is ignored',
    seed: 77,
    finds: /may be missing/,
    planted: [
      {
        file: 'master/controllers/deployment-rollout.ts',
        from: 'const minAvailable = limits.replicas - limits.maxUnavailable;',
        to: 'const minAvailable = 0;',
      },
    ],
  },
  {
    name: 'maxSurge is exceeded by one',
    seed: 7,
    finds: /replicas in all/,
    planted: [
      {
        file: 'master/controllers/deployment-rollout.ts',
        from: 'const room = replicas + maxSurge - total;',
        to: 'const room = replicas + maxSurge + 1 - total;',
      },
    ],
  },
  {
    name: 'controllers do not wait for their caches',
    seed: 1,
    finds: /which has \d+ replicas|parallelism/,
    planted: [
      {
        file: 'master/controllers/runner.ts',
        from: 'if (unmet && waiting.looksLeft > 0) return true;',
        to: '',
      },
    ],
  },
  {
    name: 'a StatefulSet does not wait for the pod before',
    seed: 9,
    finds: /\(OrderedReady\)/,
    planted: [
      {
        file: 'master/controllers/statefulset.ts',
        from: "isOrdered: set.spec?.podManagementPolicy !== 'Parallel',",
        to: 'isOrdered: false,',
      },
    ],
  },
  {
    name: 'pods of a silent board are taken for gone',
    seed: 20,
    finds: /runs twice/,
    planted: [
      {
        file: 'master/controllers/node-lifecycle.ts',
        from: "    uid: uid ?? '',\n    announce: {",
        to: "    uid: uid ?? '',\n    options: { gracePeriodSeconds: 0 },\n    announce: {",
      },
    ],
  },
  {
    name: 'everything moves when most boards are gone',
    seed: 95,
    finds: /while most boards are gone/,
    planted: [
      {
        file: 'master/controllers/node-lifecycle.ts',
        from: 'haltAboveShare: 0.5,',
        to: 'haltAboveShare: 1,',
      },
    ],
  },
  {
    name: 'the garbage collector takes living owners for gone',
    seed: 4,
    finds: /though its owner lives/,
    planted: [
      {
        file: 'master/controllers/garbage.ts',
        from: '(owner) => owner.id !== undefined && owner.object === undefined',
        to: '(owner) => owner.id !== undefined',
      },
      {
        file: 'master/controllers/execute.ts',
        from: 'for (const owner of action.unlessExists ?? []) {',
        to: 'for (const owner of [] as never[]) {',
      },
    ],
  },
  {
    name: 'what lost its owner stays',
    seed: 6,
    finds: /is an orphan of/,
    planted: [
      {
        file: 'master/controllers/garbage.ts',
        from: 'if (gone.length === view.owners.length) {',
        to: 'if (gone.length > view.owners.length) {',
      },
    ],
  },
  {
    name: 'an eviction does not ask the budget',
    seed: 12,
    finds: /the budget wants/,
    planted: [
      {
        file: 'master/api/eviction.ts',
        from: 'if (allowed === 0) throw',
        to: 'if (allowed < 0) throw',
      },
    ],
  },
  {
    name: 'a write is acknowledged before it is durable',
    seed: 8,
    finds: /acknowledged|came back at revision|did not start/,
    planted: [
      {
        file: 'master/store/log.ts',
        from: 'await writeFully(this.#file, data, this.#offset - rewrite.length);',
        to: 'void writeFully(this.#file, data, this.#offset - rewrite.length).catch(() => {});',
      },
    ],
  },
  {
    name: 'a board obeys an older manifest',
    seed: 93,
    finds: /which nobody has deleted/,
    planted: [
      {
        file: 'agent/state/accept.ts',
        from: 'if (order < 0) {',
        to: 'if (order < -Infinity) {',
      },
    ],
  },
];

const MINUTES = 4;
const SEEDS_MAX = 40;
const TIME_MAX_MS = 400_000;

t.setTimeout(TIME_MAX_MS + 30_000);

t.test(`each of ${bugs.length} planted bugs is caught`, { timeout: TIME_MAX_MS }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'pier-cluster-bugs-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const queue = bugs.filter(({ name }) => name.includes(process.env.PIER_BUG ?? '')).entries();
  const thread = async (): Promise<void> => {
    for (const [number, { name, seed, finds, planted }] of queue) {
      const program = join(folder, `${number}.mjs`);
      await bundleWorker(program, planted);
      const startMs = performance.now();
      let caught: string | undefined;
      await runSeeds({
        program,
        seeds: Array.from({ length: SEEDS_MAX }, (_, at) => seed + at),
        minutes: MINUTES,
        threads: 1,
        onResult: (result) => {
          if (result.failure === undefined) return false;
          caught = `seed ${result.seed} ${result.failure}`;
          return true;
        },
      });
      const ms = Math.round(performance.now() - startMs);
      t.match(caught, finds, `${name}: ${caught?.slice(0, 160) ?? 'NOT CAUGHT'} (${ms} ms)`);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, thread));
});

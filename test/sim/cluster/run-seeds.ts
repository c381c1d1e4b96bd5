/** Runs seeds as a test: a failure comes with its history and with the way to see it again. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { bundleWorker, runSeeds } from './workers.ts';

/** The end of a history is what explains a failure; all of it is printed when a seed is asked for alone. */
const HISTORY_LINES = 120;
/** What more seeds would tell is not worth their output. */
const FAILURES_MAX = 5;

export interface SeedsOptions {
  readonly first: number;
  readonly count: number;
  /** How long users act in each, in virtual minutes. */
  readonly minutes: number;
}

/** Makes the worker's program in a folder that goes with the test. */
export async function workerProgram(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'pier-cluster-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const program = join(folder, 'worker.mjs');
  await bundleWorker(program);
  return program;
}

export async function testSeeds(t: Test, options: SeedsOptions): Promise<void> {
  const { first, count, minutes } = options;
  const seeds = Array.from({ length: count }, (_, at) => first + at);
  const seen = { seeds: 0, failures: 0, writes: 0, virtualMinutes: 0 };
  await runSeeds({
    program: await workerProgram(t),
    seeds,
    minutes,
    onResult: ({ seed, failure, history, writes, virtualMinutes }) => {
      seen.seeds += 1;
      seen.writes += writes;
      seen.virtualMinutes += virtualMinutes;
      if (failure === undefined && count > 1) return;
      for (const line of count === 1 ? history : history.slice(-HISTORY_LINES)) t.comment(line);
      if (failure === undefined) return;
      seen.failures += 1;
      const again = `PIER_SEED=${seed} PIER_MINUTES=${minutes} npm run test:long -- test/long/cluster.long.ts`;
      t.fail(`seed ${seed}: ${failure}\nTo see it again: ${again}`);
      return seen.failures >= FAILURES_MAX;
    },
  });
  t.comment(`from seed ${first}: ${JSON.stringify(seen)}`);
  t.equal(seen.seeds, count, 'all seeds came to rest');
}

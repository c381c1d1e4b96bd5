/**
 * Whole clusters under a clock in the hand (test/sim/cluster/simulation.ts), always the same seeds here and other ones at each
 * run of test/long/cluster.long.ts, which also shows one seed again. PIER_SEEDS: fewer.
 */
import t from 'tap';
import { testSeeds, workerProgram } from './cluster/run-seeds.ts';
import { runSeeds } from './cluster/workers.ts';

const SEEDS = Number(process.env.PIER_SEEDS ?? 300);
const MINUTES = 4;
/** Three or four minutes on two cores that have nothing else to do. */
const TIME_MAX_MS = 1_200_000;

t.setTimeout(TIME_MAX_MS + 60_000);

t.test(`${SEEDS} seeds come to rest`, { timeout: TIME_MAX_MS }, (t) =>
  testSeeds(t, { first: 1, count: SEEDS, minutes: MINUTES }),
);

t.test('one seed gives one history, whatever its thread did before', async (t) => {
  const program = await workerProgram(t);
  const runs: { seed: number; fingerprint: string; history: readonly string[] }[] = [];
  for (const seeds of [[8], [9, 8]]) {
    const onResult = (result: (typeof runs)[number]) => {
      if (result.seed === 8) runs.push(result);
      return undefined;
    };
    await runSeeds({ program, seeds, minutes: 4, threads: 1, onResult });
  }
  const [first, second] = runs;
  t.equal(first?.history.join('\n'), second?.history.join('\n'));
  t.equal(first?.fingerprint, second?.fingerprint);
  t.ok((first?.history.length ?? 0) > 100);
});

/**
 * Whole clusters under a clock in the hand (test/sim/cluster/simulation.ts): a few seeds here, hundreds in
 * test/long/cluster.long.ts. PIER_SEED runs one seed alone and prints its history.
 */
import t from 'tap';
import { runSeed } from './cluster/run-seed.ts';
import { simulate } from './cluster/simulation.ts';

const SEEDS = [3, 4, 5, 11, 15];
const MINUTES = 12;
const only = process.env.PIER_SEED;

t.setTimeout(280_000);

for (const seed of only === undefined ? SEEDS : [Number(only)]) {
  t.test(`seed ${seed}`, (t) => runSeed(t, { seed, minutes: MINUTES }));
}

t.test('one seed gives one history', async (t) => {
  const options = { seed: 8, minutes: 4 };
  const first = await simulate(options);
  const second = await simulate(options);
  t.equal(first.history.join('\n'), second.history.join('\n'));
  t.equal(first.fingerprint, second.fingerprint);
});

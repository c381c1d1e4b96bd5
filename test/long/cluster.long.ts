/** The full size of test/sim/cluster.test.ts: 300 seeds of an hour each. PIER_SEED runs one alone, with its whole history. */
import t from 'tap';
import { runSeed } from '../sim/cluster/run-seed.ts';

const only = process.env.PIER_SEED;
const count = Number(process.env.PIER_SEEDS ?? 300);
const minutes = Number(process.env.PIER_MINUTES ?? 60);
const first = only === undefined ? 1_000 : Number(only);

t.setTimeout(4 * 3_600_000);

for (let seed = first; seed < first + (only === undefined ? count : 1); seed++) {
  t.test(`seed ${seed}`, (t) => {
    t.setTimeout(600_000);
    return runSeed(t, { seed, minutes });
  });
}

/**
 * The full size of test/sim/cluster.test.ts: PIER_SEEDS (10,000) seeds of PIER_MINUTES (8) from a base that is printed.
 * About three hours on two cores. PIER_SEED runs one alone, with its whole history, or with PIER_SEEDS so many from it on.
 */
import t from 'tap';
import { testSeeds } from '../sim/cluster/run-seeds.ts';

const { PIER_SEED, PIER_SEEDS, PIER_MINUTES } = process.env;
const first = Number(PIER_SEED ?? Date.now() % 1_000_000_000);
const count = Number(PIER_SEEDS ?? (PIER_SEED === undefined ? 10_000 : 1));
const TIME_MAX_MS = 4 * 3_600_000;

t.setTimeout(TIME_MAX_MS + 60_000);

t.test(`${count} seeds from ${first} on come to rest`, { timeout: TIME_MAX_MS }, (t) =>
  testSeeds(t, { first, count, minutes: Number(PIER_MINUTES ?? 8) }),
);

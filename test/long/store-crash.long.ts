/** The full size of test/master/store-crash.test.ts: 10,000,000 crash states, about a quarter of an hour on two cores. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { crashStates } from '../sim/crash-states.ts';
import { bundleWorker } from '../sim/store-workers.ts';

const seed = Number(process.env.PIER_SEED ?? Date.now() % 1_000_000);
const wanted = Number(process.env.PIER_CRASH_STATES ?? 10_000_000);
const TIME_MAX_MS = 3 * 3_600_000;

t.setTimeout(TIME_MAX_MS + 300_000);

t.test(`${wanted} crash states lose nothing and show nothing half`, async (t) => {
  t.setTimeout(TIME_MAX_MS + 240_000);
  const folder = await mkdtemp(join(tmpdir(), 'pier-crash-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const bundle = join(folder, 'worker.mjs');
  await bundleWorker(bundle);
  const { states, fault } = await crashStates(bundle, { seed, wanted, timeMaxMs: TIME_MAX_MS });
  t.comment(`${states} crash states, seed ${seed}`);
  t.equal(fault, undefined);
  t.ok(states >= wanted, `${states} states`);
});

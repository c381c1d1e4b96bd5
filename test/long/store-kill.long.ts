/**
 * The full size of test/e2e/store-kill.test.ts: 4,000 kills of a real master (about two hours on two cores), and what clients see over
 * 500 lives of it, in portions of 25; then the same of test/e2e/watch-restart.test.ts. PIER_SEED, PIER_KILLS and PIER_LIVES make it smaller.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { faultsOf } from '../sim/history.ts';
import { makeHistory } from '../sim/history-run.ts';
import { KillRun, straceMissing } from '../sim/kill-run.ts';
import { bundlePrograms } from '../sim/master-process.ts';
import { runWatches } from '../sim/watch-run.ts';

const seed = Number(process.env.PIER_SEED ?? Date.now() % 1_000_000);
const killsMax = Number(process.env.PIER_KILLS ?? 4_000);
const livesMax = Number(process.env.PIER_LIVES ?? 500);
const TIME_MAX_MS = 2.5 * 3_600_000;

t.setTimeout(TIME_MAX_MS + 120_000);

t.test(`${killsMax} kills lose nothing that was acknowledged`, async (t) => {
  t.setTimeout(TIME_MAX_MS + 100_000);
  const folder = await mkdtemp(join(tmpdir(), 'pier-kill-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const { master } = await bundlePrograms(join(folder, 'dist'));
  const data = join(folder, 'data');
  const run = new KillRun({ program: master, data, seed, killsMax, timeMaxMs: TIME_MAX_MS });
  const counts = await run.run();
  t.comment(`${JSON.stringify(counts)}, seed ${seed}`);
  t.equal(counts.kills, killsMax);
  if (straceMissing() === false) t.ok(counts.atCalls > killsMax / 4, 'at system calls');
});

const PORTION_LIVES = 25;

t.test(`what clients see over ${livesMax} lives is linearizable`, async (t) => {
  t.setTimeout(TIME_MAX_MS + 100_000);
  const folder = await mkdtemp(join(tmpdir(), 'pier-history-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const { master } = await bundlePrograms(join(folder, 'dist'));
  let calls = 0;
  for (let portion = 0; portion * PORTION_LIVES < livesMax; portion++) {
    const lives = Math.min(PORTION_LIVES, livesMax - portion * PORTION_LIVES);
    const data = join(folder, String(portion));
    const options = { program: master, data, seed: seed + portion, lives, lifeMs: 1500 };
    const { history } = await makeHistory({ ...options, timeMaxMs: TIME_MAX_MS });
    calls += history.calls.length;
    t.same(faultsOf(history).slice(0, 20), [], `portion ${portion}, seed ${options.seed}`);
  }
  t.comment(`${calls} calls in ${livesMax} lives, seed ${seed}`);
});

t.test(`clients that list and watch over ${livesMax} lives miss and repeat nothing`, async (t) => {
  t.setTimeout(TIME_MAX_MS + 100_000);
  const folder = await mkdtemp(join(tmpdir(), 'pier-watch-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const { master } = await bundlePrograms(join(folder, 'dist'));
  for (let portion = 0; portion * PORTION_LIVES < livesMax; portion++) {
    const lives = Math.min(PORTION_LIVES, livesMax - portion * PORTION_LIVES);
    const data = join(folder, String(portion));
    const options = { program: master, data, seed: seed + portion, lives, lifeMs: 1500 };
    const { faults, ...counts } = await runWatches({ ...options, timeMaxMs: TIME_MAX_MS });
    t.comment(`${JSON.stringify(counts)}, seed ${options.seed}`);
    t.same(faults.slice(0, 20), [], `portion ${portion}, seed ${options.seed}`);
  }
});

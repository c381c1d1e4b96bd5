/**
 * kill -9 of a real master, again and again, at random moments and at the store's system calls; what was acknowledged must be
 * there, and what concurrent clients saw must be linearizable. PIER_SEED repeats the workload. The full size is
 * test/long/store-kill.long.ts.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { faultsOf } from '../sim/history.ts';
import { makeHistory } from '../sim/history-run.ts';
import { KillRun, straceMissing } from '../sim/kill-run.ts';
import { bundlePrograms } from '../sim/master-process.ts';

const seed = Number(process.env.PIER_SEED ?? Date.now() % 1_000_000);
const killsMax = Number(process.env.PIER_KILLS ?? 50);

t.setTimeout(300_000);

const folder = await mkdtemp(join(tmpdir(), 'pier-kill-'));
t.teardown(() => rm(folder, { recursive: true, force: true }));
const { master } = await bundlePrograms(join(folder, 'dist'));

t.test('a master killed with -9 loses nothing that it acknowledged', async (t) => {
  const data = join(folder, 'data');
  const run = new KillRun({ program: master, data, seed, killsMax, timeMaxMs: 60_000 });
  const counts = await run.run();
  t.comment(`${JSON.stringify(counts)}, seed ${seed}`);
  t.ok(counts.kills >= 10, `${counts.kills} kills`);
  t.ok(counts.acknowledged > 100, `${counts.acknowledged} acknowledged writes`);
});

t.test('what clients see while the master is killed and started is linearizable', async (t) => {
  const data = join(folder, 'history');
  const size = { lives: 5, lifeMs: 1000, timeMaxMs: 30_000 };
  const { history, lives } = await makeHistory({ program: master, data, seed, ...size });
  const { calls, watches } = history;
  t.comment(`${calls.length} calls in ${lives} lives, seed ${seed}`);
  t.same(faultsOf(history).slice(0, 20), []);
  t.ok(lives >= 2 && calls.length > 100, `${lives} lives, ${calls.length} calls`);
  t.ok(watches.every(({ changes }) => changes.length > 20));
});

t.test('some of the kills come at a system call', { skip: straceMissing() }, async (t) => {
  // They are part of the run above: this line only names what is left out without strace.
  t.equal(straceMissing(), false);
});

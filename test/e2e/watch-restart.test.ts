/**
 * A list-then-watch client under random restarts of a real master never misses or repeats an event: what every client was told is
 * compared with what the writers know, with what the others saw, and with the last list. PIER_SEED repeats the workload;
 * the full size is in test/long/store-kill.long.ts.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { bundlePrograms } from '../sim/master-process.ts';
import { runWatches } from '../sim/watch-run.ts';

const seed = Number(process.env.PIER_SEED ?? Date.now() % 1_000_000);

t.setTimeout(180_000);

const folder = await mkdtemp(join(tmpdir(), 'pier-watch-'));
t.teardown(() => rm(folder, { recursive: true, force: true }));
const { master } = await bundlePrograms(join(folder, 'dist'));

t.test('a list-then-watch client misses and repeats nothing', async (t) => {
  t.comment(`seed ${seed}`);
  const size = { lives: 10, lifeMs: 700, timeMaxMs: 30_000 };
  const run = await runWatches({ program: master, data: join(folder, 'data'), seed, ...size });
  const { faults, ...counts } = run;
  t.comment(JSON.stringify(counts));
  t.same(faults.slice(0, 20), []);
  t.ok(run.kills > 0 && run.kills < run.lives, 'killed and stopped');
  t.same(Object.keys(run.lists), ['prompt', 'short', 'slow', 'informer']);
  t.equal(run.lists.prompt, 1, 'who keeps up lists once');
  t.ok((run.lists.slow ?? 0) >= 2 && (run.lists.informer ?? 0) >= 2, 'who was away lists again');
  t.ok(Object.values(run.events).every((count) => count > 50));
});

/** Ten real minutes with ten simulated boards that report every 5 s (test/e2e/store.test.ts has as many reports in less time). PIER_IDLE_SECONDS: another length. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { idle } from '../sim/idle-run.ts';
import { bundlePrograms } from '../sim/master-process.ts';

const windowMs = Number(process.env.PIER_IDLE_SECONDS ?? 600) * 1000;

t.setTimeout(windowMs + 200_000);

t.test(`${windowMs / 60_000} idle minutes write nothing`, async (t) => {
  t.setTimeout(windowMs + 180_000);
  const folder = await mkdtemp(join(tmpdir(), 'pier-idle-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const { master } = await bundlePrograms(join(folder, 'dist'));
  const size = { boards: 10, heartbeatMs: 5000, windowMs };
  const seen = await idle({ program: master, data: join(folder, 'data'), ...size });
  t.comment(JSON.stringify(seen));
  t.match(seen.idle, { changedFiles: [], writtenBytes: 0, revisions: 0 });
  if (seen.idle.syncs !== undefined) t.equal(seen.idle.syncs, 0);
  t.ok(seen.oneWrite.writtenBytes > 0, 'the witnesses see a single write');
});

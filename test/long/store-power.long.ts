/**
 * The proof that the simulated disk is honest: power cuts under a real file system.
 * - LazyFS, with the store's files directly on it.
 * - LazyFS below ext4: an image on it, mounted through a loop device; what a cut leaves is mounted again, which replays the journal.
 * - A virtual machine with a stock kernel and ext4 that is killed; the journal is then replayed.
 * After each cut the store must open, without repair, and hold what the writer was told. docs/HACKING.md names the Debian packages;
 * what is missing is skipped with its reason. PIER_SEED repeats a workload; PIER_LAZY_CUTS (1,000), PIER_VM_CUTS (100).
 */
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import t from 'tap';
import { seededRandom } from '../sim/disk.ts';
import { buildLazyFs, LazyFs } from '../sim/lazyfs.ts';
import { Acknowledged, makeExt4, Truth, withImage } from '../sim/power-cut.ts';
import { prepareVm, startVm } from '../sim/power-vm.ts';
import type { Found } from '../sim/store-harness.ts';

const seed = Number(process.env.PIER_SEED ?? Date.now() % 1_000_000);
const lazyCuts = Number(process.env.PIER_LAZY_CUTS ?? 1_000);
const vmCuts = Number(process.env.PIER_VM_CUTS ?? 100);
const HOURS_MS = 3 * 3_600_000;
const FIRST_MS = 120_000;

t.setTimeout(HOURS_MS);

const folder = mkdtempSync(join(tmpdir(), 'pier-power-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
const writer = join(folder, 'writer.mjs');
await build({
  entryPoints: [fileURLToPath(new URL('../sim/power-writer.ts', import.meta.url))],
  outfile: writer,
  bundle: true,
  platform: 'node',
  format: 'esm',
});

const lazyFs = buildLazyFs();
const noLazyFs = typeof lazyFs === 'string' ? lazyFs : false;

/** Lets a writer write into `directory`, and looks again and again at what a cut would leave. */
async function cutAgain(
  [directory, lock]: readonly [directory: string, lock?: 'unlocked'],
  random: () => number,
  look: (check: (found: string) => Promise<Found>) => Promise<void>,
): Promise<{ cuts: number; revision: number }> {
  const args = [writer, directory, String(seed), ...(lock === undefined ? [] : [lock])];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const acknowledged = new Acknowledged(child);
  try {
    const truth = new Truth(seed);
    let cuts = 0;
    for (; cuts < lazyCuts; cuts++) {
      await acknowledged.above(acknowledged.revision, FIRST_MS);
      await sleep(random() * 60);
      // What is said before the cut counts; what comes while it is looked at does not.
      const { revision, starts } = acknowledged;
      await look((found) => truth.check(found, { revision, starts }));
    }
    return { cuts, revision: acknowledged.revision };
  } finally {
    child.kill('SIGKILL');
    await acknowledged.closed;
  }
}

t.test('what LazyFS loses was never acknowledged', { skip: noLazyFs }, async (t) => {
  t.setTimeout(HOURS_MS);
  if (typeof lazyFs === 'string') return;
  const place = join(folder, 'lazy');
  const lazy = await LazyFs.start(lazyFs.program, place);
  t.teardown(() => lazy.stop());
  const left = join(place, 'left');
  const seen = await cutAgain(
    [join(lazy.mount, 'data'), 'unlocked'],
    seededRandom(seed),
    async (check) => {
      rmSync(left, { recursive: true, force: true });
      await lazy.frozen(async () => cpSync(join(lazy.root, 'data'), left, { recursive: true }));
      await check(left);
    },
  );
  t.equal(seen.cuts, lazyCuts);
  t.comment(`${seen.cuts} cuts up to revision ${seen.revision}, seed ${seed}`);
});

t.test('nor what ext4 on LazyFS loses', { skip: noLazyFs }, async (t) => {
  t.setTimeout(HOURS_MS);
  if (typeof lazyFs === 'string') return;
  const place = join(folder, 'lazy-ext4');
  const lazy = await LazyFs.start(lazyFs.program, place, (root) =>
    makeExt4(join(root, 'data.img')),
  );
  t.teardown(() => lazy.stop());
  const left = join(place, 'left.img');
  const mounted = join(place, 'mounted');
  const look = join(place, 'look');
  const seen = await withImage(join(lazy.mount, 'data.img'), mounted, () =>
    cutAgain([join(mounted, 'data')], seededRandom(seed + 1), async (check) => {
      await lazy.frozen(async () => cpSync(join(lazy.root, 'data.img'), left));
      await withImage(left, look, () => check(join(look, 'data')));
    }),
  );
  t.equal(seen.cuts, lazyCuts);
  t.comment(`${seen.cuts} cuts up to revision ${seen.revision}, seed ${seed}`);
});

t.test('nor what a machine loses whose power is cut', async (t) => {
  t.setTimeout(HOURS_MS);
  const place = join(folder, 'vm');
  mkdirSync(place);
  const parts = prepareVm(place, writer);
  if (typeof parts === 'string') return t.comment(`left out: ${parts}`);
  const data = join(place, 'data.img');
  makeExt4(data);
  const random = seededRandom(seed + 2);
  let found: Found | undefined;
  for (let cut = 0; cut < vmCuts; cut++) {
    const lifeSeed = seed + cut;
    await withImage(data, join(place, 'mounted'), async (mounted) => {
      writeFileSync(join(mounted, 'seed'), `${lifeSeed}\n`);
    });
    const truth = new Truth(lifeSeed, found);
    const vm = startVm(parts, data);
    try {
      await vm.acknowledged.above(0, FIRST_MS);
      await sleep(random() * 3000);
    } finally {
      await vm.cut();
    }
    found = await withImage(data, join(place, 'mounted'), (mounted) =>
      truth.check(join(mounted, 'store'), vm.acknowledged),
    );
  }
  t.comment(`${vmCuts} cuts up to revision ${found?.revision}, seed ${seed}`);
  t.ok((found?.revision ?? 0) >= vmCuts);
});

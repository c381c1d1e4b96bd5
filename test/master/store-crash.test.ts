/**
 * The durable store under power cuts, damage and full disks, on a simulated disk. A failure prints the
 * seed; PIER_SEED repeats it. PIER_CRASH_STATES sets how many crash states are looked at.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { repairStore, verifyStore } from '../../master/store/inspect.ts';
import { recover } from '../../master/store/recovery.ts';
import { openWalStore } from '../../master/store/wal-store.ts';
import { crashStates } from '../sim/crash-states.ts';
import { SimDisk, seededRandom } from '../sim/disk.ts';
import { copyOf, DIR, digest, Life, Model, StoreHarness } from '../sim/store-harness.ts';
import { bundleWorker } from '../sim/store-workers.ts';

const seed = Number(process.env.PIER_SEED ?? Date.now() % 1_000_000);
const statesWanted = Number(process.env.PIER_CRASH_STATES ?? 200_000);
t.setTimeout(240_000);

const harness = new StoreHarness({ openWalStore, recover, verifyStore }, seed);

t.test('no crash loses an acknowledged write or shows half of one', async (t) => {
  t.setTimeout(230_000);
  const folder = await mkdtemp(join(tmpdir(), 'pier-crash-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const bundle = join(folder, 'worker.mjs');
  await bundleWorker(bundle);
  const options = { seed, wanted: statesWanted, timeMaxMs: 70_000 };
  const { states, fault } = await crashStates(bundle, options);
  t.comment(`${states} crash states, seed ${seed}`);
  t.equal(fault, undefined);
  // On a slow or busy machine the time is up before.
  t.ok(states > statesWanted / 20, `${states} of ${statesWanted}`);
});

t.test('a flipped bit anywhere is found and never served', async (t) => {
  const { flips, refused } = await harness.flips(300, 200);
  t.ok(refused > 100);
  t.comment(`${flips} bits flipped, ${refused} starts refused, the others served the whole truth`);
});

t.test('a damaged snapshot costs nothing: there is an older one', async () => {
  await harness.snapshotLoss();
});

t.test('a damaged tail costs only what nobody was told of', async (t) => {
  await harness.tails();
  const random = seededRandom(seed);
  const disk = new SimDisk();
  await harness.open(disk, random);
  const path = disk.paths.at(-1) ?? '';
  const cut = copyOf(disk);
  cut.put(path, (disk.get(path) ?? new Uint8Array(0)).slice(0, -1));
  const warnings: string[] = [];
  const onWarning = (warning: string) => warnings.push(warning);
  await (await harness.open(cut, random, { onWarning })).close();
  t.match(warnings, [
    /wal-\d+ ended in an unfinished write: \d+ bytes from offset \d+ on were cut/,
  ]);
});

t.test(
  'damage before the end is refused by name, and repair keeps what is before it',
  async (t) => {
    const random = seededRandom(seed + 3);
    const disk = new SimDisk();
    const store = await openWalStore(DIR, { disk, segmentBytes: 3000 });
    const model = new Model();
    await new Life(model, random).run(store, 20);
    await store.close();
    const segments = disk.paths.filter((path) => path.includes('wal-'));
    t.ok(segments.length >= 3);

    await t.test('a missing segment', async (t) => {
      const image = copyOf(disk);
      image.remove(segments[1] ?? '');
      await t.rejects(
        harness.open(image, random),
        /wal-00000002 .* the segment is missing.*pier store verify/,
      );
      image.remove(segments[0] ?? '');
      await t.rejects(repairStore(DIR, image), { name: 'StoreDamagedError', message: /backup/ });
    });

    await t.test('a missing last segment', async (t) => {
      const image = copyOf(disk);
      image.remove(segments.at(-1) ?? '');
      await t.rejects(harness.open(image, random), /the segment is missing/);
    });

    await t.test('another format version', async (t) => {
      const image = copyOf(disk);
      image.put('/data/format', Buffer.from('pier store\nformat 9\nwhatever\n'));
      await t.rejects(harness.open(image, random), /format version 9, this pier reads version 1/);
      await t.rejects(repairStore(DIR, image), /format version 9/);
    });

    await t.test('a segment of another store', async (t) => {
      const image = copyOf(disk);
      const other = new SimDisk();
      await (await harness.open(other, random)).close();
      image.put('/data/wal-00000001', other.get('/data/wal-00000001') ?? new Uint8Array(0));
      await t.rejects(harness.open(image, random), /belongs to cluster/);
    });

    await t.test('a wrong checksum', async (t) => {
      const image = copyOf(disk);
      const path = segments[1] ?? '';
      const content = new Uint8Array(image.get(path) ?? []);
      content[1500] = (content[1500] ?? 0) ^ 4;
      image.put(path, content);
      await t.rejects(
        harness.open(image, random),
        /wal-00000002 cannot be used from offset \d+ on/,
      );
      const report = await verifyStore(DIR, image);
      t.match(report, { healthy: false, damages: [{ file: 'wal-00000002' }] });
      const repaired = await repairStore(DIR, image);
      t.ok(repaired.keptRevision > 0 && repaired.keptRevision < model.revision);
      t.match(repaired, {
        newLife: { epoch: 2 },
        aside: '/data/aside-1',
        damage: { offset: Number },
      });
      t.equal(image.paths.filter((name) => name.includes('aside-1')).length, segments.length);
      const found = await harness.readBack(image);
      t.equal(digest(found.state), model.digests[repaired.keptRevision]);
      const reopened = await harness.open(image, random);
      t.equal(reopened.epoch, 2);
      t.ok(reopened.revision > model.revision, 'no revision is used twice');
      await reopened.close();
    });

    await t.test('a lost format file', async (t) => {
      const image = copyOf(disk);
      image.remove('/data/format');
      await t.rejects(harness.open(image, random), /the file is missing/);
      t.match(await repairStore(DIR, image), {
        keptRevision: model.revision,
        newLife: { epoch: 2 },
      });
      await (await harness.open(image, random)).close();
    });
  },
);

t.test('a full disk refuses writes, keeps serving, and goes on when there is room', async (t) => {
  const refusals = await harness.fullDisks(150);
  t.ok(refusals > 100, `${refusals} refusals`);
});

t.test('every operation may fail once: nothing acknowledged is lost', async (t) => {
  const counts = await harness.failures(140);
  t.ok(counts.failed > 20 && counts.full > 5, JSON.stringify(counts));
});

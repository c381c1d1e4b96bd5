/**
 * Tests the tests: each planted bug must be caught by the run that guards against its kind. The sources
 * of master/store are bundled with one place changed, and the bundle is put under test.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import t from 'tap';
import { bundleWorker, runTask, type StoreTask } from '../sim/store-workers.ts';
import './store/history.ts';

interface Bug {
  readonly name: string;
  readonly caughtBy: StoreTask['run'];
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

const bugs: readonly Bug[] = [
  {
    name: 'a write is acknowledged before it is durable',
    caughtBy: 'crashes',
    file: 'log.ts',
    from: '      await writeFully(this.#file,',
    to: '      void writeFully(this.#file,',
  },
  {
    name: 'a write is visible before its sync',
    caughtBy: 'crashes',
    file: 'wal-store.ts',
    from: '    if (frame.payloadLength > 0) {\n',
    to: '    for (const early of draft.transactions.splice(0)) this.#mvcc.apply(early);\n    if (frame.payloadLength > 0) {\n',
  },
  {
    name: 'the directory is not synced after a rename',
    caughtBy: 'crashes',
    file: 'disk.ts',
    from: '  await disk.syncDirectory(directory);\n  return position;',
    to: '  return position;',
  },
  {
    name: 'a file is renamed before its content is synced',
    caughtBy: 'crashes',
    file: 'disk.ts',
    from: '    await file.fdatasync();\n  } catch',
    to: '  } catch',
  },
  {
    name: 'the count of a short write is ignored',
    caughtBy: 'fullDisks',
    file: 'disk.ts',
    from: 'while (written < data.length)',
    to: 'while (written < 0)',
  },
  {
    name: 'the checksum of a frame is skipped',
    caughtBy: 'crashes',
    file: 'scan.ts',
    from: 'crc32c(bytes, start, end, salt) === header.payloadCrc',
    to: 'true',
  },
  {
    name: 'damage in the middle is taken for a torn tail',
    caughtBy: 'flips',
    file: 'scan.ts',
    from: 'damage = proofOfDamage(bytes, at, ownEnd, salt, expected);',
    to: 'damage = undefined;',
  },
  {
    name: 'any bad frame is taken for damage',
    caughtBy: 'crashes',
    file: 'scan.ts',
    from: 'damage = proofOfDamage(bytes, at, ownEnd, salt, expected);',
    to: "damage = 'bad';",
  },
  {
    name: 'the checksum of a snapshot block is skipped',
    caughtBy: 'flips',
    file: 'snapshot.ts',
    from: 'bytes.readUInt32LE(at + 8) !== blockCrc(bytes, at, end, salt)',
    to: 'false',
  },
  {
    name: 'a torn tail is not cut off before writing goes on',
    caughtBy: 'crashes',
    file: 'wal-store.ts',
    from: 'offset: tail.goodEnd, sequence }',
    to: 'offset: tail.goodEnd + tail.tornBytes, sequence }',
  },
  {
    name: 'half a record stays behind when the disk is full',
    caughtBy: 'fullDisks',
    file: 'log.ts',
    from: 'await this.#file.truncate(this.#offset);',
    to: 'this.#offset += 40;',
  },
  {
    name: 'a failed sync is taken for done',
    caughtBy: 'failures',
    file: 'log.ts',
    from: "      if (!isNoSpace(error)) throw this.#fail('writing to', error);\n",
    to: '      if (!isNoSpace(error)) return;\n',
  },
  {
    name: 'the frame of a failed sync is trusted at the next start',
    caughtBy: 'failures',
    file: 'wal-store.ts',
    from: 'last?.segment === log.segment ? last.bytes : undefined',
    to: 'undefined',
  },
  {
    name: 'an end record of a failed sync is trusted at the next start',
    caughtBy: 'failures',
    file: 'wal-store.ts',
    from: 'last !== undefined && last.segment !== log.segment',
    to: 'last === null',
  },
  {
    name: 'a segment names the wrong successor',
    caughtBy: 'crashes',
    file: 'log.ts',
    from: '    this.frame.end(next);\n    await this.commit();',
    to: '    this.frame.end(next + 1);\n    await this.commit();',
  },
  {
    name: 'a segment does not say that it has ended',
    caughtBy: 'crashes',
    file: 'log.ts',
    from: '    this.frame.end(next);\n    await this.commit();',
    to: '    this.#sequence++;',
  },
  {
    name: 'only the newest snapshot is kept',
    caughtBy: 'snapshotLoss',
    file: 'compactor.ts',
    from: 'const older = this.#base;',
    to: 'const older = newBase;',
  },
  {
    name: 'the log that a new snapshot needs is removed',
    caughtBy: 'crashes',
    file: 'compactor.ts',
    from: 'number < older).map(segmentName)',
    to: 'number <= newBase).map(segmentName)',
  },
  {
    name: 'a snapshot forgets the last key',
    caughtBy: 'crashes',
    file: 'snapshot.ts',
    from: '  for (const kv of kvs) {',
    to: '  for (const kv of kvs.slice(0, -1)) {',
  },
  {
    name: 'a start number is used twice',
    caughtBy: 'crashes',
    file: 'wal-store.ts',
    from: 'log.frame.start(starts);',
    to: 'log.frame.start(starts - 1);',
  },
  {
    name: 'a revision is used twice after a restart from a snapshot',
    caughtBy: 'crashes',
    file: 'recovery.ts',
    from: 'new Mvcc(this.#options.history, header.revision)',
    to: 'new Mvcc(this.#options.history, header.revision - 1)',
  },
  {
    name: 'replay forgets the create revision',
    caughtBy: 'crashes',
    file: 'recovery.ts',
    from: 'createRevision: previous?.createRevision ?? revision',
    to: 'createRevision: revision',
  },
  {
    name: 'a refused write stays in the state',
    caughtBy: 'fullDisks',
    file: 'wal-store.ts',
    from: '        for (const { job } of answers) job.reject(error);\n        return error;',
    to: '        for (const t of draft.transactions) this.#mvcc.apply(t);\n        for (const { job } of answers) job.reject(error);\n        return error;',
  },
  {
    name: 'a write that changes nothing takes a revision',
    caughtBy: 'model',
    file: 'draft.ts',
    from: 'previous !== undefined && sameBytes(previous.value, value)',
    to: 'previous === null',
  },
  {
    name: 'a watch starts one too late',
    caughtBy: 'model',
    file: 'watch-hub.ts',
    from: 'this.#catchUpFrom = start;',
    to: 'this.#catchUpFrom = start + 1;',
  },
  {
    name: 'a watch that fell behind loses an event',
    caughtBy: 'model',
    file: 'watch-hub.ts',
    from: '      this.#catchUpFrom = own.events[0]?.kv.modRevision ?? first;',
    to: '      this.#catchUpFrom = own.revision + 1;',
  },
  {
    name: 'a watch that fell behind gets an event twice',
    caughtBy: 'model',
    file: 'watch-hub.ts',
    from: ': revision + 1;\n    return events',
    to: ': revision;\n    return events',
  },
  {
    name: 'progress is ahead of the stream',
    caughtBy: 'model',
    file: 'watch-hub.ts',
    from: '    const buffered = this.#buffer.shift();',
    to: '    if (this.#progressWanted) {\n      this.#progressWanted = false;\n      return { events: [], revision: this.#mvcc.revision };\n    }\n    const buffered = this.#buffer.shift();',
  },
  {
    name: 'compaction loses the events of its own revision',
    caughtBy: 'model',
    file: 'mvcc.ts',
    from: 'while (this.#firstRevision < revision)',
    to: 'while (this.#firstRevision <= revision)',
  },
  {
    name: 'a compacted revision can be read',
    caughtBy: 'model',
    file: 'mvcc.ts',
    from: 'revision < this.#compactedRevision) throw',
    to: 'revision < 0) throw',
  },
  {
    name: 'a read of the past shows the newest of two changes undone',
    caughtBy: 'model',
    file: 'mvcc.ts',
    from: '&& !undo.has(key)) undo',
    to: ') undo',
  },
];

/** How much of each run is enough to catch its bugs. */
const SIZES: Record<StoreTask['run'], number> = {
  crashes: 5000,
  model: 500,
  failures: 100,
  fullDisks: 30,
  snapshotLoss: 1,
  flips: 30,
};
/** A planted bug may also hang the store, or let it grow. */
const TIME_MAX_MS = 15_000;
/** Seconds at most, but not on a machine that has other things to do. */
const HEALTHY_MAX_MS = 100_000;

t.setTimeout(400_000);

t.test('without a planted bug nothing is found', { timeout: 240_000 }, async (t) => {
  const directory = await mkdtemp(`${tmpdir()}/pier-bugs-`);
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const path = `${directory}/none.mjs`;
  await bundleWorker(path);
  for (const run of Object.keys(SIZES) as StoreTask['run'][]) {
    const task = { run, seed: 1, size: SIZES[run] };
    t.match(await runTask(path, task, { timeMaxMs: HEALTHY_MAX_MS }), { count: Number }, run);
  }
});

t.test(`each of ${bugs.length} planted bugs is caught`, { timeout: 240_000 }, async (t) => {
  const directory = await mkdtemp(`${tmpdir()}/pier-bugs-`);
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const only = process.env.PIER_BUG ?? '';
  for (const [number, bug] of bugs.entries()) {
    if (!bug.name.includes(only)) continue;
    const path = `${directory}/${number}.mjs`;
    await bundleWorker(path, [{ ...bug, file: `master/store/${bug.file}` }]);
    const startMs = performance.now();
    const task = { run: bug.caughtBy, seed: 1, size: SIZES[bug.caughtBy] };
    const result = await runTask(path, task, { timeMaxMs: TIME_MAX_MS });
    const fault = 'fault' in result ? result.fault.slice(0, 100) : undefined;
    const ms = Math.round(performance.now() - startMs);
    t.ok(fault !== undefined, `${bug.name}: ${fault ?? 'NOT CAUGHT'} (${ms} ms)`);
  }
});

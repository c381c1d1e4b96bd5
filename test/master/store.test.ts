/**
 * The Store contract, held against both stores; a property test against a plain model; and what the
 * durable store does with real files: modes, lock, restart, repair, backup.
 */
import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import tap from 'tap';
import { readBackup } from '../../master/store/backup.ts';
import { crc32c } from '../../master/store/crc32c.ts';
import { type Disk, nodeDisk } from '../../master/store/disk.ts';
import { importBackup, repairStore, verifyStore } from '../../master/store/inspect.ts';
import { KeyIndex } from '../../master/store/key-index.ts';
import { StoreLockedError } from '../../master/store/lock.ts';
import { memoryFirstRevision, openMemoryStore } from '../../master/store/memory-store.ts';
import {
  CompactedError,
  FutureRevisionError,
  type KeyValue,
  type Operation,
  prefixEnd,
  type Store,
  StoreBusyError,
  StoreClosedError,
  StoreDamagedError,
} from '../../master/store/store.ts';
import { openWalStore } from '../../master/store/wal-store.ts';
import { SimDisk } from '../sim/disk.ts';
import { brief, holdAgainstModel, nextBatch, reader } from '../sim/store-model.ts';

const t = tap;
const bytes = (text: string) => new TextEncoder().encode(text);
const text = (kv: KeyValue | undefined) => new TextDecoder().decode(kv?.value);
const put = (key: string, value: string): Operation => ({ type: 'put', key, value: bytes(value) });
const remove = (start: string, end?: string): Operation =>
  end === undefined ? { type: 'delete', start } : { type: 'delete', start, end };

const write = (store: Store, ...success: Operation[]) => store.txn({ compare: [], success });
const everything = { start: '', end: '' };

interface Limits {
  readonly history?: { readonly eventsMax: number; readonly bytesMax: number };
  readonly watchBufferEvents?: number;
}

const stores: Record<string, (limits?: Limits) => Promise<Store>> = {
  'the durable store': (limits) => openWalStore('/data', { disk: new SimDisk(), ...limits }),
  'the memory store': async (limits) => openMemoryStore({ ...limits }),
};

for (const [name, open] of Object.entries(stores)) {
  t.test(`${name} keeps the contract`, async (t) => {
    t.test('counts revisions and versions as etcd does', async (t) => {
      const store = await open();
      t.equal((await write(store, put('/a', '1'), put('/b', '1'))).revision, 1);
      t.equal((await write(store, put('/a', '2'))).revision, 2);
      await write(store, remove('/b'));
      await write(store, put('/b', 'again'));
      const { kvs, count, revision } = await store.range(everything);
      t.same(
        kvs.map((kv) => [kv.key, text(kv), kv.createRevision, kv.modRevision, kv.version]),
        [
          ['/a', '2', 1, 2, 2],
          ['/b', 'again', 4, 4, 1],
        ],
      );
      t.same([count, revision, store.revision], [2, 4, 4]);
      await store.close();
    });

    t.test('takes no revision for a write that changes nothing', async (t) => {
      const store = await open();
      await write(store, put('/a', '1'));
      const { revision, results } = await write(store, put('/a', '1'));
      t.equal(revision, 1);
      t.match(results, [{ type: 'put', unchanged: true, kv: { modRevision: 1, version: 1 } }]);
      t.equal((await write(store, remove('/none'))).revision, 1);
      t.equal((await write(store, put('/a', '1'), put('/c', '1'))).revision, 2);
      t.equal((await store.range({ start: '/a' })).kvs[0]?.modRevision, 1);
      await store.close();
    });

    t.test('decides by compare, and answers with what was deleted', async (t) => {
      const store = await open();
      await write(store, put('/a', '1'));
      const compare = [{ key: '/a', target: 'mod', op: '=', value: 1 }] as const;
      const swap = { compare, success: [put('/a', '2')], failure: [remove('/a'), put('/n', 'x')] };
      t.match(await store.txn(swap), { succeeded: true, revision: 2 });
      t.match(await store.txn(swap), {
        succeeded: false,
        revision: 3,
        results: [{ deleted: [{ key: '/a', modRevision: 2 }] }, { kv: { key: '/n' } }],
      });
      const absent = [{ key: '/a', target: 'create', op: '=', value: 0 }] as const;
      t.equal((await store.txn({ compare: absent, success: [] })).succeeded, true);
      const value = [{ key: '/n', target: 'value', op: '=', value: bytes('x') }] as const;
      t.equal((await store.txn({ compare: value, success: [] })).succeeded, true);
      const missing = [{ key: '/a', target: 'value', op: '!=', value: bytes('x') }] as const;
      t.equal((await store.txn({ compare: missing, success: [] })).succeeded, false);
      await store.close();
    });

    t.test('lets writers race: exactly one of many compare-and-swaps wins', async (t) => {
      const store = await open();
      const create = [{ key: '/lock', target: 'version', op: '<', value: 1 }] as const;
      const tries = Array.from({ length: 50 }, (_, at) =>
        store.txn({ compare: create, success: [put('/lock', String(at))] }),
      );
      const won = (await Promise.all(tries)).filter((result) => result.succeeded);
      t.equal(won.length, 1);
      t.equal(store.revision, 1);
      await store.close();
    });

    t.test('reads in a transaction see the writes before them', async (t) => {
      const store = await open();
      await write(store, put('/a', '1'));
      const range: Operation = { type: 'range', ...everything };
      const past: Operation = { type: 'range', ...everything, revision: 1 };
      const { results } = await write(store, put('/b', '2'), remove('/a'), range, past);
      const seen = results.flatMap((r) => (r.type === 'range' ? [r.range.kvs.map(text)] : []));
      t.same(seen, [['2'], ['1']]);
      await store.close();
    });

    t.test('refuses a transaction as a whole', async (t) => {
      const store = await open();
      await write(store, put('/a', '1'));
      await t.rejects(write(store, put('/b', '1'), put('/b', '2')), /twice/);
      await t.rejects(write(store, put('/b', '1'), remove('/', '0')), /twice/);
      await t.rejects(write(store, put('/b', '1'), put('/ü', '2')), /ASCII/);
      await t.rejects(write(store, put('/b', '1'), put('', '2')), /ASCII/);
      await t.rejects(
        write(store, put('/b', '1'), { type: 'range', start: '/', revision: 9 }),
        FutureRevisionError,
      );
      t.same([store.revision, (await store.range(everything)).count], [1, 1]);
      await store.close();
    });

    t.test('pages through a prefix at one revision while others write', async (t) => {
      const store = await open();
      for (let at = 0; at < 30; at++) await write(store, put(`/p/${10 + at}`, 'old'));
      await write(store, put('/q', 'not in the prefix'));
      const revision = store.revision;
      const keys: string[] = [];
      let start = '/p/';
      for (let page = 0; ; page++) {
        const found = await store.range({ start, end: prefixEnd('/p/'), limit: 7, revision });
        t.equal(found.count, 30 - page * 7);
        for (const kv of found.kvs) {
          keys.push(kv.key);
          t.equal(text(kv), 'old');
        }
        start = `${keys.at(-1)}\0`;
        if (!found.more) break;
        await write(store, put(`/p/${10 + page}`, 'new'), remove(`/p/${39 - page}`));
        await write(store, put(`/p/9${page}`, 'later'));
      }
      t.same(
        keys,
        Array.from({ length: 30 }, (_, at) => `/p/${10 + at}`),
      );
      await store.close();
    });

    t.test('forgets history on compaction, not the state', async (t) => {
      const store = await open();
      for (const value of '12345') await write(store, put('/a', value));
      await store.compact(3);
      t.equal(store.compactedRevision, 3);
      await t.rejects(store.range({ ...everything, revision: 2 }), CompactedError);
      t.equal(text((await store.range({ start: '/a', revision: 3 })).kvs[0]), '3');
      await store.compact(2);
      await t.rejects(store.compact(6), FutureRevisionError);
      await t.rejects(store.range({ ...everything, revision: 6 }), FutureRevisionError);
      await t.rejects(reader(store.watch({ ...everything, startRevision: 2 })).next(), {
        name: 'CompactedError',
        compactedRevision: 3,
      });
      const watch = reader(store.watch({ ...everything, startRevision: 3 }));
      t.equal((await nextBatch(watch)).events[0]?.kv.modRevision, 3, 'etcd 18089');
      await store.close();
    });

    t.test('forgets by itself what is beyond its window', async (t) => {
      const store = await open({ history: { eventsMax: 10, bytesMax: 1e6 } });
      for (let at = 1; at <= 25; at++) await write(store, put('/a', String(at)));
      t.equal(store.compactedRevision, 15);
      await t.rejects(store.range({ ...everything, revision: 14 }), CompactedError);
      t.equal(text((await store.range({ ...everything, revision: 15 })).kvs[0]), '15');
      await store.close();
    });

    t.test('delivers to a watch every change once, in order, with the state before', async (t) => {
      const store = await open();
      await write(store, put('/w/a', '1'));
      await write(store, put('/x', 'elsewhere'));
      const past = reader(store.watch({ start: '/w/', end: prefixEnd('/w/'), startRevision: 1 }));
      const live = reader(store.watch({ start: '/w/', end: prefixEnd('/w/') }));
      const single = reader(store.watch({ start: '/w/b' }));
      const waiting = nextBatch(live);
      await write(store, put('/w/a', '2'), put('/w/b', '1'));
      await write(store, remove('/w/', '/w0'));
      t.same(brief((await waiting).events), ['put /w/a@3 was 1', 'put /w/b@3 was ']);
      t.same(brief((await nextBatch(live)).events), ['delete /w/a@4 was 2', 'delete /w/b@4 was 1']);
      const all = await nextBatch(past);
      t.equal(all.revision, 4);
      t.equal(all.events.length, 5);
      t.same(brief((await nextBatch(single)).events), ['put /w/b@3 was ']);
      await store.close();
      t.same(await live.next(), { done: true, value: undefined });
    });

    t.test('sends progress after everything that is pending, never ahead of it', async (t) => {
      const store = await open();
      const watch = store.watch({ start: '/a' });
      const events = reader(watch);
      await write(store, put('/a', '1'));
      await write(store, put('/b', 'not watched'));
      watch.requestProgress();
      t.match(await nextBatch(events), { revision: 1, events: [{ kv: { key: '/a' } }] });
      t.same(await nextBatch(events), { revision: 2, events: [] });
      const waiting = nextBatch(events);
      watch.requestProgress();
      t.same(await waiting, { revision: 2, events: [] });
      await store.close();
    });

    t.test('a watch on a future revision gets nothing older (etcd 20221)', async (t) => {
      const store = await open();
      const events = reader(store.watch({ ...everything, startRevision: 3 }));
      const waiting = nextBatch(events);
      for (const value of '1234') await write(store, put('/a', value));
      t.equal((await waiting).events[0]?.kv.modRevision, 3);
      await store.close();
    });

    t.test('a slow watch catches up from history, or is cut off', async (t) => {
      const limits = { watchBufferEvents: 5, history: { eventsMax: 100, bytesMax: 1e6 } };
      const store = await open(limits);
      const slow = reader(store.watch({ start: '/a' }));
      for (let at = 1; at <= 60; at++) await write(store, put('/a', String(at)));
      const seen: number[] = [];
      while (seen.length < 60) {
        const { events } = await nextBatch(slow);
        t.ok(events.length <= 5);
        seen.push(...events.map((event) => event.kv.modRevision));
      }
      t.same(
        seen,
        Array.from({ length: 60 }, (_, at) => at + 1),
      );
      for (let at = 0; at < 200; at++) await write(store, put('/a', `again ${at}`));
      await t.rejects(async () => {
        for (;;) await nextBatch(slow);
      }, CompactedError);
      t.same(await slow.return?.(), { done: true, value: undefined });
      await store.close();
    });

    t.test('refuses everything after close', async (t) => {
      const store = await open();
      await store.close();
      await t.rejects(write(store, put('/a', '1')), StoreClosedError);
      await t.rejects(store.range(everything), StoreClosedError);
      t.throws(() => store.watch(everything), StoreClosedError);
      await store.close();
    });

    t.test('equals a plain model, whatever is done to it', async () => {
      await holdAgainstModel(open, 150, Number(process.env.PIER_SEED ?? Date.now() % 1_000_000));
    });
  });
}

t.test('the memory store calls revisions of a former life compacted, never future', async (t) => {
  const store = openMemoryStore({ firstRevision: memoryFirstRevision(2) });
  const old = memoryFirstRevision(1) + 12_345;
  await t.rejects(store.range({ ...everything, revision: old }), CompactedError);
  await t.rejects(
    reader(store.watch({ ...everything, startRevision: old })).next(),
    CompactedError,
  );
  t.equal((await write(store, put('/a', '1'))).revision, memoryFirstRevision(2) + 1);
  await store.close();
});

t.test('the key index equals a sorted array with many keys', async (t) => {
  const index = new KeyIndex();
  const plain = new Map<string, KeyValue>();
  let state = 1;
  for (let step = 0; step < 30_000; step++) {
    state = (state * 48271) % 2147483647;
    const key = `/key/${state % 9000}`;
    if (state % 3 === 0 || (step > 20_000 && state % 3 === 1)) {
      if (index.delete(key) !== plain.delete(key)) t.fail(`deleting ${key} differs`);
    } else {
      const kv = { key, value: bytes(''), createRevision: step, modRevision: step, version: 1 };
      index.set(kv);
      plain.set(key, kv);
    }
  }
  const sorted = [...plain.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  t.equal(index.size, sorted.length);
  t.ok(index.collect('', undefined).every((kv, at) => kv === sorted[at]));
  for (const [start, end] of [
    ['/key/1', '/key/2'],
    ['/key/55', '/key/56'],
    ['/z', '/zz'],
    ['', '/a'],
  ]) {
    const expected = sorted.filter((kv) => kv.key >= String(start) && kv.key < String(end));
    t.equal(index.count(String(start), end), expected.length);
    t.same(index.collect(String(start), end), expected);
    t.same(index.collect(String(start), end, 3), expected.slice(0, 3));
  }
});

t.test('CRC-32C has its known values', async (t) => {
  t.equal(crc32c(bytes('123456789')), 0xe3069283);
  t.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
  t.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
  const data = bytes('the quick brown fox jumps over the lazy dog');
  t.equal(crc32c(data, 20, undefined, crc32c(data, 0, 20)), crc32c(data));
});

async function temporaryDirectory(t: Pick<typeof tap, 'teardown'>): Promise<string> {
  const directory = await mkdtemp(`${tmpdir()}/pier-store-`);
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return `${directory}/data`;
}

t.test('the durable store on real files', async (t) => {
  const directory = await temporaryDirectory(t);
  const mode = async (path: string) => (await stat(path)).mode & 0o777;

  t.test('is private, and remembers across a restart', async (t) => {
    const first = await openWalStore(directory);
    t.match(first, { epoch: 1, starts: 1, revision: 0 });
    await write(first, put('/a', 'kept'));
    await first.compact(1);
    t.equal(await mode(directory), 0o700);
    for (const file of await readdir(directory)) t.equal(await mode(`${directory}/${file}`), 0o600);
    await first.close();
    const second = await openWalStore(directory);
    t.match(second, { clusterId: first.clusterId, epoch: 1, starts: 2, revision: 1 });
    t.equal(text((await second.range({ start: '/a' })).kvs[0]), 'kept');
    await second.close();
  });

  t.test('refuses a second process, and not the one after a crash', async (t) => {
    const store = await openWalStore(directory);
    await t.rejects(openWalStore(directory), StoreLockedError);
    await t.rejects(openWalStore(directory), /in use by process \d+; stop it first/);
    await store.close();
    const { default: net } = await import('node:net');
    const stale = net.createServer();
    await new Promise<void>((resolve) => stale.listen(`${directory}/lock-stale`, resolve));
    // Renamed, so that closing leaves the name behind as a killed process does.
    const { rename } = await import('node:fs/promises');
    await rename(`${directory}/lock-stale`, `${directory}/lock-left`);
    await new Promise((resolve) => stale.close(resolve));
    const again = await openWalStore(directory);
    t.notOk((await readdir(directory)).includes('lock-left'));
    await again.close();
  });

  t.test('of many that start at once at most one wins', async (t) => {
    const tries = await Promise.allSettled(
      Array.from({ length: 8 }, () => openWalStore(directory)),
    );
    const won = tries.flatMap((tried) => (tried.status === 'fulfilled' ? [tried.value] : []));
    t.ok(won.length <= 1);
    for (const tried of tries) {
      if (tried.status === 'rejected') t.type(tried.reason, StoreLockedError);
    }
    for (const store of won) await store.close();
  });

  t.test('is found healthy, and a repair leaves it alone', async (t) => {
    t.match(await verifyStore(directory, nodeDisk), { healthy: true, keys: 1, damages: [] });
    t.match(await repairStore(directory, nodeDisk), { newLife: undefined, moved: [] });
  });

  t.test('goes into a backup and comes back as a new life', async (t) => {
    const store = await openWalStore(directory);
    const files = new Map([['ca.key', bytes('secret')]]);
    const whole = Buffer.concat([...store.exportBackup(files)]);
    const { clusterId, revision, starts } = store;
    await store.close();
    const backup = readBackup(whole);
    t.equal(new TextDecoder().decode(backup.files.get('ca.key')), 'secret');
    const wallMs = 0;
    await t.rejects(importBackup(directory, nodeDisk, backup, { wallMs }), /holds a store already/);
    const other = await temporaryDirectory(t);
    for (const at of [20, 100, whole.length - 20]) {
      const damaged = Buffer.from(whole);
      damaged[at] = (damaged[at] ?? 0) ^ 1;
      t.throws(() => readBackup(damaged), StoreDamagedError);
      t.throws(() => readBackup(whole.subarray(0, at)), StoreDamagedError);
    }
    await importBackup(other, nodeDisk, backup, { wallMs });
    const restored = await openWalStore(other);
    t.match(restored, { clusterId, epoch: 2 });
    t.ok(restored.starts > starts + 100 && restored.revision > revision + 1_000_000);
    await t.rejects(restored.range({ ...everything, revision }), CompactedError);
    t.equal(text((await restored.range({ start: '/a' })).kvs[0]), 'kept');
    t.equal((await write(restored, put('/b', '1'))).revision, restored.revision);
    t.equal((await restored.range(everything)).count, 2, 'files are no keys');
    const last = restored.revision;
    await restored.close();

    const third = await temporaryDirectory(t);
    const later = { wallMs: Date.UTC(2027, 0, 1) };
    const life = await importBackup(third, nodeDisk, backup, later);
    t.ok(life.epoch > 2 && life.revision > last, 'the same backup twice is no same life');
  });
});

const notRoot = process.getuid?.() === 0 ? false : 'mounting a tmpfs needs root';

t.test('says what is wrong with a file system it cannot use', async (t) => {
  t.test('a card that has become read-only', { skip: notRoot }, async (t) => {
    const directory = dirname(await temporaryDirectory(t));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'pier-test', directory]);
    t.teardown(() => execFileSync('umount', ['--lazy', directory]));
    const store = await openWalStore(directory);
    await write(store, put('/a', 'kept'));
    await store.close();
    execFileSync('mount', ['-o', 'remount,ro', directory]);
    await t.rejects(openWalStore(directory), { message: /is read-only.*`pier store dump`/ });
    execFileSync('mount', ['-o', 'remount,rw', directory]);
    const again = await openWalStore(directory);
    t.equal(text((await again.range({ start: '/a' })).kvs[0]), 'kept');
    await again.close();
  });

  // A simulated disk: FAT and FUSE cannot be mounted everywhere.
  const failing = (problem: object): Disk => {
    const disk = new SimDisk();
    disk.lock = () => Promise.reject(Object.assign(new Error('as the kernel says'), problem));
    return disk;
  };
  for (const code of ['EPERM', 'ENOSYS']) {
    const disk = failing({ code, syscall: 'listen' });
    const message = new RegExp(`cannot hold Unix sockets \\(${code}\\).*ext4`);
    await t.rejects(openWalStore('/data', { disk }), { message });
  }
  const forbidden = failing({ code: 'EACCES', syscall: 'open' });
  await t.rejects(openWalStore('/data', { disk: forbidden }), { message: /may not be written/ });
});

t.test('the durable store writes what it must and no more', async (t) => {
  t.test('one sync serves all that wait, none for what changes nothing', async (t) => {
    const store = await openWalStore('/data', { disk: new SimDisk() });
    await Promise.all(Array.from({ length: 64 }, (_, at) => write(store, put(`/${at}`, 'x'))));
    t.ok(store.stats().syncs <= 3, `${store.stats().syncs} syncs`);
    const before = store.stats();
    await Promise.all(Array.from({ length: 64 }, (_, at) => write(store, put(`/${at}`, 'x'))));
    t.match(store.stats(), { syncs: before.syncs, logBytes: before.logBytes });
    await store.close();
  });

  t.test('log and snapshots stay below three times the bytes of 2 KB objects', async (t) => {
    const disk = new SimDisk();
    const store = await openWalStore('/data', { disk, snapshotLogBytes: 200_000 });
    let written = 0;
    for (let round = 0; round < 40; round++) {
      const group = Array.from({ length: 50 }, (_, at) => {
        const value = new Uint8Array(2048).fill(round);
        written += value.length;
        const key = `/registry/core/pods/default/pod-${(round * 37 + at) % 300}`;
        return store.txn({ compare: [], success: [{ type: 'put', key, value }] });
      });
      await Promise.all(group);
      await store.settled();
    }
    const amplification = disk.bytesWritten / written;
    t.ok(store.stats().snapshots > 2);
    t.ok(amplification < 3, `write amplification ${amplification.toFixed(2)}`);
    t.comment(`write amplification ${amplification.toFixed(2)}`);
    await store.close();
  });

  t.test('the queue of writes is bounded', async (t) => {
    const store = await openWalStore('/data', { disk: new SimDisk(), queueMax: 10 });
    const tries = Array.from({ length: 30 }, (_, at) => write(store, put(`/${at}`, 'x')));
    const settled = await Promise.allSettled(tries);
    const refused = settled.flatMap((s) => (s.status === 'rejected' ? [s.reason] : []));
    t.equal(refused.length, 20);
    t.ok(refused.every((reason) => reason instanceof StoreBusyError));
    await write(store, put('/after', 'x'));
    await store.close();
  });
});

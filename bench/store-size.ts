/**
 * What one process with our store needs, for `bench/store.ts`; a process of its own, so that its memory is its own:
 * `store-size fill DIRECTORY KEYS WRITES BYTES`, `open DIRECTORY`, `pods DIRECTORY`. Prints one line of JSON.
 */
import { readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { collectGarbage } from '../master/garbage.ts';
import { openWalStore, type WalStore } from '../master/store/wal-store.ts';

const MIB = 2 ** 20;
const GROUP = 500;
const PODS = 10_000;
const POD_BYTES = 2048;

const rssMiB = () => Math.round((process.memoryUsage().rss / MIB) * 10) / 10;

async function fill(store: WalStore, keys: number, writes: number, bytes: number): Promise<void> {
  for (let done = 0; done < writes; done += GROUP) {
    const group = Array.from({ length: Math.min(GROUP, writes - done) }, (_, at) => {
      const number = done + at;
      const key = `/registry/core/pods/default/pod-${String((number * 7919) % keys).padStart(7, '0')}`;
      const value = Buffer.alloc(bytes, `${number} `);
      return store.txn({ compare: [], success: [{ type: 'put', key, value }] });
    });
    await Promise.all(group);
  }
}

/** Bytes this process caused to be written to the disk, whole pages. */
function pageBytes(): number {
  const text = readFileSync('/proc/self/io', 'utf8');
  return Number(/^write_bytes: (\d+)$/m.exec(text)?.[1] ?? 0);
}

/** One writer, one object of 2 KB after the other: what an API write costs the card. */
async function bytesPerWrite(store: WalStore, writes: number) {
  const before = store.stats();
  const pagesBefore = pageBytes();
  for (let number = 0; number < writes; number++) {
    const key = `/registry/core/pods/default/pod-${String(number % PODS).padStart(7, '0')}`;
    const value = Buffer.alloc(POD_BYTES, `again ${number} `);
    await store.txn({ compare: [], success: [{ type: 'put', key, value }] });
  }
  await store.settled();
  const after = store.stats();
  const payload = writes * POD_BYTES;
  return {
    handedToDisk:
      (after.logBytes + after.snapshotBytes - before.logBytes - before.snapshotBytes) / payload,
    pages: (pageBytes() - pagesBefore) / payload,
    snapshots: after.snapshots - before.snapshots,
  };
}

const [command, directory = '', ...numbers] = process.argv.slice(2);
const bareMiB = rssMiB();
const startMs = performance.now();
const store = await openWalStore(directory);
const openMs = Math.round(performance.now() - startMs);
// As the master does when it is up; V8 gives buffers back in the background.
collectGarbage();
await setTimeout(500);
const result: Record<string, unknown> = { openMs, bareMiB, openedMiB: rssMiB() };
if (command === 'fill') {
  const [keys = 1, writes = 1, bytes = 1] = numbers.map(Number);
  await fill(store, keys, writes, bytes);
} else if (command === 'pods') {
  // Every pod written twice more: now the history is as full as it gets.
  await fill(store, PODS, 2 * PODS, POD_BYTES);
  await store.settled();
  result.usedMiB = rssMiB();
  result.bytesPerWrite = await bytesPerWrite(store, Number(numbers[0] ?? 20_000));
}
result.keys = store.stats().liveKeys;
result.revision = store.revision;
await store.close();
process.stdout.write(`${JSON.stringify(result)}\n`);

/**
 * The entry of a process that writes to a store until its power is cut: `power-writer DIRECTORY SEED`. What it writes follows
 * from the seed (store-harness.ts), so that the other side knows it, too. After each group it prints `A REVISION`: so much is
 * acknowledged. With `unlocked` as third argument it takes no lock, for a file system without sockets.
 */
import { nodeDisk } from '../../master/store/disk.ts';
import { openWalStore } from '../../master/store/wal-store.ts';
import { seededRandom } from './disk.ts';
import { Life, Model } from './store-harness.ts';

const [directory = '', seed = '0', lock] = process.argv.slice(2);
const unlocked = { ...nodeDisk, lock: async () => ({ release: async () => undefined }) };
const store = await openWalStore(directory, {
  disk: lock === 'unlocked' ? unlocked : nodeDisk,
  segmentBytes: 60_000,
  snapshotLogBytes: 100_000,
});
const { kvs } = await store.range({ start: '', end: '' });
const state = kvs.map(({ key, value, createRevision, modRevision, version }) => {
  return [key, { value, create: createRevision, mod: modRevision, version }] as const;
});
// The states of the past do not matter here, only how many there were.
const model = new Model(new Array<string>(store.revision + 1).fill(''), new Map(state));
const life = new Life(model, seededRandom(Number(seed)));
process.stdout.write(`S ${store.starts}\n`);
for (;;) {
  await life.run(store, 1);
  process.stdout.write(`A ${life.acknowledged}\n`);
}

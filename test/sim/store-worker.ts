/**
 * The entry of a worker thread that runs one of the store harness's runs. It is bundled together with master/store
 * (store-workers.ts), possibly with a planted bug, so nothing here may import tap or find its way by paths.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { verifyStore } from '../../master/store/inspect.ts';
import { recover } from '../../master/store/recovery.ts';
import { openWalStore } from '../../master/store/wal-store.ts';
import { SimDisk } from './disk.ts';
import { StoreHarness } from './store-harness.ts';
import { holdAgainstModel } from './store-model.ts';
import type { StoreTask, StoreTaskResult } from './store-workers.ts';

async function run({ run, seed, size }: StoreTask): Promise<number> {
  const harness = new StoreHarness({ openWalStore, recover, verifyStore }, seed);
  switch (run) {
    case 'crashes':
      return harness.crashes(size);
    case 'model':
      await holdAgainstModel(
        (limits) => openWalStore('/data', { disk: new SimDisk(), ...limits }),
        size,
        seed,
      );
      return size;
    case 'failures':
      return (await harness.failures(size)).failed;
    case 'fullDisks':
      return harness.fullDisks(size);
    case 'snapshotLoss':
      await harness.snapshotLoss();
      return 1;
    case 'flips':
      return (await harness.flips(size, 16)).flips;
    default:
      throw new TypeError(`unknown run ${String(run satisfies never)}`);
  }
}

const post = (result: StoreTaskResult) => parentPort?.postMessage(result);
try {
  post({ count: await run(workerData as StoreTask) });
} catch (error) {
  post({ fault: error instanceof Error ? error.message : String(error) });
}

/**
 * Runs the store harness in worker threads, on all cores, with a limit of time and memory each, since a planted bug may hang
 * the store or let it grow. A worker ends with this process.
 */
import { Worker } from 'node:worker_threads';
import { bundle, type Planted } from './bundle.ts';

export interface StoreTask {
  readonly run: 'crashes' | 'model' | 'failures' | 'fullDisks' | 'snapshotLoss' | 'flips';
  readonly seed: number;
  readonly size: number;
}

/** `count`: what the run counts, such as crash states. */
export type StoreTaskResult = { readonly count: number } | { readonly fault: string };

export interface TaskLimits {
  readonly timeMaxMs: number;
  /** Of the whole process, as workers share it. Default 2 GiB. */
  readonly memoryMaxBytes?: number;
}

const MEMORY_MAX_BYTES = 2 * 1024 ** 3;
const HEAP_MAX_MIB = 1024;
const LOOK_EVERY_MS = 100;

export function bundleWorker(outfile: string, planted?: readonly Planted[]): Promise<void> {
  return bundle(new URL('store-worker.ts', import.meta.url), outfile, planted);
}

/** Runs the task in a thread of the program that `bundleWorker` made. Going beyond a limit is a fault, too. */
export function runTask(
  program: string,
  task: StoreTask,
  limits: TaskLimits,
): Promise<StoreTaskResult> {
  const { timeMaxMs, memoryMaxBytes = MEMORY_MAX_BYTES } = limits;
  const worker = new Worker(program, {
    workerData: task,
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MAX_MIB },
  });
  const startMs = performance.now();
  return new Promise((resolve) => {
    let hasEnded = false;
    const end = (result: StoreTaskResult) => {
      // The end of the worker is an event, too.
      if (hasEnded) return;
      hasEnded = true;
      clearInterval(timer);
      void worker.terminate().then(() => resolve(result));
    };
    const timer = setInterval(() => {
      const { rss } = process.memoryUsage();
      if (rss > memoryMaxBytes) end({ fault: `it took ${Math.round(rss / 2 ** 20)} MiB` });
      if (performance.now() - startMs > timeMaxMs) end({ fault: `no end after ${timeMaxMs} ms` });
    }, LOOK_EVERY_MS);
    worker.once('message', end);
    worker.once('error', (error) => end({ fault: `${error.name}: ${error.message}` }));
    worker.once('exit', (code) => end({ fault: `it ended with code ${code}` }));
  });
}

/**
 * Many seeds on all cores: each thread simulates one after the other. A seed that hangs or grows without end is a failure of
 * that seed, and its thread is replaced. Threads end with this process.
 */
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { bundle, type Planted } from '../bundle.ts';
import type { SimulationOptions, SimulationResult } from './simulation.ts';

const THREADS_MAX = 8;
const HEAP_MAX_MIB = 1_024;
/** Of real time; a seed takes seconds. */
const SEED_MAX_MS = 300_000;

export function bundleWorker(outfile: string, planted?: readonly Planted[]): Promise<void> {
  return bundle(new URL('worker.ts', import.meta.url), outfile, planted);
}

export interface SeedResult extends SimulationResult {
  readonly seed: number;
}

export interface SeedRun {
  /** What `bundleWorker` made. */
  readonly program: string;
  readonly seeds: Iterable<number>;
  readonly minutes: number;
  /** As they end, in no order; `true` ends the run early. */
  readonly onResult: (result: SeedResult) => boolean | undefined;
  /** Default: as many as there are cores. */
  readonly threads?: number;
}

export async function runSeeds(run: SeedRun): Promise<void> {
  const seeds = run.seeds[Symbol.iterator]();
  const threads = run.threads ?? Math.min(THREADS_MAX, availableParallelism());
  let isOver = false;
  const thread = async (): Promise<void> => {
    let worker: Worker | undefined;
    for (let next = seeds.next(); next.done !== true && !isOver; next = seeds.next()) {
      const seed = next.value;
      worker ??= startWorker(run.program);
      const result = await simulateIn(worker, { seed, minutes: run.minutes });
      if (typeof result === 'string') {
        await worker.terminate();
        worker = undefined;
      }
      const told = typeof result === 'string' ? dead(result) : result;
      if (run.onResult({ seed, ...told }) === true) isOver = true;
    }
    await worker?.terminate();
  };
  await Promise.all(Array.from({ length: threads }, thread));
}

function startWorker(program: string): Worker {
  const resourceLimits = { maxOldGenerationSizeMb: HEAP_MAX_MIB };
  return new Worker(program, { execArgv: [], resourceLimits });
}

/** What came of the seed, or why its thread cannot go on. */
function simulateIn(
  worker: Worker,
  options: SimulationOptions,
): Promise<SimulationResult | string> {
  const over = new AbortController();
  const { signal } = over;
  const timer = setTimeout(() => over.abort(), SEED_MAX_MS);
  const ends = [
    once(worker, 'message', { signal }).then(([result]): SimulationResult => result),
    once(worker, 'exit', { signal }).then(([code]) => `its thread ended with code ${code}`),
  ];
  worker.postMessage(options);
  return Promise.race(ends)
    .catch((error: Error) =>
      signal.aborted ? `no end after ${SEED_MAX_MS} ms` : `${error.name}: ${error.message}`,
    )
    .finally(() => {
      clearTimeout(timer);
      over.abort();
    });
}

function dead(failure: string): SimulationResult {
  return { failure, history: [], fingerprint: '', writes: 0, virtualMinutes: 0 };
}

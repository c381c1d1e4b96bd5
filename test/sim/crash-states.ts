/** Very many crash states, on several threads, in portions, each with a seed of its own. */
import { availableParallelism } from 'node:os';
import { runTask } from './store-workers.ts';

/** A few seconds of work. */
const PORTION_STATES = 20_000;
/** A portion that takes longer than this hangs. */
const PORTION_MAX_MS = 120_000;
const THREADS_MAX = 8;

export interface CrashStates {
  readonly states: number;
  /** What was wrong, with the seed that shows it again. */
  readonly fault: string | undefined;
}

/** Stops at the first fault, when there are enough states, or when the time is up. */
export async function crashStates(
  bundle: string,
  options: { readonly seed: number; readonly wanted: number; readonly timeMaxMs: number },
): Promise<CrashStates> {
  const { seed, wanted, timeMaxMs } = options;
  const deadline = performance.now() + timeMaxMs;
  let states = 0;
  let started = 0;
  let portions = 0;
  let fault: string | undefined;
  const thread = async () => {
    while (fault === undefined && started < wanted && performance.now() < deadline) {
      started += PORTION_STATES;
      const task = { run: 'crashes', seed: seed + portions++, size: PORTION_STATES } as const;
      const result = await runTask(bundle, task, { timeMaxMs: PORTION_MAX_MS });
      if ('fault' in result) fault = `${result.fault} (PIER_SEED=${task.seed})`;
      else states += result.count;
    }
  };
  const threads = Math.min(THREADS_MAX, availableParallelism());
  await Promise.all(Array.from({ length: threads }, thread));
  return { states, fault };
}

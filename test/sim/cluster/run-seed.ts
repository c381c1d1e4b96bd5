/** Runs one seed as a test: a failure comes with its history and with the way to see it again. */
import type { Test } from 'tap';
import { type SimulationOptions, simulate } from './simulation.ts';

/** The end of a history is what explains a failure; all of it is printed when a seed is asked for alone. */
const HISTORY_LINES = 120;

export async function runSeed(t: Test, options: SimulationOptions): Promise<void> {
  const { failure, history, writes, virtualMinutes } = await simulate(options);
  t.comment(`${virtualMinutes} virtual minutes, ${writes} writes`);
  if (failure === undefined) {
    t.pass('came to rest');
    return;
  }
  const shown = process.env.PIER_SEED === undefined ? history.slice(-HISTORY_LINES) : history;
  const again = `PIER_SEED=${options.seed} PIER_MINUTES=${options.minutes} npm run test:long -- test/long/cluster.long.ts`;
  for (const line of shown) t.comment(line);
  t.fail(`${failure}\nTo see it again: ${again}`);
}

/**
 * The scheduler: decisions per second in the core and through API and store, boards that mixes of pods take beside the
 * known rules, and the time of one decision as boards grow.
 *
 * `npm run bench -- scheduler [--data FOLDER] [--rounds N] [--plot FILE] [--only core|end-to-end|packing|decision]`
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Figures, Json } from './benchmark.ts';
import { HOME } from './host.ts';
import { throughput, timePerDecision } from './scheduler-core.ts';
import { endToEnd } from './scheduler-end-to-end.ts';
import { boardsOpened, firstRefusal, randomMixes } from './scheduler-packing.ts';

export const summary = 'decisions per second, packing beside the known rules, time per decision';

export async function run(args: string[]): Promise<Figures> {
  const { values } = parseArgs({
    args,
    options: {
      data: { type: 'string', default: join(HOME, '../shared/data/openb') },
      plot: { type: 'string', default: join(HOME, 'bench/scheduler-decision.svg') },
      rounds: { type: 'string', default: '5' },
      only: { type: 'string' },
      'no-peers': { type: 'boolean', default: false },
    },
  });
  const rounds = Number(values.rounds);
  const parts: Readonly<Record<string, () => Json | Promise<Json>>> = {
    core: () => throughput(rounds),
    'end-to-end': () => endToEnd(rounds),
    packing: () => [boardsOpened(values.data), randomMixes(200), firstRefusal(values.data)],
    decision: () => timePerDecision(values.plot),
  };
  if (values.only !== undefined && !(values.only in parts)) {
    throw new Error(
      `there is no part "${values.only}"; there are ${Object.keys(parts).join(', ')}`,
    );
  }
  const figures: Record<string, Json> = {};
  for (const [name, part] of Object.entries(parts)) {
    if (values.only === undefined || values.only === name) figures[name] = await part();
  }
  return { figures, peers: {} };
}

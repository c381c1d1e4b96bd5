/**
 * One master and ten boards that do nothing (agents without pods): what a board costs the master.
 *   --boards N (10)   --seconds N (120)
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type Figures, printTable, say } from './benchmark.ts';
import { startCluster } from './cluster.ts';
import { measureWindow, WINDOW_HEAD, windowRow } from './measure.ts';

export const summary = 'memory and CPU of a master with ten idle boards, and of their agents';

const SETTLE_MS = 20_000;

export async function run(args: string[]): Promise<Figures> {
  const { values } = parseArgs({
    args,
    options: {
      boards: { type: 'string', default: '10' },
      seconds: { type: 'string', default: '120' },
      'no-peers': { type: 'boolean', default: false },
    },
  });
  const boards = Number(values.boards);
  const seconds = Number(values.seconds);
  const agents = Array.from({ length: boards }, (_, index) => index + 1);
  const cluster = await startCluster({ boards, agents, image: false });
  try {
    await sleep(SETTLE_MS);
    say(`idle for ${seconds} s`);
    const windows = await measureWindow(cluster.lab.boards, seconds);
    const rows = windows.flatMap((parts, index) =>
      [...parts].map(([part, use]) => windowRow(`board${index + 1} ${part}`, use)),
    );
    printTable([[...WINDOW_HEAD], ...rows]);
    const named = windows.map((parts, index) => [`board${index + 1}`, Object.fromEntries(parts)]);
    return { figures: Object.fromEntries(named), peers: {} };
  } finally {
    await cluster.close();
  }
}

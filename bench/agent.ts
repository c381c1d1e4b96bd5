/**
 * An agent alone on its board (the master is on another) doing nothing, with 0, 10 and 50 pods; a swarm worker with as many
 * replicas, whose manager is on another board, too, is measured over the very same seconds.
 *   --seconds N (300)    length of a window
 *   --pods LIST (0,10,50)
 *   --trace N (20)       seconds under strace, after the window; 0: none
 *   --no-peers
 *   --soak SECONDS       instead of that: memory of the agent while containers are restarted
 *   --restarts N (10000) so many in that time, one every SECONDS/N; fewer if the board cannot keep up
 */
import { parseArgs } from 'node:util';
import { soak } from './agent-soak.ts';
import type { Figures, Json } from './benchmark.ts';
import { startCluster } from './cluster.ts';
import { measureIdle } from './idle.ts';
import { requirePeers, Swarm } from './swarm.ts';

export const summary =
  'an agent alone with 0, 10 and 50 pods beside a swarm worker; --soak: restarts';

const MASTER_BOARD = 1;
const AGENT_BOARD = 2;
const MANAGER_BOARD = 3;
const WORKER_BOARD = 4;

export async function run(args: string[]): Promise<Figures> {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: 'string', default: '300' },
      trace: { type: 'string', default: '20' },
      pods: { type: 'string', default: '0,10,50' },
      soak: { type: 'string' },
      restarts: { type: 'string', default: '10000' },
      'no-peers': { type: 'boolean', default: false },
    },
  });
  const hasPeer = values.soak === undefined && requirePeers(args);
  const cluster = await startCluster({
    boards: hasPeer ? WORKER_BOARD : AGENT_BOARD,
    agents: [AGENT_BOARD],
  });
  let swarm: Swarm | undefined;
  try {
    const { lab } = cluster;
    const board = lab.board(AGENT_BOARD);
    if (values.soak !== undefined) {
      const size = { seconds: Number(values.soak), restarts: Number(values.restarts) };
      const boards = { agent: board, master: lab.board(MASTER_BOARD) };
      return { figures: await soak(cluster, boards, size), peers: {} };
    }
    if (hasPeer) {
      swarm = await Swarm.start(lab.board(MANAGER_BOARD));
      await swarm.moveTo(lab.board(WORKER_BOARD));
    }
    const peer = swarm === undefined ? {} : { peer: { swarm, board: lab.board(WORKER_BOARD) } };
    const options = { seconds: Number(values.seconds), traceSeconds: Number(values.trace) };
    const figures: Record<string, Json> = {};
    const peers: Record<string, Json> = {};
    for (const pods of values.pods.split(',').map(Number)) {
      const outcome = await measureIdle({ cluster, board, ...peer }, pods, options);
      figures[`pods${pods}`] = outcome.ours;
      if (outcome.peer !== undefined) peers[`swarm worker, ${pods} replicas`] = outcome.peer;
    }
    return { figures, peers };
  } finally {
    swarm?.close();
    await cluster.close();
  }
}

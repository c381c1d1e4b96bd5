/**
 * One board with master and agent, doing nothing, with 3 and with 30 pods. The peer, a swarm manager with as many
 * replicas, stands on a board beside it and is measured over the very same seconds.
 *   --seconds N (120)   length of a window
 *   --pods LIST (3,30)
 *   --trace N (20)      seconds under strace, after the window; 0: none
 *   --no-peers
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Board } from '../test/lab/board.ts';
import { type Figures, type Json, printTable, say } from './benchmark.ts';
import { type Cluster, deploy, startCluster } from './cluster.ts';
import { changedFiles, listFiles, traceWrites } from './disk-writes.ts';
import { measureWindow, processesOf, WINDOW_HEAD, type WindowUsage, windowRow } from './measure.ts';
import { requirePeers, Swarm } from './swarm.ts';

export const summary = 'memory, CPU, wake-ups and bytes written of master and agent, doing nothing';

/** After the last pod is Ready: late writes and JIT are no idle cost. */
const SETTLE_MS = 20_000;
const PEER_SERVICE = 'idle';

export interface IdleOptions {
  readonly seconds: number;
  readonly traceSeconds: number;
}

export interface IdlePlace {
  readonly cluster: Cluster;
  readonly board: Board;
  readonly peer?: { readonly swarm: Swarm; readonly board: Board };
}

export async function run(args: string[]): Promise<Figures> {
  const peer = requirePeers(args);
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: 'string', default: '120' },
      trace: { type: 'string', default: '20' },
      pods: { type: 'string', default: '3,30' },
      'no-peers': { type: 'boolean', default: false },
    },
  });
  const options = { seconds: Number(values.seconds), traceSeconds: Number(values.trace) };
  const cluster = await startCluster({ boards: peer ? 2 : 1, agents: [1] });
  let swarm: Swarm | undefined;
  try {
    if (peer) swarm = await Swarm.start(cluster.lab.board(2));
    const figures: Record<string, Json> = {};
    const peers: Record<string, Json> = {};
    for (const pods of values.pods.split(',').map(Number)) {
      const peerOfIt = swarm === undefined ? {} : { peer: { swarm, board: cluster.lab.board(2) } };
      const place = { cluster, board: cluster.lab.board(1), ...peerOfIt };
      const outcome = await measureIdle(place, pods, options);
      figures[`pods${pods}`] = outcome.ours;
      if (outcome.peer !== undefined) peers[`swarm ${pods} replicas`] = outcome.peer;
    }
    return { figures, peers };
  } finally {
    swarm?.close();
    await cluster.close();
  }
}

/** All pods, and all of the peer's containers, run on the boards that are measured. */
export async function measureIdle(
  { cluster, board, peer }: IdlePlace,
  pods: number,
  { seconds, traceSeconds }: IdleOptions,
): Promise<{ ours: Json; peer: Json | undefined }> {
  say(`${pods} pods`);
  await deploy(cluster, 'idle', pods);
  if (peer !== undefined) {
    // There is none the first time.
    await peer.swarm.remove(PEER_SERVICE).catch(() => undefined);
    await peer.swarm.create(PEER_SERVICE, pods);
    await peer.swarm.untilRunning(PEER_SERVICE, pods);
  }
  await sleep(SETTLE_MS);
  const before = await listFiles(board.dir);
  say(`idle for ${seconds} s`);
  const boards = peer === undefined ? [board] : [board, peer.board];
  const [ours = new Map<string, WindowUsage>(), theirs] = await measureWindow(boards, seconds);
  const changed = changedFiles(before, await listFiles(board.dir));
  print(`${pods} pods, Pier`, ours);
  if (theirs !== undefined) print(`${pods} replicas, swarm`, theirs);
  process.stdout.write(`files changed on the card: ${changed.join(', ') || 'none'}\n`);
  const trace = traceSeconds === 0 ? undefined : await traceParts(board, traceSeconds);
  const figures = { parts: Object.fromEntries(ours), changedFiles: changed, trace: trace ?? null };
  return { ours: figures, peer: theirs === undefined ? undefined : Object.fromEntries(theirs) };
}

/** strace slows what it watches: not part of the window above. */
async function traceParts(board: Board, seconds: number): Promise<{ [part: string]: Json }> {
  say(`watching system calls for ${seconds} s`);
  const wanted = (await processesOf(board)).filter(({ part }) => part !== 'conmon');
  const traces: Record<string, Json> = {};
  await Promise.all(
    wanted.map(async ({ pid, part }) => {
      const trace = await traceWrites([pid], seconds);
      traces[part] = trace ?? 'strace is missing or may not watch';
      const files = Object.entries(trace?.files ?? {}).map(([file, calls]) => `${file} x${calls}`);
      const { syncs = '?', fileWrites = '?', forks = '?' } = trace ?? {};
      const counts = `${syncs} syncs, ${fileWrites} calls on files, ${forks} forks`;
      process.stdout.write(`strace ${seconds} s, ${part}: ${counts}\n`);
      for (const file of files.slice(0, 20)) process.stdout.write(`  ${file}\n`);
    }),
  );
  return traces;
}

function print(title: string, parts: ReadonlyMap<string, WindowUsage>): void {
  process.stdout.write(`\n${title}\n`);
  printTable([[...WINDOW_HEAD], ...[...parts].map(([part, use]) => windowRow(part, use))]);
}

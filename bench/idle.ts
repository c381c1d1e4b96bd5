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
import { type Figures, type Json, printTable, say } from './benchmark.ts';
import { type Cluster, deploy, startCluster } from './cluster.ts';
import { changedFiles, listFiles, traceWrites } from './disk-writes.ts';
import { measureWindow, processesOf, WINDOW_HEAD, type WindowUsage, windowRow } from './measure.ts';
import { requirePeers, Swarm } from './swarm.ts';

export const summary = 'memory, CPU, wake-ups and bytes written of master and agent, doing nothing';

/** After the last pod is Ready: late writes and JIT are no idle cost. */
const SETTLE_MS = 20_000;
const PEER_SERVICE = 'idle';

interface Options {
  readonly seconds: number;
  readonly traceSeconds: number;
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
      const outcome = await measure(cluster, swarm, pods, options);
      figures[`pods${pods}`] = outcome.ours;
      if (outcome.peer !== undefined) peers[`swarm ${pods} replicas`] = outcome.peer;
    }
    return { figures, peers };
  } finally {
    swarm?.close();
    await cluster.close();
  }
}

async function measure(
  cluster: Cluster,
  swarm: Swarm | undefined,
  pods: number,
  { seconds, traceSeconds }: Options,
): Promise<{ ours: Json; peer: Json | undefined }> {
  const { lab } = cluster;
  say(`${pods} pods`);
  await deploy(cluster, 'idle', pods);
  if (swarm !== undefined) {
    if (pods !== 0) await swarm.remove(PEER_SERVICE).catch(() => undefined);
    await swarm.create(PEER_SERVICE, pods);
    await swarm.untilRunning(PEER_SERVICE, pods);
  }
  await sleep(SETTLE_MS);
  const card = lab.board(1).dir;
  const before = await listFiles(card);
  say(`idle for ${seconds} s`);
  const boards = swarm === undefined ? [lab.board(1)] : [lab.board(1), lab.board(2)];
  const [ours = new Map<string, WindowUsage>(), theirs] = await measureWindow(boards, seconds);
  const changed = changedFiles(before, await listFiles(card));
  print(`${pods} pods, Pier`, ours);
  if (theirs !== undefined) print(`${pods} replicas, swarm`, theirs);
  process.stdout.write(`files changed on the card: ${changed.join(', ') || 'none'}\n`);
  const trace = traceSeconds === 0 ? undefined : await traceParts(cluster, traceSeconds);
  const figures = { parts: Object.fromEntries(ours), changedFiles: changed, trace: trace ?? null };
  return { ours: figures, peer: theirs === undefined ? undefined : Object.fromEntries(theirs) };
}

/** strace slows what it watches: not part of the window above. */
async function traceParts({ lab }: Cluster, seconds: number): Promise<{ [part: string]: Json }> {
  say(`watching system calls for ${seconds} s`);
  const wanted = (await processesOf(lab.board(1))).filter(({ part }) => part !== 'conmon');
  const traces: Record<string, Json> = {};
  await Promise.all(
    wanted.map(async ({ pid, part }) => {
      const trace = await traceWrites([pid], seconds);
      traces[part] = trace ?? 'strace is missing or may not watch';
      const files = Object.entries(trace?.files ?? {}).map(([file, calls]) => `${file} x${calls}`);
      const counts = `${trace?.syncs ?? '?'} syncs, ${trace?.fileWrites ?? '?'} calls on files`;
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

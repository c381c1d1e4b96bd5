/**
 * From the API call to Running: N pods of one Deployment, as a watch sees them, and the last of N. Peers take turns with
 * us, round by round: `podman run -d`, N at once, from the same storage on the same board; and a swarm service
 * with N replicas on a board beside it. A pod of ours is two containers (the pause container holds its
 * address), a peer's is one.
 *   --rounds N (5)   --pods LIST (1,10,30)   --engine podman|cri|docker (podman)   --no-peers
 */
import { parseArgs } from 'node:util';
import { RUNTIME_NAMES } from '../agent/runtime/choose.ts';
import { DEMO_IMAGE } from '../cli/commands/demo-image.ts';
import type { Pod } from '../protocol/kinds/types.ts';
import type { Board } from '../test/lab/board.ts';
import { type Figures, type Json, printTable, type Spread, say, spreadOf } from './benchmark.ts';
import {
  type Cluster,
  DEPLOYMENTS,
  deploymentOf,
  PODS,
  startCluster,
  undeploy,
  watch,
} from './cluster.ts';
import { requirePeers, Swarm } from './swarm.ts';

export const summary = 'API call to Running for 1, 10 and 30 pods, beside podman run and swarm';

const START_MS_MAX = 120_000;
const APP = 'start';

/** Name -> milliseconds from the call until the last of `count` runs. Cleans up after itself. */
type Contender = (count: number) => Promise<number>;

export async function run(args: string[]): Promise<Figures> {
  const peer = requirePeers(args);
  const { values } = parseArgs({
    args,
    options: {
      rounds: { type: 'string', default: '5' },
      pods: { type: 'string', default: '1,10,30' },
      engine: { type: 'string', default: 'podman' },
      'no-peers': { type: 'boolean', default: false },
    },
  });
  const engine = RUNTIME_NAMES.find((name) => name === values.engine);
  if (engine === undefined) throw new Error(`--engine ${values.engine}: podman, cri or docker`);
  const cluster = await startCluster({ boards: peer ? 2 : 1, agents: [1], engine });
  const swarm = peer ? await Swarm.start(cluster.lab.board(2)) : undefined;
  try {
    const board = cluster.lab.board(1);
    const { env } = cluster.lab;
    const contenders = new Map<string, Contender>([
      ['pier', (count) => startDeployment(cluster, count)],
      ['podman run', (count) => runWithPodman(board, env, count)],
      ...(swarm === undefined
        ? []
        : [['swarm', (count: number) => startService(swarm, count)] as const]),
    ]);
    // Once each, unmeasured: caches and just-in-time compilers.
    for (const contender of contenders.values()) await contender(1);
    const counts = values.pods.split(',').map(Number);
    return report(await takeTurns(contenders, counts, Number(values.rounds)));
  } finally {
    swarm?.close();
    await cluster.close();
  }
}

type Results = Map<string, Map<number, number[]>>;

async function takeTurns(
  contenders: ReadonlyMap<string, Contender>,
  counts: readonly number[],
  rounds: number,
): Promise<Results> {
  const results: Results = new Map([...contenders.keys()].map((name) => [name, new Map()]));
  for (let round = 1; round <= rounds; round += 1) {
    for (const count of counts) {
      for (const [name, contender] of contenders) {
        const tookMs = await contender(count);
        say(`round ${round}: ${name}, ${count}: ${tookMs.toFixed(0)} ms`);
        const ofName = results.get(name);
        ofName?.set(count, [...(ofName.get(count) ?? []), tookMs]);
      }
    }
  }
  return results;
}

function report(results: Results): Figures {
  const spreads = new Map<string, Record<string, Spread>>();
  const rows: Array<Array<string | number>> = [
    ['ms to the last of N running', 'N', 'median', 'min', 'max', 'Pier / it'],
  ];
  for (const [name, counts] of results) {
    const own: Record<string, Spread> = {};
    for (const [count, times] of counts) {
      const spread = spreadOf(times);
      own[`n${count}`] = spread;
      const ours = results.get('pier')?.get(count) ?? [];
      const ratio = spreadOf(
        ours.map((ms, round) => ms / (times[round] ?? Number.NaN)),
        2,
      );
      rows.push([
        name,
        count,
        spread.median,
        spread.min,
        spread.max,
        `${ratio.median} (${ratio.min}-${ratio.max})`,
      ]);
    }
    spreads.set(name, own);
  }
  printTable(rows);
  const peers: Record<string, Json> = {};
  for (const [name, own] of spreads) if (name !== 'pier') peers[name] = own;
  return { figures: spreads.get('pier') ?? {}, peers };
}

async function startDeployment(cluster: Cluster, count: number): Promise<number> {
  const { connection, client } = cluster;
  const running = new Set<string>();
  let done: (atMs: number) => void = () => {};
  const allRun = new Promise<number>((resolve, reject) => {
    done = resolve;
    const fail = () => reject(new Error(`${running.size} of ${count} pods run after two minutes`));
    setTimeout(fail, START_MS_MAX).unref();
  });
  const seen = await watch<Pod>(connection, `${PODS}?labelSelector=app%3D${APP}`, (type, pod) => {
    if (type === 'DELETED' || pod.status?.phase !== 'Running') return;
    running.add(pod.metadata?.name ?? '');
    if (running.size === count) done(performance.now());
  });
  try {
    const startMs = performance.now();
    await client.json(DEPLOYMENTS, { method: 'POST', body: deploymentOf(APP, count) });
    return (await allRun) - startMs;
  } finally {
    seen.close();
    await undeploy(cluster, APP);
  }
}

/** Own address on a bridge, as our pods have. */
async function runWithPodman(board: Board, env: NodeJS.ProcessEnv, count: number): Promise<number> {
  const names = Array.from({ length: count }, (_, index) => `peer${index}`);
  const startMs = performance.now();
  await Promise.all(
    names.map((name) => board.exec('podman', ['run', '-d', '--name', name, DEMO_IMAGE], { env })),
  );
  const tookMs = performance.now() - startMs;
  await board.exec('podman', ['rm', '-f', '-t', '0', ...names], { env });
  return tookMs;
}

async function startService(swarm: Swarm, count: number): Promise<number> {
  const startMs = performance.now();
  await swarm.create(APP, count);
  await swarm.untilRunning(APP, count);
  const tookMs = performance.now() - startMs;
  await swarm.remove(APP);
  return tookMs;
}

/**
 * Three boards, the master on the first, which is cordoned; something befalls one of the others. Measured from the blow: until
 * the API says that the board is not Ready, and until all pods are Ready on boards that live.
 *   agent   kill -9 of the agent; its pods run on, nobody starts it again
 *   plug    all processes of the board end at once
 *   cable   the board runs on and hears nothing
 * The wait before pods are given up is the master's default (--eviction-seconds); it is in the figures.
 *   --rounds N (5)   --pods N (6)   --blows LIST (agent,plug,cable)
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Node, Pod } from '../protocol/kinds/types.ts';
import { type Figures, printTable, type Spread, say, spreadOf } from './benchmark.ts';
import {
  type Cluster,
  deploy,
  isNodeReady,
  isPodReady,
  PODS,
  startCluster,
  undeploy,
  untilNodesReady,
  watch,
} from './cluster.ts';

export const summary =
  'agent killed, plug pulled, cable cut: to NotReady and to all pods elsewhere';

const APP = 'failover';
const WAIT_MS_MAX = 180_000;
const VICTIM = 3;

type Blow = 'agent' | 'plug' | 'cable';

interface Times {
  readonly notReadyMs: number;
  readonly elsewhereMs: number;
}

export async function run(args: string[]): Promise<Figures> {
  const { values } = parseArgs({
    args,
    options: {
      rounds: { type: 'string', default: '5' },
      pods: { type: 'string', default: '6' },
      blows: { type: 'string', default: 'agent,plug,cable' },
      'no-peers': { type: 'boolean', default: false },
    },
  });
  const masterFlags = ['--scheduling', 'spread'];
  const cluster = await startCluster({ boards: 3, agents: [1, 2, 3], masterFlags });
  try {
    await cordon(cluster, 1);
    const figures: Record<string, { notReadyMs: Spread; elsewhereMs: Spread }> = {};
    for (const blow of values.blows.split(',').map(blowOf)) {
      const times: Times[] = [];
      for (let round = 1; round <= Number(values.rounds); round += 1) {
        const outcome = await strike(cluster, blow, Number(values.pods));
        say(
          `round ${round}: ${blow}: NotReady after ${outcome.notReadyMs.toFixed(0)} ms, ` +
            `all pods elsewhere after ${outcome.elsewhereMs.toFixed(0)} ms`,
        );
        times.push(outcome);
      }
      figures[blow] = {
        notReadyMs: spreadOf(times.map((each) => each.notReadyMs)),
        elsewhereMs: spreadOf(times.map((each) => each.elsewhereMs)),
      };
    }
    print(figures);
    return { figures, peers: {} };
  } finally {
    await cluster.close();
  }
}

function blowOf(name: string): Blow {
  if (name === 'agent' || name === 'plug' || name === 'cable') return name;
  throw new Error(`--blows takes agent, plug and cable, not "${name}"`);
}

function print(figures: Readonly<Record<string, { notReadyMs: Spread; elsewhereMs: Spread }>>) {
  const row = (blow: string, what: string, s: Spread) => [blow, what, s.median, s.min, s.max];
  printTable([
    ['blow', 'ms until', 'median', 'min', 'max'],
    ...Object.entries(figures).flatMap(([blow, { notReadyMs, elsewhereMs }]) => [
      row(blow, 'NotReady', notReadyMs),
      row(blow, 'all pods Ready elsewhere', elsewhereMs),
    ]),
  ]);
}

async function cordon({ client, lab }: Cluster, index: number): Promise<void> {
  await client.json(`/api/v1/nodes/${lab.board(index).name}`, {
    method: 'PATCH',
    body: { spec: { unschedulable: true } },
    contentType: 'application/merge-patch+json',
  });
}

/** One round, with everything as before at its end. */
async function strike(cluster: Cluster, blow: Blow, pods: number): Promise<Times> {
  const { lab, client, connection } = cluster;
  await deploy(cluster, APP, pods);
  const victim = lab.board(VICTIM).name;
  const ready = new Map<string, string>();
  let startMs = Number.POSITIVE_INFINITY;
  let notReadyMs: number | undefined;
  let elsewhereMs: number | undefined;
  const nodes = await watch<Node>(connection, '/api/v1/nodes', (_type, node) => {
    if (node.metadata?.name !== victim || isNodeReady(node)) return;
    notReadyMs ??= performance.now() - startMs;
  });
  const moved = await watch<Pod>(connection, `${PODS}?labelSelector=app%3D${APP}`, (type, pod) => {
    const name = pod.metadata?.name ?? '';
    const lives = type !== 'DELETED' && pod.metadata?.deletionTimestamp === undefined;
    if (lives && isPodReady(pod)) ready.set(name, pod.spec?.nodeName ?? '');
    else ready.delete(name);
    const well = [...ready.values()].filter((node) => node !== victim).length;
    if (notReadyMs !== undefined && well >= pods) elsewhereMs ??= performance.now() - startMs;
  });
  try {
    // The watches begin with what there is.
    await sleep(500);
    if (![...ready.values()].includes(victim)) throw new Error(`no pod runs on ${victim}`);
    startMs = performance.now();
    await hit(cluster, blow);
    await lab.until(
      'all pods are Ready elsewhere',
      async () =>
        (notReadyMs !== undefined && elsewhereMs !== undefined) ||
        `NotReady: ${notReadyMs}; ${JSON.stringify([...ready])}`,
      WAIT_MS_MAX,
    );
    return { notReadyMs: notReadyMs ?? Number.NaN, elsewhereMs: elsewhereMs ?? Number.NaN };
  } finally {
    nodes.close();
    moved.close();
    await heal(cluster, blow);
    await untilNodesReady(lab, client, 3);
    await undeploy(cluster, APP);
  }
}

async function hit({ lab }: Cluster, blow: Blow): Promise<void> {
  if (blow === 'agent') await lab.end(VICTIM, 'agent', 'SIGKILL');
  else if (blow === 'plug') await lab.powerOff(VICTIM);
  else await lab.cable(VICTIM, false);
}

async function heal({ lab }: Cluster, blow: Blow): Promise<void> {
  if (blow === 'cable') return lab.cable(VICTIM, true);
  if (blow === 'plug') await lab.board(VICTIM).powerOn();
  await lab.startAgent(VICTIM);
}

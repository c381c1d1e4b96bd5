/**
 * Memory of an agent over many restarts of containers. They are restarted by changing their image between two names of the
 * same one: what crashes is started again after ever longer waits, 5 minutes in the end, which 10,000 restarts an hour would take 800
 * pods for. A restart is counted when the API shows it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { DEMO_IMAGE } from '../cli/commands/demo-image.ts';
import type { Pod } from '../protocol/kinds/types.ts';
import type { Board } from '../test/lab/board.ts';
import { type Json, printTable, round, say } from './benchmark.ts';
import { type Cluster, PODS, podSpec, untilNoPods, watch } from './cluster.ts';
import { measureBoard, type Usage } from './measure.ts';

const POD_COUNT = 10;
const APP = 'soak';
const OTHER_NAME = 'localhost/pier-hello:other';
const LOOKS = 12;
const SETTLE_MS = 20_000;
const STEP_MS_MAX = 120_000;

export interface SoakSize {
  readonly seconds: number;
  readonly restarts: number;
}

export interface SoakBoards {
  readonly agent: Board;
  readonly master: Board;
}

interface Look {
  readonly [key: string]: Json;
  readonly minute: number;
  readonly restarts: number;
}

export async function soak(
  cluster: Cluster,
  boards: SoakBoards,
  { seconds, restarts }: SoakSize,
): Promise<{ [key: string]: Json }> {
  await boards.agent.exec('podman', ['tag', DEMO_IMAGE, OTHER_NAME]);
  const counts = new Map<string, number>();
  const seen = await watch<Pod>(
    cluster.connection,
    `${PODS}?labelSelector=app%3D${APP}`,
    (_, { metadata, status }) => {
      const [main] = status?.containerStatuses ?? [];
      if (main?.state?.running !== undefined) {
        counts.set(metadata?.name ?? '', main.restartCount ?? 0);
      }
    },
  );
  const names = Array.from({ length: POD_COUNT }, (_, index) => `${APP}-${index}`);
  try {
    for (const name of names) await create(cluster, name);
    await cluster.lab.until('the pods run', async () => counts.size === POD_COUNT, STEP_MS_MAX);
    await sleep(SETTLE_MS);
    const total = () => [...counts.values()].reduce((sum, count) => sum + count, 0);
    const startMs = performance.now();
    const looks = [await look(boards, 0, 0)];
    const minutes = () => (performance.now() - startMs) / 60_000;
    const endMs = startMs + seconds * 1000;
    const working = names.map((name, index) =>
      restartOften(cluster, name, counts, {
        endMs,
        // Each has its turn, one after the other.
        firstMs: startMs + (index * seconds * 1000) / restarts,
        everyMs: (POD_COUNT * seconds * 1000) / restarts,
        times: Math.ceil((restarts - index) / POD_COUNT),
      }),
    );
    for (let step = 1; step <= LOOKS; step += 1) {
      await sleep(Math.max(0, startMs + (step * seconds * 1000) / LOOKS - performance.now()));
      looks.push(await look(boards, minutes(), total()));
      say(`${total()} of ${restarts} restarts`);
    }
    await Promise.all(working);
    await sleep(SETTLE_MS);
    looks.push(await look(boards, minutes(), total()));
    return report(looks, total(), restarts);
  } finally {
    seen.close();
    for (const name of names) {
      await cluster.client.json(`${PODS}/${name}`, { method: 'DELETE' }).catch(() => undefined);
    }
    await untilNoPods(cluster, APP);
  }
}

async function create(cluster: Cluster, name: string): Promise<void> {
  const body = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: APP } },
    spec: podSpec(),
  };
  await cluster.client.json(PODS, { method: 'POST', body });
}

interface Pace {
  readonly firstMs: number;
  readonly everyMs: number;
  readonly endMs: number;
  readonly times: number;
}

/** One after the other, never two of a pod at once: the second would swallow the first. */
async function restartOften(
  { client, lab }: Cluster,
  name: string,
  counts: ReadonlyMap<string, number>,
  { firstMs, everyMs, endMs, times }: Pace,
): Promise<void> {
  for (let turn = 1; turn <= times; turn += 1) {
    await sleep(Math.max(0, firstMs + (turn - 1) * everyMs - performance.now()));
    if (performance.now() >= endMs) return;
    const image = turn % 2 === 1 ? OTHER_NAME : DEMO_IMAGE;
    await client.json(`${PODS}/${name}`, {
      method: 'PATCH',
      contentType: 'application/strategic-merge-patch+json',
      body: { spec: { containers: [{ name: 'web', image }] } },
    });
    const isDone = async () => (counts.get(name) ?? 0) >= turn;
    await lab.until(`${name} is restarted for the ${turn}th time`, isDone, STEP_MS_MAX);
  }
}

async function look(boards: SoakBoards, minute: number, restarts: number): Promise<Look> {
  const [ours, theirs] = await Promise.all([
    measureBoard(boards.agent),
    measureBoard(boards.master),
  ]);
  const memory = (usage: Usage | undefined) => ({
    rssMib: round((usage?.rssKib ?? 0) / 1024, 1),
    pssMib: round((usage?.pssKib ?? 0) / 1024, 1),
    anonMib: round((usage?.rssAnonKib ?? 0) / 1024, 1),
  });
  return {
    minute: round(minute, 1),
    restarts,
    agent: memory(ours.get('agent')),
    podman: memory(ours.get('podman service')),
    master: memory(theirs.get('master')),
    cpuSeconds: round(ours.get('agent')?.cpuSeconds ?? 0, 1),
  };
}

function report(looks: readonly Look[], done: number, wanted: number): { [key: string]: Json } {
  const number = (look: Look | undefined, part: string, key: string): number => {
    const memory = look?.[part];
    const value = typeof memory === 'object' && memory !== null && key in memory ? memory : {};
    return Number(Object.entries(value).find(([name]) => name === key)?.[1] ?? Number.NaN);
  };
  printTable([
    ['minute', 'restarts', 'agent RSS MiB', 'PSS', 'anon', 'podman RSS', 'master RSS', 'CPU s'],
    ...looks.map((look) => [
      look.minute,
      look.restarts,
      ...['rssMib', 'pssMib', 'anonMib'].map((key) => number(look, 'agent', key)),
      number(look, 'podman', 'rssMib'),
      number(look, 'master', 'rssMib'),
      Number(look.cpuSeconds),
    ]),
  ]);
  const rss = (place: number) => number(looks.at(place), 'agent', 'rssMib');
  const middle = Math.floor(looks.length / 2);
  const growth = {
    start: rss(0),
    middle: rss(middle),
    end: rss(-1),
    secondHalf: round(rss(-1) - rss(middle), 1),
  };
  process.stdout.write(
    `agent's RSS: ${growth.start} MiB at the start, ${growth.middle} in the middle, ${growth.end} at the end; ` +
      `${done} of ${wanted} restarts\n`,
  );
  return { restarts: done, wanted, rssMib: growth, looks: [...looks] };
}

/** Pods and boards for bench/scheduler.ts: the openb traces, mixes of our own, and snapshots made of them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { compilePod, type PodInfo } from '../master/scheduler/pod-info.ts';
import { ClusterSnapshot } from '../master/scheduler/snapshot.ts';
import type { Node, Pod } from '../protocol/kinds/types.ts';

/** CPU in millicores, memory in MiB. */
export type Size = readonly [cpu: number, memory: number];

export interface Mix {
  readonly name: string;
  readonly pods: readonly Size[];
  /** All boards are of this size. */
  readonly board: Size;
}

export interface Trace {
  readonly pods: readonly Size[];
  readonly cpuOnly: readonly Size[];
}

/** Throws when the file is missing; the message says what is wanted. */
function lines(folder: string, file: string): string[][] {
  try {
    const text = readFileSync(join(folder, file), 'utf8').trim();
    return text
      .split('\n')
      .slice(1)
      .map((line) => line.split(','));
  } catch (error) {
    throw new Error(
      `cannot read the openb trace ${join(folder, file)}: give its folder with --data ` +
        '(hkust-adsl/kubernetes-scheduler-simulator, data/csv)',
      { cause: error },
    );
  }
}

export function readTrace(folder: string, name: string): Trace {
  const rows = lines(folder, `openb_pod_list_${name}.csv`);
  const size = (row: string[]): Size => [Number(row[1]), Number(row[2])];
  return { pods: rows.map(size), cpuOnly: rows.filter((row) => row[3] === '0').map(size) };
}

export function readBoards(folder: string): Size[] {
  return lines(folder, 'openb_node_list_all_node.csv').map((row) => [
    Number(row[1]),
    Number(row[2]),
  ]);
}

/** The instances of the table: those of the traces first, then mixes that are in no repository. */
export function instances(folder: string): Mix[] {
  const mixes: Mix[] = [];
  for (const name of ['default', 'cpu050', 'cpu200']) {
    const { pods, cpuOnly } = readTrace(folder, name);
    mixes.push(fitting(`${name}, 96c/384GiB`, pods, [96_000, 393_216]));
    mixes.push(fitting(`${name}, 32c/128GiB`, pods, [32_000, 131_072]));
    mixes.push(fitting(`${name}, CPU only`, cpuOnly, [96_000, 393_216]));
  }
  const random = generator(20_261_125);
  const board: Size = [4_000, 8_192];
  const draw = (count: number, one: () => Size): Size[] => Array.from({ length: count }, one);
  const upTo = (max: number): number => 1 + Math.floor(random() * max);
  mixes.push(
    {
      name: 'Pi: small apps',
      board,
      pods: draw(1_000, () => [50 * upTo(16), 64 * upTo(24)]),
    },
    {
      name: 'Pi: CPU or memory',
      board,
      pods: draw(1_000, () =>
        random() < 0.5 ? [1_000 + 100 * upTo(15), 64 * upTo(8)] : [100 * upTo(5), 512 * upTo(7)],
      ),
    },
    {
      name: 'Pi: a third to half a board',
      board,
      pods: draw(1_000, () => [1_300 + 50 * upTo(14), 2_600 + 64 * upTo(24)]),
    },
    {
      name: 'Pi: few templates',
      board,
      pods: draw(1_000, () => TEMPLATES[Math.floor(random() * TEMPLATES.length)] ?? [100, 100]),
    },
  );
  return mixes;
}

/** Mixes that nobody has looked at before: `seed` says which. Few or many templates, small or large, boards of three sizes. */
export function randomMix(seed: number): Mix {
  const random = generator(seed);
  // The first numbers of such a generator are much alike from seed to seed.
  for (let at = 0; at < 16; at += 1) random();
  const upTo = (max: number): number => 1 + Math.floor(random() * max);
  const boards: readonly Size[] = [
    [4_000, 8_192],
    [4_000, 4_096],
    [8_000, 16_384],
  ];
  const board = boards[upTo(3) - 1] ?? [4_000, 8_192];
  const part = [0.1, 0.3, 0.6][upTo(3) - 1] ?? 0.3;
  const [cpu, memory] = [50, 64];
  const template = (): Size => [
    cpu * upTo((board[0] * part) / cpu),
    memory * upTo((board[1] * part) / memory),
  ];
  const templates = Array.from({ length: [3, 5, 8, 20, 500][upTo(5) - 1] ?? 5 }, template);
  const pods = Array.from({ length: 200 + upTo(300) }, () => {
    const one = templates[Math.floor(random() * templates.length)];
    return one ?? ([100, 100] as const);
  });
  return { name: `random ${seed}`, board, pods };
}

const TEMPLATES: readonly Size[] = [
  [100, 128],
  [250, 256],
  [700, 512],
  [1_100, 3_000],
  [2_300, 1_500],
];

function fitting(name: string, pods: readonly Size[], board: Size): Mix {
  return { name, board, pods: pods.filter(([c, m]) => c <= board[0] && m <= board[1]) };
}

/** The same numbers in every run. In [0, 1). */
export function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

export function nodeOf(index: number, [cpu, memory]: Size): Node {
  const name = `board-${String(index).padStart(5, '0')}`;
  return {
    metadata: { name, labels: { 'kubernetes.io/hostname': name } },
    status: {
      allocatable: { cpu: `${cpu}m`, memory: `${memory}Mi`, pods: '1000' },
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  };
}

export function podOf(index: number, [cpu, memory]: Size): Pod {
  const requests = { cpu: `${cpu}m`, memory: `${memory}Mi` };
  return {
    metadata: { name: `pod-${index}`, namespace: 'default', uid: `uid-${index}` },
    spec: { containers: [{ name: 'main', image: 'none', resources: { requests } }] },
  };
}

export function clusterOf(boards: readonly Size[]): ClusterSnapshot {
  const snapshot = new ClusterSnapshot();
  for (const [index, board] of boards.entries()) snapshot.setNode(nodeOf(index, board));
  return snapshot;
}

export function compileAll(snapshot: ClusterSnapshot, pods: readonly Size[]): PodInfo[] {
  return pods.map((size, index) => compilePod(podOf(index, size), snapshot.resources));
}

export function boardsUsed(snapshot: ClusterSnapshot): number {
  return snapshot.nodes.filter(({ pods }) => pods.size > 0).length;
}

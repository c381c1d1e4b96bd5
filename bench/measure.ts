/**
 * What processes cost, from /proc alone: memory as RSS, RssAnon and PSS; CPU seconds with those of ended children; bytes
 * sent to block devices; voluntary context switches of all threads, which are the wake-ups of an idle process.
 *
 * Processes are counted by part. The processes of a board are those of its process namespace: what runs inside
 * containers has namespaces of its own and is nobody's cost but the user's.
 */
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Board } from '../test/lab/board.ts';
import { boardProcesses } from '../test/lab/board-processes.ts';
import { round } from './benchmark.ts';

/** `getconf CLK_TCK`: 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

export interface Usage {
  readonly processes: number;
  readonly threads: number;
  readonly rssKib: number;
  readonly pssKib: number;
  readonly rssAnonKib: number;
  readonly cpuSeconds: number;
  readonly writtenBytes: number;
  readonly switches: number;
}

const NOTHING: Usage = {
  processes: 0,
  threads: 0,
  rssKib: 0,
  pssKib: 0,
  rssAnonKib: 0,
  cpuSeconds: 0,
  writtenBytes: 0,
  switches: 0,
};

export type Parts = ReadonlyMap<string, Usage>;

/** Which part a process belongs to, by its command line; the first that fits. */
const PARTS: ReadonlyArray<readonly [string, RegExp]> = [
  ['master', /pier-master\.mjs/],
  ['agent', /pier-agent\.mjs/],
  ['podman service', /podman .*system service/],
  ['conmon', /^\S*conmon /],
  ['containerd-shim', /containerd-shim/],
  ['dockerd', /^\S*dockerd( |$)/],
  ['containerd', /^\S*containerd( |$)/],
];

export interface Process {
  readonly pid: number;
  readonly part: string;
}

/** Processes of a board with the part each belongs to; others (its first process, curl) are left out. */
export async function processesOf(board: Board): Promise<Process[]> {
  const { own } = await boardProcesses(board);
  return own.flatMap(({ pid, words }) => {
    const part = PARTS.find(([, pattern]) => pattern.test(words))?.[0];
    return part === undefined ? [] : [{ pid, part }];
  });
}

export async function measureBoard(board: Board): Promise<Parts> {
  const parts = new Map<string, Usage>();
  for (const { pid, part } of await processesOf(board)) {
    parts.set(part, add(parts.get(part) ?? NOTHING, await usageOf(pid)));
  }
  return parts;
}

/** A process that ended meanwhile counts nothing. */
export async function usageOf(pid: number): Promise<Usage> {
  const [status, rollup, stat, io] = await Promise.all([
    read(`/proc/${pid}/status`),
    read(`/proc/${pid}/smaps_rollup`),
    read(`/proc/${pid}/stat`),
    read(`/proc/${pid}/io`),
  ]);
  // The second field is the command in parentheses and may hold spaces; utime is field 14 of all.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = [11, 12, 13, 14].reduce((sum, index) => sum + Number(fields[index] ?? 0), 0);
  return {
    processes: stat === '' ? 0 : 1,
    threads: field(status, 'Threads'),
    rssKib: field(status, 'VmRSS'),
    pssKib: field(rollup, 'Pss'),
    rssAnonKib: field(status, 'RssAnon'),
    cpuSeconds: ticks / TICKS_PER_SECOND,
    writtenBytes: field(io, 'write_bytes') - field(io, 'cancelled_write_bytes'),
    switches: await switchesOf(pid),
  };
}

async function switchesOf(pid: number): Promise<number> {
  const tasks = await readdir(`/proc/${pid}/task`).catch(() => []);
  const texts = await Promise.all(tasks.map((task) => read(`/proc/${pid}/task/${task}/status`)));
  return texts.reduce((sum, text) => sum + field(text, 'voluntary_ctxt_switches'), 0);
}

function field(text: string, key: string): number {
  return Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);
}

/** Empty when the process is gone. */
async function read(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}

function add(a: Usage, b: Usage): Usage {
  return {
    processes: a.processes + b.processes,
    threads: a.threads + b.threads,
    rssKib: a.rssKib + b.rssKib,
    pssKib: a.pssKib + b.pssKib,
    rssAnonKib: a.rssAnonKib + b.rssAnonKib,
    cpuSeconds: a.cpuSeconds + b.cpuSeconds,
    writtenBytes: a.writtenBytes + b.writtenBytes,
    switches: a.switches + b.switches,
  };
}

/** A part over a window: memory at its end, the rest as rates or sums of the window. */
export interface WindowUsage {
  readonly [key: string]: number;
  readonly processes: number;
  readonly threads: number;
  readonly rssMib: number;
  readonly pssMib: number;
  readonly rssAnonMib: number;
  /** Of one core. */
  readonly cpuPercent: number;
  readonly wakeupsPerSecond: number;
  readonly writtenBytes: number;
}

export function windowOf(before: Parts, after: Parts, seconds: number): Map<string, WindowUsage> {
  const parts = new Map<string, WindowUsage>();
  for (const [part, end] of after) {
    const start = before.get(part) ?? NOTHING;
    parts.set(part, {
      processes: end.processes,
      threads: end.threads,
      rssMib: round(end.rssKib / 1024, 1),
      pssMib: round(end.pssKib / 1024, 1),
      rssAnonMib: round(end.rssAnonKib / 1024, 1),
      cpuPercent: round(((end.cpuSeconds - start.cpuSeconds) / seconds) * 100, 2),
      wakeupsPerSecond: round((end.switches - start.switches) / seconds, 1),
      writtenBytes: end.writtenBytes - start.writtenBytes,
    });
  }
  return parts;
}

/** Boards are measured over the same window, so that what disturbs one disturbs all. */
export async function measureWindow(
  boards: readonly Board[],
  seconds: number,
): Promise<Array<Map<string, WindowUsage>>> {
  const startMs = performance.now();
  const before = await Promise.all(boards.map(measureBoard));
  await sleep(seconds * 1000);
  const after = await Promise.all(boards.map(measureBoard));
  const tookSeconds = (performance.now() - startMs) / 1000;
  return after.map((end, index) => windowOf(before[index] ?? new Map(), end, tookSeconds));
}

export const WINDOW_HEAD = [
  'part',
  'n',
  'RSS MiB',
  'PSS',
  'anon',
  'CPU %',
  'wake-ups/s',
  'written B',
] as const;

export function windowRow(part: string, use: WindowUsage): Array<string | number> {
  return [
    part,
    use.processes,
    use.rssMib,
    use.pssMib,
    use.rssAnonMib,
    use.cpuPercent,
    use.wakeupsPerSecond,
    use.writtenBytes,
  ];
}

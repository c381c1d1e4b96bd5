/**
 * Does anything reach the card while nothing happens? Three witnesses: the files of the data directories before and
 * after, the kernel's count per process (measure.ts), and strace, which names each file that is written or synced.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

type Listing = ReadonlyMap<string, string>;

/** Every file below with its size and time of change. */
export async function listFiles(root: string): Promise<Listing> {
  const files = new Map<string, string>();
  const names = await readdir(root, { recursive: true }).catch(() => []);
  for (const name of names) {
    const facts = await stat(join(root, name)).catch(() => undefined);
    if (facts?.isFile() === true) files.set(name, `${facts.size} ${facts.mtimeMs}`);
  }
  return files;
}

/** Names of files that appeared, changed or went. */
export function changedFiles(before: Listing, after: Listing): string[] {
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names].filter((name) => before.get(name) !== after.get(name)).sort();
}

export interface Trace {
  readonly [key: string]: number | { readonly [file: string]: number };
  readonly syncs: number;
  /** write, pwrite64, writev and the like whose target is a file. */
  readonly fileWrites: number;
  /** Processes made; threads are none. */
  readonly forks: number;
  /** Also openat for writing, rename, unlink and mkdir: by path, calls. */
  readonly files: { readonly [file: string]: number };
}

const CALLS =
  'fork,vfork,clone,clone3,fdatasync,fsync,sync,syncfs,write,pwrite64,writev,pwritev,ftruncate,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat';

/** Watches processes with strace for a while. Undefined where strace is missing or forbidden. */
export async function traceWrites(
  pids: readonly number[],
  seconds: number,
): Promise<Trace | undefined> {
  const directory = await mkdtemp(join(tmpdir(), 'pier-bench-trace-'));
  try {
    const output = join(directory, 'trace');
    const watched = pids.flatMap((pid) => ['-p', String(pid)]);
    const args = ['-f', '-y', '-qq', '-e', `trace=${CALLS}`, '-o', output, ...watched];
    const strace = spawn('strace', args, { stdio: 'ignore' });
    const ended = new Promise<void>((resolve) => {
      strace.once('close', () => resolve());
      strace.once('error', () => resolve());
    });
    await Promise.race([sleep(seconds * 1000), ended]);
    if (strace.pid === undefined || strace.exitCode !== null) return undefined;
    strace.kill('SIGINT');
    await ended;
    return parseTrace(await readFile(output, 'utf8'));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Lines such as `123 write(17</var/x>, "..", 5) = 5` and `123 unlinkat(AT_FDCWD</>, "/x", 0) = 0`. */
export function parseTrace(text: string): Trace {
  const files: Record<string, number> = {};
  let syncs = 0;
  let fileWrites = 0;
  let forks = 0;
  for (const line of text.split('\n')) {
    const call = /^\d+ +(\w+)\((.*)/.exec(line);
    const [, name = '', rest = ''] = call ?? [];
    if (name === '' || /= -1 /.test(line)) continue;
    // A descriptor with its path, or (only for calls that take one) a path: other quotes are contents.
    const path =
      /^\d+<(\/[^>]*)>/.exec(rest)?.[1] ??
      (/^(rename|unlink|mkdir)/.test(name) ? /"(\/[^"]*)"/.exec(rest)?.[1] : undefined);
    if (/^(v?fork|clone3?)$/.test(name)) {
      if (!rest.includes('CLONE_THREAD')) forks += 1;
      continue;
    }
    if (/sync/.test(name)) syncs += 1;
    else if (path === undefined || /^\/(dev|proc|sys)\//.test(path)) continue;
    else fileWrites += 1;
    if (path !== undefined) files[`${name} ${path}`] = (files[`${name} ${path}`] ?? 0) + 1;
  }
  return { syncs, fileWrites, forks, files };
}

/** The processes of a board as this machine sees them, from /proc alone. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import type { Board } from './board.ts';

export interface BoardProcess {
  /** On this machine, not in the board. */
  readonly pid: number;
  readonly parent: number;
  /** The command line, words apart by spaces; of a kernel thread or a zombie it is empty. */
  readonly words: string;
}

export interface BoardProcesses {
  /** In the board's own process namespace: engines, shims, Pier. */
  readonly own: readonly BoardProcess[];
  /** First processes of containers: in namespaces of their own, started by one of the board's. */
  readonly contained: readonly BoardProcess[];
}

/** What ends meanwhile may be missing. */
export async function boardProcesses(board: Board): Promise<BoardProcesses> {
  const namespace = await readlink(`/proc/${Number(board.enter()[1])}/ns/pid`);
  const all: Array<BoardProcess & { readonly isOwn: boolean }> = [];
  await Promise.all(
    (await readdir('/proc')).map(async (entry) => {
      const pid = Number(entry);
      if (!Number.isInteger(pid)) return;
      const [place, line, stat] = await Promise.all([
        readlink(`/proc/${pid}/ns/pid`).catch(() => undefined),
        readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => ''),
        readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ''),
      ]);
      if (place === undefined || stat === '') return;
      // The second field is the command in parentheses and may hold spaces; then state and parent.
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      const words = line.replaceAll('\0', ' ').trim();
      all.push({ pid, parent, words, isOwn: place === namespace });
    }),
  );
  const own = all.filter(({ isOwn }) => isOwn);
  const ownPids = new Set(own.map(({ pid }) => pid));
  const contained = all.filter(({ isOwn, parent }) => !isOwn && ownPids.has(parent));
  return { own, contained };
}

/** SIGKILL; false when it had ended by itself. */
export function killNow(pid: number): boolean {
  try {
    process.kill(pid, 'SIGKILL');
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
    throw error;
  }
}

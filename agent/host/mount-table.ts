/** What is mounted where, and mount(8) and umount(8): Node has no call for mounts. */
import { spawn } from 'node:child_process';
import { mountPoints } from '../../protocol/mount-info.ts';
import { readText } from './read-text.ts';

/** Characters of a program's words that are kept. */
const WORDS_MAX = 2000;

/**
 * Runs a program and settles when it has ended; the signal kills it with all that it began. Rejects with an Error of the
 * program's own words. One that waits in the kernel may outlive its killing: do not wait for it without a limit.
 */
export type RunProgram = (
  program: 'mount' | 'umount',
  args: readonly string[],
  signal?: AbortSignal,
) => Promise<void>;

export const runProgram: RunProgram = (program, args, signal) =>
  new Promise((resolve, reject) => {
    // A group of its own: mount(8) leaves the work to another program, as mount.nfs.
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
    let words = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      words = `${words}${text}`.slice(-WORDS_MAX);
    });
    const end = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended already.
      }
    };
    signal?.addEventListener('abort', end, { once: true });
    child.on('error', reject);
    child.on('exit', (code) => {
      if (code !== 0) return;
      // What it leaves running, as rpc.statd, has its output, too: that does not end.
      child.stderr.destroy();
      signal?.removeEventListener('abort', end);
      resolve();
    });
    child.on('close', (code, killedBy) => {
      signal?.removeEventListener('abort', end);
      const why = words.trim() || `${program} failed: ${killedBy ?? `exit code ${code}`}`;
      reject(new Error(why));
    });
  });

/**
 * Mount points in the directory and below it, in the order in which they were made. The path has no symbolic links. Nothing of the
 * mounts themselves is touched: that would wait for a file server. Throws when the kernel does not tell.
 */
export async function mountsBelow(directory: string): Promise<string[]> {
  const text = await readText('/proc/self/mountinfo');
  if (text === undefined) throw new Error('/proc/self/mountinfo cannot be read');
  return mountPoints(text, directory);
}

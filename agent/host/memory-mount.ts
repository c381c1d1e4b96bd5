/**
 * Directories in memory: a tmpfs of a certain size. Node has no call for mounts, so mount(8) and umount(8) are run, once
 * for each such volume of a pod.
 */
import { execFile } from 'node:child_process';
import { mkdir, realpath } from 'node:fs/promises';
import { promisify } from 'node:util';
import { readText } from './read-text.ts';

const run = promisify(execFile);

/** Idempotent; false when it was there already, whatever its size. Throws an Error with the words of mount(8). */
export async function mountMemory(path: string, sizeBytes: number): Promise<boolean> {
  await mkdir(path, { recursive: true });
  const plain = await plainPath(path);
  if ((await mountsBelow(plain)).includes(plain)) return false;
  await runProgram('mount', ['-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'tmpfs', path]);
  return true;
}

/** Everything that is mounted in the directory or below it; its content is gone then. */
export async function unmountMemory(directory: string): Promise<void> {
  // Lazily: what still has it open, as a crashed engine's leftovers, does not keep the pod from going.
  for (const path of (await mountsBelow(await plainPath(directory))).reverse()) {
    await runProgram('umount', ['-l', path]);
  }
}

async function mountsBelow(directory: string): Promise<string[]> {
  const paths = mountPoints((await readText('/proc/self/mountinfo')) ?? '');
  return paths.filter((path) => path === directory || path.startsWith(`${directory}/`));
}

/** The kernel knows a mount by its path without symbolic links. */
function plainPath(path: string): Promise<string> {
  return realpath(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return path;
    throw error;
  });
}

/** From the text of /proc/self/mountinfo (proc(5)), in the order in which they were mounted. Pure. */
export function mountPoints(mountInfo: string): string[] {
  return mountInfo.split('\n').flatMap((line) => {
    const path = line.split(' ')[4];
    if (path === undefined) return [];
    const plain = path.replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    return [plain];
  });
}

async function runProgram(program: string, args: readonly string[]): Promise<void> {
  try {
    await run(program, args);
  } catch (cause) {
    const words = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim() : '';
    throw new Error(words === '' ? `${program} failed: ${String(cause)}` : words, { cause });
  }
}

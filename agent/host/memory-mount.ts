/**
 * Directories in memory: a tmpfs of a certain size, mounted once for each such volume of a pod.
 */
import { mkdir, realpath } from 'node:fs/promises';
import { mountsBelow, runProgram } from './mount-table.ts';

/**
 * Idempotent; false when it was there already, whatever its size. Not to be called for one path twice at once. Throws an
 * Error with the words of mount(8).
 */
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

/** The kernel knows a mount by its path without symbolic links. */
function plainPath(path: string): Promise<string> {
  return realpath(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return path;
    throw error;
  });
}

/** Why a store could not be opened, in words that say what to do. Pure. */
import { errorCode, isNoSpace } from './disk.ts';
import { NoSpaceError } from './store.ts';

/** Kernels answer a socket on FAT with EPERM, FUSE and network file systems with the others. */
const NO_SOCKETS = ['ENOSYS', 'EOPNOTSUPP', 'ENOTSUP', 'EPERM', 'EINVAL'];

/** `error` as it came, or an Error in its place that a person can act on; then `error` is its cause. */
export function explainOpening(directory: string, error: unknown): unknown {
  const say = (words: string) => new Error(words, { cause: error });
  if (isNoSpace(error)) {
    return new NoSpaceError(`the disk of ${directory} is full, the store cannot be opened`, {
      cause: error,
    });
  }
  const code = errorCode(error) ?? '';
  if (code === 'EROFS') {
    return say(
      `the file system of ${directory} is read-only, the store cannot be opened; a worn-out card becomes so (see \`dmesg\`). ` +
        'What is on it can still be read: `pier store dump`, or copy the directory to a new card',
    );
  }
  if (code === 'EACCES') {
    return say(`${directory} may not be written by this user; run as the user that made it (root)`);
  }
  if (NO_SOCKETS.includes(code) && syscallOf(error) === 'listen') {
    return say(
      `the file system of ${directory} cannot hold Unix sockets (${code}), as FAT, exFAT and some network shares; ` +
        'give a data directory on ext4, btrfs, xfs or another file system of Linux',
    );
  }
  return error;
}

function syscallOf(error: unknown): unknown {
  return error instanceof Error && 'syscall' in error ? error.syscall : undefined;
}

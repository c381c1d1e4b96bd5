/**
 * Files that only we may read: keys, kubeconfigs, credentials of boards.
 *
 * Promises: mode 0600 whatever the umask is; a reader sees the old content or the new one, never a part of it;
 * after the promise resolves the content survives a power cut (file and directory are synced).
 */
import { chmod, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;

/** Makes the directory with mode 0700; narrows one that is there and is wider. */
export async function ensurePrivateDirectory(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: DIRECTORY_MODE });
  const { mode } = await stat(path);
  if ((mode & 0o077) !== 0) await chmod(path, DIRECTORY_MODE);
}

/** Replaces or makes `path`. The directory must exist. */
export async function writePrivateFile(path: string, content: string): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.new`);
  await rm(temporary, { force: true });
  await createPrivateFile(temporary, content);
  await rename(temporary, path);
  await syncDirectory(dirname(path));
}

/** Makes `path`, which must not exist, and syncs it; syncing the directory is left to the caller. */
export async function createPrivateFile(path: string, content: string): Promise<void> {
  const file = await open(path, 'wx', FILE_MODE);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes what was created in or renamed into `path` durable. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Narrows the mode of a file that others could read; true when it had to. */
export async function narrowMode(path: string): Promise<boolean> {
  const { mode } = await stat(path);
  if ((mode & 0o077) === 0) return false;
  await chmod(path, FILE_MODE);
  return true;
}

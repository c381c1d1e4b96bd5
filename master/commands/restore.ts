/**
 * `restore FILE --data DIR`: the data directory of a master from a backup, with objects, certificates and keys, as a new life of
 * the cluster: boards obey it and no longer the old master. The directory appears in one rename or not at all.
 */
import { mkdir, readdir, readFile, realpath, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { systemClock } from '../../protocol/clock.ts';
import { createPrivateFile, ensurePrivateDirectory, syncDirectory } from '../pki/private-file.ts';
import { type BackupFiles, readBackup } from '../store/backup.ts';
import { errorCode, isNoSpace, nodeDisk } from '../store/disk.ts';
import { importBackup } from '../store/inspect.ts';

/** Throws an Error with a sentence; then `data` is as it was. */
export async function restore(file: string, data: string): Promise<void> {
  const backup = readBackup(await readBackupFile(file));
  if (!backup.files.has('ca.crt') || !backup.files.has('ca.key')) {
    throw new Error(`${file} holds no certificates: boards would not trust a master made from it`);
  }
  const target = await emptyTarget(data);
  // Beside the target, so that a rename puts all of it in place.
  const temporary = join(dirname(target), `.${basename(target)}.restoring`);
  try {
    await rm(temporary, { recursive: true, force: true });
    await mkdir(dirname(target), { recursive: true });
    await ensurePrivateDirectory(temporary);
    const wallMs = systemClock.wallMs();
    const life = await importBackup(join(temporary, 'store'), nodeDisk, backup, { wallMs });
    await writeFiles(join(temporary, 'pki'), backup.files);
    await syncDirectory(temporary);
    await rename(temporary, target);
    await syncDirectory(dirname(target));
    process.stderr.write(
      `pier: restored ${backup.kvs.length} objects into ${target}: cluster ${life.clusterId}, epoch ${life.epoch}, ` +
        `revision ${life.revision}. Start the master with --data ${target}, under the address that the boards know; ` +
        `boards that see it no longer obey a master of an earlier epoch\n`,
    );
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw sentence(error, target);
  }
}

async function readBackupFile(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (error) {
    const code = errorCode(error);
    const why = code === 'ENOENT' ? 'there is no file' : code === 'EISDIR' ? 'a directory is' : '';
    throw new Error(why === '' ? `${file} cannot be read (${code})` : `${why} ${file}`, {
      cause: error,
    });
  }
}

/** Resolved, as a symbolic link could not be replaced by a rename. */
async function emptyTarget(data: string): Promise<string> {
  try {
    const names = await readdir(data);
    if (names.length === 0) return await realpath(data);
    throw new Error(
      `${data} is not empty (${names.slice(0, 3).join(', ')}): move what is there away, or restore into another directory`,
    );
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return resolve(data);
    if (errorCode(error) === 'ENOTDIR')
      throw new Error(`${data} is no directory`, { cause: error });
    throw error;
  }
}

async function writeFiles(directory: string, files: BackupFiles): Promise<void> {
  await ensurePrivateDirectory(directory);
  for (const [name, content] of files) {
    await createPrivateFile(join(directory, name), new TextDecoder().decode(content));
  }
  await syncDirectory(directory);
}

function sentence(error: unknown, target: string): unknown {
  const code = errorCode(error);
  if (isNoSpace(error)) {
    return new Error(`no room in ${dirname(target)}: nothing was restored`, { cause: error });
  }
  if (code === 'EBUSY' || code === 'EXDEV') {
    return new Error(`${target} is a mount point: restore into a directory below it`, {
      cause: error,
    });
  }
  if (code === 'EACCES' || code === 'EROFS' || code === 'EPERM') {
    return new Error(`${dirname(target)} cannot be written by this user: try with sudo`, {
      cause: error,
    });
  }
  return error;
}

/**
 * The file layer of the store: the few calls it needs, so that a simulated disk can lose, reorder and
 * tear what was not synced (test/sim/disk.ts). `nodeDisk` is the real one.
 *
 * Promises: directories are made 0700 and files 0600. Errors are Node's (`code` ENOSPC, EIO, ...).
 * A write may be short: Node reports a count, not an error, when a disk fills up in the middle.
 */
import fs from 'node:fs';
import { promisify } from 'node:util';
import { lockDirectory } from './lock.ts';

export interface DiskFile {
  /** Writes at `position`; returns how many bytes were taken, possibly fewer than given. After a failure nothing about them is certain. */
  write(data: Uint8Array, position: number): Promise<number>;
  truncate(length: number): Promise<void>;
  /** Makes content and size durable. After a failure nothing about the content is certain. */
  fdatasync(): Promise<void>;
  close(): Promise<void>;
}

/** Held for as long as the store is open. */
export interface DiskLock {
  release(): Promise<void>;
}

export interface Disk {
  /** Makes the directory and its parents; an existing one is fine. */
  makeDirectory(path: string): Promise<void>;
  /** Names in the directory; undefined when there is no such directory. */
  list(path: string): Promise<string[] | undefined>;
  /** The whole file; undefined when there is none. */
  read(path: string): Promise<Uint8Array | undefined>;
  /** The file bit by bit, for big ones; a piece is valid until the next is asked for. Undefined when there is none. */
  readPieces(path: string): Promise<AsyncIterable<Uint8Array> | undefined>;
  /** Makes an empty file (an existing one is emptied) for writing. */
  create(path: string): Promise<DiskFile>;
  /**
   * Opens an existing file for writing in place. What `write` took is durable when it returns (O_DSYNC of open(2)), with the size that reading
   * it needs: one trip through the thread pool instead of two, which a lone writer feels.
   */
  open(path: string): Promise<DiskFile>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Makes creations, renames and removals in the directory durable. */
  syncDirectory(path: string): Promise<void>;
  freeBytes(path: string): Promise<number>;
  /** Throws `StoreLockedError` (lock.ts) when another process has the directory. */
  lock(directory: string): Promise<DiskLock>;
}

/** True for the errors that mean "no room", which pass when somebody makes room. */
export function isNoSpace(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** The system error code of an error, if it has one. */
export function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** Writes all of it, in as many calls as the disk wants. A disk that takes nothing is full. */
export async function writeFully(
  file: DiskFile,
  data: Uint8Array,
  position: number,
): Promise<void> {
  let written = await file.write(data, position);
  while (written < data.length) {
    const count = await file.write(data.subarray(written), position + written);
    if (count === 0) {
      throw Object.assign(new Error('ENOSPC: the disk took no bytes'), { code: 'ENOSPC' });
    }
    written += count;
  }
}

/**
 * Puts a whole file in place so that after a crash either all of it is there or nothing: temporary
 * name, sync, rename, sync of the directory. `chunks` may be long; it is synced every megabyte, so
 * that a big file does not hold up the log's own syncs at its end.
 */
export async function writeFileAtomically(
  disk: Disk,
  directory: string,
  name: string,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<number> {
  const temporary = `${directory}/${name}.tmp`;
  const file = await disk.create(temporary);
  let position = 0;
  try {
    let unsynced = 0;
    for await (const chunk of chunks) {
      await writeFully(file, chunk, position);
      position += chunk.length;
      unsynced += chunk.length;
      if (unsynced >= 1024 * 1024) {
        await file.fdatasync();
        unsynced = 0;
      }
    }
    await file.fdatasync();
  } catch (error) {
    await file.close();
    await disk.unlink(temporary);
    throw error;
  }
  await file.close();
  await disk.rename(temporary, `${directory}/${name}`);
  await disk.syncDirectory(directory);
  return position;
}

// The callback functions with plain descriptors cost less per call than FileHandle.
const open = promisify(fs.open);
const close = promisify(fs.close);
const ftruncate = promisify(fs.ftruncate);
const fdatasync = promisify(fs.fdatasync);

class NodeFile implements DiskFile {
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  write(data: Uint8Array, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.write(this.#fd, data, 0, data.length, position, (error, count) => {
        if (error === null) resolve(count);
        else reject(error);
      });
    });
  }

  truncate(length: number): Promise<void> {
    return ftruncate(this.#fd, length);
  }

  fdatasync(): Promise<void> {
    return fdatasync(this.#fd);
  }

  close(): Promise<void> {
    return close(this.#fd);
  }
}

/** `readFile` reads half a megabyte at a time, with a turn of the event loop between. */
async function readWhole(path: string): Promise<Uint8Array> {
  const handle = await fs.promises.open(path, 'r');
  try {
    const bytes = Buffer.allocUnsafeSlow((await handle.stat()).size);
    let length = 0;
    while (length < bytes.length) {
      const { bytesRead } = await handle.read(bytes, length, bytes.length - length, length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return bytes.subarray(0, length);
  } finally {
    await handle.close();
  }
}

const PIECE_BYTES = 256 * 1024;

async function* piecesOf(handle: fs.promises.FileHandle): AsyncGenerator<Uint8Array> {
  try {
    const piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
    for (;;) {
      const { bytesRead } = await handle.read(piece, 0, piece.length);
      if (bytesRead === 0) return;
      yield piece.subarray(0, bytesRead);
    }
  } finally {
    await handle.close();
  }
}

async function orUndefined<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

export const nodeDisk: Disk = {
  async makeDirectory(path) {
    await fs.promises.mkdir(path, { recursive: true, mode: 0o700 });
    await fs.promises.chmod(path, 0o700);
  },
  list: (path) => orUndefined(fs.promises.readdir(path)),
  read: (path) => orUndefined(readWhole(path)),
  readPieces: (path) => orUndefined(fs.promises.open(path, 'r').then(piecesOf)),
  create: async (path) => new NodeFile(await open(path, 'w', 0o600)),
  open: async (path) => new NodeFile(await open(path, fs.constants.O_RDWR | fs.constants.O_DSYNC)),
  rename: (from, to) => fs.promises.rename(from, to),
  unlink: (path) => fs.promises.unlink(path),
  async syncDirectory(path) {
    const fd = await open(path, 'r');
    try {
      await promisify(fs.fsync)(fd);
    } finally {
      await close(fd);
    }
  },
  async freeBytes(path) {
    const { bavail, bsize } = await fs.promises.statfs(path);
    return bavail * bsize;
  },
  lock: lockDirectory,
};

/**
 * A disk in memory that remembers what was synced and what was only written, for crash tests.
 *
 * `crash(random)` returns the disk as a power cut may leave it: of every file any mix of the synced
 * content and the writes since (in sectors of 512 bytes, each lost or kept by itself, any of the sizes
 * the file had), of the directory any subset of the changes since its last sync. That is more than any
 * real file system does, on purpose.
 *
 * Faults: `capacityBytes` makes it full (a write that does not fit is short, the next fails); `fault`
 * may answer any operation with an error code. `onStep` runs after every operation that changes
 * something and may wait: there a test looks at crash images.
 */
import type { Disk, DiskFile, DiskLock } from '../../master/store/disk.ts';

const SECTOR = 512;

export type DiskOperation =
  | 'write'
  | 'truncate'
  | 'fdatasync'
  | 'create'
  | 'rename'
  | 'unlink'
  | 'syncDirectory';

/** Numbers in [0, 1). */
export type Random = () => number;

/** A small seeded generator (mulberry32). */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** How much of what was not synced a crash keeps. */
export interface CrashChoice {
  /** Of the last write of each file: keep this many bytes from its start; undefined: by `random`. */
  readonly tornAt?: number;
  /** Everything, nothing, or each part by chance. */
  readonly content?: 'all' | 'none' | 'random';
  readonly names?: 'all' | 'none' | 'prefix' | 'random';
}

interface PendingWrite {
  readonly position: number;
  readonly data: Uint8Array;
}

class Inode {
  synced: Uint8Array = new Uint8Array(0);
  current: Uint8Array = new Uint8Array(0);
  /** Since the last sync: what was written, and every size the file had. */
  writes: PendingWrite[] = [];
  sizes: number[] = [];
  /** `current` has bytes that only the page cache has, and no sync will write. */
  cleanButUnwritten = false;

  resize(length: number): void {
    const next = new Uint8Array(length);
    next.set(this.current.subarray(0, length));
    this.current = next;
    this.sizes.push(length);
  }

  write(data: Uint8Array, position: number): void {
    if (position + data.length > this.current.length) this.resize(position + data.length);
    const copy = new Uint8Array(data);
    this.current.set(copy, position);
    this.writes.push({ position, data: copy });
  }

  /** What O_DSYNC promises: these bytes, and the size that reading them needs. Other writes stay in the page cache. */
  syncWrite(position: number, data: Uint8Array): void {
    const synced = new Uint8Array(this.current.length);
    synced.set(this.synced.subarray(0, synced.length));
    synced.set(data, position);
    this.synced = synced;
    this.writes = this.writes.slice(0, -1);
    this.sizes = [];
  }

  sync(): void {
    if (this.cleanButUnwritten) {
      const { length } = this.current;
      const synced = new Uint8Array(length);
      synced.set(this.synced.subarray(0, length));
      for (const { position, data } of this.writes) {
        synced.set(data.subarray(0, Math.max(0, length - position)), Math.min(position, length));
      }
      this.synced = synced;
    } else {
      this.synced = new Uint8Array(this.current);
    }
    this.writes = [];
    this.sizes = [];
  }

  /** A failed sync: Linux marks the pages clean, they are read but never written any more. */
  forgetDirty(): void {
    this.cleanButUnwritten = true;
    this.writes = [];
  }

  /** The content that survives. */
  crash(random: Random, choice: CrashChoice): Uint8Array {
    const mode = choice.content ?? 'random';
    if (mode === 'none' || (this.writes.length === 0 && this.sizes.length === 0))
      return this.synced;
    if (mode === 'all' && choice.tornAt === undefined) return this.current;
    const sizes = [this.synced.length, ...this.sizes];
    const size =
      mode === 'random' ? pick(sizes, random) : (this.sizes.at(-1) ?? this.synced.length);
    const longest = Math.max(...sizes);
    const content = new Uint8Array(longest);
    content.set(this.synced);
    const last = this.writes.at(-1);
    for (const write of this.writes) {
      if (write === last && choice.tornAt !== undefined) {
        content.set(write.data.subarray(0, choice.tornAt), write.position);
        // Writing over what was there makes no file shorter.
        const shortest = Math.max(write.position + choice.tornAt, Math.min(...sizes));
        return content.slice(0, Math.min(size, shortest));
      }
      applySectors(content, write, mode === 'all' ? () => 0 : random);
    }
    return content.slice(0, size);
  }
}

function applySectors(content: Uint8Array, write: PendingWrite, random: Random): void {
  const end = write.position + write.data.length;
  for (let at = write.position; at < end; ) {
    const next = Math.min(end, (Math.floor(at / SECTOR) + 1) * SECTOR);
    if (random() < 0.5) {
      content.set(write.data.subarray(at - write.position, next - write.position), at);
    }
    at = next;
  }
}

function pick<T>(list: readonly T[], random: Random): T {
  return list[Math.floor(random() * list.length)] as T;
}

/** Of odd sizes, so that headers and blocks are cut everywhere. */
async function* slices(data: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0, length = 1; at < data.length; at += length, length = (length * 7) % 10_007) {
    yield data.subarray(at, at + length);
  }
}

type NameChange = (names: Map<string, Inode>) => void;

export class SimDisk implements Disk {
  /** Bytes of all files together that fit. */
  capacityBytes = Number.POSITIVE_INFINITY;
  /** Returns an error code to let the operation fail. */
  fault: ((operation: DiskOperation, path: string) => string | undefined) | undefined;
  onStep: ((operation: DiskOperation, path: string) => Promise<void> | void) | undefined;
  /** Operations so far; a fault can be placed by number. */
  operations = 0;
  bytesWritten = 0;
  syncs = 0;
  #names = new Map<string, Inode>();
  #syncedNames = new Map<string, Inode>();
  #nameChanges: NameChange[] = [];
  #locked = false;

  /** What a crash now may leave. The new disk has no faults and no hooks. */
  crash(random: Random, choice: CrashChoice = {}): SimDisk {
    const names = new Map(this.#syncedNames);
    const mode = choice.names ?? 'random';
    const prefix = mode === 'prefix' ? Math.floor(random() * (this.#nameChanges.length + 1)) : 0;
    for (const [at, change] of this.#nameChanges.entries()) {
      const kept =
        mode === 'all' ||
        (mode === 'prefix' && at < prefix) ||
        (mode === 'random' && random() < 0.5);
      if (kept) change(names);
    }
    const disk = new SimDisk();
    for (const [path, inode] of names) disk.put(path, inode.crash(random, choice));
    return disk;
  }

  /** Size of the newest unsynced write anywhere; 0 when all is synced. */
  get unsyncedBytes(): number {
    let bytes = 0;
    for (const inode of this.#names.values()) bytes += inode.writes.at(-1)?.data.length ?? 0;
    return bytes;
  }

  get unsyncedNames(): number {
    return this.#nameChanges.length;
  }

  /** Puts a durable file in place, as a test or a repairman does. */
  put(path: string, content: Uint8Array): void {
    const inode = new Inode();
    inode.current = content;
    inode.synced = content;
    this.#names.set(path, inode);
    this.#syncedNames.set(path, inode);
  }

  get(path: string): Uint8Array | undefined {
    return this.#names.get(path)?.current;
  }

  remove(path: string): void {
    this.#names.delete(path);
    this.#syncedNames.delete(path);
  }

  get paths(): string[] {
    return [...this.#names.keys()].sort();
  }

  /** The process that held the lock is gone. */
  unlock(): void {
    this.#locked = false;
  }

  async makeDirectory(): Promise<void> {}

  async list(path: string): Promise<string[] | undefined> {
    const names: string[] = [];
    for (const name of this.#names.keys()) {
      const rest = name.startsWith(`${path}/`) ? name.slice(path.length + 1) : '';
      if (rest !== '' && !rest.includes('/')) names.push(rest);
    }
    return names;
  }

  async read(path: string): Promise<Uint8Array | undefined> {
    return this.#names.get(path)?.current;
  }

  async readPieces(path: string): Promise<AsyncIterable<Uint8Array> | undefined> {
    const data = await this.read(path);
    return data && slices(data);
  }

  async create(path: string): Promise<DiskFile> {
    this.#mayFail('create', path);
    const inode = new Inode();
    this.#change((names) => names.set(path, inode));
    await this.onStep?.('create', path);
    return this.#file(path, inode);
  }

  async open(path: string): Promise<DiskFile> {
    const inode = this.#find(path);
    const file = this.#file(path, inode);
    return {
      ...file,
      write: async (data, position) => {
        const count = await file.write(data, position);
        await this.#syncing(path, inode, () => inode.syncWrite(position, data.subarray(0, count)));
        return count;
      },
    };
  }

  async rename(from: string, to: string): Promise<void> {
    this.#mayFail('rename', from);
    const inode = this.#find(from);
    this.#change((names) => {
      names.delete(from);
      names.set(to, inode);
    });
    await this.onStep?.('rename', to);
  }

  async unlink(path: string): Promise<void> {
    this.#mayFail('unlink', path);
    this.#find(path);
    this.#change((names) => names.delete(path));
    await this.onStep?.('unlink', path);
  }

  async syncDirectory(path: string): Promise<void> {
    this.#mayFail('syncDirectory', path);
    this.#syncedNames = new Map(this.#names);
    this.#nameChanges = [];
    this.syncs++;
    await this.onStep?.('syncDirectory', path);
  }

  async freeBytes(): Promise<number> {
    return this.capacityBytes - this.#usedBytes();
  }

  async lock(directory: string): Promise<DiskLock> {
    if (this.#locked) throw new Error(`${directory} is locked`);
    this.#locked = true;
    const release = async () => {
      this.#locked = false;
    };
    return { release };
  }

  #file(path: string, inode: Inode): DiskFile {
    return {
      write: async (data, position) => {
        this.#mayFail('write', path);
        const grows = Math.max(0, position + data.length - inode.current.length);
        const free = Math.max(0, this.capacityBytes - this.#usedBytes());
        const count = grows <= free ? data.length : Math.max(0, data.length - (grows - free));
        if (count === 0 && data.length > 0) throw diskError('ENOSPC', 'write', path);
        inode.write(data.subarray(0, count), position);
        this.bytesWritten += count;
        await this.onStep?.('write', path);
        return count;
      },
      truncate: async (length) => {
        this.#mayFail('truncate', path);
        inode.resize(length);
        await this.onStep?.('truncate', path);
      },
      fdatasync: () => this.#syncing(path, inode, () => inode.sync()),
      close: async () => {},
    };
  }

  async #syncing(path: string, inode: Inode, sync: () => void): Promise<void> {
    try {
      this.#mayFail('fdatasync', path);
    } catch (error) {
      inode.forgetDirty();
      throw error;
    }
    sync();
    this.syncs++;
    await this.onStep?.('fdatasync', path);
  }

  #find(path: string): Inode {
    const inode = this.#names.get(path);
    if (inode === undefined) throw diskError('ENOENT', 'open', path);
    return inode;
  }

  #change(change: NameChange): void {
    change(this.#names);
    this.#nameChanges.push(change);
  }

  #mayFail(operation: DiskOperation, path: string): void {
    this.operations++;
    const code = this.fault?.(operation, path);
    if (code !== undefined) throw diskError(code, operation, path);
  }

  #usedBytes(): number {
    let bytes = 0;
    for (const inode of this.#names.values()) bytes += inode.current.length;
    return bytes;
  }
}

function diskError(code: string, operation: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${operation} '${path}'`), { code });
}

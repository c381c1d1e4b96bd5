/**
 * The durable store: an Mvcc in memory, a write-ahead log and snapshots on the disk.
 *
 * How a write goes: it waits in a bounded queue; when the log is free, all that wait are decided one
 * after the other in a Draft, written as one frame and synced once; then they become visible, watches
 * hear of them, and their callers get their answers. A lone writer starts at once.
 *
 * The log since the last snapshot is kept below the size of what is alive (or a small floor); then the
 * state is written as a new snapshot in the background while writes go on.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import type { BackupFiles } from './backup.ts';
import { Compactor } from './compactor.ts';
import { encodeFormatFile, FORMAT_FILE, segmentName } from './directory.ts';
import { type Disk, type DiskLock, nodeDisk, writeFileAtomically, writeFully } from './disk.ts';
import { Draft } from './draft.ts';
import { createSegment, Log } from './log.ts';
import { DEFAULT_HISTORY, type Mvcc } from './mvcc.ts';
import { explainOpening } from './open-problem.ts';
import { type LastFrame, type Recovered, recover } from './recovery.ts';
import {
  type RangeRequest,
  type RangeResult,
  StoreBusyError,
  StoreClosedError,
  type StoreFailedError,
  type StoreWatch,
  type TxnRequest,
  type TxnResult,
  type WatchRequest,
} from './store.ts';
import type { WalStore, WalStoreOptions, WalStoreStats } from './wal-options.ts';
import { DEFAULT_WATCH_BUFFER_EVENTS, WatchHub } from './watch-hub.ts';

export type { WalStore, WalStoreOptions, WalStoreStats } from './wal-options.ts';

type Job =
  | {
      readonly type: 'txn';
      readonly request: TxnRequest;
      readonly bytes: number;
      readonly resolve: (result: TxnResult) => void;
      readonly reject: (error: unknown) => void;
    }
  | {
      readonly type: 'compact';
      readonly revision: number;
      readonly bytes: number;
      readonly resolve: () => void;
      readonly reject: (error: unknown) => void;
    };

/** One group commit takes at most this; what waits beyond goes with the next. */
const GROUP_TXNS_MAX = 1024;
const GROUP_BYTES_MAX = 1024 * 1024;

/**
 * Opens the store in `directory`, making it when there is none. Throws StoreLockedError, StoreDamagedError,
 * NoSpaceError (opening writes a few bytes), or an Error that says what is wrong with the file system.
 */
export async function openWalStore(
  directory: string,
  options: WalStoreOptions = {},
): Promise<WalStore> {
  try {
    return await open(directory, options, options.disk ?? nodeDisk);
  } catch (error) {
    throw explainOpening(directory, error);
  }
}

async function open(directory: string, options: WalStoreOptions, disk: Disk): Promise<WalStore> {
  await disk.makeDirectory(directory);
  const lock = await disk.lock(directory);
  try {
    const newSalt = options.newSalt ?? (() => randomBytes(4).readUInt32LE());
    const recovery = { history: options.history ?? DEFAULT_HISTORY };
    let recovered = await recover(disk, directory, recovery);
    if (recovered === undefined) {
      await createStore(disk, directory, newSalt, options.newClusterId ?? randomUUID);
      recovered = await recover(disk, directory, recovery);
    }
    if (recovered === undefined) throw new Error(`the new store in ${directory} is not there`);
    for (const warning of recovered.warnings) options.onWarning?.(warning);
    const starts = recovered.starts + 1;
    const log = await resumeLog(disk, directory, newSalt, recovered, starts, options);
    return new OpenWalStore({ disk, directory, lock, log, recovered, starts, newSalt }, options);
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function createStore(
  disk: Disk,
  directory: string,
  newSalt: () => number,
  newClusterId: () => string,
): Promise<void> {
  const identity = { clusterId: newClusterId(), epoch: 1 };
  const start = { segment: 1, salt: newSalt(), firstSequence: 1, baseRevision: 0 };
  await createSegment(disk, directory, { ...identity, ...start });
  await writeFileAtomically(disk, directory, FORMAT_FILE, [encodeFormatFile(identity)]);
}

/** Tidies up after the last process and writes the record of this start. */
async function resumeLog(
  disk: Disk,
  directory: string,
  newSalt: () => number,
  recovered: Recovered,
  starts: number,
  options: WalStoreOptions,
): Promise<Log> {
  const { clusterId, epoch, tail, sequence } = recovered;
  for (const file of recovered.leftovers) await disk.unlink(`${directory}/${file}`);
  // Also what the last process renamed and could not sync any more.
  await disk.syncDirectory(directory);
  const name = segmentName(tail.header.segment);
  const file = await disk.open(`${directory}/${name}`);
  try {
    if (tail.tornBytes > 0) {
      options.onWarning?.(
        `${name} ended in an unfinished write: ${tail.tornBytes} bytes from offset ${tail.goodEnd} on were cut off`,
      );
      await file.truncate(tail.goodEnd);
      await file.fdatasync();
    }
    const place = { disk, directory, identity: { clusterId, epoch }, newSalt };
    const position = { segment: tail.header.segment, salt: tail.header.salt };
    const log = new Log(place, file, { ...position, offset: tail.goodEnd, sequence });
    log.frame.start(starts);
    // The last frame may be in the page cache only, and marked clean, when its sync had failed. It is
    // written again, so that a sync covers it.
    const last = recovered.lastFrame;
    if (last !== undefined && last.segment !== log.segment) {
      await writeAgain(disk, `${directory}/${segmentName(last.segment)}`, last);
    }
    await log.commit(last?.segment === log.segment ? last.bytes : undefined);
    return log;
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function writeAgain(disk: Disk, path: string, frame: LastFrame): Promise<void> {
  const file = await disk.open(path);
  try {
    await writeFully(file, frame.bytes, frame.at);
  } finally {
    await file.close();
  }
}

interface OpenParts {
  readonly disk: Disk;
  readonly directory: string;
  readonly lock: DiskLock;
  readonly log: Log;
  readonly recovered: Recovered;
  readonly starts: number;
  readonly newSalt: () => number;
}

class OpenWalStore implements WalStore {
  readonly clusterId: string;
  readonly epoch: number;
  readonly starts: number;
  readonly #lock: DiskLock;
  readonly #log: Log;
  readonly #mvcc: Mvcc;
  readonly #hub: WatchHub;
  readonly #compactor: Compactor;
  readonly #options: WalStoreOptions;
  #queue: Job[] = [];
  #queueBytes = 0;
  #running: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(parts: OpenParts, options: WalStoreOptions) {
    const { recovered, log } = parts;
    this.clusterId = recovered.clusterId;
    this.epoch = recovered.epoch;
    this.starts = parts.starts;
    this.#lock = parts.lock;
    this.#log = log;
    this.#mvcc = recovered.mvcc;
    this.#hub = new WatchHub(this.#mvcc, options.watchBufferEvents ?? DEFAULT_WATCH_BUFFER_EVENTS);
    this.#options = options;
    this.#compactor = new Compactor(parts, recovered, options);
  }

  get revision(): number {
    return this.#mvcc.revision;
  }

  get compactedRevision(): number {
    return this.#mvcc.compactedRevision;
  }

  async range(request: RangeRequest): Promise<RangeResult> {
    if (this.#closing !== undefined) throw new StoreClosedError();
    return this.#mvcc.range(request);
  }

  txn(request: TxnRequest): Promise<TxnResult> {
    return new Promise((resolve, reject) => {
      this.#enqueue({ type: 'txn', request, bytes: bytesOf(request), resolve, reject });
    });
  }

  compact(revision: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#enqueue({ type: 'compact', revision, bytes: 0, resolve, reject });
    });
  }

  watch(request: WatchRequest): StoreWatch {
    if (this.#closing !== undefined) throw new StoreClosedError();
    return this.#hub.open(request);
  }

  stats(): WalStoreStats {
    const log = this.#log.stats;
    const history = this.#mvcc.historySize;
    return {
      logBytes: log.bytes,
      syncs: log.syncs,
      ...this.#compactor.stats,
      liveKeys: this.#mvcc.index.size,
      liveBytes: this.#mvcc.liveBytes,
      historyEvents: history.events,
      historyBytes: history.bytes,
    };
  }

  async settled(): Promise<void> {
    await this.#running;
    await this.#compactor.settled();
  }

  exportBackup(files: BackupFiles = new Map()): Iterable<Uint8Array> {
    if (this.#closing !== undefined) throw new StoreClosedError();
    return this.#compactor.exportBackup(files);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#running;
    await this.#compactor.stop();
    if (this.#log.failure === undefined) {
      try {
        this.#log.frame.reset();
        this.#log.frame.close();
        await this.#log.commit();
      } catch (error) {
        // Nothing that was acknowledged depends on it.
        this.#options.onWarning?.(`the store was closed without a last record: ${String(error)}`);
      }
    }
    this.#hub.close();
    try {
      await this.#log.close();
    } finally {
      await this.#lock.release();
    }
  }

  #enqueue(job: Job): void {
    const refused = this.#refusal(job);
    if (refused !== undefined) {
      job.reject(refused);
      return;
    }
    this.#queue.push(job);
    this.#queueBytes += job.bytes;
    this.#running ??= this.#run();
  }

  #refusal(job: Job): Error | undefined {
    const { queueMax = 10_000, queueBytesMax = 64 * 1024 * 1024 } = this.#options;
    if (this.#closing !== undefined) return new StoreClosedError();
    if (this.#log.failure !== undefined) return this.#log.failure;
    const waiting = this.#queue.length;
    const tooMuch = waiting > 0 && this.#queueBytes + job.bytes > queueBytesMax;
    if (waiting < queueMax && !tooMuch) return undefined;
    return new StoreBusyError(
      `${waiting} writes (${this.#queueBytes} bytes) wait for the disk; try again shortly`,
    );
  }

  async #run(): Promise<void> {
    // What arrives in the same turn of the event loop goes into the same commit.
    const { nextTurn = () => new Promise(setImmediate) } = this.#options;
    await nextTurn();
    while (this.#queue.length > 0) {
      const error = await this.#commitGroup();
      if (this.#log.failure !== undefined) {
        this.#failAll(this.#log.failure);
        break;
      }
      if (error === undefined) await this.#compactor.afterCommit();
      if (this.#log.failure !== undefined) this.#failAll(this.#log.failure);
    }
    this.#running = undefined;
  }

  /** Decides and writes what waits, up to the limits of a group. Returns what went wrong. */
  async #commitGroup(): Promise<unknown> {
    const draft = new Draft(this.#mvcc);
    const { frame } = this.#log;
    frame.reset();
    const answers: { readonly job: Job; readonly answer: () => void }[] = [];
    let compactTo = 0;
    let taken = 0;
    for (const job of this.#queue) {
      if (taken >= GROUP_TXNS_MAX || frame.payloadLength >= GROUP_BYTES_MAX) break;
      taken++;
      this.#queueBytes -= job.bytes;
      try {
        if (job.type === 'compact') {
          if (draft.compact(job.revision)) {
            compactTo = job.revision;
            frame.compaction(job.revision);
          }
          answers.push({ job, answer: job.resolve });
          continue;
        }
        const before = draft.transactions.length;
        const result = draft.decide(job.request);
        const added = draft.transactions[before];
        if (added !== undefined) frame.transaction(added);
        answers.push({ job, answer: () => job.resolve(result) });
      } catch (error) {
        job.reject(error);
      }
    }
    this.#queue.splice(0, taken);
    if (frame.payloadLength > 0) {
      const done = this.#options.timeCommit?.();
      try {
        await this.#log.commit();
        done?.();
      } catch (error) {
        for (const { job } of answers) job.reject(error);
        return error;
      }
    }
    for (const transaction of draft.transactions) this.#mvcc.apply(transaction);
    if (compactTo > 0) this.#mvcc.compact(compactTo);
    this.#hub.publish(draft.transactions);
    for (const { answer } of answers) answer();
    return undefined;
  }

  #failAll(failure: StoreFailedError): void {
    const queue = this.#queue;
    this.#queue = [];
    this.#queueBytes = 0;
    for (const job of queue) job.reject(failure);
    this.#options.onFailure?.(failure);
  }
}

function bytesOf(request: TxnRequest): number {
  let bytes = 100;
  for (const operation of request.success) {
    if (operation.type === 'put') bytes += operation.value.length;
  }
  for (const operation of request.failure ?? []) {
    if (operation.type === 'put') bytes += operation.value.length;
  }
  return bytes;
}

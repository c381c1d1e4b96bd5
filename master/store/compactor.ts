/**
 * Keeps the log short: ends segments that have grown, and replaces old log by a snapshot.
 *
 * A snapshot is due when the log since the last one is larger than the living state (and a floor), so
 * each byte written to the log costs at most about one more byte in snapshots. It holds the state at
 * the moment a new segment begins: the list of keys is copied (values are never changed, so they need
 * no copy) and written in the background. The newest two snapshots and the log since the older one are
 * kept; a snapshot that fails (disk full) is tried again later, the log is whole without it.
 */
import { type BackupFiles, backupKeys } from './backup.ts';
import { segmentName, snapshotName } from './directory.ts';
import { type Disk, writeFileAtomically } from './disk.ts';
import type { Log } from './log.ts';
import type { Mvcc } from './mvcc.ts';
import type { Recovered } from './recovery.ts';
import { encodeSnapshot, type SnapshotHeader } from './snapshot.ts';
import { type KeyValue, NoSpaceError } from './store.ts';

const DEFAULT_BYTES = 16 * 1024 * 1024;
const ENTRY_BYTES = 24;

export interface CompactorOptions {
  readonly segmentBytes?: number;
  readonly snapshotLogBytes?: number;
  readonly onWarning?: (message: string) => void;
}

interface CompactorParts {
  readonly disk: Disk;
  readonly directory: string;
  readonly log: Log;
  readonly starts: number;
  readonly newSalt: () => number;
}

export class Compactor {
  readonly #parts: CompactorParts;
  readonly #identity: { readonly clusterId: string; readonly epoch: number };
  readonly #mvcc: Mvcc;
  readonly #segmentBytesMax: number;
  readonly #snapshotLogBytesMin: number;
  readonly #onWarning: ((message: string) => void) | undefined;
  /** Files on the disk, ascending. */
  #segments: number[];
  #snapshots: number[];
  /** The newest point that recovery can start from. */
  #base: number;
  /** Log bytes in the ended segments since the base. */
  #endedBytes: number;
  /** After a failure nothing is tried before the log has grown to this. */
  #retryAtBytes = 0;
  #writing: Promise<void> | undefined;
  #stopped = false;
  #snapshotBytes = 0;
  #written = 0;

  constructor(parts: CompactorParts, recovered: Recovered, options: CompactorOptions) {
    this.#parts = parts;
    this.#identity = { clusterId: recovered.clusterId, epoch: recovered.epoch };
    this.#mvcc = recovered.mvcc;
    this.#segmentBytesMax = options.segmentBytes ?? DEFAULT_BYTES;
    this.#snapshotLogBytesMin = options.snapshotLogBytes ?? DEFAULT_BYTES;
    this.#onWarning = options.onWarning;
    const last = recovered.tail.header.segment;
    this.#segments = recovered.names.segments.filter((number) => number <= last);
    this.#snapshots = [...recovered.names.snapshots];
    this.#base = recovered.base;
    this.#endedBytes = recovered.logBytes - recovered.tail.goodEnd;
  }

  get stats(): { readonly snapshotBytes: number; readonly snapshots: number } {
    return { snapshotBytes: this.#snapshotBytes, snapshots: this.#written };
  }

  /** The present state as a file of its own; the state is fixed by the call. */
  exportBackup(files: BackupFiles): Iterable<Uint8Array> {
    const { header, kvs } = this.#capture();
    const all = [...backupKeys(files), ...kvs];
    return copies(encodeSnapshot({ ...header, segment: 0, keys: all.length }, all));
  }

  /** To be called between two commits. Fails only with the log itself. */
  async afterCommit(): Promise<void> {
    const { log } = this.#parts;
    const logBytes = this.#endedBytes + log.segmentBytes;
    if (logBytes < this.#retryAtBytes) return;
    const live = this.#mvcc.liveBytes + this.#mvcc.index.size * ENTRY_BYTES;
    const due = logBytes > Math.max(this.#snapshotLogBytesMin, live);
    const wanted = due && this.#writing === undefined && !this.#stopped;
    if (!wanted && log.segmentBytes <= this.#segmentBytesMax) return;
    const ended = log.segmentBytes;
    try {
      this.#segments.push(await log.nextSegment(this.#mvcc.revision));
    } catch (error) {
      if (!(error instanceof NoSpaceError)) return;
      this.#retryLater(logBytes, error);
      return;
    }
    this.#endedBytes += ended;
    if (wanted) this.#writing = this.#write(this.#endedBytes);
  }

  /** Resolves when no snapshot is being written. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  /** Gives up a snapshot that is being written. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#writing;
  }

  /** The state is captured before the first await: at the very start of the new segment. */
  async #write(logBytesBefore: number): Promise<void> {
    const { disk, directory, log } = this.#parts;
    const { header, kvs } = this.#capture();
    try {
      const chunks = this.#whileRunning(encodeSnapshot(header, kvs));
      const name = snapshotName(header.segment);
      this.#snapshotBytes += await writeFileAtomically(disk, directory, name, chunks);
      this.#written++;
      this.#endedBytes -= logBytesBefore;
      this.#retryAtBytes = 0;
      await this.#removeOld(header.segment);
    } catch (error) {
      if (!this.#stopped) this.#retryLater(this.#endedBytes + log.segmentBytes, error);
    }
    this.#writing = undefined;
  }

  #capture(): { header: SnapshotHeader; kvs: readonly KeyValue[] } {
    const { log, starts, newSalt } = this.#parts;
    const kvs = this.#mvcc.index.collect('', undefined);
    const header = {
      ...this.#identity,
      segment: log.segment,
      salt: newSalt(),
      firstSequence: log.sequence + 1,
      revision: this.#mvcc.revision,
      compactedRevision: this.#mvcc.compactedRevision,
      starts,
      keys: kvs.length,
    };
    return { header, kvs };
  }

  *#whileRunning(chunks: Iterable<Uint8Array>): Generator<Uint8Array> {
    for (const chunk of chunks) {
      if (this.#stopped) throw new Error('the store is being closed');
      yield chunk;
    }
  }

  /** Keeps the new snapshot and the base before it, with the log since that. */
  async #removeOld(newBase: number): Promise<void> {
    const { disk, directory } = this.#parts;
    const older = this.#base;
    this.#base = newBase;
    this.#snapshots.push(newBase);
    const gone = (number: number) => number < newBase && number !== older;
    const files = [
      ...this.#snapshots.filter(gone).map(snapshotName),
      // Oldest first: whatever a crash leaves is without a gap.
      ...this.#segments.filter((number) => number < older).map(segmentName),
    ];
    for (const file of files) await disk.unlink(`${directory}/${file}`);
    if (files.length > 0) await disk.syncDirectory(directory);
    this.#snapshots = this.#snapshots.filter((number) => !gone(number));
    this.#segments = this.#segments.filter((number) => number >= older);
  }

  #retryLater(logBytes: number, error: unknown): void {
    this.#retryAtBytes = logBytes + this.#snapshotLogBytesMin / 4;
    const reason = error instanceof Error ? error.message : String(error);
    this.#onWarning?.(
      `the log of ${this.#parts.directory} could not be shortened now: ${reason}; it is tried again later`,
    );
  }
}

/** The encoder uses its block again; whoever streams a backup may hold on to a piece. */
function* copies(chunks: Iterable<Uint8Array>): Generator<Uint8Array> {
  for (const chunk of chunks) yield new Uint8Array(chunk);
}

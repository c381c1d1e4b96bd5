/**
 * What can be set on the durable store, and what it offers beyond `Store`.
 */
import type { BackupFiles } from './backup.ts';
import type { Disk } from './disk.ts';
import type { HistoryLimits } from './mvcc.ts';
import type { DurableStore, StoreFailedError } from './store.ts';

export interface WalStoreOptions {
  readonly disk?: Disk;
  /** Random 32-bit numbers for the salts of new files. */
  readonly newSalt?: () => number;
  /**
   * Resolves in a later turn of the event loop (default: setImmediate): what arrives until then goes into the same
   * commit. A simulation gives its own.
   */
  readonly nextTurn?: () => Promise<void>;
  /** The id of a cluster that is made now; ignored when the directory holds one. */
  readonly newClusterId?: () => string;
  readonly history?: HistoryLimits;
  readonly watchBufferEvents?: number;
  /** A log segment is ended when it is larger than this. Default 16 MiB. */
  readonly segmentBytes?: number;
  /** No snapshot before the log has grown by this much since the last. Default 16 MiB. */
  readonly snapshotLogBytes?: number;
  /** Writes that may wait; more are refused with StoreBusyError. Default 10,000 and 64 MiB. */
  readonly queueMax?: number;
  readonly queueBytesMax?: number;
  /** For measuring: called when a commit begins; what it returns, when the commit is durable. */
  readonly timeCommit?: () => () => void;
  /** Something to tell the operator; the store goes on. */
  readonly onWarning?: (message: string) => void;
  /** The store has failed for good (see StoreFailedError): time to exit and start again. */
  readonly onFailure?: (error: StoreFailedError) => void;
}

export interface WalStoreStats {
  readonly logBytes: number;
  readonly snapshotBytes: number;
  readonly syncs: number;
  readonly snapshots: number;
  readonly liveKeys: number;
  readonly liveBytes: number;
  readonly historyEvents: number;
  readonly historyBytes: number;
}

export interface WalStore extends DurableStore {
  /** Counters since this open; bytes are those handed to the disk. */
  stats(): WalStoreStats;
  /** Resolves when no snapshot is being written. */
  settled(): Promise<void>;
  /**
   * The state as of now as a backup (backup.ts), with `files` in it. The state is fixed by the call; it
   * may be read while writes go on.
   */
  exportBackup(files?: BackupFiles): Iterable<Uint8Array>;
}

/**
 * A backup: one file that is enough to bring a cluster back. Its bytes are those of a snapshot (snapshot.ts)
 * with segment number 0, so it has the same checksums. Beside the objects it holds files of the master,
 * as keys below `/backup/files/`: the certificates and keys without which no board would trust a restored
 * master. So the backup holds secrets, as they are stored: who has it has the cluster.
 */
import { FormatError, startsWith } from './record.ts';
import { decodeSnapshot, SNAPSHOT_MAGIC, type SnapshotHeader } from './snapshot.ts';
import { type KeyValue, StoreDamagedError } from './store.ts';

const FILES_PREFIX = '/backup/files/';
const FILE_NAME = /^[a-z0-9][a-z0-9.-]{0,62}$/;
/** A second of restored life may use up so many revisions before it could meet those of the next restore. */
const REVISIONS_PER_EPOCH = 50_000;
const EPOCHS_START_MS = Date.UTC(2026, 0, 1);
/** Epochs are stored as u32. */
const EPOCH_MAX = 2 ** 32 - 1;

/** By name, without a directory. */
export type BackupFiles = ReadonlyMap<string, Uint8Array>;

export interface Backup {
  readonly header: SnapshotHeader;
  readonly kvs: readonly KeyValue[];
  readonly files: BackupFiles;
}

/** The files as keys of a backup, in order. Throws TypeError for a name that `readBackup` would refuse. */
export function backupKeys(files: BackupFiles): KeyValue[] {
  return [...files.keys()].sort().map((name) => {
    if (!FILE_NAME.test(name)) throw new TypeError(`"${name}" is no name for a file of a backup`);
    const value = files.get(name) ?? new Uint8Array(0);
    return { key: `${FILES_PREFIX}${name}`, value, createRevision: 0, modRevision: 0, version: 0 };
  });
}

/** Checks all of it. Throws StoreDamagedError with the reason. */
export function readBackup(data: Uint8Array): Backup {
  const kvs: KeyValue[] = [];
  const files = new Map<string, Uint8Array>();
  try {
    const header = decodeSnapshot(data, (kv) => {
      if (!kv.key.startsWith(FILES_PREFIX)) {
        kvs.push(kv);
        return;
      }
      const name = kv.key.slice(FILES_PREFIX.length);
      if (!FILE_NAME.test(name)) throw new FormatError(`it holds a file named "${name}"`);
      files.set(name, kv.value);
    });
    if (header.segment !== 0) throw new FormatError('it is a snapshot of a store, not a backup');
    return { header, kvs, files };
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new StoreDamagedError(`the backup is not usable: ${error.message}`, { cause: error });
  }
}

/** True for the first bytes of a backup, whole or not. */
export function looksLikeBackup(start: Uint8Array): boolean {
  return startsWith(Buffer.from(start), SNAPSHOT_MAGIC);
}

/**
 * The epoch of a life that begins now from a backup. One more than the backup's would come twice when the
 * same backup is restored twice, and boards would take the second life for the first, with its revisions. So it
 * is a time, in seconds, when the clock is set.
 */
export function epochOfRestore(backupEpoch: number, wallMs: number): number {
  const seconds = Math.floor((wallMs - EPOCHS_START_MS) / 1000);
  return Math.min(EPOCH_MAX, Math.max(backupEpoch + 1, seconds));
}

/** A revision that no life of an earlier epoch has reached: clients remember revisions, not epochs. */
export const revisionFloor = (epoch: number): number => epoch * REVISIONS_PER_EPOCH;

/**
 * The files of a data directory:
 *   format             four lines of text: what this is, format version, cluster id, epoch
 *   wal-NNNNNNNN       log segments (record.ts), numbered without a gap
 *   snapshot-NNNNNNNN  the state before that segment (snapshot.ts); the newest two are kept
 *   lock-*             sockets (lock.ts)     *.tmp   unfinished, removed at the next open
 *   aside-N/           what a repair put aside
 * Without any snapshot, replay starts from nothing at segment 1.
 */
import { checkVersion, FormatError } from './record.ts';
import { StoreDamagedError } from './store.ts';

export const FORMAT_FILE = 'format';

export interface Identity {
  readonly clusterId: string;
  readonly epoch: number;
}

export interface DirectoryNames {
  /** Ascending segment numbers. */
  readonly segments: readonly number[];
  /** Ascending numbers of the segments at which the snapshots start. */
  readonly snapshots: readonly number[];
  readonly temporary: readonly string[];
  readonly hasFormat: boolean;
}

export const segmentName = (number: number): string => `wal-${String(number).padStart(8, '0')}`;
export const snapshotName = (number: number): string =>
  `snapshot-${String(number).padStart(8, '0')}`;

export function sortNames(names: readonly string[]): DirectoryNames {
  const numbers = (prefix: string) =>
    names
      .filter((name) => name.startsWith(prefix) && /^\d{8,}$/.test(name.slice(prefix.length)))
      .map((name) => Number(name.slice(prefix.length)))
      .sort((a, b) => a - b);
  return {
    segments: numbers('wal-'),
    snapshots: numbers('snapshot-'),
    temporary: names.filter((name) => name.endsWith('.tmp')),
    hasFormat: names.includes(FORMAT_FILE),
  };
}

export function encodeFormatFile(identity: Identity): Uint8Array {
  const { clusterId, epoch } = identity;
  return Buffer.from(`pier store\nformat 1\ncluster ${clusterId}\nepoch ${epoch}\n`, 'latin1');
}

/** Throws FormatError or FormatVersionError. */
export function decodeFormatFile(data: Uint8Array): Identity {
  const text = Buffer.from(data).toString('latin1');
  const version = /^pier store\nformat (\d{1,9})\n/.exec(text);
  if (version === null) throw new FormatError('this is not the format file of a pier store');
  checkVersion(Number(version[1]));
  const rest =
    /^.*\n.*\ncluster ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\nepoch (\d{1,10})\n$/;
  const [, clusterId, epoch] = rest.exec(text) ?? [];
  if (clusterId === undefined) throw new FormatError('cluster id or epoch cannot be read');
  return { clusterId, epoch: Number(epoch) };
}

/** A place in the directory that cannot be trusted. */
export class DamageError extends StoreDamagedError {
  readonly file: string;
  readonly offset: number;
  readonly reason: string;

  constructor(directory: string, file: string, offset: number, reason: string) {
    super(
      `the store file ${directory}/${file} cannot be used from offset ${offset} on: ${reason}. ` +
        `Nothing was changed. "pier store verify ${directory}" shows the extent; ` +
        `"pier store repair ${directory}" keeps everything before it and puts the rest aside`,
    );
    this.name = 'StoreDamagedError';
    this.file = file;
    this.offset = offset;
    this.reason = reason;
  }
}

/** The directory was written by a version of the format that this code does not know. */
export function unknownVersion(directory: string, file: string, reason: string): StoreDamagedError {
  return new StoreDamagedError(`the store file ${directory}/${file} cannot be read: ${reason}`);
}

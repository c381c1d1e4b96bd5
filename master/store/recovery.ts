/**
 * Reads a data directory into memory: newest good snapshot, then every log segment from there. Reads
 * only; what has to be tidied up is returned. Refuses what it cannot trust with a DamageError.
 *
 * A damaged snapshot is not fatal while an older one (and the log since) is there: it is reported and
 * passed over. A segment without its end record must be the last that holds anything; a next segment
 * with only a header is an unfinished change of segments and is dropped.
 */

import {
  DamageError,
  type DirectoryNames,
  decodeFormatFile,
  FORMAT_FILE,
  type Identity,
  segmentName,
  snapshotName,
  sortNames,
  unknownVersion,
} from './directory.ts';
import type { Disk } from './disk.ts';
import { type HistoryLimits, Mvcc, type Transaction } from './mvcc.ts';
import {
  asBuffer,
  decodeSegmentHeader,
  FormatError,
  FormatVersionError,
  type LogRecord,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
} from './record.ts';
import { type ScanResult, scanSegment } from './scan.ts';
import { SnapshotDecoder } from './snapshot.ts';
import type { KeyValue, StoreEvent } from './store.ts';
import { ValuePacker } from './value-packer.ts';

/** The segment that goes on being written, and where. */
export interface Tail {
  readonly header: SegmentHeader;
  readonly goodEnd: number;
  /** Bytes behind `goodEnd`: a torn write that nobody was told about. */
  readonly tornBytes: number;
}

/** The newest frame of all: it may be in the page cache only, when its process died on its sync. */
export interface LastFrame {
  readonly segment: number;
  readonly at: number;
  readonly bytes: Uint8Array;
}

export interface Recovered extends Identity {
  readonly mvcc: Mvcc;
  readonly starts: number;
  readonly sequence: number;
  readonly tail: Tail;
  readonly lastFrame: LastFrame | undefined;
  /** Where replay started: a snapshot's number, or 1. */
  readonly base: number;
  /** Log bytes since the base. */
  readonly logBytes: number;
  readonly names: DirectoryNames;
  /** Files that mean nothing any more: temporary ones, unfinished segments. */
  readonly leftovers: readonly string[];
  readonly warnings: readonly string[];
  /** Set only with `stopAtDamage`: everything else is the state before it. */
  readonly damage: DamageError | undefined;
}

export interface RecoveryOptions {
  readonly history?: HistoryLimits;
  /** For repair: return what is good up to the first damage instead of throwing it. */
  readonly stopAtDamage?: boolean;
  /** For repair: taken instead of the format file's. */
  readonly identity?: Identity;
  /** For inspection: sees every record of the segments read. */
  readonly onRecord?: (file: string, offset: number, record: LogRecord) => void;
}

/** Undefined when the directory holds no store yet (or one whose creation was cut short). */
export async function recover(
  disk: Disk,
  directory: string,
  options: RecoveryOptions = {},
): Promise<Recovered | undefined> {
  return await new Recovery(disk, directory, options).run();
}

class Recovery {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #options: RecoveryOptions;
  readonly #warnings: string[] = [];
  #mvcc: Mvcc;
  #starts = 0;
  #sequence = 0;
  #lastFrame: LastFrame | undefined;
  /** Memory of the segments read, which values of replayed records still point into. */
  readonly #segmentMemory = new Set<ArrayBufferLike>();

  constructor(disk: Disk, directory: string, options: RecoveryOptions) {
    this.#disk = disk;
    this.#directory = directory;
    this.#options = options;
    this.#mvcc = new Mvcc(options.history);
  }

  async run(): Promise<Recovered | undefined> {
    const names = sortNames((await this.#disk.list(this.#directory)) ?? []);
    const identity = await this.#identity(names);
    if (identity === undefined) return undefined;
    const base = await this.#loadBase(names, identity);
    const leftovers = [...names.temporary];
    let logBytes = 0;
    let tail: Tail | undefined;
    let damage: DamageError | undefined;
    for (let number = base; tail === undefined; number++) {
      const file = segmentName(number);
      try {
        const read = await this.#replay(file, number, identity);
        logBytes += read.scan.goodEnd;
        if (read.scan.nextSegment !== undefined) continue;
        leftovers.push(...(await this.#unfinished(names, number, read.scan.goodEnd)));
        tail = read.tail;
      } catch (error) {
        if (!(error instanceof DamageError) || !this.#options.stopAtDamage) throw error;
        damage = error;
        tail = noTail(number, identity);
      }
    }
    this.#ownValues();
    return {
      ...identity,
      mvcc: this.#mvcc,
      starts: this.#starts,
      sequence: this.#sequence,
      tail,
      lastFrame: this.#lastFrame,
      base,
      logBytes,
      names,
      leftovers,
      warnings: this.#warnings,
      damage,
    };
  }

  async #identity(names: DirectoryNames): Promise<Identity | undefined> {
    if (this.#options.identity !== undefined) return this.#options.identity;
    const data = await this.#disk.read(`${this.#directory}/${FORMAT_FILE}`);
    if (data !== undefined) {
      return this.#decode(FORMAT_FILE, () => decodeFormatFile(data));
    }
    // The format file is the last of a creation; before it there is at most an empty first segment.
    const { segments, snapshots } = names;
    if (segments.length === 0 && snapshots.length === 0) return undefined;
    const first = await this.#disk.read(`${this.#directory}/${segmentName(1)}`);
    const empty = first !== undefined && first.length <= SEGMENT_HEADER_BYTES;
    if (segments.length === 1 && snapshots.length === 0 && empty) return undefined;
    throw new DamageError(this.#directory, FORMAT_FILE, 0, 'the file is missing');
  }

  /** Loads the newest good snapshot and returns its number; 1 for the empty state. */
  async #loadBase(names: DirectoryNames, identity: Identity): Promise<number> {
    for (const number of names.snapshots.toReversed()) {
      const file = snapshotName(number);
      try {
        await this.#loadSnapshot(file, number, identity);
        return number;
      } catch (error) {
        if (!(error instanceof DamageError)) throw error;
        this.#warnings.push(`${file} is damaged and was passed over: ${error.reason}`);
      }
    }
    this.#mvcc = new Mvcc(this.#options.history);
    this.#starts = 0;
    this.#sequence = 0;
    if (names.segments[0] === 1 || names.snapshots.length === 0) return 1;
    const file = snapshotName(names.snapshots.at(-1) ?? 0);
    const reasons = this.#warnings.join('; ');
    throw new DamageError(
      this.#directory,
      file,
      0,
      `no snapshot is left to start from: ${reasons}`,
    );
  }

  async #loadSnapshot(file: string, number: number, identity: Identity): Promise<void> {
    const pieces = await this.#disk.readPieces(`${this.#directory}/${file}`);
    if (pieces === undefined) throw new DamageError(this.#directory, file, 0, 'it is missing');
    const kvs: KeyValue[] = [];
    const decoder = new SnapshotDecoder((kv) => kvs.push(kv));
    for await (const piece of pieces) this.#decode(file, () => decoder.push(piece));
    const header = this.#decode(file, () => {
      const decoded = decoder.end();
      if (decoded.segment !== number)
        throw new FormatError('its number is not the one in its name');
      checkIdentity(decoded, identity);
      return decoded;
    });
    this.#mvcc = new Mvcc(this.#options.history, header.revision);
    for (const kv of kvs) this.#mvcc.load(kv);
    this.#starts = header.starts;
    this.#sequence = header.firstSequence - 1;
  }

  async #replay(
    file: string,
    number: number,
    identity: Identity,
  ): Promise<{ scan: ScanResult; tail: Tail }> {
    const data = await this.#disk.read(`${this.#directory}/${file}`);
    if (data === undefined) {
      throw new DamageError(this.#directory, file, 0, 'the segment is missing');
    }
    const bytes = asBuffer(data);
    this.#segmentMemory.add(bytes.buffer);
    const header = this.#decode(file, () => {
      const decoded = decodeSegmentHeader(bytes);
      if (decoded.segment !== number)
        throw new FormatError('its number is not the one in its name');
      checkIdentity(decoded, identity);
      const follows =
        decoded.firstSequence === this.#sequence + 1 &&
        decoded.baseRevision === this.#mvcc.revision;
      if (!follows) throw new FormatError('it does not continue what comes before it');
      return decoded;
    });
    const scan = scanSegment(bytes, header.salt, this.#sequence, (record, offset) => {
      this.#apply(record);
      if (record.type === 'end' && record.nextSegment !== number + 1) {
        throw new FormatError(`it names segment ${record.nextSegment} as the next`);
      }
      this.#options.onRecord?.(file, offset, record);
    });
    this.#sequence = scan.sequence;
    if (scan.damage !== undefined) {
      throw new DamageError(this.#directory, file, scan.goodEnd, scan.damage);
    }
    const { goodEnd, lastFrameAt: at } = scan;
    if (at !== undefined) {
      this.#lastFrame = { segment: number, at, bytes: new Uint8Array(bytes.subarray(at, goodEnd)) };
    }
    const tail = { header, goodEnd, tornBytes: bytes.length - goodEnd };
    return { scan, tail };
  }

  /** Copies out of the segments what outlived the replay: most values were replaced on the way. */
  #ownValues(): void {
    const packer = new ValuePacker();
    const own = (kv: MutableKeyValue | undefined) => {
      if (kv !== undefined && this.#segmentMemory.has(kv.value.buffer)) {
        kv.value = packer.copy(kv.value);
      }
    };
    const mvcc = this.#mvcc;
    for (const kv of mvcc.index.collect('', undefined)) own(kv);
    for (let revision = mvcc.historyStart; revision <= mvcc.revision; revision++) {
      for (const event of mvcc.transactionAt(revision)?.events ?? []) {
        own(event.previous);
        own(event.kv);
      }
    }
  }

  /** Behind a segment without an end record there may be one empty segment, and no more. */
  async #unfinished(names: DirectoryNames, last: number, offset: number): Promise<string[]> {
    const files: string[] = [];
    for (const number of names.segments.filter((found) => found > last)) {
      const file = segmentName(number);
      const data = await this.#disk.read(`${this.#directory}/${file}`);
      if (number !== last + 1 || (data?.length ?? 0) > SEGMENT_HEADER_BYTES) {
        const reason = `its end is missing, while ${file} goes on after it`;
        throw new DamageError(this.#directory, segmentName(last), offset, reason);
      }
      files.push(file);
    }
    return files;
  }

  #apply(record: LogRecord): void {
    const mvcc = this.#mvcc;
    switch (record.type) {
      case 'transaction':
        mvcc.apply(toTransaction(record, mvcc));
        break;
      case 'compaction':
        if (record.revision > mvcc.revision) throw new FormatError('it compacts the future');
        mvcc.compact(record.revision);
        break;
      case 'start':
        this.#starts = record.starts;
        break;
      case 'end':
      case 'close':
        break;
      default:
        throw new TypeError(`unknown record ${String(record satisfies never)}`);
    }
  }

  /** Runs a decoder; its complaints become damage of the file. */
  #decode<T>(file: string, decode: () => T): T {
    try {
      return decode();
    } catch (error) {
      if (error instanceof FormatVersionError) {
        throw unknownVersion(this.#directory, file, error.message);
      }
      if (!(error instanceof FormatError)) throw error;
      throw new DamageError(this.#directory, file, 0, error.message);
    }
  }
}

/** Nobody else has seen the objects yet, so their values may still move. */
type MutableKeyValue = { -readonly [Field in keyof KeyValue]: KeyValue[Field] };

function checkIdentity(found: Identity, expected: Identity): void {
  if (found.clusterId === expected.clusterId && found.epoch === expected.epoch) return;
  throw new FormatError(
    `it belongs to cluster ${found.clusterId} epoch ${found.epoch}, the directory to ${expected.clusterId} epoch ${expected.epoch}`,
  );
}

function toTransaction(
  record: Extract<LogRecord, { type: 'transaction' }>,
  mvcc: Mvcc,
): Transaction {
  const { revision } = record;
  if (revision !== mvcc.revision + 1) {
    throw new FormatError(`revision ${revision} does not follow ${mvcc.revision}`);
  }
  const events = record.changes.map((change): StoreEvent => {
    const { key } = change;
    const previous = mvcc.index.get(key);
    if (change.type === 'delete') {
      if (previous === undefined) throw new FormatError(`it deletes "${key}", which is not there`);
      const value = new Uint8Array(0);
      const kv = { key, value, createRevision: 0, modRevision: revision, version: 0 };
      return { type: 'delete', kv, previous };
    }
    const kv: KeyValue = {
      key,
      value: change.value,
      createRevision: previous?.createRevision ?? revision,
      modRevision: revision,
      version: (previous?.version ?? 0) + 1,
    };
    return previous ? { type: 'put', kv, previous } : { type: 'put', kv };
  });
  return { revision, events };
}

function noTail(segment: number, identity: Identity): Tail {
  const header = {
    ...identity,
    formatVersion: 0,
    segment,
    salt: 0,
    firstSequence: 0,
    baseRevision: 0,
  };
  return { header, goodEnd: 0, tornBytes: 0 };
}

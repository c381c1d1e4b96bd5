/**
 * The bytes of a log segment, format version 1. Numbers are little-endian; u48 is six bytes.
 *
 * Segment `wal-NNNNNNNN` (decimal segment number): a header of 64 bytes, then frames.
 *   0  8  "PIERWAL\n"
 *   8  4  format version
 *  12  4  segment number
 *  16 16  cluster id (UUID)
 *  32  4  epoch
 *  36  4  salt: random; the seed of every checksum in this segment, so that no bytes from elsewhere
 *         (an older life of the same blocks, a value a client made up) pass for a frame of it
 *  40  6  sequence of the first frame
 *  46  6  revision before the first frame
 *  52  8  zero
 *  60  4  CRC-32C of bytes 0..59
 *
 * Frame: what one group commit wrote, made durable by one sync; it counts as a whole or not at all.
 *   0  4  "PFRM"
 *   4  4  payload length
 *   8  6  sequence: one more than the frame before, also across segments
 *  14  2  zero
 *  16  4  CRC-32C of the payload, seeded with the salt
 *  20  4  CRC-32C of bytes 0..19, seeded with the salt
 *  24  .  payload: records, one after the other
 *
 * Records (the first byte is the type):
 *   1 transaction: u48 revision, u32 number of changes, then per change
 *       1 put:    u16 key length, u32 value length, key (ASCII), value
 *       2 delete: u16 key length, key
 *     Create revision and version follow from the changes before.
 *   2 compaction: u48 revision
 *   3 start:      u48 how many times the store has been opened
 *   4 end:        u32 number of the next segment; the last record of a segment that has a successor
 *   5 close:      nothing; the store was closed in order
 *
 * A next segment is durable before the end record is written, and gets frames only after it is durable.
 */
import { crc32c } from './crc32c.ts';
import type { Transaction } from './mvcc.ts';

export const FORMAT_VERSION = 1;
export const SEGMENT_HEADER_BYTES = 64;
export const FRAME_HEADER_BYTES = 24;
/** A frame says at most this; longer is damage. Twice what a draft and its last transaction can be. */
export const FRAME_PAYLOAD_MAX = 128 * 1024 * 1024;

const SEGMENT_MAGIC = Buffer.from('PIERWAL\n', 'latin1');
export const FRAME_MAGIC = Buffer.from('PFRM', 'latin1');

export interface SegmentHeader {
  readonly formatVersion: number;
  readonly segment: number;
  readonly clusterId: string;
  readonly epoch: number;
  readonly salt: number;
  readonly firstSequence: number;
  readonly baseRevision: number;
}

export type Change =
  | { readonly type: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly type: 'delete'; readonly key: string };

export type LogRecord =
  | { readonly type: 'transaction'; readonly revision: number; readonly changes: Change[] }
  | { readonly type: 'compaction'; readonly revision: number }
  | { readonly type: 'start'; readonly starts: number }
  | { readonly type: 'end'; readonly nextSegment: number }
  | { readonly type: 'close' };

/** The bytes do not follow the format; the caller knows which file and where. */
export class FormatError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'FormatError';
  }
}

/** Written by another version: nothing is wrong with it, and repair would be. */
export class FormatVersionError extends FormatError {}

export function encodeSegmentHeader(header: SegmentHeader): Uint8Array {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  SEGMENT_MAGIC.copy(bytes);
  bytes.writeUInt32LE(header.formatVersion, 8);
  bytes.writeUInt32LE(header.segment, 12);
  uuidBytes(header.clusterId).copy(bytes, 16);
  bytes.writeUInt32LE(header.epoch, 32);
  bytes.writeUInt32LE(header.salt, 36);
  bytes.writeUIntLE(header.firstSequence, 40, 6);
  bytes.writeUIntLE(header.baseRevision, 46, 6);
  bytes.writeUInt32LE(crc32c(bytes, 0, 60), 60);
  return bytes;
}

/** Throws FormatError with the reason. A future version is told apart from damage. */
export function decodeSegmentHeader(data: Uint8Array): SegmentHeader {
  const bytes = asBuffer(data);
  if (bytes.length < SEGMENT_HEADER_BYTES || !startsWith(bytes, SEGMENT_MAGIC)) {
    throw new FormatError('this is not a log segment (its first bytes are wrong)');
  }
  if (bytes.readUInt32LE(60) !== crc32c(bytes, 0, 60)) {
    throw new FormatError('the checksum of the segment header is wrong');
  }
  checkVersion(bytes.readUInt32LE(8));
  return {
    formatVersion: bytes.readUInt32LE(8),
    segment: bytes.readUInt32LE(12),
    clusterId: uuidText(bytes.subarray(16, 32)),
    epoch: bytes.readUInt32LE(32),
    salt: bytes.readUInt32LE(36),
    firstSequence: readU48(bytes, 40),
    baseRevision: readU48(bytes, 46),
  };
}

export function checkVersion(version: number): void {
  if (version !== FORMAT_VERSION) {
    throw new FormatVersionError(
      `it has format version ${version}, this pier reads version ${FORMAT_VERSION}; use the pier that wrote it, or a newer one`,
    );
  }
}

/** Builds one frame in a buffer that is used again and again. */
export class FrameWriter {
  #bytes: Buffer = Buffer.allocUnsafeSlow(64 * 1024);
  #length = FRAME_HEADER_BYTES;

  /** Bytes of records so far. */
  get payloadLength(): number {
    return this.#length - FRAME_HEADER_BYTES;
  }

  reset(): void {
    this.#length = FRAME_HEADER_BYTES;
    // One huge transaction must not hold its memory for ever.
    if (this.#bytes.length > 4 * 1024 * 1024) this.#bytes = Buffer.allocUnsafeSlow(64 * 1024);
  }

  transaction(transaction: Transaction): void {
    const { events } = transaction;
    let need = 11;
    for (const { kv } of events) need += 7 + kv.key.length + kv.value.length;
    const bytes = this.#room(need);
    let at = this.#length;
    bytes[at] = 1;
    bytes.writeUIntLE(transaction.revision, at + 1, 6);
    bytes.writeUInt32LE(events.length, at + 7);
    at += 11;
    for (const { type, kv } of events) {
      const { key, value } = kv;
      bytes[at] = type === 'put' ? 1 : 2;
      bytes.writeUInt16LE(key.length, at + 1);
      at += 3;
      if (type === 'put') {
        bytes.writeUInt32LE(value.length, at);
        at += 4;
      }
      at += bytes.write(key, at, 'latin1');
      if (type === 'put') {
        bytes.set(value, at);
        at += value.length;
      }
    }
    this.#length = at;
  }

  compaction(revision: number): void {
    this.#number(2, revision, 6);
  }

  start(starts: number): void {
    this.#number(3, starts, 6);
  }

  end(nextSegment: number): void {
    this.#number(4, nextSegment, 4);
  }

  close(): void {
    this.#number(5, 0, 0);
  }

  /** The finished frame; valid until the next call of any method. */
  finish(sequence: number, salt: number): Uint8Array {
    const bytes = this.#bytes;
    FRAME_MAGIC.copy(bytes);
    bytes.writeUInt32LE(this.payloadLength, 4);
    bytes.writeUIntLE(sequence, 8, 6);
    bytes.writeUInt16LE(0, 14);
    bytes.writeUInt32LE(crc32c(bytes, FRAME_HEADER_BYTES, this.#length, salt), 16);
    bytes.writeUInt32LE(crc32c(bytes, 0, 20, salt), 20);
    return bytes.subarray(0, this.#length);
  }

  #number(type: number, value: number, width: number): void {
    const bytes = this.#room(1 + width);
    bytes[this.#length] = type;
    if (width > 0) bytes.writeUIntLE(value, this.#length + 1, width);
    this.#length += 1 + width;
  }

  #room(need: number): Buffer {
    const total = this.#length + need;
    if (total > this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(total, this.#bytes.length * 2));
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    return this.#bytes;
  }
}

export interface FrameHeader {
  readonly payloadLength: number;
  readonly sequence: number;
  readonly payloadCrc: number;
}

/** The frame header at `at`, or undefined when there is no intact one. */
export function decodeFrameHeader(
  bytes: Buffer,
  at: number,
  salt: number,
): FrameHeader | undefined {
  if (at + FRAME_HEADER_BYTES > bytes.length) return undefined;
  if (bytes.readUInt32LE(at) !== FRAME_MAGIC.readUInt32LE(0)) return undefined;
  if (bytes.readUInt32LE(at + 20) !== crc32c(bytes, at, at + 20, salt)) return undefined;
  const payloadLength = bytes.readUInt32LE(at + 4);
  if (payloadLength > FRAME_PAYLOAD_MAX) return undefined;
  const sequence = readU48(bytes, at + 8);
  return { payloadLength, sequence, payloadCrc: bytes.readUInt32LE(at + 16) };
}

/** The records of a payload whose checksum was right. Values are views into `bytes`. */
export function decodeRecords(bytes: Buffer, start: number, end: number): LogRecord[] {
  const records: LogRecord[] = [];
  let at = start;
  const take = (count: number) => {
    at += count;
    if (at > end) throw new FormatError('a record is longer than its frame');
    return at - count;
  };
  while (at < end) {
    const type = bytes.readUInt8(take(1));
    if (type === 1) {
      const revision = readU48(bytes, take(6));
      const changes: Change[] = [];
      for (let left = bytes.readUInt32LE(take(4)); left > 0; left--) {
        const kind = bytes.readUInt8(take(1));
        const keyLength = bytes.readUInt16LE(take(2));
        const valueLength = kind === 1 ? bytes.readUInt32LE(take(4)) : 0;
        const key = bytes.toString('latin1', take(keyLength), at);
        if (kind === 2) changes.push({ type: 'delete', key });
        else if (kind !== 1) throw new FormatError(`unknown change type ${kind}`);
        else changes.push({ type: 'put', key, value: viewOf(bytes, take(valueLength), at) });
      }
      records.push({ type: 'transaction', revision, changes });
    } else if (type === 2) {
      records.push({ type: 'compaction', revision: readU48(bytes, take(6)) });
    } else if (type === 3) {
      records.push({ type: 'start', starts: readU48(bytes, take(6)) });
    } else if (type === 4) {
      records.push({ type: 'end', nextSegment: bytes.readUInt32LE(take(4)) });
    } else if (type === 5) {
      records.push({ type: 'close' });
    } else {
      throw new FormatError(`unknown record type ${type}`);
    }
  }
  return records;
}

/** Six bytes as a number; faster than Buffer's own reader of any width. */
export function readU48(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt16LE(at + 4) * 2 ** 32;
}

/** `bytes[start, end)` without a copy. */
export function viewOf(bytes: Buffer, start: number, end: number): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start);
}

/** A Buffer over the same memory. */
export function asBuffer(data: Uint8Array): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}

export function startsWith(bytes: Buffer, magic: Buffer): boolean {
  return (
    bytes.length >= magic.length && bytes.compare(magic, 0, magic.length, 0, magic.length) === 0
  );
}

export function uuidBytes(uuid: string): Buffer {
  return Buffer.from(uuid.replaceAll('-', ''), 'hex');
}

export function uuidText(bytes: Uint8Array): string {
  const hex = asBuffer(bytes).toString('hex');
  return [8, 12, 16, 20, 32].map((end, part) => hex.slice([0, 8, 12, 16, 20][part], end)).join('-');
}

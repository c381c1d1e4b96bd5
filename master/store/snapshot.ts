/**
 * The bytes of a snapshot, format version 1, and of a backup (the same; backup.ts). Numbers are little-endian.
 *
 * Snapshot `snapshot-NNNNNNNN`: the state before segment NNNNNNNN. A header of 96 bytes, blocks, a
 * footer.
 *   0  8  "PIERSNP\n"
 *   8  4  format version
 *  12  4  segment number at which replay starts (0 in a backup)
 *  16 16  cluster id (UUID)
 *  32  4  epoch
 *  36  4  salt: random; the seed of every checksum in this file
 *  40  6  sequence of the first frame to replay
 *  46  6  revision
 *  52  6  compacted revision: reads below it are refused
 *  58  6  starts: how many times the store has been opened
 *  64  6  number of keys
 *  70 22  zero
 *  92  4  CRC-32C of bytes 0..91
 * Block, about 64 KiB:
 *   0  4  body length, not 0
 *   4  4  number of this block, from 0
 *   8  4  CRC-32C of bytes 0..7 and the body, seeded with the salt
 *  12  .  body: per key u16 key length, u32 value length, u48 create revision, u48 mod revision,
 *         u48 version, key (ASCII), value; keys in order
 * Footer: a block of body length 0. Nothing follows it.
 */
import { crc32c } from './crc32c.ts';
import {
  asBuffer,
  checkVersion,
  FORMAT_VERSION,
  FormatError,
  readU48,
  startsWith,
  uuidBytes,
  uuidText,
  viewOf,
} from './record.ts';
import type { KeyValue } from './store.ts';
import { ValuePacker } from './value-packer.ts';

export const SNAPSHOT_HEADER_BYTES = 96;
const BLOCK_HEADER_BYTES = 12;
const BLOCK_BODY_BYTES = 64 * 1024;
const ENTRY_FIXED_BYTES = 24;
export const SNAPSHOT_MAGIC = Buffer.from('PIERSNP\n', 'latin1');

export interface SnapshotHeader {
  readonly segment: number;
  readonly clusterId: string;
  readonly epoch: number;
  readonly salt: number;
  readonly firstSequence: number;
  readonly revision: number;
  readonly compactedRevision: number;
  readonly starts: number;
  readonly keys: number;
}

/** The file, in pieces of about 64 KiB. Each piece is valid until the next is asked for. */
export function* encodeSnapshot(
  header: SnapshotHeader,
  kvs: readonly KeyValue[],
): Generator<Uint8Array> {
  yield encodeHeader(header);
  let block = Buffer.allocUnsafeSlow(BLOCK_HEADER_BYTES + BLOCK_BODY_BYTES);
  let number = 0;
  let at = BLOCK_HEADER_BYTES;
  for (const kv of kvs) {
    const need = ENTRY_FIXED_BYTES + kv.key.length + kv.value.length;
    if (at + need > block.length && at > BLOCK_HEADER_BYTES) {
      yield sealBlock(block, at, number++, header.salt);
      at = BLOCK_HEADER_BYTES;
    }
    if (at + need > block.length) block = Buffer.allocUnsafeSlow(at + need);
    at = writeEntry(block, at, kv);
  }
  if (at > BLOCK_HEADER_BYTES) yield sealBlock(block, at, number++, header.salt);
  yield sealBlock(Buffer.alloc(BLOCK_HEADER_BYTES), BLOCK_HEADER_BYTES, number, header.salt);
}

/** Reads and checks the whole file. Throws FormatError with the offset. Values have own memory. */
export function decodeSnapshot(data: Uint8Array, each: (kv: KeyValue) => void): SnapshotHeader {
  const decoder = new SnapshotDecoder(each);
  decoder.push(data);
  return decoder.end();
}

/**
 * The same for a file that comes in pieces of any size, so that a big one never is in memory as a whole. `push` keeps nothing of
 * a piece; `end` says that there are no more.
 */
export class SnapshotDecoder {
  readonly #each: (kv: KeyValue) => void;
  readonly #packer = new ValuePacker();
  #header: SnapshotHeader | undefined;
  #blocks = 0;
  #keys = 0;
  #footer = false;
  /** Where in the file the first byte is that was not understood yet. */
  #at = 0;
  /** From there on: what waits for the rest of its block. */
  #waiting = Buffer.alloc(0);
  #waitingBytes = 0;

  constructor(each: (kv: KeyValue) => void) {
    this.#each = each;
  }

  push(piece: Uint8Array): void {
    const bytes = this.#waitingBytes === 0 ? asBuffer(piece) : this.#append(piece);
    const used = this.#decode(bytes);
    this.#at += used;
    const left = bytes.length - used;
    if (left > this.#waiting.length) {
      const grown = Buffer.allocUnsafeSlow(left * 2);
      bytes.copy(grown, 0, used);
      this.#waiting = grown;
    } else {
      bytes.copy(this.#waiting, 0, used);
    }
    this.#waitingBytes = left;
  }

  /** Throws FormatError when the file is not whole. */
  end(): SnapshotHeader {
    const at = this.#at;
    const bytes = this.#waiting.subarray(0, this.#waitingBytes);
    if (this.#header === undefined) return decodeHeader(bytes);
    if (!this.#footer) {
      if (bytes.length >= BLOCK_HEADER_BYTES) throw badBlock(at);
      throw new FormatError(`it ends at offset ${at + bytes.length}, before its footer`);
    }
    const { keys } = this.#header;
    if (this.#keys !== keys) throw new FormatError(`it has ${this.#keys} keys of ${keys}`);
    return this.#header;
  }

  #append(piece: Uint8Array): Buffer {
    const length = this.#waitingBytes + piece.length;
    if (length > this.#waiting.length) {
      const grown = Buffer.allocUnsafeSlow(length * 2);
      this.#waiting.copy(grown, 0, 0, this.#waitingBytes);
      this.#waiting = grown;
    }
    this.#waiting.set(piece, this.#waitingBytes);
    return this.#waiting.subarray(0, length);
  }

  /** Takes what is whole from the start of `bytes`; returns how many bytes that was. */
  #decode(bytes: Buffer): number {
    let at = 0;
    if (this.#header === undefined) {
      if (bytes.length < SNAPSHOT_HEADER_BYTES) return 0;
      this.#header = decodeHeader(bytes);
      at = SNAPSHOT_HEADER_BYTES;
    }
    const { salt } = this.#header;
    while (!this.#footer && at + BLOCK_HEADER_BYTES <= bytes.length) {
      const body = at + BLOCK_HEADER_BYTES;
      const end = body + bytes.readUInt32LE(at);
      const number = bytes.readUInt32LE(at + 4);
      if (number !== this.#blocks) throw badBlock(this.#at + at);
      if (end > bytes.length) break;
      if (bytes.readUInt32LE(at + 8) !== blockCrc(bytes, at, end, salt)) {
        throw badBlock(this.#at + at);
      }
      this.#blocks++;
      this.#footer = end === body;
      for (at = body; at < end; this.#keys++) at = this.#entry(bytes, at, end);
    }
    if (this.#footer && at < bytes.length) {
      throw new FormatError(`bytes follow the footer at offset ${this.#at + at}`);
    }
    return at;
  }

  #entry(bytes: Buffer, at: number, end: number): number {
    const keyAt = at + ENTRY_FIXED_BYTES;
    const valueAt = keyAt + (keyAt <= end ? bytes.readUInt16LE(at) : 0);
    const next = valueAt + (keyAt <= end ? bytes.readUInt32LE(at + 2) : 0);
    if (keyAt > end || next > end) {
      throw new FormatError(`the entry at offset ${this.#at + at} leaves its block`);
    }
    this.#each({
      key: bytes.toString('latin1', keyAt, valueAt),
      value: this.#packer.copy(viewOf(bytes, valueAt, next)),
      createRevision: readU48(bytes, at + 6),
      modRevision: readU48(bytes, at + 12),
      version: readU48(bytes, at + 18),
    });
    return next;
  }
}

function badBlock(offset: number): FormatError {
  return new FormatError(`the block at offset ${offset} has a wrong checksum`);
}

function encodeHeader(header: SnapshotHeader): Buffer {
  const bytes = Buffer.alloc(SNAPSHOT_HEADER_BYTES);
  SNAPSHOT_MAGIC.copy(bytes);
  bytes.writeUInt32LE(FORMAT_VERSION, 8);
  bytes.writeUInt32LE(header.segment, 12);
  uuidBytes(header.clusterId).copy(bytes, 16);
  bytes.writeUInt32LE(header.epoch, 32);
  bytes.writeUInt32LE(header.salt, 36);
  bytes.writeUIntLE(header.firstSequence, 40, 6);
  bytes.writeUIntLE(header.revision, 46, 6);
  bytes.writeUIntLE(header.compactedRevision, 52, 6);
  bytes.writeUIntLE(header.starts, 58, 6);
  bytes.writeUIntLE(header.keys, 64, 6);
  bytes.writeUInt32LE(crc32c(bytes, 0, 92), 92);
  return bytes;
}

function decodeHeader(bytes: Buffer): SnapshotHeader {
  if (bytes.length < SNAPSHOT_HEADER_BYTES || !startsWith(bytes, SNAPSHOT_MAGIC)) {
    throw new FormatError('this is not a snapshot (its first bytes are wrong)');
  }
  if (bytes.readUInt32LE(92) !== crc32c(bytes, 0, 92)) {
    throw new FormatError('the checksum of the snapshot header is wrong');
  }
  checkVersion(bytes.readUInt32LE(8));
  return {
    segment: bytes.readUInt32LE(12),
    clusterId: uuidText(bytes.subarray(16, 32)),
    epoch: bytes.readUInt32LE(32),
    salt: bytes.readUInt32LE(36),
    firstSequence: readU48(bytes, 40),
    revision: readU48(bytes, 46),
    compactedRevision: readU48(bytes, 52),
    starts: readU48(bytes, 58),
    keys: readU48(bytes, 64),
  };
}

function sealBlock(block: Buffer, end: number, number: number, salt: number): Uint8Array {
  block.writeUInt32LE(end - BLOCK_HEADER_BYTES, 0);
  block.writeUInt32LE(number, 4);
  block.writeUInt32LE(blockCrc(block, 0, end, salt), 8);
  return block.subarray(0, end);
}

function blockCrc(bytes: Buffer, at: number, end: number, salt: number): number {
  return crc32c(bytes, at + BLOCK_HEADER_BYTES, end, crc32c(bytes, at, at + 8, salt));
}

function writeEntry(block: Buffer, start: number, kv: KeyValue): number {
  block.writeUInt16LE(kv.key.length, start);
  block.writeUInt32LE(kv.value.length, start + 2);
  block.writeUIntLE(kv.createRevision, start + 6, 6);
  block.writeUIntLE(kv.modRevision, start + 12, 6);
  block.writeUIntLE(kv.version, start + 18, 6);
  const valueAt = start + ENTRY_FIXED_BYTES + kv.key.length;
  block.write(kv.key, start + ENTRY_FIXED_BYTES, 'latin1');
  block.set(kv.value, valueAt);
  return valueAt + kv.value.length;
}

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
  const bytes = asBuffer(data);
  const header = decodeHeader(bytes);
  let at = SNAPSHOT_HEADER_BYTES;
  let keys = 0;
  const packer = new ValuePacker();
  for (let number = 0; ; number++) {
    const length = checkBlock(bytes, at, number, header.salt);
    at += BLOCK_HEADER_BYTES;
    if (length === 0) break;
    const end = at + length;
    for (; at < end; keys++) at = readEntry(bytes, at, end, packer, each);
  }
  if (at !== bytes.length) throw new FormatError(`bytes follow the footer at offset ${at}`);
  if (keys !== header.keys) throw new FormatError(`it has ${keys} keys of ${header.keys}`);
  return header;
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

/** The length of the block's body, when block number and checksum are right. */
function checkBlock(bytes: Buffer, at: number, number: number, salt: number): number {
  if (at + BLOCK_HEADER_BYTES > bytes.length) {
    throw new FormatError(`it ends at offset ${bytes.length}, before its footer`);
  }
  const end = at + BLOCK_HEADER_BYTES + bytes.readUInt32LE(at);
  const good =
    end <= bytes.length &&
    bytes.readUInt32LE(at + 4) === number &&
    bytes.readUInt32LE(at + 8) === blockCrc(bytes, at, end, salt);
  if (!good) throw new FormatError(`the block at offset ${at} has a wrong checksum`);
  return end - at - BLOCK_HEADER_BYTES;
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

function readEntry(
  bytes: Buffer,
  at: number,
  end: number,
  packer: ValuePacker,
  each: (kv: KeyValue) => void,
): number {
  const keyAt = at + ENTRY_FIXED_BYTES;
  const valueAt = keyAt + (keyAt <= end ? bytes.readUInt16LE(at) : 0);
  const next = valueAt + (keyAt <= end ? bytes.readUInt32LE(at + 2) : 0);
  if (keyAt > end || next > end)
    throw new FormatError(`the entry at offset ${at} leaves its block`);
  each({
    key: bytes.toString('latin1', keyAt, valueAt),
    value: packer.copy(viewOf(bytes, valueAt, next)),
    createRevision: readU48(bytes, at + 6),
    modRevision: readU48(bytes, at + 12),
    version: readU48(bytes, at + 18),
  });
  return next;
}

/**
 * Reads the frames of one log segment and decides what a bad one means. Pure.
 *
 * Only one frame is ever written and not yet synced, and nothing is written after it before its sync
 * is done. So bytes that are no good frame are a torn, unacknowledged write when nothing follows
 * them, and damage to acknowledged data when a later frame does.
 */
import { crc32c } from './crc32c.ts';
import {
  decodeFrameHeader,
  decodeRecords,
  FormatError,
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  type LogRecord,
  SEGMENT_HEADER_BYTES,
} from './record.ts';

export interface ScanResult {
  /** Offset behind the last good frame. */
  readonly goodEnd: number;
  /** Offset of the last good frame; undefined when there is none. */
  readonly lastFrameAt: number | undefined;
  /** Sequence of the last good frame, or of the one before the segment. */
  readonly sequence: number;
  /** The segment number that the end record names. */
  readonly nextSegment: number | undefined;
  /** Why the good part ends before the file does, with proof that acknowledged data is hurt. */
  readonly damage: string | undefined;
}

/** `onRecord` gets every record of every good frame in order; what it throws as FormatError is damage. */
export function scanSegment(
  bytes: Buffer,
  salt: number,
  sequenceBefore: number,
  onRecord: (record: LogRecord, offset: number) => void,
): ScanResult {
  let at = SEGMENT_HEADER_BYTES;
  let sequence = sequenceBefore;
  let lastFrameAt: number | undefined;
  let nextSegment: number | undefined;
  let damage: string | undefined;
  while (at < bytes.length && damage === undefined) {
    if (nextSegment !== undefined) {
      damage = 'bytes follow the end record';
      break;
    }
    const expected = sequence + 1;
    const header = decodeFrameHeader(bytes, at, salt);
    const end = at + FRAME_HEADER_BYTES + (header?.payloadLength ?? 0);
    const start = at + FRAME_HEADER_BYTES;
    const good =
      header !== undefined &&
      header.sequence === expected &&
      end <= bytes.length &&
      crc32c(bytes, start, end, salt) === header.payloadCrc;
    if (!good) {
      const ownEnd = header?.sequence === expected ? end : undefined;
      damage = proofOfDamage(bytes, at, ownEnd, salt, expected);
      break;
    }
    try {
      for (const record of decodeRecords(bytes, start, end)) {
        onRecord(record, at);
        if (record.type === 'end') nextSegment = record.nextSegment;
      }
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      damage = error.message;
      break;
    }
    sequence = expected;
    lastFrameAt = at;
    at = end;
  }
  return { goodEnd: at, lastFrameAt, sequence, nextSegment, damage };
}

/** Says what shows that a later frame was written behind the bad bytes at `at`; undefined if nothing. */
function proofOfDamage(
  bytes: Buffer,
  at: number,
  ownEnd: number | undefined,
  salt: number,
  expected: number,
): string | undefined {
  if (ownEnd !== undefined && bytes.subarray(ownEnd).some((byte) => byte !== 0)) {
    return `the checksum of record group ${expected} is wrong, and data follows it at offset ${ownEnd}`;
  }
  for (let from = at; ; from++) {
    from = bytes.indexOf(FRAME_MAGIC, from);
    if (from < 0) return undefined;
    const later = decodeFrameHeader(bytes, from, salt);
    if (later !== undefined && later.sequence > expected) {
      return `record group ${expected} is unreadable, and group ${later.sequence} follows at offset ${from}`;
    }
  }
}

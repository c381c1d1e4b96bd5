/**
 * The write-ahead log while it is written: one frame, one durable write at a time.
 *
 * Promises: `commit` returns when the frame is durable. A full disk costs only that frame (what was written of it
 * is cut off again) and the log goes on. Any other failure is final: every later call throws
 * StoreFailedError, because after a failed sync nobody knows what the disk holds, and a second sync
 * would claim success (https://wiki.postgresql.org/wiki/Fsync_Errors).
 */

import { type Identity, segmentName } from './directory.ts';
import { type Disk, type DiskFile, isNoSpace, writeFileAtomically, writeFully } from './disk.ts';
import {
  encodeSegmentHeader,
  FORMAT_VERSION,
  FrameWriter,
  SEGMENT_HEADER_BYTES,
} from './record.ts';
import { NoSpaceError, StoreFailedError } from './store.ts';

export interface LogPosition {
  readonly segment: number;
  readonly salt: number;
  /** Where the next frame goes. */
  readonly offset: number;
  /** Sequence of the last frame. */
  readonly sequence: number;
}

export interface LogStats {
  /** Bytes handed to the disk for log segments. */
  readonly bytes: number;
  readonly syncs: number;
}

export class Log {
  /** Fill it, then `commit`. */
  readonly frame = new FrameWriter();
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #identity: Identity;
  readonly #newSalt: () => number;
  #file: DiskFile;
  #segment: number;
  #salt: number;
  #offset: number;
  #sequence: number;
  #failure: StoreFailedError | undefined;
  #bytes = 0;
  #syncs = 0;

  constructor(
    place: {
      readonly disk: Disk;
      readonly directory: string;
      readonly identity: Identity;
      readonly newSalt: () => number;
    },
    file: DiskFile,
    position: LogPosition,
  ) {
    this.#disk = place.disk;
    this.#directory = place.directory;
    this.#identity = place.identity;
    this.#newSalt = place.newSalt;
    this.#file = file;
    this.#segment = position.segment;
    this.#salt = position.salt;
    this.#offset = position.offset;
    this.#sequence = position.sequence;
  }

  get segment(): number {
    return this.#segment;
  }

  get segmentBytes(): number {
    return this.#offset;
  }

  /** Sequence of the last durable frame. */
  get sequence(): number {
    return this.#sequence;
  }

  get failure(): StoreFailedError | undefined {
    return this.#failure;
  }

  get stats(): LogStats {
    return { bytes: this.#bytes, syncs: this.#syncs };
  }

  /**
   * Makes the records in `frame` durable. Throws NoSpaceError (nothing of it stays) or StoreFailedError.
   * `rewrite` is put back in place just before the frame, byte for byte as it was.
   */
  async commit(rewrite: Uint8Array = new Uint8Array(0)): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const frame = this.frame.finish(this.#sequence + 1, this.#salt);
    const data = rewrite.length === 0 ? frame : Buffer.concat([rewrite, frame]);
    try {
      await writeFully(this.#file, data, this.#offset - rewrite.length);
    } catch (error) {
      if (!isNoSpace(error)) throw this.#fail('writing to', error);
      await this.#cutBack();
      throw new NoSpaceError(
        `the disk of ${this.#directory} is full, the write was not made; free some room there, writing resumes by itself`,
        { cause: error },
      );
    }
    this.#syncs++;
    this.#bytes += data.length;
    this.#sequence++;
    this.#offset += frame.length;
  }

  /**
   * Goes on in a new segment and returns its number. The order matters for recovery: the new one is
   * durable first, then the old one ends. Throws NoSpaceError with the old segment still in use.
   */
  async nextSegment(baseRevision: number): Promise<number> {
    if (this.#failure !== undefined) throw this.#failure;
    const next = this.#segment + 1;
    const salt = this.#newSalt();
    const firstSequence = this.#sequence + 2;
    try {
      await createSegment(this.#disk, this.#directory, {
        ...this.#identity,
        segment: next,
        salt,
        firstSequence,
        baseRevision,
      });
    } catch (error) {
      if (!isNoSpace(error)) throw this.#fail('making a new segment in', error);
      throw new NoSpaceError(`no room for a new log segment in ${this.#directory}`, {
        cause: error,
      });
    }
    this.frame.reset();
    this.frame.end(next);
    await this.commit();
    try {
      const file = await this.#disk.open(`${this.#directory}/${segmentName(next)}`);
      await this.#file.close();
      this.#file = file;
    } catch (error) {
      throw this.#fail('changing segments in', error);
    }
    this.#segment = next;
    this.#salt = salt;
    this.#offset = SEGMENT_HEADER_BYTES;
    this.#bytes += SEGMENT_HEADER_BYTES;
    return next;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #cutBack(): Promise<void> {
    try {
      await this.#file.truncate(this.#offset);
    } catch (error) {
      throw this.#fail('cutting back', error);
    }
    await this.#sync();
  }

  async #sync(): Promise<void> {
    try {
      await this.#file.fdatasync();
      this.#syncs++;
    } catch (error) {
      throw this.#fail('syncing', error);
    }
  }

  #fail(doing: string, cause: unknown): StoreFailedError {
    const file = `${this.#directory}/${segmentName(this.#segment)}`;
    const why = cause instanceof Error ? cause.message : String(cause);
    this.#failure = new StoreFailedError(
      `${doing} ${file} failed (${why}); nothing more is acknowledged, restart to recover from the disk`,
      { cause },
    );
    return this.#failure;
  }
}

/** Puts an empty segment in place, durable when it returns. */
export async function createSegment(
  disk: Disk,
  directory: string,
  header: Identity & {
    readonly segment: number;
    readonly salt: number;
    readonly firstSequence: number;
    readonly baseRevision: number;
  },
): Promise<void> {
  const bytes = encodeSegmentHeader({ ...header, formatVersion: FORMAT_VERSION });
  await writeFileAtomically(disk, directory, segmentName(header.segment), [bytes]);
}

/**
 * Where connections read into (Node's `onread`), so that no read allocates: all that are not busy share one buffer, from
 * which a read is copied at once; a busy one has a buffer of its own and copies nothing. Own buffers share a budget, so a
 * board's memory is bounded however many connections are busy, and an idle one needs none.
 */

const SHARED_BYTES = 16 * 1024;
/** Reads of more than this are not worth a copy, and get a buffer of their own. */
const COPY_MAX = 4 * 1024;
const OWN_BYTES = [32 * 1024, 256 * 1024] as const;
/** So many small reads in a row before a connection gives its buffer back. */
const SMALL_READS = 64;

export class BufferPool {
  readonly shared = Buffer.allocUnsafeSlow(SHARED_BYTES);
  #left: number;

  /** `bytes` is what own buffers may take together. */
  constructor(bytes: number) {
    this.#left = bytes;
  }

  take(bytes: number): Buffer | undefined {
    if (bytes > this.#left) return undefined;
    this.#left -= bytes;
    return Buffer.allocUnsafeSlow(bytes);
  }

  give(buffer: Buffer): void {
    this.#left += buffer.length;
  }
}

/** Of one direction of one connection. */
export class ReadBuffer {
  readonly #pool: BufferPool;
  #own: Buffer | undefined;
  #smallReads = 0;

  constructor(pool: BufferPool) {
    this.#pool = pool;
  }

  /** What the next read goes into. */
  get current(): Buffer {
    return this.#own ?? this.#pool.shared;
  }

  /** What a read of so many bytes gave. It stays as it is until this direction reads again. */
  take(bytes: number): Buffer {
    const own = this.#own;
    if (own === undefined) {
      const copy = Buffer.allocUnsafe(bytes);
      this.#pool.shared.copy(copy, 0, 0, bytes);
      if (bytes > COPY_MAX) this.#grow(OWN_BYTES[0]);
      return copy;
    }
    if (bytes === own.length && bytes < OWN_BYTES[1]) this.#grow(OWN_BYTES[1]);
    this.#smallReads = bytes * 8 < own.length ? this.#smallReads + 1 : 0;
    if (this.#smallReads >= SMALL_READS) this.release();
    return own.subarray(0, bytes);
  }

  /** Gives the memory back to the pool. */
  release(): void {
    if (this.#own !== undefined) this.#pool.give(this.#own);
    this.#own = undefined;
    this.#smallReads = 0;
  }

  #grow(bytes: number): void {
    const larger = this.#pool.take(bytes);
    if (larger === undefined) return;
    this.release();
    this.#own = larger;
  }
}

/**
 * The buffer a connection reads into, again and again (Node's `onread`): small while it is idle, larger
 * while it is busy. All connections share a budget, so a board's memory is bounded however many are busy.
 *
 * Measured (PERFORMANCE.md 6c): a static 256 KiB buffer moves twice as many bytes per CPU second as Node's
 * default of a new 64 KiB buffer for each read.
 */

const SIZES = [4 * 1024, 32 * 1024, 256 * 1024] as const;
/** So many small reads in a row before the buffer shrinks. */
const SMALL_READS = 64;

/** Bytes that buffers above the smallest size may take together. */
export class BufferBudget {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  take(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#left += bytes;
  }
}

export class ReadBuffer {
  readonly #budget: BufferBudget;
  #size = 0;
  #smallReads = 0;
  #buffer = Buffer.allocUnsafeSlow(SIZES[0]);

  constructor(budget: BufferBudget) {
    this.#budget = budget;
  }

  /** What the next read goes into. */
  get current(): Buffer {
    return this.#buffer;
  }

  /** Tells how many bytes the last read gave. */
  noteRead(bytes: number): void {
    const { length } = this.#buffer;
    if (bytes === length) {
      this.#smallReads = 0;
      this.#resize(this.#size + 1);
    } else if (this.#size > 0 && bytes * 8 < length) {
      this.#smallReads++;
      if (this.#smallReads >= SMALL_READS) this.#resize(0);
    } else {
      this.#smallReads = 0;
    }
  }

  /** Gives the memory back to the budget; the connection is over. */
  release(): void {
    if (this.#size > 0) this.#budget.give(this.#buffer.length);
    this.#size = 0;
  }

  #resize(size: number): void {
    const bytes = SIZES[size];
    if (bytes === undefined || (size > 0 && !this.#budget.take(bytes))) return;
    if (this.#size > 0) this.#budget.give(this.#buffer.length);
    this.#size = size;
    this.#smallReads = 0;
    this.#buffer = Buffer.allocUnsafeSlow(bytes);
  }
}

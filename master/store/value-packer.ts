/**
 * Gives loaded values memory of their own, many to a block: a hundred thousand small buffers would cost
 * a second of garbage collection at a start. Values come in key order, so neighbours in a block are of
 * one kind and tend to be replaced together; a block is freed when the last of its values is.
 */
const BLOCK_BYTES = 64 * 1024;
/** The first block is small, for a small store. */
const FIRST_BLOCK_BYTES = 2048;

export class ValuePacker {
  #block = new Uint8Array(0);
  #used = 0;
  #nextBytes = FIRST_BLOCK_BYTES;

  /** A copy of the bytes. */
  copy(value: Uint8Array): Uint8Array {
    const { length } = value;
    if (length > this.#nextBytes / 4) return new Uint8Array(value);
    if (this.#used + length > this.#block.length) {
      this.#block = new Uint8Array(this.#nextBytes);
      this.#used = 0;
      this.#nextBytes = Math.min(BLOCK_BYTES, this.#nextBytes * 2);
    }
    const copy = new Uint8Array(this.#block.buffer, this.#used, length);
    copy.set(value);
    this.#used += length;
    return copy;
  }
}

/** The first bytes of what a command writes; the rest is read and dropped, so that the command never blocks. */
export class BoundedOutput {
  readonly #bytesMax: number;
  readonly #kept: Buffer[] = [];
  #keptBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  add(part: Uint8Array): void {
    const kept = part.subarray(0, this.#bytesMax - this.#keptBytes);
    this.#keptBytes += kept.length;
    // A copy: the chunk it is part of may be large.
    if (kept.length > 0) this.#kept.push(Buffer.from(kept));
  }

  text(): string {
    return Buffer.concat(this.#kept).toString('utf8');
  }
}

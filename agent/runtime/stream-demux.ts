/**
 * The framing of an engine's hijacked connection without a terminal (Docker's and libpod's "raw stream"): a head of
 * eight bytes - stream (1 stdout, 2 stderr), three zeros, length (32 bits, big-endian) - and so many bytes. Pure; keeps
 * no more than a head: data is handed on as it comes, as views into what was put in.
 */
import { RuntimeError } from './runtime.ts';

export interface OutputPart {
  readonly stream: 'stdout' | 'stderr';
  readonly data: Uint8Array;
}

const HEAD_BYTES = 8;
const STDOUT = 1;
const STDERR = 2;

export class StreamDemux {
  readonly #head = new Uint8Array(HEAD_BYTES);
  #headBytes = 0;
  #left = 0;

  /** What the bytes hold. Throws RuntimeError when they are not framed so. */
  *push(bytes: Uint8Array): Generator<OutputPart> {
    let at = 0;
    while (at < bytes.length) {
      if (this.#left === 0) {
        const part = bytes.subarray(at, at + HEAD_BYTES - this.#headBytes);
        this.#head.set(part, this.#headBytes);
        this.#headBytes += part.length;
        at += part.length;
        if (this.#headBytes < HEAD_BYTES) return;
        this.#left = new DataView(this.#head.buffer).getUint32(4);
        this.#checkHead();
        if (this.#left === 0) this.#headBytes = 0;
        continue;
      }
      const data = bytes.subarray(at, at + this.#left);
      at += data.length;
      this.#left -= data.length;
      if (this.#left === 0) this.#headBytes = 0;
      yield { stream: this.#head[0] === STDERR ? 'stderr' : 'stdout', data };
    }
  }

  #checkHead(): void {
    const [stream] = this.#head;
    if (stream === STDOUT || stream === STDERR) return;
    throw new RuntimeError(
      `the engine's stream has a frame of the unknown kind ${stream}: is it another engine?`,
    );
  }
}

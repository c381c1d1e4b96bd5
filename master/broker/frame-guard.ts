/**
 * Watches the lengths of MQTT frames, because aedes has no limit of its own: a 200 MB CONNECT would take
 * 200 MB of memory before anybody is authenticated (RELIABILITY M6).
 *
 * MQTT 3.1.1, section 2.2: each frame begins with a type byte and its remaining length, 1 to 4 bytes of seven
 * bits each, lowest first. The guard follows these headers through any split of the stream and objects
 * to the header of a frame that is too long, before its body is read. The first frame must be CONNECT.
 */
const CONNECT = 1;
const LENGTH_BYTES_MAX = 4;
/** Before the client is accepted. A CONNECT with a last will of 1 KiB takes about 1.3 KiB. */
export const FRAME_BYTES_BEFORE = 64 * 1024;
/** After: a message of 1 MiB and its topic of at most 64 KiB. */
export const FRAME_BYTES_AFTER = 1024 * 1024 + 64 * 1024;

export class FrameGuard {
  #limit = FRAME_BYTES_BEFORE;
  #started = false;
  /** Bytes of the current frame's body still to come. */
  #body = 0;
  /** Inside a header: bytes of the length read so far; -1 when a type byte comes next. */
  #lengthBytes = -1;
  #length = 0;

  /** The client has been accepted: larger frames from now on. */
  accept(): void {
    this.#limit = FRAME_BYTES_AFTER;
  }

  /** The reason to cut the connection, or undefined when all is well so far. */
  feed(chunk: Uint8Array): string | undefined {
    let position = 0;
    while (position < chunk.length) {
      if (this.#body > 0) {
        const skipped = Math.min(this.#body, chunk.length - position);
        this.#body -= skipped;
        position += skipped;
        continue;
      }
      const reason = this.#header(chunk[position] ?? 0);
      if (reason !== undefined) return reason;
      position += 1;
    }
    return undefined;
  }

  #header(byte: number): string | undefined {
    if (this.#lengthBytes < 0) {
      if (!this.#started && byte >> 4 !== CONNECT) return 'the first frame is no CONNECT';
      this.#started = true;
      this.#lengthBytes = 0;
      this.#length = 0;
      return undefined;
    }
    this.#length += (byte & 0x7f) * 2 ** (7 * this.#lengthBytes);
    this.#lengthBytes += 1;
    if (this.#length > this.#limit) {
      return `a frame of ${this.#length} bytes or more, at most ${this.#limit} are allowed`;
    }
    if ((byte & 0x80) !== 0) {
      return this.#lengthBytes === LENGTH_BYTES_MAX ? 'a frame length of five bytes' : undefined;
    }
    this.#body = this.#length;
    this.#lengthBytes = -1;
    return undefined;
  }
}

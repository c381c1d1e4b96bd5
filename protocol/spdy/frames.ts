/**
 * Frames of SPDY/3.1 (draft 3.1, section 2.2), as far as Kubernetes uses them. Pure.
 *
 *     control: 1|version:15=3 type:16 flags:8 length:24 ...       data: 0|stream:31 flags:8 length:24 ...
 *
 * The parser keeps at most one control frame: the data of a data frame is handed on as it comes.
 */
import { SpdyError } from './headers.ts';

const VERSION = 3;
const HEAD_BYTES = 8;
/** Header blocks are the longest; far above what a client sends. */
const CONTROL_BYTES_MAX = 32 * 1024;
export const FLAG_FIN = 1;
const TYPE = { synStream: 1, synReply: 2, rstStream: 3, ping: 6 } as const;
const IS_CONTROL = 0x80;
const ID_MASK = 0x7fff_ffff;

export type SpdyFrame =
  /** `block` is the compressed header block. */
  | {
      readonly type: 'synStream';
      readonly id: number;
      readonly fin: boolean;
      readonly block: Uint8Array;
    }
  /** A part of a data frame; `fin` with the last part of it. */
  | { readonly type: 'data'; readonly id: number; readonly fin: boolean; readonly data: Uint8Array }
  | { readonly type: 'reset'; readonly id: number }
  | { readonly type: 'ping'; readonly id: number }
  /** Settings, window updates, goaway: nothing to do. Their header blocks, if any, still count for zlib. */
  | { readonly type: 'other'; readonly block: Uint8Array | undefined };

/** Frames of kinds that carry headers on an existing stream. */
const WITH_HEADERS: ReadonlyMap<number, number> = new Map([
  [TYPE.synReply, 4],
  [8, 4],
]);

export class SpdyParser {
  readonly #head = Buffer.alloc(HEAD_BYTES);
  #headBytes = 0;
  /** Of the frame under way: undefined between frames. */
  #left = 0;
  #control: Buffer | undefined;

  /** The frames that the bytes complete, and the data in them. Throws SpdyError. */
  *push(bytes: Uint8Array): Generator<SpdyFrame> {
    let at = 0;
    while (at < bytes.length) {
      if (this.#headBytes < HEAD_BYTES) {
        const part = bytes.subarray(at, at + HEAD_BYTES - this.#headBytes);
        this.#head.set(part, this.#headBytes);
        this.#headBytes += part.length;
        at += part.length;
        if (this.#headBytes < HEAD_BYTES) return;
        this.#left = this.#head.readUIntBE(5, 3);
        if (this.#isControl) this.#control = this.#newControl();
        if (this.#left === 0) yield this.#take(new Uint8Array(0));
        continue;
      }
      const part = bytes.subarray(at, at + this.#left);
      at += part.length;
      if (this.#control !== undefined) {
        this.#control.set(part, this.#control.length - this.#left);
        this.#left -= part.length;
        if (this.#left === 0) yield this.#take(this.#control);
      } else {
        this.#left -= part.length;
        yield this.#take(part);
      }
    }
  }

  get #isControl(): boolean {
    return ((this.#head[0] ?? 0) & IS_CONTROL) !== 0;
  }

  #newControl(): Buffer {
    const version = this.#head.readUInt16BE(0) & 0x7fff;
    if (version !== VERSION) throw new SpdyError(`SPDY version ${version} is not 3`);
    if (this.#left > CONTROL_BYTES_MAX) {
      throw new SpdyError(`a control frame is over ${CONTROL_BYTES_MAX} bytes`);
    }
    return Buffer.alloc(this.#left);
  }

  /** The frame, or this part of it. */
  #take(payload: Uint8Array): SpdyFrame {
    const isLast = this.#left === 0;
    const fin = isLast && ((this.#head[4] ?? 0) & FLAG_FIN) !== 0;
    const isControl = this.#isControl;
    if (isLast) {
      this.#headBytes = 0;
      this.#control = undefined;
    }
    if (isControl) return controlFrame(this.#head.readUInt16BE(2), fin, Buffer.from(payload));
    return { type: 'data', id: this.#head.readUInt32BE(0) & ID_MASK, fin, data: payload };
  }
}

function controlFrame(type: number, fin: boolean, payload: Buffer): SpdyFrame {
  const need = (bytes: number): void => {
    if (payload.length < bytes) throw new SpdyError(`a control frame of type ${type} is too short`);
  };
  switch (type) {
    case TYPE.synStream:
      need(10);
      return {
        type: 'synStream',
        id: payload.readUInt32BE(0) & ID_MASK,
        fin,
        block: payload.subarray(10),
      };
    case TYPE.rstStream:
      need(8);
      return { type: 'reset', id: payload.readUInt32BE(0) & ID_MASK };
    case TYPE.ping:
      need(4);
      return { type: 'ping', id: payload.readUInt32BE(0) };
    default: {
      const skip = WITH_HEADERS.get(type);
      if (skip !== undefined) need(skip);
      return { type: 'other', block: skip === undefined ? undefined : payload.subarray(skip) };
    }
  }
}

function control(type: number, flags: number, payload: Uint8Array): Buffer {
  const frame = Buffer.alloc(HEAD_BYTES + payload.length);
  frame.writeUInt16BE(0x8000 | VERSION, 0);
  frame.writeUInt16BE(type, 2);
  frame.writeUInt32BE(payload.length, 4);
  frame[4] = flags;
  frame.set(payload, HEAD_BYTES);
  return frame;
}

function numbers(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, index) => void bytes.writeUInt32BE(value, index * 4));
  return bytes;
}

export function synReply(id: number, block: Uint8Array): Buffer {
  return control(TYPE.synReply, 0, Buffer.concat([numbers(id), block]));
}

export function synStream(id: number, block: Uint8Array, fin = false): Buffer {
  const payload = Buffer.concat([numbers(id, 0), Buffer.alloc(2), block]);
  return control(TYPE.synStream, fin ? FLAG_FIN : 0, payload);
}

/** Status of a reset (draft 3.1, section 2.6.3). */
export const RESET = { refusedStream: 3 } as const;

export function rstStream(id: number, status: number): Buffer {
  return control(TYPE.rstStream, 0, numbers(id, status));
}

export function ping(id: number): Buffer {
  return control(TYPE.ping, 0, numbers(id));
}

/** At most 16 MiB - 1 in one frame. */
export function dataFrame(id: number, data: Uint8Array, fin = false): Buffer {
  const frame = Buffer.allocUnsafe(HEAD_BYTES + data.length);
  frame.writeUInt32BE(id & ID_MASK, 0);
  frame.writeUInt32BE(data.length, 4);
  frame[4] = fin ? FLAG_FIN : 0;
  frame.set(data, HEAD_BYTES);
  return frame;
}

/**
 * The wire format of protobuf (encoding: tag, varint, 64-bit, length-delimited), without any knowledge of messages.
 * `WireReader` reads hostile bytes: it never reads past its end, and fails with `ApiError` 400.
 *
 * Source: "Encoding" in the documentation of Protocol Buffers.
 */
import { type ApiError, badRequest } from '../status.ts';

export const WIRE_VARINT = 0;
export const WIRE_64BIT = 1;
export const WIRE_BYTES = 2;
const WIRE_32BIT = 5;

const utf8Decoder = new TextDecoder('utf-8', { fatal: true });
const utf8Encoder = new TextEncoder();

export class WireReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  tag(): { readonly number: number; readonly wireType: number } {
    const tag = this.#varint() & 0xffffffffn;
    const number = Number(tag >> 3n);
    if (number === 0) throw this.error('a field has the number 0');
    return { number, wireType: Number(tag & 7n) };
  }

  int32(): number {
    return Number(BigInt.asIntN(32, this.#varint()));
  }

  /** Exact up to 2^53; the API has no larger numbers in use. */
  int64(): number {
    return Number(BigInt.asIntN(64, this.#varint()));
  }

  bool(): boolean {
    return this.#varint() !== 0n;
  }

  double(): number {
    this.#need(8);
    const value = this.#view.getFloat64(this.#at, true);
    this.#at += 8;
    return value;
  }

  /** A view into the input, not a copy. */
  bytes(): Uint8Array {
    const length = this.#length();
    const bytes = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return bytes;
  }

  string(): string {
    const bytes = this.bytes();
    try {
      return utf8Decoder.decode(bytes);
    } catch {
      throw this.error('a string is no UTF-8');
    }
  }

  /** Passes over a field that nobody knows. */
  skip(wireType: number): void {
    switch (wireType) {
      case WIRE_VARINT:
        this.#varint();
        return;
      case WIRE_64BIT:
        this.#skipBytes(8);
        return;
      case WIRE_BYTES:
        this.#skipBytes(this.#length());
        return;
      case WIRE_32BIT:
        this.#skipBytes(4);
        return;
      default:
        throw this.error(`a field has the wire type ${wireType}`);
    }
  }

  error(what: string): ApiError {
    return badRequest(`the protobuf body cannot be decoded: ${what} (at byte ${this.#at})`);
  }

  #length(): number {
    const length = this.#varint();
    if (length > BigInt(this.#bytes.length - this.#at)) throw this.error('unexpected end');
    return Number(length);
  }

  #need(length: number): void {
    if (this.#at + length > this.#bytes.length) throw this.error('unexpected end');
  }

  #skipBytes(length: number): void {
    this.#need(length);
    this.#at += length;
  }

  #varint(): bigint {
    let small = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#byte();
      small |= (byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt(small);
    }
    let value = BigInt(small);
    for (let shift = 28n; shift < 70n; shift += 7n) {
      const byte = this.#byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw this.error('a number is longer than 10 bytes');
  }

  #byte(): number {
    this.#need(1);
    const byte = this.#bytes[this.#at] ?? 0;
    this.#at++;
    return byte;
  }
}

const FIRST_BYTES = 1024;
/** Of a varint. */
const LENGTH_MAX = 10;

/** One buffer that grows; a message within a message is written where it belongs, and its length afterwards. */
export class WireWriter {
  #bytes: Uint8Array;
  #at = 0;

  /** Room for so many bytes at first. */
  constructor(bytes = FIRST_BYTES) {
    this.#bytes = new Uint8Array(bytes);
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#at);
  }

  varint(number: number, value: number | boolean): void {
    this.#need(2 * LENGTH_MAX);
    this.#varint(number * 8 + WIRE_VARINT);
    this.#varint(Number(value));
  }

  double(number: number, value: number): void {
    this.#need(LENGTH_MAX + 8);
    this.#varint(number * 8 + WIRE_64BIT);
    new DataView(this.#bytes.buffer).setFloat64(this.#at, value, true);
    this.#at += 8;
  }

  /** The tag and the length of bytes that follow by `raw`, or elsewhere. */
  head(number: number, length: number): void {
    this.#need(2 * LENGTH_MAX);
    this.#varint(number * 8 + WIRE_BYTES);
    this.#varint(length);
  }

  raw(value: Uint8Array): void {
    this.#need(value.length);
    this.#bytes.set(value, this.#at);
    this.#at += value.length;
  }

  bytes(number: number, value: Uint8Array): void {
    this.head(number, value.length);
    this.raw(value);
  }

  string(number: number, value: string): void {
    const start = this.begin(number);
    this.#need(value.length * 3);
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i);
      if (code >= 0x80) {
        // Not plain ASCII: from here on by the encoder, which knows about surrogates.
        this.#at += utf8Encoder.encodeInto(value.slice(i), this.#bytes.subarray(this.#at)).written;
        break;
      }
      this.#bytes[this.#at++] = code;
    }
    this.end(start);
  }

  /** Begins a message within this one; `end` takes what this returns. */
  begin(number: number): number {
    this.#need(LENGTH_MAX + 1);
    this.#varint(number * 8 + WIRE_BYTES);
    // Most messages are short: room for a length of one byte, and more is made when it is needed.
    return ++this.#at;
  }

  end(start: number): void {
    const length = this.#at - start;
    let extra = 0;
    for (let rest = length; rest >= 0x80; rest = Math.floor(rest / 0x80)) extra++;
    if (extra > 0) {
      this.#need(extra);
      this.#bytes.copyWithin(start + extra, start, this.#at);
    }
    this.#at = start - 1;
    this.#varint(length);
    this.#at += length;
  }

  #need(length: number): void {
    const wanted = this.#at + length;
    if (wanted <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(wanted, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = larger;
  }

  #varint(value: number): void {
    if (value < 0) {
      this.#negative(value);
      return;
    }
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#at++] = rest;
  }

  /** Two's complement in 64 bits: always ten bytes. */
  #negative(value: number): void {
    let rest = BigInt.asUintN(64, BigInt(value));
    while (rest >= 0x80n) {
      this.#bytes[this.#at++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.#bytes[this.#at++] = Number(rest);
  }
}

const BASE64_CHUNK = 0x6000;

/** Standard base64 with padding. (No Buffer: protocol/ runs anywhere.) */
export function toBase64(bytes: Uint8Array): string {
  let binary = '';
  for (let at = 0; at < bytes.length; at += BASE64_CHUNK) {
    binary += String.fromCharCode(...bytes.subarray(at, at + BASE64_CHUNK));
  }
  return btoa(binary);
}

/** Throws when the text is no base64; decode.ts lets only such through. */
export function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

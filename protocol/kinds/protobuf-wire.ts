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

export class WireWriter {
  readonly #parts: Uint8Array[] = [];
  #length = 0;

  finish(): Uint8Array {
    const bytes = new Uint8Array(this.#length);
    let at = 0;
    for (const part of this.#parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }

  varint(number: number, value: number | boolean): void {
    this.#push([...varintBytes(number * 8 + WIRE_VARINT), ...varintBytes(Number(value))]);
  }

  double(number: number, value: number): void {
    this.#push(varintBytes(number * 8 + WIRE_64BIT));
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setFloat64(0, value, true);
    this.#add(bytes);
  }

  bytes(number: number, value: Uint8Array): void {
    this.#push([...varintBytes(number * 8 + WIRE_BYTES), ...varintBytes(value.length)]);
    this.#add(value);
  }

  string(number: number, value: string): void {
    this.bytes(number, utf8Encoder.encode(value));
  }

  #push(bytes: number[]): void {
    this.#add(Uint8Array.from(bytes));
  }

  #add(bytes: Uint8Array): void {
    this.#parts.push(bytes);
    this.#length += bytes.length;
  }
}

function varintBytes(value: number): number[] {
  if (value >= 0 && value < 128) return [value];
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest >= 128n) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return bytes;
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

/**
 * Fleet messages to bytes and back: plain CBOR (no tags, no records), so that any CBOR library can read them.
 *
 * Promises: what `encodeMessage` lets out, `decodeMessage` lets in; both check version, schema, depth and size
 * and throw MessageError with what was wrong. Decoding takes time in proportion to the length (cbor-scan.ts
 * looks first) and touches no prototype.
 */
// These entries leave out the native accelerator, which has crashed processes (cbor-x issue 95).
import { Decoder } from 'cbor-x/decode';
import { Encoder } from 'cbor-x/encode';
import type { Static, TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { CborError, scanCbor } from './cbor-scan.ts';
import { MESSAGE_VERSION } from './messages.ts';

/** The broker refuses larger frames as well (master/broker/frame-guard.ts leaves room for the topic). */
export const MESSAGE_BYTES_MAX = 1024 * 1024;
const DEPTH_MAX = 64;

/** A message that is not as the protocol says. `message` names the place and the reason. */
export class MessageError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'MessageError';
  }
}

const OPTIONS = { useRecords: false, mapsAsObjects: true, variableMapSize: true } as const;
const encoder = new Encoder({ ...OPTIONS, tagUint8Array: false });
const decoder = new Decoder({ ...OPTIONS, copyBuffers: true });

/** Checks `value` against `schema` and encodes it. Properties that are undefined are left out. */
export function encodeMessage<T extends TSchema>(schema: T, value: Static<T>): Uint8Array {
  checkMessage(schema, value);
  return encodeCbor(value);
}

/** Decodes and checks one message. */
export function decodeMessage<T extends TSchema>(schema: T, bytes: Uint8Array): Static<T> {
  const value = decodeCbor(bytes);
  checkMessage(schema, value);
  return value;
}

/** Any JSON-like value with bytes (Uint8Array) in it, without a schema. */
export function encodeCbor(value: unknown): Uint8Array {
  const bytes = encoder.encode(toPlain(value, '', 0));
  if (bytes.length > MESSAGE_BYTES_MAX) throw tooLarge(bytes.length);
  // A copy: the encoder's result is a window into a larger buffer that it would keep alive.
  return new Uint8Array(bytes);
}

/** The inverse of `encodeCbor`. Bytes are copied out: nothing of the buffer is kept alive. */
export function decodeCbor(bytes: Uint8Array): unknown {
  if (bytes.length > MESSAGE_BYTES_MAX) throw tooLarge(bytes.length);
  // A plain view: from a Buffer, cbor-x would hand out Buffers.
  const view = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    scanCbor(view);
    return decoder.decode(view);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const what = cause instanceof CborError ? 'not a message' : 'cannot be decoded';
    throw new MessageError(`${what}: ${why}`, { cause });
  }
}

/**
 * A digest of the content of a value: equal for equal content whatever the order of keys, 32 hexadecimal
 * digits. `sha256` is passed in, because this folder uses nothing of Node.
 */
export function digestOf(value: unknown, sha256: (bytes: Uint8Array) => Uint8Array): string {
  const hash = sha256(new TextEncoder().encode(canonical(value)));
  return hexOf(hash.subarray(0, 16));
}

function checkMessage<T extends TSchema>(schema: T, value: unknown): asserts value is Static<T> {
  if (typeof value === 'object' && value !== null && 'v' in value && value.v !== MESSAGE_VERSION) {
    throw new MessageError(
      `message version ${String(value.v)} is not understood here, only ${MESSAGE_VERSION}: ` +
        'update the older side',
    );
  }
  if (Value.Check(schema, value)) return;
  const first = Value.Errors(schema, value)[0];
  if (first === undefined) throw new MessageError('the message does not fit its schema');
  const place = first.instancePath === '' ? 'the message' : first.instancePath;
  throw new MessageError(`${place} ${first.message}`);
}

/** A copy without undefined properties; refuses what CBOR without tags cannot carry. */
function toPlain(value: unknown, path: string, depth: number): unknown {
  if (depth > DEPTH_MAX) throw new MessageError(`${path} is nested deeper than ${DEPTH_MAX}`);
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      if (Number.isFinite(value)) return value;
      throw new MessageError(`${path} is ${value}, which no message can carry`);
    case 'object':
      break;
    default:
      throw new MessageError(`${path} is of type ${typeof value}, which no message can carry`);
  }
  if (value === null || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) {
    return value.map((item, index) => toPlain(item, `${path}/${index}`, depth + 1));
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw new MessageError(`${path} is no plain object, which no message can carry`);
  }
  const copy: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    if (key === '__proto__') throw new MessageError(`${path} has the key "__proto__"`);
    if (item !== undefined) copy[key] = toPlain(item, `${path}/${key}`, depth + 1);
  }
  return copy;
}

/** JSON with sorted keys; bytes as `h'0aff'`, which no JSON value can be mistaken for. */
function canonical(value: unknown): string {
  if (value instanceof Uint8Array) return `h'${hexOf(value)}'`;
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const parts = Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`);
    return `{${parts.join(',')}}`;
  }
  return JSON.stringify(value) ?? 'null';
}

function hexOf(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}

function tooLarge(length: number): MessageError {
  return new MessageError(`a message of ${length} bytes is larger than ${MESSAGE_BYTES_MAX}`);
}

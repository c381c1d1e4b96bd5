/**
 * Reading Kubernetes' protobuf (`application/vnd.kubernetes.protobuf`), driven by the table of kinds. Typed Go clients
 * (kubectl >= 1.32, Helm >= 3.17, k9s) send their requests in it. protobuf-encode.ts writes it.
 *
 * A body is the magic `6b 38 73 00` ("k8s\0") and a runtime.Unknown: 1 = TypeMeta {1 apiVersion, 2 kind},
 * 2 = the bytes of the message, 3 = contentEncoding, 4 = contentType (both empty).
 *
 * Go writes every field that is no pointer, also when it is zero. So decoding drops such zeros (then goes
 * through decode.ts: the object is the same as from JSON).
 */
import { badRequest } from '../status.ts';
import { decodeObject, decodingError, isDroppedZero, zeroOf } from './decode.ts';
import { toBase64, WIRE_64BIT, WIRE_BYTES, WIRE_VARINT, WireReader } from './protobuf-wire.ts';
import { formatDuration } from './scalars.ts';
import {
  type FieldSpec,
  type KindInfo,
  kindByApiVersion,
  type MessageSpec,
  messageSpec,
} from './table.ts';

/** An object with its type, as it stands in an envelope. */
export interface TypedObject {
  readonly apiVersion: string;
  readonly kind: string;
  /** Begins with `apiVersion` and `kind`, as in JSON. */
  readonly object: Record<string, unknown>;
}

type JsonObject = Record<string, unknown>;

/** What every envelope begins with: "k8s\0". */
export const PROTOBUF_MAGIC = [0x6b, 0x38, 0x73, 0x00];
/** Envelopes within envelopes (a List of Lists). */
const NESTING_MAX = 8;

export function isProtobuf(bytes: Uint8Array): boolean {
  return PROTOBUF_MAGIC.every((byte, i) => bytes[i] === byte);
}

/** Throws `ApiError` 400 when the bytes are damaged, or of a kind that is not in the table. */
export function decodeProtobuf(bytes: Uint8Array): TypedObject {
  return decodeEnvelope(bytes, 0);
}

/** Throws `ApiError` 400, in Kubernetes' words, when the kind is not in the table. */
export function registeredKind(apiVersion: string, kind: string): KindInfo {
  const info = kindByApiVersion(apiVersion, kind);
  if (info === undefined) {
    throw badRequest(`no kind "${kind}" is registered for version "${apiVersion}"`);
  }
  return info;
}

function decodeEnvelope(bytes: Uint8Array, nesting: number): TypedObject {
  if (!isProtobuf(bytes)) {
    throw badRequest('the body does not begin as protobuf of Kubernetes does (k8s\\0)');
  }
  if (nesting > NESTING_MAX) {
    throw badRequest(`the protobuf body holds more than ${NESTING_MAX} envelopes in each other`);
  }
  const reader = new WireReader(bytes.subarray(PROTOBUF_MAGIC.length));
  let typeMeta = { apiVersion: '', kind: '' };
  let raw = new Uint8Array();
  while (!reader.isAtEnd) {
    const { number, wireType } = reader.tag();
    if (number > 4 || wireType !== WIRE_BYTES) reader.skip(wireType);
    else if (number === 1) typeMeta = decodeTypeMeta(reader.bytes());
    else if (number === 2) raw = Uint8Array.from(reader.bytes());
    else if (reader.string() !== '') throw reader.error('its content is encoded once more');
  }
  const { apiVersion, kind } = typeMeta;
  const info = registeredKind(apiVersion, kind);
  const json = decodeMessage(messageSpec(info.message), raw, nesting);
  const decoded = decodeObject<JsonObject>(info.message, json);
  if (decoded.errors.length > 0) throw decodingError(kind, info.version, decoded.errors);
  return { apiVersion, kind, object: { apiVersion, kind, ...decoded.object } };
}

function decodeTypeMeta(bytes: Uint8Array): { apiVersion: string; kind: string } {
  const reader = new WireReader(bytes);
  const typeMeta = { apiVersion: '', kind: '' };
  while (!reader.isAtEnd) {
    const { number, wireType } = reader.tag();
    if (wireType !== WIRE_BYTES || number > 2) reader.skip(wireType);
    else if (number === 1) typeMeta.apiVersion = reader.string();
    else typeMeta.kind = reader.string();
  }
  return typeMeta;
}

function decodeMessage(spec: MessageSpec, bytes: Uint8Array, nesting: number): JsonObject {
  const reader = new WireReader(bytes);
  const found = new Map<number, unknown>();
  while (!reader.isAtEnd) {
    const { number, wireType } = reader.tag();
    const field = spec.wireFields.get(number);
    if (field === undefined) {
      reader.skip(wireType);
    } else if (field.shape === 'list') {
      const list = found.get(number);
      const value = decodeValue(field, reader, wireType, nesting);
      if (Array.isArray(list)) list.push(value);
      else found.set(number, [value]);
    } else if (field.shape === 'map') {
      const map = found.get(number);
      const entry = decodeEntry(field, reader, wireType, nesting);
      if (map instanceof Map) map.set(...entry);
      else found.set(number, new Map([entry]));
    } else {
      found.set(number, decodeValue(field, reader, wireType, nesting));
    }
  }
  const result: JsonObject = {};
  for (const [number, value] of found) {
    const field = spec.wireFields.get(number);
    if (field === undefined || value === undefined) continue;
    if (field.inline) Object.assign(result, value);
    else if (value instanceof Map) result[field.name] = Object.fromEntries(value);
    else if (!isUnset(field, value)) result[field.name] = value;
  }
  return result;
}

/** Sent only because it is no pointer in Go. */
function isUnset(field: FieldSpec, value: unknown): boolean {
  if (isDroppedZero(field, value)) return true;
  if (field.shape !== 'single' || field.pointer || field.type !== 'message') return false;
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

function decodeEntry(
  field: FieldSpec,
  reader: WireReader,
  wireType: number,
  nesting: number,
): [string, unknown] {
  if (wireType !== WIRE_BYTES) throw reader.error(`${field.name} has the wire type ${wireType}`);
  const entry = new WireReader(reader.bytes());
  let key = '';
  let value: unknown = zeroOf(field) ?? null;
  while (!entry.isAtEnd) {
    const tag = entry.tag();
    if (tag.number === 1 && tag.wireType === WIRE_BYTES) key = entry.string();
    else if (tag.number === 2) value = decodeValue(field, entry, tag.wireType, nesting) ?? null;
    else entry.skip(tag.wireType);
  }
  return [key, value];
}

/** Undefined: there is no value (a time that is zero in Go). */
function decodeValue(
  field: FieldSpec,
  reader: WireReader,
  wireType: number,
  nesting: number,
): unknown {
  if (wireType !== wireTypeOf(field)) {
    throw reader.error(`${field.name} has the wire type ${wireType}`);
  }
  switch (field.type) {
    case 'string':
      return reader.string();
    case 'bool':
      return reader.bool();
    case 'int32':
      return reader.int32();
    case 'int64':
      return reader.int64();
    case 'double':
      return reader.double();
    case 'bytes':
      return toBase64(reader.bytes());
    case 'message':
      return decodeMessage(messageSpec(field.message ?? ''), reader.bytes(), nesting);
    default:
      return decodeSpecial(field, reader.bytes(), nesting);
  }
}

/** The messages with a JSON form of their own. Their fields are few and fixed. */
function decodeSpecial(field: FieldSpec, bytes: Uint8Array, nesting: number): unknown {
  const reader = new WireReader(bytes);
  const numbers = [0, 0, 0, 0];
  const texts: Uint8Array[] = [];
  let last = new Uint8Array();
  while (!reader.isAtEnd) {
    const { number, wireType } = reader.tag();
    if (wireType === WIRE_VARINT && number < numbers.length) numbers[number] = reader.int64();
    else if (wireType !== WIRE_BYTES) reader.skip(wireType);
    else {
      last = Uint8Array.from(reader.bytes());
      texts.push(last);
    }
  }
  const [, first = 0, second = 0] = numbers;
  const text = (part: Uint8Array): string => new TextDecoder().decode(part);
  switch (field.type) {
    case 'quantity':
      return texts.length === 0 ? '0' : text(last);
    case 'intOrString':
      return first === 1 ? text(last) : second;
    case 'time':
    case 'microTime':
      return bytes.length === 0 ? undefined : timeText(first, second);
    case 'duration':
      return formatDuration(first);
    case 'stringList':
      return texts.map(text);
    default:
      return last.length === 0 ? undefined : decodeRaw(last, reader, nesting);
  }
}

function timeText(seconds: number, nanos: number): string {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) throw badRequest(`a time is out of range: ${seconds} s`);
  const micros = String(Math.trunc(nanos / 1000)).padStart(6, '0');
  return date.toISOString().replace(/\.\d+Z$/, `.${micros}Z`);
}

function decodeRaw(bytes: Uint8Array, reader: WireReader, nesting: number): unknown {
  if (isProtobuf(bytes)) return decodeEnvelope(bytes, nesting + 1).object;
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw reader.error('an embedded object is neither JSON nor protobuf');
  }
}

function wireTypeOf(field: FieldSpec): number {
  switch (field.type) {
    case 'bool':
    case 'int32':
    case 'int64':
      return WIRE_VARINT;
    case 'double':
      return WIRE_64BIT;
    default:
      return WIRE_BYTES;
  }
}

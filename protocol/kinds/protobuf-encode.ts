/**
 * Writing Kubernetes' protobuf (`application/vnd.kubernetes.protobuf`), driven by the table of kinds: the envelope that
 * protobuf.ts describes, and the frames of a watch.
 *
 * Go writes every field that is no pointer, also when it is zero, and so does this: the bytes are those of the API
 * server, fields in the order of their numbers, maps sorted by key. Objects are such as came through decode.ts.
 */
import { zeroOf } from './decode.ts';
import { PROTOBUF_MAGIC, registeredKind } from './protobuf.ts';
import { fromBase64, WireWriter } from './protobuf-wire.ts';
import { durationNanos } from './scalars.ts';
import { type FieldSpec, kindByApiVersion, type MessageSpec, messageSpec } from './table.ts';

type JsonObject = Readonly<Record<string, unknown>>;

/** Before each event of a stream. */
export const FRAME_HEAD_BYTES = 4;

/** An object in its envelope. Throws `ApiError` 400 when the kind is not in the table. */
export function encodeProtobuf(apiVersion: string, kind: string, object: object): Uint8Array {
  const { message } = registeredKind(apiVersion, kind);
  return inEnvelope(apiVersion, kind, encodeProtobufMessage(message, object));
}

/** The bytes of a message (a full name, as `io.k8s.api.core.v1.Pod`), without an envelope. */
export function encodeProtobufMessage(message: string, object: object): Uint8Array {
  const writer = new WireWriter();
  writeMessage(writer, messageSpec(message), asObject(object));
  return writer.finish();
}

/** The envelope around a message that is encoded already. */
export function inEnvelope(apiVersion: string, kind: string, message: Uint8Array): Uint8Array {
  const writer = new WireWriter();
  beginEnvelope(writer, apiVersion, kind, message.length);
  writer.raw(message);
  endEnvelope(writer);
  return writer.finish();
}

/**
 * A list in its envelope, in parts: the items are messages that are encoded already and are not copied.
 * `kind` is that of the list. Throws `ApiError` 400 when it is not in the table.
 */
export function* encodeProtobufList(
  list: { readonly apiVersion: string; readonly kind: string; readonly metadata: object },
  items: readonly Uint8Array[],
): Generator<Uint8Array, void, undefined> {
  const { message } = registeredKind(list.apiVersion, list.kind);
  const number = messageSpec(message).fields.get('items')?.number ?? 0;
  const heads = items.map((item) => {
    const head = new WireWriter(2 * 5);
    head.head(number, item.length);
    return head.finish();
  });
  const meta = encodeProtobufMessage(message, { metadata: list.metadata });
  const length = [meta, ...heads, ...items].reduce((sum, part) => sum + part.length, 0);
  const writer = new WireWriter();
  beginEnvelope(writer, list.apiVersion, list.kind, length);
  writer.raw(meta);
  yield writer.finish();
  for (const [i, item] of items.entries()) {
    yield heads[i] ?? new Uint8Array();
    yield item;
  }
  const end = new WireWriter();
  endEnvelope(end);
  yield end.finish();
}

/**
 * One event of a watch: four bytes of length, big-endian, and a meta/v1 WatchEvent {1 type, 2 RawExtension {1 raw}}
 * without an envelope, whose raw bytes are the object in its envelope.
 */
export function encodeWatchFrame(type: string, object: Uint8Array): Uint8Array {
  const writer = new WireWriter(object.length + 64);
  writer.raw(new Uint8Array(FRAME_HEAD_BYTES));
  writer.string(1, type);
  const extension = writer.begin(2);
  writer.bytes(1, object);
  writer.end(extension);
  const frame = writer.finish();
  const length = frame.length - FRAME_HEAD_BYTES;
  new DataView(frame.buffer, frame.byteOffset).setUint32(0, length);
  return frame;
}

/** Whether a value is an object of a kind that can be written as protobuf. */
export function isEncodable(value: unknown): value is { apiVersion: string; kind: string } {
  if (typeof value !== 'object' || value === null) return false;
  const apiVersion: unknown = Reflect.get(value, 'apiVersion');
  const kind: unknown = Reflect.get(value, 'kind');
  if (typeof apiVersion !== 'string' || typeof kind !== 'string') return false;
  return kindByApiVersion(apiVersion, kind) !== undefined;
}

function beginEnvelope(writer: WireWriter, apiVersion: string, kind: string, length: number): void {
  writer.raw(Uint8Array.from(PROTOBUF_MAGIC));
  const typeMeta = writer.begin(1);
  writer.string(1, apiVersion);
  writer.string(2, kind);
  writer.end(typeMeta);
  writer.head(2, length);
}

function endEnvelope(writer: WireWriter): void {
  writer.string(3, '');
  writer.string(4, '');
}

function writeMessage(writer: WireWriter, spec: MessageSpec, object: JsonObject): void {
  for (const field of spec.wireFields.values()) {
    const value = field.inline ? object : ownValue(object, field.name);
    if (field.shape === 'list') {
      if (!Array.isArray(value)) continue;
      for (const element of value) writeValue(writer, field, field.number, element);
    } else if (field.shape === 'map') {
      writeMap(writer, field, asObject(value));
    } else if (value !== undefined && value !== null) {
      writeValue(writer, field, field.number, value);
    } else if (!field.pointer && field.type !== 'bytes') {
      writeValue(writer, field, field.number, zeroOf(field));
    }
  }
}

function writeMap(writer: WireWriter, field: FieldSpec, map: JsonObject): void {
  for (const key of Object.keys(map).sort()) {
    const entry = writer.begin(field.number);
    writer.string(1, key);
    writeValue(writer, field, 2, map[key]);
    writer.end(entry);
  }
}

function writeValue(writer: WireWriter, field: FieldSpec, number: number, value: unknown): void {
  switch (field.type) {
    case 'string':
      writer.string(number, String(value));
      break;
    case 'bool':
    case 'int32':
    case 'int64':
      writer.varint(number, Number(value));
      break;
    case 'double':
      writer.double(number, Number(value));
      break;
    case 'bytes':
      writer.bytes(number, fromBase64(String(value)));
      break;
    case 'message': {
      const start = writer.begin(number);
      writeMessage(writer, messageSpec(field.message ?? ''), asObject(value));
      writer.end(start);
      break;
    }
    default: {
      const start = writer.begin(number);
      writeSpecial(writer, field, value);
      writer.end(start);
    }
  }
}

/** The messages with a JSON form of their own. */
function writeSpecial(writer: WireWriter, field: FieldSpec, value: unknown): void {
  switch (field.type) {
    case 'quantity':
      writer.string(1, String(value));
      break;
    case 'intOrString':
      writer.varint(1, typeof value === 'string' ? 1 : 0);
      writer.varint(2, typeof value === 'number' ? value : 0);
      writer.string(3, typeof value === 'string' ? value : '');
      break;
    case 'time':
    case 'microTime':
      if (typeof value === 'string') writeTime(writer, value);
      break;
    case 'duration':
      writer.varint(1, durationNanos(String(value)) ?? 0);
      break;
    case 'stringList':
      for (const element of Array.isArray(value) ? value : []) writer.string(1, String(element));
      break;
    default:
      if (value !== undefined && value !== null) writer.string(1, JSON.stringify(value));
  }
}

function writeTime(writer: WireWriter, text: string): void {
  const fraction = /\.(\d+)/.exec(text)?.[1] ?? '';
  writer.varint(1, Math.floor(Date.parse(text) / 1000));
  writer.varint(2, Number(fraction.padEnd(9, '0').slice(0, 9)));
}

function ownValue(object: JsonObject, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

const NOTHING: JsonObject = {};

function asObject(value: unknown): JsonObject {
  return typeof value === 'object' && value !== null ? (value as JsonObject) : NOTHING;
}

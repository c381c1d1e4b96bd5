/**
 * Messages of protobuf from tables: a message is an object of fields, each with its number and type. The types of
 * TypeScript follow from the same tables, so nothing is generated and no library is needed. proto3: what is
 * absent has its empty value; a nested message that is absent is undefined; unknown fields are passed over.
 */
import { WireReader, WireWriter } from '../../../protocol/kinds/protobuf-wire.ts';

type Scalar = 'string' | 'bytes' | 'bool' | 'int';
/** `int` is any of protobuf's varint integers and enums; exact up to 2^53. `map` is map<string, string>. */
type FieldType = Scalar | 'map' | 'strings' | 'ints' | MessageTable | readonly [MessageTable];
export type MessageTable = { readonly [name: string]: readonly [number, FieldType] };

type Scalars = { string: string; bytes: Uint8Array; bool: boolean; int: number };
type TextMap = Readonly<Record<string, string>>;

type DecodedField<T> = T extends keyof Scalars
  ? Scalars[T]
  : T extends 'map'
    ? TextMap
    : T extends 'strings'
      ? readonly string[]
      : T extends 'ints'
        ? readonly number[]
        : T extends readonly [infer M extends MessageTable]
          ? ReadonlyArray<Decoded<M>>
          : T extends MessageTable
            ? Decoded<T> | undefined
            : never;
type EncodableField<T> = T extends keyof Scalars
  ? Scalars[T]
  : T extends 'map'
    ? TextMap
    : T extends 'strings'
      ? readonly string[]
      : T extends 'ints'
        ? readonly number[]
        : T extends readonly [infer M extends MessageTable]
          ? ReadonlyArray<Encodable<M>>
          : T extends MessageTable
            ? Encodable<T>
            : never;

/** A message as it was read: every field is there. */
export type Decoded<M extends MessageTable> = {
  readonly [K in keyof M]: DecodedField<M[K][1]>;
};
/** A message to be sent: what is left out has its empty value. */
export type Encodable<M extends MessageTable> = {
  readonly [K in keyof M]?: EncodableField<M[K][1]> | undefined;
};

export function encode<M extends MessageTable>(table: M, message: Encodable<M>): Uint8Array {
  return encodeAny(table, message as Readonly<Record<string, unknown>>);
}

/** Throws ApiError when the bytes are no message. */
export function decode<M extends MessageTable>(table: M, bytes: Uint8Array): Decoded<M> {
  return decodeAny(table, bytes) as Decoded<M>;
}

function encodeAny(table: MessageTable, message: Readonly<Record<string, unknown>>): Uint8Array {
  const writer = new WireWriter();
  for (const [name, [number, type]] of Object.entries(table)) {
    const value = message[name];
    if (value !== undefined) encodeField(writer, number, type, value);
  }
  return writer.finish();
}

function encodeField(writer: WireWriter, number: number, type: FieldType, value: unknown): void {
  switch (type) {
    case 'string':
      if (value !== '') writer.string(number, value as string);
      return;
    case 'bytes':
      if ((value as Uint8Array).length > 0) writer.bytes(number, value as Uint8Array);
      return;
    case 'bool':
    case 'int':
      if (Number(value) !== 0) writer.varint(number, value as number | boolean);
      return;
    case 'strings':
      for (const text of value as readonly string[]) writer.string(number, text);
      return;
    case 'ints':
      // Not packed: every reader takes both forms.
      for (const one of value as readonly number[]) writer.varint(number, one);
      return;
    case 'map':
      for (const [key, text] of Object.entries(value as TextMap)) {
        writer.bytes(number, encode(MAP_ENTRY, { key, value: text }));
      }
      return;
    default:
      for (const one of isRepeated(type) ? (value as readonly unknown[]) : [value]) {
        const nested = isRepeated(type) ? type[0] : type;
        writer.bytes(number, encodeAny(nested, one as Readonly<Record<string, unknown>>));
      }
  }
}

const MAP_ENTRY = { key: [1, 'string'], value: [2, 'string'] } as const;
/** The wire type of a list of numbers in one piece. */
const PACKED = 2;
const NO_BYTES = new Uint8Array(0);

function decodeAny(table: MessageTable, bytes: Uint8Array): Record<string, unknown> {
  const message: Record<string, unknown> = {};
  const names = new Map<number, string>();
  for (const [name, [number, type]] of Object.entries(table)) {
    names.set(number, name);
    message[name] = emptyValue(type);
  }
  const reader = new WireReader(bytes);
  while (!reader.isAtEnd) {
    const { number, wireType } = reader.tag();
    const name = names.get(number);
    const field = name === undefined ? undefined : table[name];
    if (name === undefined || field === undefined) reader.skip(wireType);
    else message[name] = decodeField(reader, field[1], message[name], wireType);
  }
  return message;
}

function emptyValue(type: FieldType): unknown {
  switch (type) {
    case 'string':
      return '';
    case 'bytes':
      return NO_BYTES;
    case 'bool':
      return false;
    case 'int':
      return 0;
    case 'strings':
    case 'ints':
      return [];
    case 'map':
      return {};
    default:
      return isRepeated(type) ? [] : undefined;
  }
}

function decodeField(
  reader: WireReader,
  type: FieldType,
  before: unknown,
  wireType: number,
): unknown {
  switch (type) {
    case 'string':
      return reader.string();
    case 'bytes':
      return reader.bytes();
    case 'bool':
      return reader.bool();
    case 'int':
      return reader.int64();
    case 'strings':
      return [...(before as readonly string[]), reader.string()];
    case 'ints': {
      if (wireType !== PACKED) return [...(before as readonly number[]), reader.int64()];
      const packed = new WireReader(reader.bytes());
      const all = [...(before as readonly number[])];
      while (!packed.isAtEnd) all.push(packed.int64());
      return all;
    }
    case 'map': {
      const { key, value } = decode(MAP_ENTRY, reader.bytes());
      return { ...(before as TextMap), [key]: value };
    }
    default:
      if (!isRepeated(type)) return decodeAny(type, reader.bytes());
      (before as unknown[]).push(decodeAny(type[0], reader.bytes()));
      return before;
  }
}

function isRepeated(type: FieldType): type is readonly [MessageTable] {
  return Array.isArray(type);
}

/**
 * Stored objects as protobuf. A message is made from its stored bytes once and is kept as long as the store keeps those:
 * lists, gets and watches of all clients send the same bytes. Nothing is made as long as nobody asks for protobuf.
 */
import {
  encodeProtobufMessage,
  encodeWatchFrame,
  inEnvelope,
} from '../../protocol/kinds/protobuf-encode.ts';
import { parseStored, type Stored } from './stored.ts';

export const PROTOBUF_TYPE = 'application/vnd.kubernetes.protobuf';

interface Encoded {
  readonly revision: number;
  readonly message: Uint8Array;
}

/** By stored value: an object of another revision, or of another kind (a view), has other bytes. */
const encoded = new WeakMap<Uint8Array, Encoded>();

/** The message, as it stands in a list. */
export function protobufMessage(stored: Stored): Uint8Array {
  const known = encoded.get(stored.value);
  // What was deleted shows its last bytes with the revision of the change.
  if (known?.revision === stored.revision) return known.message;
  const message = encodeProtobufMessage(stored.resource.module.message, parseStored(stored));
  if (known === undefined) encoded.set(stored.value, { revision: stored.revision, message });
  return message;
}

/** The object in its envelope. */
export function protobufObject(stored: Stored): Uint8Array {
  const { apiVersion, module } = stored.resource;
  return inEnvelope(apiVersion, module.kind, protobufMessage(stored));
}

export function protobufFrame(type: string, stored: Stored): Buffer {
  return asBuffer(encodeWatchFrame(type, protobufObject(stored)));
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Objects as the store holds them and as clients see them.
 *
 * Stored form: UTF-8 JSON without `kind` and `apiVersion`, `metadata` first and without `resourceVersion`:
 *
 *     {"metadata":{"name":"a",...},"spec":{...}}
 *
 * so that a read splices the head (`{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"7",`) before
 * byte 13 and never parses. Promise: `encodeStored` is the only writer of that form, and an object always has
 * at least a name, so that the metadata is never `{}`.
 */
import type { KubeObject, ObjectMeta } from '../../protocol/kinds/meta.ts';
import type { KeyValue } from '../store/store.ts';
import type { Resource } from './resources.ts';

/** Length of `{"metadata":{`, what a spliced head replaces. */
const PREFIX_BYTES = 13;

/** One object of the store at one revision. `revision` 0: never stored (the answer of a dry run of a create). */
export interface Stored {
  readonly resource: Resource;
  readonly key: string;
  readonly value: Uint8Array;
  readonly revision: number;
}

export function storedOf(resource: Resource, kv: KeyValue): Stored {
  const { view } = resource.module;
  const value =
    view === undefined ? kv.value : encodeStored(view.fromStored(JSON.parse(textOf(kv.value))));
  return { resource, key: kv.key, value, revision: kv.modRevision };
}

/** The bytes to store for an object of the resource, which may be a view of another kind. */
export function encodeFor(resource: Resource, object: KubeObject): Uint8Array {
  return encodeStored(resource.module.view?.toStored(object) ?? object);
}

function textOf(value: Uint8Array): string {
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('utf8');
}

/** The bytes to store for `object`; its kind, apiVersion and resourceVersion are left out. */
export function encodeStored(object: KubeObject): Uint8Array {
  const { kind: _kind, apiVersion: _apiVersion, metadata, ...rest } = object;
  const { resourceVersion: _resourceVersion, ...meta } = metadata ?? {};
  return Buffer.from(JSON.stringify({ metadata: meta, ...rest }), 'utf8');
}

function versionPart(revision: number): string {
  return revision === 0 ? '' : `"resourceVersion":"${revision}",`;
}

/** The text that stands before the tail of a stored value in an answer about one object. */
export function objectHead(resource: Resource, revision: number): string {
  return `${resource.head}"metadata":{${versionPart(revision)}`;
}

/** The same for an item of a list, which carries no kind and apiVersion (as in Kubernetes). */
export function itemHead(revision: number): string {
  return `{"metadata":{${versionPart(revision)}`;
}

/** What follows the head: a view, not a copy. */
export function tailOf(value: Uint8Array): Uint8Array {
  return value.subarray(PREFIX_BYTES);
}

/** The object as JSON bytes with kind, apiVersion and resourceVersion. */
export function encodeObject({ resource, value, revision }: Stored): Buffer {
  // Kinds, versions and revisions are ASCII.
  const head = objectHead(resource, revision);
  const bytes = Buffer.allocUnsafe(head.length + value.byteLength - PREFIX_BYTES);
  bytes.write(head, 0, 'latin1');
  bytes.set(tailOf(value), head.length);
  return bytes;
}

/** Parses a stored value into an object with kind, apiVersion and resourceVersion. A fresh one: free to change. */
export function parseStored(stored: Stored): KubeObject {
  const tail = Buffer.from(
    stored.value.buffer,
    stored.value.byteOffset + PREFIX_BYTES,
    stored.value.byteLength - PREFIX_BYTES,
  );
  return JSON.parse(objectHead(stored.resource, stored.revision) + tail.toString('utf8'));
}

/** `metadata` of an object of which we know that it has been stored. */
export function metaOf(object: KubeObject): ObjectMeta {
  object.metadata ??= {};
  return object.metadata;
}

interface Parsed {
  readonly revision: number;
  readonly object: KubeObject;
  readonly bytes: number;
}

/**
 * Parsed objects by key, shared between all readers in the process (frozen by agreement), least recently used
 * first out. Bounded by the bytes of the values it stands for; parsed they take about three times as much.
 */
export class ParsedCache {
  readonly #bytesMax: number;
  readonly #entries = new Map<string, Parsed>();
  #bytes = 0;

  constructor(bytesMax = 2 * 1024 * 1024) {
    this.#bytesMax = bytesMax;
  }

  /** The shared object; parses and remembers it when it is not there. */
  get(stored: Stored): KubeObject {
    const found = this.peek(stored);
    if (found !== undefined) return found;
    const object = parseStored(stored);
    const isView = stored.resource.module.view !== undefined;
    if (stored.revision !== 0 && !isView) this.#put(stored, object);
    return object;
  }

  /** For scans over many objects: uses what is there and leaves the cache as it is. */
  scan(stored: Stored): KubeObject {
    return this.peek(stored) ?? parseStored(stored);
  }

  peek(stored: Stored): KubeObject | undefined {
    // The same key and revision is another object there.
    if (stored.resource.module.view !== undefined) return undefined;
    const entry = this.#entries.get(stored.key);
    return entry !== undefined && entry.revision === stored.revision ? entry.object : undefined;
  }

  #put(stored: Stored, object: KubeObject): void {
    const known = this.#entries.get(stored.key);
    if (known !== undefined) {
      // A watch that replays history must not push the newer state out.
      if (known.revision > stored.revision) return;
      this.#bytes -= known.bytes;
      this.#entries.delete(stored.key);
    }
    const bytes = stored.value.byteLength;
    if (bytes > this.#bytesMax) return;
    this.#entries.set(stored.key, { revision: stored.revision, object, bytes });
    this.#bytes += bytes;
    for (const [key, entry] of this.#entries) {
      if (this.#bytes <= this.#bytesMax) break;
      this.#entries.delete(key);
      this.#bytes -= entry.bytes;
    }
  }
}

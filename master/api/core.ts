/**
 * What all operations of the API layer share: the table of resources, the stores, clock, randomness and the allocator.
 * `ObjectStorage` is the only place that reads and writes the stores.
 */
import type { Clock } from '../../protocol/clock.ts';
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import { ApiError } from '../../protocol/status.ts';
import type { Timers } from '../informer/timers.ts';
import type { Compare, Store, TxnRequest, TxnResult } from '../store/store.ts';
import type { AdmissionPlugin } from './admission.ts';
import type { ServiceAllocator } from './allocator.ts';
import { keyFor, type Resource, type ResourceTable } from './resources.ts';
import { fromStore } from './store-errors.ts';
import { encodeFor, ParsedCache, type Stored, storedOf } from './stored.ts';

/** Chance as an argument. */
export interface Randomness {
  /** A version 4 UUID. */
  uuid(): string;
  /** In [0, 1). */
  fraction(): number;
}

export interface Core {
  readonly table: ResourceTable;
  readonly storage: ObjectStorage;
  readonly clock: Clock;
  readonly random: Randomness;
  readonly timers: Timers;
  readonly allocator: ServiceAllocator;
  /** What the garbage collector can do beside Background. */
  readonly propagationPolicies: ReadonlySet<string>;
  readonly admission: readonly AdmissionPlugin[];
}

export interface WriteOptions {
  /** Do all of it but store it. */
  readonly dryRun?: boolean;
  /** Gets what the client should be told though the write goes through. */
  readonly warn?: (text: string) => void;
}

export class ObjectStorage {
  readonly #durable: Store;
  readonly #memory: Store;
  readonly #cache: ParsedCache;
  readonly #writes = new Map<Resource, number>();

  constructor(stores: { durable: Store; memory: Store; cacheBytesMax?: number }) {
    this.#durable = stores.durable;
    this.#memory = stores.memory;
    this.#cache = new ParsedCache(stores.cacheBytesMax);
  }

  storeOf(resource: Resource): Store {
    return resource.module.storage === 'memory' ? this.#memory : this.#durable;
  }

  async read(resource: Resource, namespace: string, name: string): Promise<Stored | undefined> {
    const start = keyFor(resource, namespace, name);
    const found = await this.storeOf(resource)
      .range({ start })
      .catch((error: unknown) => {
        throw fromStore(error);
      });
    const kv = found.kvs[0];
    return kv === undefined ? undefined : storedOf(resource, kv);
  }

  /** Rises with every write to the kind: who keeps something made of its objects learns when to make it anew. */
  writes(resource: Resource): number {
    return this.#writes.get(resource) ?? 0;
  }

  /** The shared parsed form: frozen by agreement. */
  parsed(stored: Stored): KubeObject {
    return this.#cache.get(stored);
  }

  /** The same for scans: leaves the cache as it is. */
  scanned(stored: Stored): KubeObject {
    return this.#cache.scan(stored);
  }

  /** Undefined when the key is there already or a guard does not hold. */
  async insert(
    target: { resource: Resource; namespace: string; name: string },
    object: KubeObject,
    guards: readonly Compare[] = [],
  ): Promise<Stored | undefined> {
    const key = keyFor(target.resource, target.namespace, target.name);
    return this.#put(target.resource, key, encodeFor(target.resource, object), [
      { key, target: 'mod', op: '=', value: 0 },
      ...guards,
    ]);
  }

  /** Undefined when `previous` is not the current state any more. */
  async replace(previous: Stored, object: KubeObject): Promise<Stored | undefined> {
    const { resource, key, revision } = previous;
    return this.#put(resource, key, encodeFor(resource, object), [
      { key, target: 'mod', op: '=', value: revision },
    ]);
  }

  /** The revision of the delete; undefined when `previous` is not the current state any more. */
  async remove(previous: Stored): Promise<number | undefined> {
    const { resource, key, revision } = previous;
    const done = await this.#txn(resource, {
      compare: [{ key, target: 'mod', op: '=', value: revision }],
      success: [{ type: 'delete', start: key }],
    });
    return done.succeeded ? done.revision : undefined;
  }

  async #put(
    resource: Resource,
    key: string,
    value: Uint8Array,
    compare: readonly Compare[],
  ): Promise<Stored | undefined> {
    if (value.byteLength > OBJECT_BYTES_MAX) throw tooLarge(value.byteLength);
    const done = await this.#txn(resource, {
      compare,
      success: [{ type: 'put', key, value }],
    });
    const result = done.results[0];
    if (!done.succeeded || result?.type !== 'put') return undefined;
    return storedOf(resource, result.kv);
  }

  async #txn(resource: Resource, request: TxnRequest): Promise<TxnResult> {
    try {
      return await this.storeOf(resource).txn(request);
    } catch (error) {
      throw fromStore(error);
    } finally {
      // Also after a failure: then nobody knows whether it was written.
      this.#writes.set(resource, this.writes(resource) + 1);
    }
  }
}

/** As etcd behind Kubernetes: 1.5 MiB for one object. */
const OBJECT_BYTES_MAX = 1.5 * 1024 * 1024;

function tooLarge(bytes: number): ApiError {
  return new ApiError(
    413,
    'RequestEntityTooLarge',
    `the object is too large to be stored: ${bytes} bytes, at most ${OBJECT_BYTES_MAX}`,
  );
}

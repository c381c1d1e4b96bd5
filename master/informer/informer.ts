/**
 * A local, indexed copy of one kind, kept current by list and watch: what scheduler and controllers
 * read.
 *
 * Promises:
 * - After `hasSynced`, the cache is a state the API really had, and it only moves forward.
 * - Handlers are called synchronously, after the cache and its indexes show the change, in the
 *   order of revisions. A re-list after Expired reports the difference as ordinary changes.
 * - It holds one object per key and nothing else that grows; `stop` ends the watch and resolves
 *   when it ended.
 * - A lost watch is resumed with back-off (1 s doubling to 30 s); nothing is swallowed, failures
 *   are logged.
 *
 * It does not copy objects: they are the API layer's, frozen by agreement.
 */
import type { Logger } from 'pino';
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import { ApiError } from '../../protocol/status.ts';
import type { ApiClient, ListOptions, ResourceId, WatchEvent } from '../api/client.ts';
import { pause, systemTimers, type Timers } from './timers.ts';

export type Change<T> =
  | { readonly type: 'added'; readonly object: T }
  | { readonly type: 'modified'; readonly object: T; readonly previous: T }
  | { readonly type: 'deleted'; readonly object: T };

/** Values under which an object is found again, such as its node's name. */
export type IndexFunction<T> = (object: T) => readonly string[];

interface InformerOptions<T extends KubeObject> {
  readonly client: ApiClient;
  readonly id: ResourceId;
  readonly log: Logger;
  readonly list?: ListOptions;
  readonly indexes?: Readonly<Record<string, IndexFunction<T>>>;
  /** Keeps only a part of each object, where memory matters. */
  readonly transform?: (object: T) => T;
  readonly timers?: Timers;
}

const BACKOFF_FIRST_MS = 1_000;
const BACKOFF_MAX_MS = 30_000;

/** "namespace/name", or "name" for kinds without namespaces: the key of caches and queues. */
export function keyOf(object: KubeObject): string {
  const { namespace, name } = object.metadata ?? {};
  return joinKey(namespace ?? '', name ?? '');
}

/** The key of an object that is known by its parts; `namespace` is empty for cluster-wide kinds. */
export function joinKey(namespace: string, name: string): string {
  return namespace === '' ? name : `${namespace}/${name}`;
}

/** The parts of a key; `namespace` is empty for kinds without namespaces. */
export function splitKey(key: string): { namespace: string; name: string } {
  const slash = key.indexOf('/');
  return slash < 0
    ? { namespace: '', name: key }
    : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

export class Informer<T extends KubeObject> {
  readonly id: ResourceId;
  readonly #options: InformerOptions<T>;
  readonly #timers: Timers;
  readonly #log: Logger;
  readonly #objects = new Map<string, T>();
  readonly #indexes = new Map<string, Map<string, Map<string, T>>>();
  readonly #handlers = new Set<(change: Change<T>) => void>();
  readonly #advanceHandlers = new Set<() => void>();
  readonly #abort = new AbortController();
  #running: Promise<void> | undefined;
  #revision = 0;
  #synced = false;
  #whenSynced: Promise<void>;
  #resolveSynced: () => void = () => {};

  constructor(options: InformerOptions<T>) {
    this.#options = options;
    this.id = options.id;
    this.#timers = options.timers ?? systemTimers;
    this.#log = options.log;
    for (const name of Object.keys(options.indexes ?? {})) this.#indexes.set(name, new Map());
    this.#whenSynced = new Promise((resolve) => {
      this.#resolveSynced = resolve;
    });
  }

  /** True once the first list is in the cache. */
  get hasSynced(): boolean {
    return this.#synced;
  }

  /** Everything up to this revision is in the cache. */
  get revision(): number {
    return this.#revision;
  }

  get size(): number {
    return this.#objects.size;
  }

  /** Starts list and watch; a second call changes nothing. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Resolves when the watch has ended. Waiters of `whenSynced` are let go as well. */
  async stop(): Promise<void> {
    this.#abort.abort();
    this.#resolveSynced();
    await this.#running;
  }

  /**
   * Resolves after the first list, or when the informer stops; look at `hasSynced` to know which.
   */
  whenSynced(): Promise<void> {
    return this.#whenSynced;
  }

  /** `namespace` is empty for kinds without namespaces. */
  get(namespace: string, name: string): T | undefined {
    return this.#objects.get(joinKey(namespace, name));
  }

  getByKey(key: string): T | undefined {
    return this.#objects.get(key);
  }

  /** All objects, in no promised order. */
  list(): T[] {
    return [...this.#objects.values()];
  }

  /** Objects filed under `value`; throws for an index that was never declared. */
  byIndex(index: string, value: string): T[] {
    const entries = this.#indexes.get(index);
    if (entries === undefined) {
      throw new Error(`informer for ${this.id.resource} has no index "${index}"`);
    }
    return [...(entries.get(value)?.values() ?? [])];
  }

  /**
   * Calls `handler` for each change from now on, and at once with `added` for what is already here.
   */
  onChange(handler: (change: Change<T>) => void): () => void {
    this.#handlers.add(handler);
    for (const object of this.#objects.values()) handler({ type: 'added', object });
    return () => this.#handlers.delete(handler);
  }

  /** Calls `handler` after each batch of progress, also when only the revision moved. */
  onAdvance(handler: () => void): () => void {
    this.#advanceHandlers.add(handler);
    return () => this.#advanceHandlers.delete(handler);
  }

  async #run(): Promise<void> {
    const signal = this.#abort.signal;
    let delayMs = BACKOFF_FIRST_MS;
    let listNeeded = true;
    while (!signal.aborted) {
      try {
        if (listNeeded) {
          await this.#relist();
          listNeeded = false;
        }
        await this.#watchOnce(() => {
          delayMs = BACKOFF_FIRST_MS;
        });
        // The server may end a watch at any time: resume from where we are.
      } catch (error) {
        if (signal.aborted) return;
        listNeeded ||= isExpired(error);
        if (isExpired(error)) {
          this.#log.info({ resource: this.id.resource }, 'history is gone, listing again');
          if (this.#synced) continue;
        } else {
          this.#log.warn({ err: error, resource: this.id.resource, delayMs }, 'watch failed');
        }
        await pause(this.#timers, delayMs, signal);
        delayMs = Math.min(delayMs * 2, BACKOFF_MAX_MS);
      }
    }
  }

  async #relist(): Promise<void> {
    const { client, id, list } = this.#options;
    const answer = await client.list<T>(id, list);
    if (this.#abort.signal.aborted) return;
    const present = new Set<string>();
    for (const object of answer.items) {
      present.add(keyOf(object));
      this.#put(object);
    }
    for (const [key, object] of this.#objects) {
      if (!present.has(key)) this.#remove(key, object);
    }
    this.#advance(answer.resourceVersion);
    this.#synced = true;
    this.#resolveSynced();
  }

  async #watchOnce(onProgress: () => void): Promise<void> {
    const { client, id, list } = this.#options;
    const signal = this.#abort.signal;
    const watch = client.watch<T>(id, {
      ...list,
      resourceVersion: String(this.#revision),
      signal,
    });
    for await (const event of watch) {
      if (signal.aborted) return;
      onProgress();
      this.#apply(event);
    }
    // An endless stream that ends at once must not become a busy loop.
    await pause(this.#timers, 10, signal);
  }

  #apply(event: WatchEvent<T>): void {
    if (event.type === 'BOOKMARK') {
      this.#advance(event.resourceVersion);
      return;
    }
    if (event.type === 'DELETED') this.#remove(keyOf(event.object), event.object);
    else this.#put(event.object);
    this.#advance(event.object.metadata?.resourceVersion);
  }

  #put(received: T): void {
    const object = this.#options.transform?.(received) ?? received;
    const key = keyOf(object);
    const previous = this.#objects.get(key);
    if (previous === undefined) {
      this.#store(key, object);
      this.#notify({ type: 'added', object });
      return;
    }
    const sameLife = previous.metadata?.uid === object.metadata?.uid;
    if (!sameLife) {
      // A delete and a create happened while we were away: two changes, not one.
      this.#remove(key, previous);
      this.#store(key, object);
      this.#notify({ type: 'added', object });
      return;
    }
    if (previous.metadata?.resourceVersion === object.metadata?.resourceVersion) return;
    this.#unindex(key, previous);
    this.#store(key, object);
    this.#notify({ type: 'modified', object, previous });
  }

  #remove(key: string, last: T): void {
    const previous = this.#objects.get(key);
    if (previous === undefined) return;
    this.#objects.delete(key);
    this.#unindex(key, previous);
    this.#notify({ type: 'deleted', object: this.#options.transform?.(last) ?? last });
  }

  #store(key: string, object: T): void {
    this.#objects.set(key, object);
    for (const [name, index] of this.#indexes) {
      for (const value of this.#options.indexes?.[name]?.(object) ?? []) {
        let bucket = index.get(value);
        if (bucket === undefined) {
          bucket = new Map();
          index.set(value, bucket);
        }
        bucket.set(key, object);
      }
    }
  }

  #unindex(key: string, object: T): void {
    for (const [name, index] of this.#indexes) {
      for (const value of this.#options.indexes?.[name]?.(object) ?? []) {
        const bucket = index.get(value);
        bucket?.delete(key);
        if (bucket?.size === 0) index.delete(value);
      }
    }
  }

  #notify(change: Change<T>): void {
    for (const handler of this.#handlers) {
      try {
        handler(change);
      } catch (error) {
        // A handler is a programmer's: its failure must not stop the cache of all the others.
        this.#log.error({ err: error, resource: this.id.resource }, 'informer handler failed');
      }
    }
  }

  #advance(resourceVersion: string | undefined): void {
    const revision = Number(resourceVersion);
    if (Number.isFinite(revision) && revision > this.#revision) this.#revision = revision;
    for (const handler of this.#advanceHandlers) handler();
  }
}

function isExpired(error: unknown): boolean {
  return error instanceof ApiError && (error.reason === 'Expired' || error.code === 410);
}

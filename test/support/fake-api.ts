/**
 * An `ApiClient` in memory for tests of its users. Honest where it matters to them: one revision,
 * optimistic concurrency, generateName, generation, status apart from spec, graceful deletion of
 * pods, finalizers, and watches that deliver every change once, in order, and expire when history
 * was dropped. It does no defaulting, validation or authorization.
 */

import type {
  ApiClient,
  DeleteOptions,
  ListOptions,
  ObjectList,
  ResourceId,
  WatchEvent,
} from '../../master/api/client.ts';
import type { KubeObject, ObjectMeta } from '../../protocol/kinds/meta.ts';
import { alreadyExists, conflict, expired, notFound } from '../../protocol/status.ts';

type TokenWish = Parameters<ApiClient['createToken']>;

interface Change {
  readonly kind: string;
  readonly revision: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: KubeObject;
}

interface Stored extends KubeObject {
  spec?: unknown;
  status?: unknown;
}

function kindKey(id: ResourceId): string {
  return `${id.group}/${id.resource}`;
}

export class FakeApi implements ApiClient {
  readonly #objects = new Map<string, Map<string, Stored>>();
  readonly #history: Change[] = [];
  readonly #waiters = new Set<() => void>();
  /** Every call that changes something, for tests that count: "create pods default/web-". */
  readonly writes: string[] = [];
  /** Throw from here to make a call fail: gets the same text as `writes`. */
  beforeWrite: (write: string) => void = () => {};
  /** Holds back watch events while true: a cache that lags. */
  #isHeld = false;
  #revision = 0;
  #forgottenUpTo = 0;
  #uids = 0;

  get revision(): number {
    return this.#revision;
  }

  async get<T extends KubeObject>(id: ResourceId, namespace: string, name: string): Promise<T> {
    await Promise.resolve();
    return this.#find(id, namespace, name) as T;
  }

  async list<T extends KubeObject>(
    id: ResourceId,
    options: ListOptions = {},
  ): Promise<ObjectList<T>> {
    await Promise.resolve();
    const items = [...this.#kind(id).values()].filter(
      (one) => options.namespace === undefined || one.metadata?.namespace === options.namespace,
    );
    return { items: items as T[], resourceVersion: String(this.#revision) };
  }

  async *watch<T extends KubeObject>(
    id: ResourceId,
    options: ListOptions & { readonly resourceVersion: string; readonly signal: AbortSignal },
  ): AsyncGenerator<WatchEvent<T>> {
    let seen = Number(options.resourceVersion);
    const kind = kindKey(id);
    while (!options.signal.aborted) {
      if (seen < this.#forgottenUpTo) throw expired();
      const next = this.#isHeld
        ? undefined
        : this.#history.find((change) => change.kind === kind && change.revision > seen);
      if (next === undefined) {
        await this.#changed(options.signal);
        continue;
      }
      seen = next.revision;
      yield { type: next.type, object: next.object as T };
    }
  }

  async create<T extends KubeObject>(id: ResourceId, object: T): Promise<T> {
    await Promise.resolve();
    const metadata = object.metadata ?? {};
    const namespace = metadata.namespace ?? '';
    this.#record(`create ${id.resource} ${namespace}/${metadata.name ?? metadata.generateName}`);
    this.#uids += 1;
    const suffix = this.#uids.toString(36).padStart(5, '0');
    const name = metadata.name ?? `${metadata.generateName ?? ''}${suffix}`;
    if (this.#kind(id).has(`${namespace}/${name}`)) throw alreadyExists(id, name);
    const stored: Stored = {
      ...structuredClone(object),
      metadata: {
        ...structuredClone(metadata),
        name,
        uid: `uid-${this.#uids}`,
        generation: 1,
        creationTimestamp: '2026-01-01T00:00:00Z',
      },
    };
    return this.#put(id, 'ADDED', stored) as T;
  }

  async update<T extends KubeObject>(
    id: ResourceId,
    object: T,
    subresource?: 'status',
  ): Promise<T> {
    await Promise.resolve();
    const { namespace = '', name = '' } = object.metadata ?? {};
    this.#record(`update ${id.resource}${subresource ? '/status' : ''} ${namespace}/${name}`);
    const current = this.#find(id, namespace, name);
    const wanted = object.metadata ?? {};
    if (
      wanted.resourceVersion !== undefined &&
      wanted.resourceVersion !== current.metadata?.resourceVersion
    ) {
      throw conflict(id, name);
    }
    if (wanted.uid !== undefined && wanted.uid !== current.metadata?.uid) throw conflict(id, name);
    return this.#replace(id, current, structuredClone(object), subresource) as T;
  }

  async patch<T extends KubeObject>(
    id: ResourceId,
    namespace: string,
    name: string,
    mergePatch: Record<string, unknown>,
    subresource?: 'status',
  ): Promise<T> {
    await Promise.resolve();
    this.#record(`patch ${id.resource}${subresource ? '/status' : ''} ${namespace}/${name}`);
    const current = this.#find(id, namespace, name);
    const metadata = mergePatch.metadata as ObjectMeta | undefined;
    if (
      metadata?.resourceVersion !== undefined &&
      metadata.resourceVersion !== current.metadata?.resourceVersion
    ) {
      throw conflict(id, name);
    }
    const next = merge(current, mergePatch) as Stored;
    return this.#replace(id, current, next, subresource) as T;
  }

  async delete<T extends KubeObject>(
    id: ResourceId,
    namespace: string,
    name: string,
    options: DeleteOptions = {},
  ): Promise<T | undefined> {
    await Promise.resolve();
    this.#record(`delete ${id.resource} ${namespace}/${name}`);
    const current = this.#find(id, namespace, name);
    const { uid } = options.preconditions ?? {};
    if (uid !== undefined && uid !== current.metadata?.uid) throw conflict(id, name);
    const isAssigned = id.resource === 'pods' && hasNode(current);
    const grace = isAssigned ? (options.gracePeriodSeconds ?? 30) : 0;
    const finalizers = [...(current.metadata?.finalizers ?? [])];
    if (options.propagationPolicy === 'Foreground') finalizers.push('foregroundDeletion');
    if (options.propagationPolicy === 'Orphan') finalizers.push('orphan');
    const isNamespace = id.resource === 'namespaces';
    if (grace === 0 && finalizers.length === 0 && !isNamespace) {
      this.#remove(id, current);
      return undefined;
    }
    if (current.metadata?.deletionTimestamp !== undefined) return current as T;
    const metadata: ObjectMeta = {
      ...current.metadata,
      deletionTimestamp: '2026-01-01T00:00:30Z',
      deletionGracePeriodSeconds: grace,
      ...(finalizers.length === 0 ? {} : { finalizers }),
    };
    return this.#put(id, 'MODIFIED', { ...current, metadata }) as T;
  }

  /** Knows of no budgets. */
  async evict(namespace: string, podName: string, podUid: string): Promise<void> {
    const id: ResourceId = { group: '', version: 'v1', resource: 'pods' };
    this.#record(`evict ${namespace}/${podName}`);
    await this.delete(id, namespace, podName, { preconditions: { uid: podUid } });
  }

  async bind(namespace: string, podName: string, podUid: string, nodeName: string): Promise<void> {
    await Promise.resolve();
    const id: ResourceId = { group: '', version: 'v1', resource: 'pods' };
    this.#record(`bind ${namespace}/${podName} ${nodeName}`);
    const current = this.#find(id, namespace, podName);
    if (current.metadata?.uid !== podUid || hasNode(current)) throw conflict(id, podName);
    this.#put(id, 'MODIFIED', { ...current, spec: { ...(current.spec as object), nodeName } });
  }

  async createToken(...[namespace, account, spec]: TokenWish): Promise<string> {
    await Promise.resolve();
    this.#record(`token ${namespace}/${account}`);
    return `${account} for ${spec.audiences?.join()}, ${this.writes.length}`;
  }

  /** Forgets the history: watches from before now expire. */
  forgetHistory(): void {
    this.#history.length = 0;
    this.#forgottenUpTo = this.#revision;
    this.#wake();
  }

  holdWatches(isHeld: boolean): void {
    this.#isHeld = isHeld;
    this.#wake();
  }

  #record(write: string): void {
    this.beforeWrite(write);
    this.writes.push(write);
  }

  #kind(id: ResourceId): Map<string, Stored> {
    const key = kindKey(id);
    const known = this.#objects.get(key) ?? new Map<string, Stored>();
    this.#objects.set(key, known);
    return known;
  }

  #find(id: ResourceId, namespace: string, name: string): Stored {
    const found = this.#kind(id).get(`${namespace}/${name}`);
    if (found === undefined) throw notFound(id, name);
    return found;
  }

  #replace(id: ResourceId, current: Stored, next: Stored, subresource?: 'status'): Stored {
    const base: Stored =
      subresource === 'status'
        ? { ...current, status: next.status }
        : { ...next, ...(current.status === undefined ? {} : { status: current.status }) };
    const isNewSpec = JSON.stringify(base.spec) !== JSON.stringify(current.spec);
    const own = subresource === 'status' ? current.metadata : next.metadata;
    const metadata: ObjectMeta = {
      ...own,
      ...(current.metadata?.uid === undefined ? {} : { uid: current.metadata.uid }),
      generation: (current.metadata?.generation ?? 1) + (isNewSpec ? 1 : 0),
    };
    const stored: Stored = { ...base, metadata };
    const spec = (stored.spec ?? {}) as { finalizers?: string[] };
    const isEnding = metadata.deletionTimestamp !== undefined;
    const isHeldBack = (metadata.finalizers ?? []).length > 0 || id.resource === 'pods';
    const isFinalized =
      id.resource === 'namespaces' ? (spec.finalizers ?? []).length === 0 : !isHeldBack;
    if (isEnding && isFinalized) {
      this.#remove(id, stored);
      return stored;
    }
    if (JSON.stringify(withoutVersion(stored)) === JSON.stringify(withoutVersion(current))) {
      return current;
    }
    return this.#put(id, 'MODIFIED', stored);
  }

  #put(id: ResourceId, type: 'ADDED' | 'MODIFIED', object: Stored): Stored {
    this.#revision += 1;
    const resourceVersion = String(this.#revision);
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion } };
    const { namespace = '', name = '' } = stored.metadata;
    this.#kind(id).set(`${namespace}/${name}`, stored);
    this.#history.push({ kind: kindKey(id), revision: this.#revision, type, object: stored });
    this.#wake();
    return stored;
  }

  #remove(id: ResourceId, object: Stored): void {
    this.#revision += 1;
    const resourceVersion = String(this.#revision);
    const last = { ...object, metadata: { ...object.metadata, resourceVersion } };
    const { namespace = '', name = '' } = last.metadata;
    this.#kind(id).delete(`${namespace}/${name}`);
    const kind = kindKey(id);
    this.#history.push({ kind, revision: this.#revision, type: 'DELETED', object: last });
    this.#wake();
  }

  #wake(): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter();
  }

  #changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const finish = (): void => {
        this.#waiters.delete(finish);
        signal.removeEventListener('abort', finish);
        resolve();
      };
      this.#waiters.add(finish);
      signal.addEventListener('abort', finish, { once: true });
    });
  }
}

function withoutVersion(object: Stored): Stored {
  const { resourceVersion: _dropped, ...metadata } = object.metadata ?? {};
  return { ...object, metadata };
}

function hasNode(object: Stored): boolean {
  const { nodeName = '' } = (object.spec ?? {}) as { nodeName?: string };
  return nodeName !== '';
}

/** RFC 7386. */
function merge(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const isObject = typeof target === 'object' && target !== null && !Array.isArray(target);
  const result: Record<string, unknown> = isObject ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else if (value !== undefined) result[key] = merge(result[key], value);
  }
  return result;
}

/** Resolves when `condition` is true; rejects after `timeoutMs` with what was waited for. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 5_000,
): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited ${timeoutMs} ms in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/**
 * The API for the parts of the master: an `ApiClient` that calls the registry in process, as a user like any other.
 * What it sends is decoded strictly, so that a field with a typing error fails in the first test.
 */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import { createToken } from './authn/token-request.ts';
import {
  type ApiClient,
  type ListOptions,
  RESOURCES,
  type ResourceId,
  type User,
  type WatchEvent,
} from './client.ts';
import { decodeInput } from './input.ts';
import { parseRevision } from './list.ts';
import { isNamespace, namespaceFinalizers } from './namespaces.ts';
import type { JsonValue } from './patch/json-value.ts';
import { applyPatch } from './patch.ts';
import type { Registry } from './registry.ts';
import type { Resource } from './resources.ts';
import type { Stored } from './stored.ts';
import type { StoredEvent } from './watch.ts';

/** How often a watch without events says how far it is. */
const BOOKMARK_MS = 60_000;

export function createLocalClient(registry: Registry, user: User): ApiClient {
  const find = (id: ResourceId): Resource => registry.table.get(id);
  // The registry knows kinds by their tables, the caller by its type parameter: this is where they meet.
  const objectOf = <T extends KubeObject>(stored: Stored): T => registry.parsed(stored) as T;

  return {
    async get<T extends KubeObject>(id: ResourceId, namespace: string, name: string): Promise<T> {
      return objectOf<T>(await registry.get(user, { resource: find(id), namespace, name }));
    },

    async list<T extends KubeObject>(id: ResourceId, options: ListOptions = {}) {
      const list = await registry.list(user, find(id), options);
      const items = list.items.map((stored) => objectOf<T>(stored));
      return { items, resourceVersion: String(list.revision) };
    },

    async *watch<T extends KubeObject>(
      id: ResourceId,
      options: ListOptions & { readonly resourceVersion: string; readonly signal: AbortSignal },
    ): AsyncGenerator<WatchEvent<T>, void, undefined> {
      const after = parseRevision(options.resourceVersion);
      // As over HTTP: without a revision, and with 0, the current state comes first.
      const batches = await registry.watch(user, find(id), options, {
        ...(after === 0 ? {} : { after }),
        markInitialEnd: false,
        bookmarkMs: BOOKMARK_MS,
        signal: options.signal,
      });
      for await (const batch of batches) {
        for (const event of batch) yield watchEvent<T>(event, objectOf);
      }
    },

    async create<T extends KubeObject>(id: ResourceId, object: T): Promise<T> {
      const resource = find(id);
      const namespace = object.metadata?.namespace ?? '';
      const decoded = decode(resource, object);
      return objectOf<T>(await registry.create(user, { resource, namespace }, decoded));
    },

    async update<T extends KubeObject>(id: ResourceId, object: T, subresource?: 'status') {
      const resource = find(id);
      const { name = '', namespace = '' } = object.metadata ?? {};
      const part = subresource ?? partOf(resource, object);
      const stored = await registry.update(
        user,
        { resource, namespace, name },
        () => decode(resource, object),
        { verb: 'update', part, subresource: part === 'main' ? '' : part },
      );
      return objectOf<T>(stored);
    },

    async patch<T extends KubeObject>(
      id: ResourceId,
      namespace: string,
      name: string,
      mergePatch: Record<string, unknown>,
      subresource?: 'status',
    ): Promise<T> {
      const resource = find(id);
      const patch = { type: 'merge' as const, value: asJson(mergePatch) };
      const stored = await registry.update(
        user,
        { resource, namespace, name },
        (current) => applyPatch(current, patch, resource.module, { fieldValidation: 'Strict' }),
        { verb: 'patch', part: subresource ?? 'main', subresource: subresource ?? '' },
      );
      return objectOf<T>(stored);
    },

    async delete<T extends KubeObject>(
      id: ResourceId,
      namespace: string,
      name: string,
      options = {},
    ): Promise<T | undefined> {
      const path = { resource: find(id), namespace, name };
      const { stored, removed } = await registry.delete(user, path, options);
      return removed ? undefined : objectOf<T>(stored);
    },

    async evict(namespace, podName, podUid) {
      const path = { resource: find(RESOURCES.pods), namespace, name: podName };
      await registry.evict(user, path, { preconditions: { uid: podUid } }, false);
    },

    async bind(namespace, podName, podUid, nodeName) {
      await registry.bind(user, namespace, podName, {
        metadata: { name: podName, uid: podUid },
        target: { kind: 'Node', name: nodeName },
      });
    },

    async createToken(namespace, account, spec) {
      const path = { resource: find(RESOURCES.serviceAccounts), namespace, name: account };
      await registry.authorize(user, 'create', path, { subresource: 'token' });
      return (await createToken(registry, path, { spec })).status.token;
    },
  };
}

function watchEvent<T extends KubeObject>(
  event: StoredEvent,
  objectOf: (stored: Stored) => T,
): WatchEvent<T> {
  if (event.type === 'BOOKMARK') {
    return { type: 'BOOKMARK', resourceVersion: String(event.revision) };
  }
  return { type: event.type, object: objectOf(event.stored) };
}

function decode(resource: Resource, object: KubeObject): KubeObject {
  return decodeInput(object, resource.module, { fieldValidation: 'Strict' });
}

/** A namespace that is going and has no spec.finalizers: the namespace controller says that it is empty. */
function partOf(resource: Resource, object: KubeObject): 'main' | 'finalize' {
  const going = isNamespace(resource) && object.metadata?.deletionTimestamp !== undefined;
  return going && namespaceFinalizers(object).length === 0 ? 'finalize' : 'main';
}

function asJson(patch: Record<string, unknown>): JsonValue {
  // Round trip: what is undefined is absent, and what is not JSON fails here.
  const value: JsonValue = JSON.parse(JSON.stringify(patch));
  return value;
}

/** All objects of one kind, parsed and by namespace, read from the store again only after one of them was written. */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import type { ResourceId } from './client.ts';
import type { Core } from './core.ts';
import { listObjects } from './list.ts';
import { compileSelection } from './selection.ts';

export class Kept<T extends KubeObject> {
  readonly #core: Core;
  readonly #id: ResourceId;
  #writes = -1;
  #all: readonly T[] = [];
  #byNamespace = new Map<string, T[]>();

  constructor(core: Core, id: ResourceId) {
    this.#core = core;
    this.#id = id;
  }

  /** Empty also when this server has no such kind. */
  async all(): Promise<readonly T[]> {
    const { storage, table } = this.#core;
    const resource = table.find(this.#id);
    if (resource === undefined) return [];
    // Asked before the read: a write meanwhile makes the next question read again.
    const writes = storage.writes(resource);
    if (writes === this.#writes) return this.#all;
    const list = await listObjects(this.#core, compileSelection(resource, {}));
    const all = list.items.map((stored) => storage.scanned(stored) as T);
    const byNamespace = new Map<string, T[]>();
    for (const object of all) {
      const namespace = object.metadata?.namespace ?? '';
      const known = byNamespace.get(namespace);
      if (known === undefined) byNamespace.set(namespace, [object]);
      else known.push(object);
    }
    this.#all = all;
    this.#byNamespace = byNamespace;
    this.#writes = writes;
    return all;
  }

  async in(namespace: string): Promise<readonly T[]> {
    await this.all();
    return this.#byNamespace.get(namespace) ?? [];
  }
}

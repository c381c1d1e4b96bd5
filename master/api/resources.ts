/**
 * The table of resources that this server has, made of the kind modules: how to find one by group, version and
 * plural, where its objects lie in the store, and what stands before a stored value in an answer.
 */
import { ApiError, type ResourceRef } from '../../protocol/status.ts';
import { prefixEnd } from '../store/store.ts';
import type { ResourceId } from './client.ts';
import type { KindModule } from './kind.ts';

/** A kind with all that is derived from it once. */
export interface Resource {
  readonly module: KindModule;
  /** For error messages: group and plural. */
  readonly ref: ResourceRef;
  /** "v1" or "apps/v1". */
  readonly apiVersion: string;
  /** `{"kind":"Pod","apiVersion":"v1",` */
  readonly head: string;
  /** `/registry/core/pods/`; of a view, that of the kind whose objects it shows. */
  readonly prefix: string;
}

export function makeResource(module: KindModule): Resource {
  const apiVersion = module.group === '' ? module.version : `${module.group}/${module.version}`;
  const { group, plural } = module.view?.of ?? module;
  return {
    module,
    ref: { group: module.group, resource: module.plural },
    apiVersion,
    head: `{"kind":"${module.kind}","apiVersion":"${apiVersion}",`,
    prefix: `/registry/${group === '' ? 'core' : group}/${plural}/`,
  };
}

/** Where an object lies; `namespace` is empty for cluster-wide kinds. */
export function keyFor(resource: Resource, namespace: string, name: string): string {
  return namespace === '' ? `${resource.prefix}${name}` : `${resource.prefix}${namespace}/${name}`;
}

/** The range of all objects of the kind, or of those in one namespace. */
export function rangeFor(resource: Resource, namespace: string): { start: string; end: string } {
  const start = namespace === '' ? resource.prefix : `${resource.prefix}${namespace}/`;
  return { start, end: prefixEnd(start) };
}

/** Namespace and name of a key. */
export function splitStoreKey(
  resource: Resource,
  key: string,
): { namespace: string; name: string } {
  const rest = key.slice(resource.prefix.length);
  const slash = rest.indexOf('/');
  return slash < 0
    ? { namespace: '', name: rest }
    : { namespace: rest.slice(0, slash), name: rest.slice(slash + 1) };
}

export class ResourceTable {
  readonly all: readonly Resource[];
  readonly #byPath = new Map<string, Resource>();

  constructor(modules: readonly KindModule[]) {
    this.all = modules.map(makeResource);
    for (const resource of this.all) {
      const { group, version, plural } = resource.module;
      const path = `${group}/${version}/${plural}`;
      if (this.#byPath.has(path)) throw new Error(`two kind modules for ${path}`);
      this.#byPath.set(path, resource);
    }
  }

  find(id: ResourceId): Resource | undefined {
    return this.#byPath.get(`${id.group}/${id.version}/${id.resource}`);
  }

  /** Throws Kubernetes' 404 for a path that no kind answers. */
  get(id: ResourceId): Resource {
    const resource = this.find(id);
    if (resource === undefined) throw noSuchResource();
    return resource;
  }

  /** All versions and kinds of one API group, in the order of the modules. */
  group(group: string): readonly Resource[] {
    return this.all.filter((resource) => resource.module.group === group);
  }
}

export function noSuchResource(): ApiError {
  return new ApiError(404, 'NotFound', 'the server could not find the requested resource', {});
}

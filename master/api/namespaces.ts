/**
 * The life of namespaces as Kubernetes' NamespaceLifecycle admission has it: nothing is created in a namespace that
 * is missing or going, some may never go, and one that goes stays until its finalizers are empty.
 */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import { ApiError, notFound, qualifiedResource } from '../../protocol/status.ts';
import type { Compare } from '../store/store.ts';
import { RESOURCES } from './client.ts';
import type { Core } from './core.ts';
import type { Resource } from './resources.ts';

const NAMESPACES = { group: '', resource: 'namespaces' };
const UNDELETABLE: ReadonlySet<string> = new Set(['default', 'kube-system', 'kube-public']);

export function isNamespace(resource: Resource): boolean {
  return resource.module.group === '' && resource.module.plural === 'namespaces';
}

/**
 * Throws NotFound when there is no such namespace and Forbidden when it is going; else returns the guards with
 * which a write in the same store is atomic with this check.
 */
export async function requireNamespace(
  core: Core,
  resource: Resource,
  namespace: string,
  name: string,
): Promise<Compare[]> {
  const found = core.table.find(RESOURCES.namespaces);
  if (found === undefined) return [];
  const stored = await core.storage.read(found, '', namespace);
  if (stored === undefined) throw notFound(NAMESPACES, namespace);
  if (core.storage.parsed(stored).metadata?.deletionTimestamp !== undefined) {
    throw terminating(resource, namespace, name);
  }
  if (core.storage.storeOf(found) !== core.storage.storeOf(resource)) return [];
  // The same transaction asks that the namespace is still what was checked.
  return [{ key: stored.key, target: 'mod', op: '=', value: stored.revision }];
}

function terminating(resource: Resource, namespace: string, name: string): ApiError {
  const { module } = resource;
  return new ApiError(
    403,
    'Forbidden',
    `${qualifiedResource(resource.ref)} "${name}" is forbidden: unable to create new content in ` +
      `namespace ${namespace} because it is being terminated`,
    {
      name,
      ...(module.group === '' ? {} : { group: module.group }),
      kind: module.plural,
      causes: [
        {
          reason: 'NamespaceTerminating',
          message: `namespace ${namespace} is being terminated`,
          field: 'metadata.namespace',
        },
      ],
    },
  );
}

/** Throws for the namespaces without which the cluster would not work, and for one that is going already. */
export function requireDeletable(object: KubeObject): void {
  const name = object.metadata?.name ?? '';
  if (UNDELETABLE.has(name)) {
    throw new ApiError(
      403,
      'Forbidden',
      `namespaces "${name}" is forbidden: this namespace may not be deleted`,
      { name, kind: 'namespaces' },
    );
  }
}

/** `spec.finalizers` of a namespace; empty for anything else. */
export function namespaceFinalizers(object: KubeObject): readonly string[] {
  const spec: unknown = Reflect.get(object, 'spec');
  if (typeof spec !== 'object' || spec === null) return [];
  const finalizers: unknown = Reflect.get(spec, 'finalizers');
  return Array.isArray(finalizers) ? finalizers.filter((f) => typeof f === 'string') : [];
}

/** A copy with other `spec.finalizers`: what the finalize subresource writes. */
export function withFinalizers(object: KubeObject, finalizers: readonly string[]): KubeObject {
  const spec: unknown = Reflect.get(object, 'spec');
  const rest = typeof spec === 'object' && spec !== null ? spec : {};
  return Object.assign({}, object, {
    spec: finalizers.length === 0 ? omit(rest, 'finalizers') : { ...rest, finalizers },
  });
}

/** A copy that shows that the namespace is going. */
export function withTerminatingPhase(object: KubeObject): KubeObject {
  const status: unknown = Reflect.get(object, 'status');
  const rest = typeof status === 'object' && status !== null ? status : {};
  return Object.assign({}, object, { status: { ...rest, phase: 'Terminating' } });
}

function omit(object: object, key: string): object {
  return Object.fromEntries(Object.entries(object).filter(([name]) => name !== key));
}

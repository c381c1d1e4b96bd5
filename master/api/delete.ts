/**
 * Deleting: preconditions, finalizers, grace periods (Kubernetes: registry/rest BeforeDelete). An object with
 * finalizers or a grace period only gets its deletionTimestamp; whoever removes the last finalizer, or deletes with
 * grace 0, makes it go.
 */
import { rfc3339 } from '../../protocol/clock.ts';
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import { type ApiError, conflict, invalid, notFound } from '../../protocol/status.ts';
import { ServiceAllocator } from './allocator.ts';
import type { DeleteOptions } from './client.ts';
import { copyOf } from './copy.ts';
import type { Core } from './core.ts';
import {
  isNamespace,
  namespaceFinalizers,
  requireDeletable,
  withTerminatingPhase,
} from './namespaces.ts';
import type { Resource } from './resources.ts';
import { encodeStored, metaOf, type Stored } from './stored.ts';

export interface DeleteRequest {
  readonly resource: Resource;
  readonly namespace: string;
  readonly name: string;
  readonly options: DeleteOptions;
  readonly dryRun?: boolean;
}

export interface DeleteResult {
  /** The object as it is now, or as it was last. */
  readonly stored: Stored;
  readonly removed: boolean;
}

const TRIES_MAX = 50;
const POLICY_FINALIZERS = { Foreground: 'foregroundDeletion', Orphan: 'orphan' };

export async function deleteObject(core: Core, request: DeleteRequest): Promise<DeleteResult> {
  const { resource, namespace, name } = request;
  checkPolicy(core, request.options);
  for (let attempt = 0; attempt < TRIES_MAX; attempt += 1) {
    const current = await core.storage.read(resource, namespace, name);
    if (current === undefined) throw notFound(resource.ref, name);
    const result = await tryDelete(core, request, current);
    if (result !== undefined) return result;
  }
  throw conflict(resource.ref, name);
}

/** Undefined when another write came first. */
async function tryDelete(
  core: Core,
  request: DeleteRequest,
  current: Stored,
): Promise<DeleteResult | undefined> {
  const { resource } = request;
  const object = core.storage.parsed(current);
  checkPreconditions(request, object, current);
  if (isNamespace(resource)) requireDeletable(object);
  const next = marked(core, request, object);
  if (next === 'keep') return { stored: current, removed: false };
  if (next === 'remove') {
    if (request.dryRun === true) return { stored: current, removed: true };
    const revision = await core.storage.remove(current);
    if (revision === undefined) return undefined;
    core.allocator.free(ServiceAllocator.holdings(resource.module, object));
    return { stored: { ...current, revision }, removed: true };
  }
  if (request.dryRun === true) {
    return { stored: { ...current, value: encodeStored(next) }, removed: false };
  }
  const stored = await core.storage.replace(current, next);
  return stored === undefined ? undefined : { stored, removed: false };
}

/** What becomes of the object: it goes, it stays as it is, or it is marked as going. */
function marked(
  core: Core,
  { resource, options }: DeleteRequest,
  object: KubeObject,
): KubeObject | 'keep' | 'remove' {
  const { module } = resource;
  const meta = metaOf(object);
  const finalizers = collectorFinalizers(resource, meta.finalizers ?? [], options);
  const held = finalizers.length > 0 || namespaceHeld(resource, object);
  const grace = module.gracePeriodSeconds?.(object, options.gracePeriodSeconds) ?? 0;
  if (meta.deletionTimestamp !== undefined) {
    const pending = meta.deletionGracePeriodSeconds ?? 0;
    if (isNamespace(resource)) throw namespaceGoing(meta.name ?? '');
    // Only a shorter wait changes something; a request without a wish waits as before.
    const shorter = options.gracePeriodSeconds !== undefined && grace < pending;
    if (!shorter) return pending === 0 && !held ? 'remove' : 'keep';
  }
  if (grace === 0 && !held) return 'remove';
  const copy = copyOf(object);
  const copyMeta = metaOf(copy);
  if (finalizers.length > 0) copyMeta.finalizers = finalizers;
  else delete copyMeta.finalizers;
  copyMeta.deletionTimestamp = rfc3339(core.clock.wallMs() + grace * 1000);
  copyMeta.deletionGracePeriodSeconds = grace;
  if ((copyMeta.generation ?? 0) > 0) copyMeta.generation = (copyMeta.generation ?? 0) + 1;
  return isNamespace(resource) ? withTerminatingPhase(copy) : copy;
}

/**
 * The policy as finalizers that the garbage collector takes away when it has done its part
 * (Kubernetes: deletionFinalizersForGarbageCollection). Kinds in memory own nothing.
 */
function collectorFinalizers(
  { module }: Resource,
  finalizers: readonly string[],
  { propagationPolicy }: DeleteOptions,
): string[] {
  if (propagationPolicy === undefined || module.storage === 'memory') return [...finalizers];
  const others = finalizers.filter((one) => !Object.values(POLICY_FINALIZERS).includes(one));
  return propagationPolicy === 'Background'
    ? others
    : [...others, POLICY_FINALIZERS[propagationPolicy]];
}

function namespaceHeld(resource: Resource, object: KubeObject): boolean {
  return isNamespace(resource) && namespaceFinalizers(object).length > 0;
}

function namespaceGoing(name: string): ApiError {
  return conflict(
    { group: '', resource: 'namespaces' },
    name,
    'The system is ensuring all content is removed from this namespace.  Upon completion, this ' +
      'namespace will automatically be purged by the system.',
  );
}

function checkPreconditions(
  { resource, name, options }: DeleteRequest,
  object: KubeObject,
  current: Stored,
): void {
  const { uid, resourceVersion } = options.preconditions ?? {};
  const have = object.metadata?.uid ?? '';
  if (uid !== undefined && uid !== have) {
    throw conflict(
      resource.ref,
      name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${have}`,
    );
  }
  if (resourceVersion !== undefined && resourceVersion !== String(current.revision)) {
    throw conflict(
      resource.ref,
      name,
      `Precondition failed: ResourceVersion in precondition: ${resourceVersion}, ` +
        `ResourceVersion in object meta: ${current.revision}`,
    );
  }
}

/** A policy that the garbage collector cannot do yet is refused, not ignored. */
function checkPolicy(core: Core, { propagationPolicy, gracePeriodSeconds }: DeleteOptions): void {
  if (gracePeriodSeconds !== undefined && gracePeriodSeconds < 0) {
    throw invalid('meta.k8s.io', 'DeleteOptions', '', [
      {
        field: 'gracePeriodSeconds',
        reason: 'FieldValueInvalid',
        message: `Invalid value: ${gracePeriodSeconds}: must be greater than or equal to 0`,
      },
    ]);
  }
  if (propagationPolicy === undefined || core.propagationPolicies.has(propagationPolicy)) return;
  const supported = [...core.propagationPolicies].map((p) => JSON.stringify(p)).join(', ');
  throw invalid('meta.k8s.io', 'DeleteOptions', '', [
    {
      field: 'propagationPolicy',
      reason: 'FieldValueNotSupported',
      message: `Unsupported value: "${propagationPolicy}": supported values: ${supported}`,
    },
  ]);
}

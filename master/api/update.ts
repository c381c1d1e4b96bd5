/**
 * Changing an object: read, change, prepare, validate, write if nobody was faster; a loser begins again with the new
 * state (Kubernetes: GuaranteedUpdate). A change that changes nothing costs no write and keeps the revision.
 */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import type { Pod } from '../../protocol/kinds/types.ts';
import { badRequest, conflict, type FieldError, invalid, notFound } from '../../protocol/status.ts';
import { guardByAdmission, reviewByAdmission, reviewPartByAdmission } from './admission.ts';
import { ServiceAllocator } from './allocator.ts';
import type { User } from './client.ts';
import { copyOf } from './copy.ts';
import type { Core, WriteOptions } from './core.ts';
import { allocationRefused } from './create.ts';
import { deepEqual } from './equal.ts';
import type { KindModule, ObjectPart } from './kind.ts';
import { parseRevision } from './list.ts';
import { isNamespace, namespaceFinalizers, withFinalizers } from './namespaces.ts';
import type { Resource } from './resources.ts';
import { foldStringData } from './secret-data.ts';
import { encodeStored, metaOf, type Stored } from './stored.ts';

/** Which part of the object a write may change. */
export type WritePart = 'main' | ObjectPart | 'finalize';

export interface UpdateRequest {
  readonly user: User;
  readonly resource: Resource;
  readonly namespace: string;
  readonly name: string;
  readonly part: WritePart;
  /**
   * The object as it should be, made from the current one (which is shared: not to be changed). Called once per
   * attempt. A `resourceVersion` in it makes the write conditional.
   */
  readonly change: (current: KubeObject) => KubeObject | Promise<KubeObject>;
  /** How often a lost race is run again. */
  readonly triesMax?: number;
}

const TRIES_MAX = 50;
/** A conflict of a patch is run again so often (Kubernetes: MaxRetryWhenPatchConflicts). */
export const PATCH_TRIES = 5;

export async function updateObject(
  core: Core,
  request: UpdateRequest,
  options: WriteOptions,
): Promise<Stored> {
  const { resource, namespace, name } = request;
  const triesMax = request.triesMax ?? TRIES_MAX;
  for (let attempt = 0; attempt < triesMax; attempt += 1) {
    const current = await core.storage.read(resource, namespace, name);
    if (current === undefined) throw notFound(resource.ref, name);
    const stored = await tryUpdate(core, request, current, options);
    if (stored !== undefined) return stored;
  }
  throw conflict(resource.ref, name);
}

/** Undefined when another write came first. */
async function tryUpdate(
  core: Core,
  request: UpdateRequest,
  current: Stored,
  options: WriteOptions,
): Promise<Stored | undefined> {
  const { resource, name } = request;
  const { module } = resource;
  const previous = core.storage.parsed(current);
  const sent = await request.change(previous);
  checkIdentity(request, current, previous, sent);
  const own = ServiceAllocator.holdings(module, previous);
  const reservation = core.allocator.reserve(own);
  try {
    const next = prepare(core, request, previous, sent, reservation);
    const { user, namespace } = request;
    const target = { user, resource, namespace, name };
    const admission = { operation: 'UPDATE', ...target, object: next, previous } as const;
    const { part } = request;
    const admitted = part === 'main' || part === 'ephemeralcontainers';
    const errors = [...module.validate(next), ...changeErrors(module, next, previous, part)];
    if (errors.length > 0) throw invalid(module.group, module.kind, name, errors);
    if (admitted) {
      await reviewByAdmission(core, admission);
      for (const text of module.warnings?.(next) ?? []) options.warn?.(text);
    } else if (part !== 'finalize') {
      await reviewPartByAdmission(core, admission, part);
    }
    if (deepEqual(withoutRevision(next), withoutRevision(previous))) {
      reservation.rollback();
      return current;
    }
    if (options.dryRun === true) {
      reservation.rollback();
      return { ...current, value: encodeStored(next) };
    }
    if (mayVanish(next, resource)) {
      const revision = await core.storage.remove(current);
      reservation.rollback();
      if (revision === undefined) return undefined;
      core.allocator.free(own);
      return { ...current, value: encodeStored(next), revision };
    }
    const write = () => core.storage.replace(current, next);
    const stored = await (admitted ? guardByAdmission(core, admission, write) : write());
    if (stored === undefined) reservation.rollback();
    else reservation.commit(ServiceAllocator.holdings(module, next));
    return stored;
  } catch (error) {
    reservation.rollback();
    throw allocationRefused(error, resource, name);
  }
}

function changeErrors(
  module: KindModule,
  next: KubeObject,
  previous: KubeObject,
  part: WritePart,
): FieldError[] {
  if (part === 'finalize') return [];
  if (part !== 'main') return module.validatePart?.(next, previous, part) ?? [];
  return [
    ...newFinalizerErrors(next, previous),
    ...(module.validateUpdate?.(next, previous) ?? []),
  ];
}

/** The object that was sent must be the one of the path, and the one that is there. */
function checkIdentity(
  { resource, namespace, name }: UpdateRequest,
  current: Stored,
  previous: KubeObject,
  sent: KubeObject,
): void {
  const meta = metaOf(sent);
  if ((meta.name ?? name) !== name) {
    throw badRequest(
      `the name of the object (${meta.name}) does not match the name on the URL (${name})`,
    );
  }
  if ((meta.namespace ?? namespace) !== namespace) {
    throw badRequest(
      `the namespace of the object (${meta.namespace}) does not match the namespace on the URL (${namespace})`,
    );
  }
  const uid = previous.metadata?.uid ?? '';
  if (meta.uid !== undefined && meta.uid !== '' && meta.uid !== uid) {
    throw conflict(
      resource.ref,
      name,
      `Precondition failed: UID in precondition: ${meta.uid}, UID in object meta: ${uid}`,
    );
  }
  const wanted = parseRevision(meta.resourceVersion);
  if (wanted !== 0 && wanted !== current.revision) throw conflict(resource.ref, name);
}

function prepare(
  core: Core,
  request: UpdateRequest,
  previous: KubeObject,
  sent: KubeObject,
  reservation: ReturnType<ServiceAllocator['reserve']>,
): KubeObject {
  const { module } = request.resource;
  switch (request.part) {
    case 'status':
    case 'approval': {
      const next = withStatus(sent, previous, request.resource);
      module.preparePart?.(next, previous, request.part, core.clock.wallMs());
      return next;
    }
    case 'ephemeralcontainers': {
      const next = withEphemeralContainers(sent, previous);
      module.setDefaults(next);
      raiseGeneration(next, previous);
      return next;
    }
    case 'finalize':
      return withFinalizers(previous, namespaceFinalizers(sent));
    case 'main': {
      keepSystemFields(sent, previous, request.resource);
      foldStringData(sent, request.resource);
      module.setDefaults(sent);
      const nowMs = core.clock.wallMs();
      module.prepareForUpdate?.(sent, previous, {
        user: request.user,
        nowMs,
        allocator: reservation,
      });
      if (module.hasGeneration) raiseGeneration(sent, previous);
      return sent;
    }
    default: {
      const never: never = request.part;
      return never;
    }
  }
}

/** If what is desired is another than before. */
function raiseGeneration(next: KubeObject, previous: KubeObject): void {
  const before = previous.metadata?.generation ?? 0;
  const same = deepEqual(desired(next), desired(previous));
  metaOf(next).generation = same ? before : before + 1;
}

/** What a user may not change through an update. */
function keepSystemFields(next: KubeObject, previous: KubeObject, resource: Resource): void {
  const meta = metaOf(next);
  const old = metaOf(previous);
  Object.assign(meta, {
    name: old.name,
    uid: old.uid,
    creationTimestamp: old.creationTimestamp,
  });
  if (old.namespace !== undefined) meta.namespace = old.namespace;
  if (old.generateName !== undefined) meta.generateName ??= old.generateName;
  if (resource.module.hasGeneration && old.generation !== undefined) {
    meta.generation = old.generation;
  } else {
    delete meta.generation;
  }
  if (old.deletionTimestamp === undefined) delete meta.deletionTimestamp;
  else meta.deletionTimestamp = old.deletionTimestamp;
  if (old.deletionGracePeriodSeconds === undefined) delete meta.deletionGracePeriodSeconds;
  else meta.deletionGracePeriodSeconds = old.deletionGracePeriodSeconds;
  Reflect.deleteProperty(meta, 'selfLink');
  Reflect.deleteProperty(meta, 'managedFields');
}

/** Only the status, labels and annotations of what was sent; all else stays as it is. */
function withStatus(sent: KubeObject, previous: KubeObject, resource: Resource): KubeObject {
  const { status: _old, metadata, ...rest } = { status: undefined, ...previous };
  const { labels: oldLabels, annotations: _oldAnnotations, ...meta } = metadata ?? {};
  // Kubernetes: a Deployment's status update does not touch its labels, most others' may.
  const labels = resource.module.kind === 'Deployment' ? oldLabels : sent.metadata?.labels;
  const annotations = sent.metadata?.annotations;
  const status: unknown = Reflect.get(sent, 'status');
  return {
    ...rest,
    metadata: {
      ...meta,
      ...(labels === undefined ? {} : { labels }),
      ...(annotations === undefined ? {} : { annotations }),
    },
    ...(status === undefined ? {} : { status }),
  };
}

/** Nothing but that list of what was sent: all else stays as it is. */
function withEphemeralContainers(sent: Pod, previous: Pod): Pod {
  const next = copyOf(previous);
  next.spec ??= { containers: [] };
  const { ephemeralContainers = [] } = sent.spec ?? {};
  if (ephemeralContainers.length === 0) delete next.spec.ephemeralContainers;
  else next.spec.ephemeralContainers = ephemeralContainers;
  return next;
}

function desired(object: KubeObject): object {
  const { metadata: _metadata, kind: _kind, apiVersion: _apiVersion, ...rest } = object;
  return Object.fromEntries(Object.entries(rest).filter(([key]) => key !== 'status'));
}

function withoutRevision(object: KubeObject): object {
  const { metadata, kind: _kind, apiVersion: _apiVersion, ...rest } = object;
  const { resourceVersion: _revision, ...meta } = metadata ?? {};
  return { ...rest, metadata: meta };
}

/** Kubernetes: finalizers of an object that is going may only be taken away. */
function newFinalizerErrors(next: KubeObject, previous: KubeObject) {
  if (previous.metadata?.deletionTimestamp === undefined) return [];
  const old = new Set(previous.metadata.finalizers ?? []);
  const added = (next.metadata?.finalizers ?? []).filter((one) => !old.has(one));
  if (added.length === 0) return [];
  const list = added.map((one) => JSON.stringify(one)).join(', ');
  return [
    {
      field: 'metadata.finalizers',
      reason: 'FieldValueForbidden' as const,
      message:
        'Forbidden: no new finalizers can be added if the object is being deleted, found new ' +
        `finalizers []string{${list}}`,
    },
  ];
}

/** The last finalizer is gone and nobody waits for a grace period: the object goes with this write. */
function mayVanish(next: KubeObject, resource: Resource): boolean {
  const meta = next.metadata ?? {};
  return (
    meta.deletionTimestamp !== undefined &&
    (meta.deletionGracePeriodSeconds ?? 0) === 0 &&
    (meta.finalizers ?? []).length === 0 &&
    (!isNamespace(resource) || namespaceFinalizers(next).length === 0)
  );
}

/**
 * Creating an object: names, system fields, defaults, preparation, validation, one transaction.
 * Order as in Kubernetes (registry/rest BeforeCreate).
 */
import { rfc3339 } from '../../protocol/clock.ts';
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import { alreadyExists, badRequest, invalid } from '../../protocol/status.ts';
import { guardByAdmission, mutateByAdmission, reviewByAdmission } from './admission.ts';
import { AllocationError, ServiceAllocator } from './allocator.ts';
import type { User } from './client.ts';
import { copyOf } from './copy.ts';
import type { Core, WriteOptions } from './core.ts';
import { checkName, generateName } from './names.ts';
import { requireNamespace } from './namespaces.ts';
import type { Resource } from './resources.ts';
import { foldStringData } from './secret-data.ts';
import { encodeStored, metaOf, type Stored } from './stored.ts';

/** How often a generated name that is taken is made anew (Kubernetes: 8). */
const GENERATE_TRIES = 8;
/** How often the namespace may change under the write. */
const GUARD_TRIES = 20;

export interface CreateRequest {
  readonly user: User;
  readonly resource: Resource;
  /** Of the path; empty for cluster-wide kinds. */
  readonly namespace: string;
  /** Decoded, owned by this call. */
  readonly object: KubeObject;
}

export async function createObject(
  core: Core,
  request: CreateRequest,
  options: WriteOptions,
): Promise<Stored> {
  const { resource, object } = request;
  takeNamespace(request);
  const meta = metaOf(object);
  if (meta.resourceVersion !== undefined && meta.resourceVersion !== '') {
    throw badRequest('resourceVersion should not be set on objects to be created');
  }
  const generated = (meta.name ?? '') === '' && (meta.generateName ?? '') !== '';
  const base = meta.generateName ?? '';
  for (let attempt = 0; ; attempt += 1) {
    const copy = generated ? copyOf(object) : object;
    if (generated) metaOf(copy).name = generateName(base, () => core.random.fraction());
    const stored = await createNamed(core, { ...request, object: copy }, options);
    if (stored !== undefined) return stored;
    if (generated && attempt + 1 < GENERATE_TRIES) continue;
    throw alreadyExists(resource.ref, copy.metadata?.name ?? '');
  }
}

/** The namespace of the path is the one that counts; the body may repeat it. */
function takeNamespace({ resource, namespace, object }: CreateRequest): void {
  const meta = metaOf(object);
  const sent = meta.namespace ?? '';
  if (sent !== '' && sent !== namespace) {
    throw badRequest(
      'the namespace of the provided object does not match the namespace sent on the request',
    );
  }
  if (!resource.module.namespaced) {
    delete meta.namespace;
  } else if (namespace === '') {
    throw badRequest('an empty namespace may not be set during creation');
  } else {
    meta.namespace = namespace;
  }
}

/** Undefined when the name is taken. */
async function createNamed(
  core: Core,
  request: CreateRequest,
  options: WriteOptions,
): Promise<Stored | undefined> {
  const { resource, namespace, object, user } = request;
  const { module } = resource;
  const nowMs = core.clock.wallMs();
  setSystemFields(object, resource, core.random.uuid(), rfc3339(nowMs));
  foldStringData(object, resource);
  module.setDefaults(object);
  const name = checkName(resource, object);
  const admission = { operation: 'CREATE', user, resource, namespace, name, object } as const;
  let guards = module.namespaced ? await requireNamespace(core, resource, namespace, name) : [];

  const reservation = core.allocator.reserve(new Set());
  try {
    await mutateByAdmission(core, admission);
    module.prepareForCreate?.(object, { user, nowMs, allocator: reservation });
    const errors = [...module.validate(object), ...(module.validateCreate?.(object) ?? [])];
    if (errors.length > 0) throw invalid(module.group, module.kind, name, errors);
    await reviewByAdmission(core, admission);
    for (const text of module.warnings?.(object) ?? []) options.warn?.(text);

    const target = { resource, namespace, name };
    const write = async (): Promise<Stored | undefined> => {
      if (options.dryRun === true) {
        const there = await core.storage.read(resource, namespace, name);
        if (there !== undefined) return undefined;
        return { resource, key: '', value: encodeStored(object), revision: 0 };
      }
      for (let attempt = 0; attempt < GUARD_TRIES; attempt += 1) {
        const stored = await core.storage.insert(target, object, guards);
        if (stored !== undefined) return stored;
        if (guards.length === 0) break;
        if ((await core.storage.read(resource, namespace, name)) !== undefined) break;
        guards = await requireNamespace(core, resource, namespace, name);
      }
      return undefined;
    };
    const stored = await guardByAdmission(core, admission, write);
    if (stored === undefined || options.dryRun === true) reservation.rollback();
    else reservation.commit(ServiceAllocator.holdings(module, object));
    return stored;
  } catch (error) {
    reservation.rollback();
    throw allocationRefused(error, resource, name);
  }
}

/** Only the server sets these, whatever the client sent. */
function setSystemFields(
  object: KubeObject,
  resource: Resource,
  uid: string,
  creationTimestamp: string,
): void {
  const meta = metaOf(object);
  meta.uid = uid;
  meta.creationTimestamp = creationTimestamp;
  delete meta.deletionTimestamp;
  delete meta.deletionGracePeriodSeconds;
  delete meta.resourceVersion;
  delete meta.generation;
  Reflect.deleteProperty(meta, 'selfLink');
  Reflect.deleteProperty(meta, 'managedFields');
  if (resource.module.hasGeneration) meta.generation = 1;
}

/** 422 in place of an allocator's error; any other error stays as it is. */
export function allocationRefused(error: unknown, resource: Resource, name: string): unknown {
  if (!(error instanceof AllocationError)) return error;
  const { module } = resource;
  return invalid(module.group, module.kind, name, [
    {
      field: error.field,
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${JSON.stringify(error.value)}: ${error.message}`,
    },
  ]);
}

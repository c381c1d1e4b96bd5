/**
 * Admission: what may still change or refuse a write after it was authorized, for reasons that lie in other objects (a
 * LimitRange, a quota, the rights of who asks). Each plugin is one small module; the operations ask all of them.
 */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import { ApiError, qualifiedResource } from '../../protocol/status.ts';
import type { User } from './client.ts';
import type { Core } from './core.ts';
import type { StatusPart } from './kind.ts';
import type { Resource } from './resources.ts';

export interface AdmissionRequest {
  readonly operation: 'CREATE' | 'UPDATE';
  readonly user: User;
  readonly resource: Resource;
  readonly namespace: string;
  readonly name: string;
  /** With its defaults. `mutate` may change it. */
  readonly object: KubeObject;
  /** Frozen by agreement; absent on create. */
  readonly previous?: KubeObject;
}

/** All methods throw `ApiError` to refuse. Only `reviewPart` is asked about writes of a status, none about those of finalizers. */
export interface AdmissionPlugin {
  /** Before the validation of a create, in place. */
  mutate?(core: Core, request: AdmissionRequest): Promise<void>;
  /** After validation. */
  review?(core: Core, request: AdmissionRequest): Promise<void>;
  /** After the validation of a write of the status or of a part of it. */
  reviewPart?(core: Core, request: AdmissionRequest, part: StatusPart): Promise<void>;
  /** Around the write itself, for what must not change between the check and the write. */
  guard?<T>(core: Core, request: AdmissionRequest, write: () => Promise<T>): Promise<T>;
}

export async function mutateByAdmission(core: Core, request: AdmissionRequest): Promise<void> {
  for (const plugin of core.admission) await plugin.mutate?.(core, request);
}

export async function reviewByAdmission(core: Core, request: AdmissionRequest): Promise<void> {
  for (const plugin of core.admission) await plugin.review?.(core, request);
}

export async function reviewPartByAdmission(
  core: Core,
  request: AdmissionRequest,
  part: StatusPart,
): Promise<void> {
  for (const plugin of core.admission) await plugin.reviewPart?.(core, request, part);
}

export function guardByAdmission<T>(
  core: Core,
  request: AdmissionRequest,
  write: () => Promise<T>,
): Promise<T> {
  let next = write;
  for (const plugin of core.admission) {
    if (plugin.guard === undefined) continue;
    const inner = next;
    next = () => plugin.guard?.(core, request, inner) ?? inner();
  }
  return next();
}

/** 403 in the words in which Kubernetes' admission plugins refuse. */
export function refused(
  request: Pick<AdmissionRequest, 'resource' | 'name'>,
  why: string,
): ApiError {
  const { resource, name } = request;
  const { group, plural } = resource.module;
  return new ApiError(
    403,
    'Forbidden',
    `${qualifiedResource(resource.ref)} ${JSON.stringify(name)} is forbidden: ${why}`,
    { name, ...(group === '' ? {} : { group }), kind: plural },
  );
}

/**
 * Errors of the API as Kubernetes' `Status` objects. `ApiError` is the one class that every layer above
 * the store throws for an expected failure; the HTTP edge turns it into the body and the code.
 * Reasons and codes: k8s.io/apimachinery `metav1.StatusReason`.
 */
export interface StatusCause {
  reason?: string;
  message?: string;
  field?: string;
}

export interface StatusDetails {
  name?: string;
  group?: string;
  kind?: string;
  uid?: string;
  causes?: StatusCause[];
  retryAfterSeconds?: number;
}

export interface Status {
  kind: 'Status';
  apiVersion: 'v1';
  metadata: Record<string, unknown>;
  status: 'Success' | 'Failure';
  message?: string;
  reason?: string;
  details?: StatusDetails;
  code?: number;
}

/** `resource` is the plural, as in `deployments`; `group` is empty for core/v1. */
export interface ResourceRef {
  group: string;
  resource: string;
}

/** "deployments.apps", or "pods" for the core group: how Kubernetes words a resource in messages. */
export function qualifiedResource(ref: ResourceRef): string {
  return ref.group === '' ? ref.resource : `${ref.resource}.${ref.group}`;
}

export class ApiError extends Error {
  readonly code: number;
  readonly reason: string;
  readonly details: StatusDetails | undefined;

  constructor(
    code: number,
    reason: string,
    message: string,
    details?: StatusDetails,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'ApiError';
    this.code = code;
    this.reason = reason;
    this.details = details;
  }

  toStatus(): Status {
    return {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: this.message,
      reason: this.reason,
      ...(this.details === undefined ? {} : { details: this.details }),
      code: this.code,
    };
  }
}

function detailsOf(ref: ResourceRef, name: string): StatusDetails {
  return { name, kind: ref.resource, ...(ref.group === '' ? {} : { group: ref.group }) };
}

export function notFound(ref: ResourceRef, name: string): ApiError {
  return new ApiError(
    404,
    'NotFound',
    `${qualifiedResource(ref)} "${name}" not found`,
    detailsOf(ref, name),
  );
}

export function alreadyExists(ref: ResourceRef, name: string): ApiError {
  return new ApiError(
    409,
    'AlreadyExists',
    `${qualifiedResource(ref)} "${name}" already exists`,
    detailsOf(ref, name),
  );
}

export function conflict(ref: ResourceRef, name: string, why?: string): ApiError {
  const cause =
    why ??
    'the object has been modified; please apply your changes to the latest version and try again';
  return new ApiError(
    409,
    'Conflict',
    `Operation cannot be fulfilled on ${qualifiedResource(ref)} "${name}": ${cause}`,
    detailsOf(ref, name),
  );
}

/** One broken field. `reason` is a `metav1.CauseType`; `message` is the text behind the path. */
export interface FieldError {
  field: string;
  reason:
    | 'FieldValueRequired'
    | 'FieldValueInvalid'
    | 'FieldValueNotSupported'
    | 'FieldValueForbidden'
    | 'FieldValueDuplicate'
    | 'FieldValueTooLong'
    | 'FieldValueTooMany'
    | 'FieldValueTypeInvalid'
    | 'FieldValueNotFound';
  message: string;
}

/** 422 with one cause per field. `kind` is the kind, as in "Pod"; `group` is empty for core/v1. */
export function invalid(group: string, kind: string, name: string, errors: FieldError[]): ApiError {
  const texts = errors.map((e) => `${e.field}: ${e.message}`);
  const list = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`;
  const qualified = group === '' ? kind : `${kind}.${group}`;
  return new ApiError(422, 'Invalid', `${qualified} "${name}" is invalid: ${list}`, {
    name,
    kind,
    ...(group === '' ? {} : { group }),
    causes: errors,
  });
}

export function badRequest(message: string): ApiError {
  return new ApiError(400, 'BadRequest', message);
}

export function unauthorized(): ApiError {
  return new ApiError(401, 'Unauthorized', 'Unauthorized');
}

export function methodNotSupported(ref: ResourceRef, method: string): ApiError {
  return new ApiError(
    405,
    'MethodNotAllowed',
    `${method} is not supported on resources of kind "${qualifiedResource(ref)}"`,
    { kind: ref.resource, ...(ref.group === '' ? {} : { group: ref.group }) },
  );
}

/** A watch or list asked for a revision that compaction has removed. */
export function expired(
  message = 'The resourceVersion for the provided watch is too old.',
): ApiError {
  return new ApiError(410, 'Expired', message);
}

/** What each verb takes as a body, by content type: one object, or a patch. */

import type { KubeObject } from '../../protocol/kinds/meta.ts';
import { decodeProtobuf } from '../../protocol/kinds/protobuf.ts';
import { ApiError, badRequest, invalid } from '../../protocol/status.ts';
import type { ApiRequest } from './answers.ts';
import {
  contentType,
  type ParsedBody,
  parseJsonBody,
  parseYamlBody,
  readBody,
  unsupportedMediaType,
} from './body.ts';
import type { DeleteOptions } from './client.ts';
import { type BodyKind, decodeInput, type FieldValidation, type InputOptions } from './input.ts';
import type { JsonValue } from './patch/json-value.ts';
import type { PatchBody, PatchType } from './patch.ts';
import { parseBoolean, parseInteger } from './routes.ts';

const OBJECT_TYPES = [
  'application/json',
  'application/yaml',
  'application/vnd.kubernetes.protobuf',
];
const PATCH_TYPES = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
];
const META_MESSAGES = 'io.k8s.apimachinery.pkg.apis.meta.v1';

/** Reads and parses a body that is an object of some kind. */
export async function readObject(request: ApiRequest): Promise<ParsedBody> {
  const type = contentType(request.message);
  const body = await readBody(request.message);
  if (body.byteLength === 0) return { value: undefined, duplicateFields: [] };
  switch (type) {
    // Clients like curl send forms unless told otherwise; JSON is what they mean, as in Kubernetes.
    case '':
    case 'application/json':
      return parseJsonBody(body);
    case 'application/yaml':
      return parseYamlBody(body);
    case 'application/vnd.kubernetes.protobuf':
      return { value: decodeProtobuf(body).object, duplicateFields: [] };
    default:
      throw unsupportedMediaType(OBJECT_TYPES);
  }
}

/** The body as an object of the kind, checked as strictly as the query asks. */
export async function readKind<T extends KubeObject>(
  request: ApiRequest,
  kind: BodyKind,
): Promise<T> {
  const body = await readObject(request);
  if (body.value === undefined) throw badRequest('the request has no body');
  return decodeInput<T>(body.value, kind, inputOptions(request, body.duplicateFields));
}

export function inputOptions(
  request: ApiRequest,
  duplicateFields: readonly string[] = [],
): InputOptions {
  return {
    fieldValidation: fieldValidation(request.query),
    warn: (text) => request.warnings.push(text),
    duplicateFields,
  };
}

function fieldValidation(query: URLSearchParams): FieldValidation {
  const wanted = query.get('fieldValidation') ?? '';
  if (wanted === 'Strict' || wanted === 'Warn' || wanted === 'Ignore') return wanted;
  // Kubernetes since 1.27: what is not asked for strictly is told.
  if (wanted === '') return 'Warn';
  throw optionError('fieldValidation', wanted, ['Ignore', 'Strict', 'Warn']);
}

/** True for `dryRun=All`; 422 for anything else but nothing. */
export function isDryRun(query: URLSearchParams): boolean {
  const wanted = query.getAll('dryRun').filter((value) => value !== '');
  for (const value of wanted) {
    if (value !== 'All') throw optionError('dryRun', value, ['All']);
  }
  return wanted.length > 0;
}

function optionError(field: string, value: string, supported: readonly string[]): ApiError {
  const list = supported.map((one) => JSON.stringify(one)).join(', ');
  return invalid('meta.k8s.io', 'CreateOptions', '', [
    {
      field,
      reason: 'FieldValueNotSupported',
      message: `Unsupported value: ${JSON.stringify(value)}: supported values: ${list}`,
    },
  ]);
}

export async function readPatch(request: ApiRequest): Promise<PatchBody> {
  const type = patchType(contentType(request.message));
  const body = parseJsonBody(await readBody(request.message));
  // What JSON.parse made is JSON; only its type says less.
  return { type, value: body.value as JsonValue };
}

function patchType(type: string): PatchType {
  switch (type) {
    case 'application/json-patch+json':
      return 'json';
    case 'application/merge-patch+json':
      return 'merge';
    case 'application/strategic-merge-patch+json':
      return 'strategic';
    case 'application/apply-patch+yaml':
      throw new ApiError(
        415,
        'UnsupportedMediaType',
        'server-side apply (application/apply-patch+yaml) is not supported by this server yet; use ' +
          `client-side apply. Accepted media types include: ${PATCH_TYPES.join(', ')}`,
      );
    default:
      throw unsupportedMediaType(PATCH_TYPES);
  }
}

export interface DeleteInput {
  readonly options: DeleteOptions;
  readonly dryRun: boolean;
}

interface DeleteBody extends KubeObject {
  readonly gracePeriodSeconds?: number;
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  readonly orphanDependents?: boolean;
  readonly propagationPolicy?: string;
  readonly dryRun?: readonly string[];
}

/** DeleteOptions from the body or, without one, from the query. */
export async function readDeleteOptions(request: ApiRequest): Promise<DeleteInput> {
  const { query } = request;
  const parsed = await readObject(request);
  const body: DeleteBody =
    parsed.value === undefined ? queryOptions(query) : deleteBody(parsed.value);
  if (body.orphanDependents !== undefined && body.propagationPolicy !== undefined) {
    throw badRequest('orphanDependents and propagationPolicy cannot be both set');
  }
  const policy =
    body.propagationPolicy ??
    (body.orphanDependents === undefined
      ? undefined
      : body.orphanDependents
        ? 'Orphan'
        : 'Background');
  const dryRun = isDryRun(query) || isDryRun(dryRunQuery(body.dryRun ?? []));
  return {
    dryRun,
    options: {
      ...(body.gracePeriodSeconds === undefined
        ? {}
        : { gracePeriodSeconds: body.gracePeriodSeconds }),
      ...(body.preconditions === undefined ? {} : { preconditions: body.preconditions }),
      ...(policy === undefined ? {} : { propagationPolicy: checkedPolicy(policy) }),
    },
  };
}

function deleteBody(value: unknown): DeleteBody {
  // Clients send DeleteOptions as v1, as meta.k8s.io/v1, or in the version of the resource.
  const kind: unknown =
    typeof value === 'object' && value !== null ? Reflect.get(value, 'kind') : '';
  const plain =
    typeof value === 'object' && value !== null ? { ...value, apiVersion: 'v1' } : value;
  if (kind !== undefined && kind !== '' && kind !== 'DeleteOptions') {
    throw badRequest(`the body of a delete must be DeleteOptions, not ${String(kind)}`);
  }
  const wanted = {
    group: '',
    version: 'v1',
    kind: 'DeleteOptions',
    message: `${META_MESSAGES}.DeleteOptions`,
  };
  return decodeInput<DeleteBody>(plain, wanted, { fieldValidation: 'Strict' });
}

function queryOptions(query: URLSearchParams): DeleteBody {
  const grace = parseInteger(query, 'gracePeriodSeconds');
  const policy = query.get('propagationPolicy') ?? '';
  const orphan = query.get('orphanDependents');
  return {
    ...(grace === undefined ? {} : { gracePeriodSeconds: grace }),
    ...(policy === '' ? {} : { propagationPolicy: policy }),
    ...(orphan === null ? {} : { orphanDependents: parseBoolean(orphan) }),
  };
}

function dryRunQuery(values: readonly string[]): URLSearchParams {
  return new URLSearchParams(values.map((value): [string, string] => ['dryRun', value]));
}

function checkedPolicy(policy: string): 'Background' | 'Foreground' | 'Orphan' {
  if (policy === 'Background' || policy === 'Foreground' || policy === 'Orphan') return policy;
  throw invalid('meta.k8s.io', 'DeleteOptions', '', [
    {
      field: 'propagationPolicy',
      reason: 'FieldValueNotSupported',
      message: `Unsupported value: "${policy}": supported values: "Foreground", "Background", "Orphan"`,
    },
  ]);
}

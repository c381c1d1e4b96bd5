/**
 * From method, path and query to what is asked for. Pure; knows the shape of Kubernetes' paths, not which kinds exist.
 *
 *     /api/v1/[namespaces/NS/]RESOURCE[/NAME[/SUBRESOURCE]]
 *     /apis/GROUP/VERSION/[namespaces/NS/]RESOURCE[/NAME[/SUBRESOURCE]]
 */
import { badRequest } from '../../protocol/status.ts';

export type Verb =
  | 'get'
  | 'list'
  | 'watch'
  | 'create'
  | 'update'
  | 'patch'
  | 'delete'
  | 'deletecollection';

export interface ResourceRoute {
  readonly type: 'resource';
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  /** Empty: cluster-wide or all namespaces. */
  readonly namespace: string;
  readonly name: string;
  readonly subresource: string;
  readonly verb: Verb;
}

/** Anything that is no resource: discovery, version, health, OpenAPI. */
export interface PathRoute {
  readonly type: 'path';
  readonly path: string;
  /** Lower-case method, as authorization calls it. */
  readonly verb: string;
}

/** Parts of a namespace itself; anything else below it is a resource in it. */
const NAMESPACE_PARTS: ReadonlySet<string> = new Set(['status', 'finalize']);

/** Throws `ApiError` 400 for a path that cannot be decoded. */
export function parseRoute(
  method: string,
  path: string,
  query: URLSearchParams,
): ResourceRoute | PathRoute {
  const steps = splitPath(path);
  const core = steps[0] === 'api';
  const prefixLength = core ? 2 : 3;
  if ((!core && steps[0] !== 'apis') || steps.length <= prefixLength) {
    return { type: 'path', path: normalPath(path), verb: method.toLowerCase() };
  }
  const group = core ? '' : (steps[1] ?? '');
  const version = steps[prefixLength - 1] ?? '';
  const rest = steps.slice(prefixLength);
  const inNamespace =
    rest[0] === 'namespaces' && rest.length > 2 && !NAMESPACE_PARTS.has(rest[2] ?? '');
  const namespace = inNamespace ? (rest[1] ?? '') : '';
  const [resource = '', name = '', ...sub] = inNamespace ? rest.slice(2) : rest;
  return {
    type: 'resource',
    group,
    version,
    resource,
    namespace,
    name,
    subresource: sub.join('/'),
    verb: verbOf(method, name, query),
  };
}

function splitPath(path: string): string[] {
  const steps = path.split('/').filter((step) => step !== '');
  return steps.map((step) => {
    if (!step.includes('%')) return step;
    try {
      return decodeURIComponent(step);
    } catch {
      throw badRequest(`the path has a broken escape sequence in "${step}"`);
    }
  });
}

function normalPath(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

function verbOf(method: string, name: string, query: URLSearchParams): Verb {
  switch (method) {
    case 'POST':
      return 'create';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return name === '' ? 'deletecollection' : 'delete';
    default:
      if (name !== '') return 'get';
      return parseBoolean(query.get('watch')) ? 'watch' : 'list';
  }
}

/** As Go's `strconv.ParseBool`, but a key without value is true (`?watch`), and what is no boolean is false. */
export function parseBoolean(text: string | null): boolean {
  return text !== null && ['', '1', 't', 'T', 'true', 'TRUE', 'True'].includes(text);
}

/** A whole number of the query; undefined when absent or empty. Throws `ApiError` 400. */
export function parseInteger(query: URLSearchParams, key: string): number | undefined {
  const text = query.get(key);
  if (text === null || text === '') return undefined;
  if (!/^-?\d{1,15}$/.test(text)) {
    throw badRequest(`the query parameter "${key}" must be a whole number, not "${text}"`);
  }
  return Number(text);
}

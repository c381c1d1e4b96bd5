/** The paths of an OpenAPI document: which verbs a resource has, with what clients look for in them. */
import { type ApiEntry, kindOf, messageOf } from '../entries.ts';
import { GVK, STATUS } from './schemas.ts';

type Operation = Record<string, unknown>;
type PathItem = Record<string, unknown>;

const OBJECT_TYPES = ['application/json', 'application/yaml'];
const PATCH_TYPES = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
];

/** A verb, its HTTP method and what Kubernetes calls it in a document. */
type Action = readonly [verb: string, method: string, action: string];

const LIST: Action = ['list', 'get', 'list'];
const CREATE: Action = ['create', 'post', 'post'];
const ON_ALL = [LIST, CREATE, ['deletecollection', 'delete', 'deletecollection']] as const;
const ON_ONE = [
  ['get', 'get', 'get'],
  ['update', 'put', 'put'],
  ['patch', 'patch', 'patch'],
  ['delete', 'delete', 'delete'],
] as const;

/** `place` as "api/v1" or "apis/apps/v1". */
export function documentPaths(
  place: string,
  entries: readonly ApiEntry[],
): Record<string, PathItem> {
  const paths = new Map<string, PathItem>();
  const add = (path: string, entry: ApiEntry, actions: readonly Action[]) => {
    const operations = actions
      .filter(([verb]) => entry.verbs.includes(verb))
      .map(([, method, action]): [string, Operation] => [method, operation(entry, action)]);
    if (operations.length === 0) return;
    const parameters = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => pathParameter(name));
    paths.set(path, { ...Object.fromEntries(operations), parameters });
  };
  for (const entry of entries) {
    const [plural = '', part] = entry.name.split('/');
    const base = `/${place}/${entry.namespaced ? 'namespaces/{namespace}/' : ''}${plural}`;
    if (part !== undefined) {
      add(`${base}/{name}/${part}`, entry, [...ON_ONE, CREATE]);
      continue;
    }
    add(base, entry, ON_ALL);
    if (entry.namespaced) add(`/${place}/${plural}`, entry, [LIST]);
    add(`${base}/{name}`, entry, ON_ONE);
  }
  return Object.fromEntries(paths);
}

function operation(entry: ApiEntry, action: string): Operation {
  const { group, version } = entry;
  const message = messageOf(entry);
  const result: Operation = {
    tags: [group === '' ? `core_${version}` : `${group.split('.')[0]}_${version}`],
    parameters: parametersOf(action),
    responses: { 200: { description: 'OK', content: answer(action, message) } },
    'x-kubernetes-action': message === undefined ? 'connect' : action,
    [GVK]: kindOf(entry),
  };
  if (message === undefined) return result;
  if (action === 'post' || action === 'put') {
    result.requestBody = { content: content(OBJECT_TYPES, message), required: true };
  }
  if (action === 'patch') {
    const patch = 'io.k8s.apimachinery.pkg.apis.meta.v1.Patch';
    const types = PATCH_TYPES.map((type) => [type, { schema: { type: 'object', title: patch } }]);
    result.requestBody = { content: Object.fromEntries(types), required: true };
  }
  return result;
}

function answer(action: string, message: string | undefined): object {
  if (message === undefined) return { '*/*': { schema: { type: 'string' } } };
  if (action === 'list') return content(OBJECT_TYPES, `${message}List`);
  return content(OBJECT_TYPES, action.startsWith('delete') ? STATUS : message);
}
function content(types: readonly string[], message: string): object {
  const schema = { $ref: `#/components/schemas/${message}` };
  return Object.fromEntries(types.map((type) => [type, { schema }]));
}

function parametersOf(action: string): object[] {
  switch (action) {
    case 'post':
    case 'put':
    case 'patch':
      return ['dryRun', 'fieldManager', 'fieldValidation'].map(queryParameter);
    case 'delete':
      return ['dryRun', 'gracePeriodSeconds', 'propagationPolicy'].map(queryParameter);
    case 'list':
    case 'deletecollection':
      return [
        'labelSelector',
        'fieldSelector',
        'limit',
        'continue',
        'resourceVersion',
        'resourceVersionMatch',
        'watch',
        'allowWatchBookmarks',
        'sendInitialEvents',
        'timeoutSeconds',
      ].map(queryParameter);
    default:
      return [];
  }
}

const INTEGERS: ReadonlySet<string> = new Set(['limit', 'timeoutSeconds', 'gracePeriodSeconds']);
const BOOLEANS: ReadonlySet<string> = new Set([
  'watch',
  'allowWatchBookmarks',
  'sendInitialEvents',
]);

function queryParameter(name: string): object {
  const type = INTEGERS.has(name) ? 'integer' : BOOLEANS.has(name) ? 'boolean' : 'string';
  return { name, in: 'query', schema: { type, uniqueItems: true } };
}

function pathParameter(name: string): object {
  return { name, in: 'path', required: true, schema: { type: 'string', uniqueItems: true } };
}

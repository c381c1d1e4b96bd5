/** The paths of an OpenAPI document: which verbs a kind has, with what clients look for in them. */
import type { KindModule } from './kind.ts';
import { GVK } from './openapi-schemas.ts';

type Operation = Record<string, unknown>;

const OBJECT_TYPES = ['application/json', 'application/yaml'];
const PATCH_TYPES = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
];

/** `place` as "api/v1" or "apis/apps/v1". */
export function documentPaths(
  place: string,
  modules: readonly KindModule[],
): Record<string, object> {
  const paths: Record<string, object> = {};
  for (const module of modules) {
    const { plural, namespaced, subresources } = module;
    const base = `/${place}/${namespaced ? 'namespaces/{namespace}/' : ''}${plural}`;
    const inPath = namespaced ? [pathParameter('namespace')] : [];
    const named = [...inPath, pathParameter('name')];
    paths[base] = {
      get: operation(module, 'list'),
      post: operation(module, 'post'),
      delete: operation(module, 'deletecollection'),
      parameters: inPath,
    };
    if (namespaced) paths[`/${place}/${plural}`] = { get: operation(module, 'list') };
    paths[`${base}/{name}`] = {
      get: operation(module, 'get'),
      put: operation(module, 'put'),
      patch: operation(module, 'patch'),
      delete: operation(module, 'delete'),
      parameters: named,
    };
    if (subresources.status === true) {
      paths[`${base}/{name}/status`] = {
        get: operation(module, 'get'),
        put: operation(module, 'put'),
        patch: operation(module, 'patch'),
        parameters: named,
      };
    }
  }
  return paths;
}

function operation(module: KindModule, action: string): Operation {
  const { group, version, kind, message } = module;
  const answer = action === 'list' ? `${message}List` : message;
  const result: Operation = {
    tags: [group === '' ? `core_${version}` : `${group.split('.')[0]}_${version}`],
    parameters: parametersOf(action),
    responses: { 200: { description: 'OK', content: content(OBJECT_TYPES, answer) } },
    'x-kubernetes-action': action,
    [GVK]: { group, kind, version },
  };
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

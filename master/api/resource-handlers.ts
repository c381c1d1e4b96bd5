/** The verbs of Kubernetes' resources over HTTP: read the request, call the registry, write the answer. */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import type { Pod } from '../../protocol/kinds/types.ts';
import { ApiError, badRequest } from '../../protocol/status.ts';
import {
  type ApiRequest,
  listMeta,
  sendList,
  sendObject,
  sendProtobufList,
  sendValue,
  sendYaml,
  successStatus,
} from './answers.ts';
import { requestToken } from './authn/token-request.ts';
import type { ListOptions } from './client.ts';
import { copyOf } from './copy.ts';
import type { ListPage, StoredList } from './list.ts';
import { type AnswerForm, negotiate, type Offers } from './negotiate.ts';
import { isNodeProxy, proxyNode } from './node-proxy.ts';
import { applyPatch } from './patch.ts';
import { type LogSource, sendPodLog } from './pod-log.ts';
import type { ObjectPath, Registry } from './registry.ts';
import { inputOptions, isDryRun, readDeleteOptions, readKind, readPatch } from './request-body.ts';
import { noSuchResource, type Resource } from './resources.ts';
import { parseInteger, type ResourceRoute } from './routes.ts';
import { scaleOf } from './scale.ts';
import { itemHead, type Stored, tailOf } from './stored.ts';
import { isStreamPart } from './streams/options.ts';
import type { NodeSource } from './streams/source.ts';
import { bind, evict, writeScale } from './subresource-handlers.ts';
import { includeObject, sendTransformedList, sendTransformedObject } from './table.ts';
import { PATCH_TRIES, type WritePart } from './update.ts';
import { streamWatch, type WatchLimits, type WatchRequest } from './watch-stream.ts';

export interface HandlerContext {
  readonly registry: Registry;
  readonly logs: LogSource | undefined;
  readonly nodes: NodeSource | undefined;
  readonly watchLimits: WatchLimits;
  readonly stopping: AbortSignal;
}

/** Of every kind; all that are served have a schema. */
const OBJECT_OFFERS: Offers = { transforms: true, protobuf: true };

/** Kubernetes answers the delete of these with the object, of the others with a Status. */
const RETURNS_DELETED: ReadonlySet<string> = new Set([
  'pods',
  'services',
  'serviceaccounts',
  'podtemplates',
  'persistentvolumes',
  'persistentvolumeclaims',
  'resourcequotas',
]);

/** Throws `ApiError`; everything that was answered has been sent when it resolves. */
export async function handleResource(
  request: ApiRequest,
  route: ResourceRoute,
  resource: Resource,
  context: HandlerContext,
): Promise<void> {
  const { namespace, name, subresource } = route;
  checkPlace(route, resource);
  const path = { resource, namespace, name };
  if (subresource !== '') return handleSubresource(request, route, path, context);
  const { registry } = context;
  switch (route.verb) {
    case 'get':
      return sendAny(request, 200, await registry.get(request.user, path), registry);
    case 'list':
      return list(request, path, registry);
    case 'watch':
      return streamWatch(request, watchOf(request, route, resource, context));
    case 'create':
      return create(request, path, registry);
    case 'update':
    case 'patch':
      return write(request, route, path, registry);
    case 'delete':
      return remove(request, path, registry);
    case 'deletecollection':
      return removeCollection(request, path, registry);
    default: {
      const never: never = route.verb;
      return never;
    }
  }
}

function checkPlace({ namespace, name }: ResourceRoute, { module }: Resource): void {
  if (!module.namespaced && namespace !== '') throw noSuchResource();
  if (module.namespaced && namespace === '' && name !== '') throw noSuchResource();
}

/** What a GET with `watch=1` asks for. Throws `ApiError` for a place or a form that there is not. */
export function watchOf(
  { message, query, user }: Pick<ApiRequest, 'message' | 'query' | 'user'>,
  route: ResourceRoute,
  resource: Resource,
  { registry, watchLimits, stopping }: Omit<HandlerContext, 'logs' | 'nodes'>,
): WatchRequest {
  checkPlace(route, resource);
  const options = listOptions(query, route.namespace);
  const form = negotiate(message.headers.accept, OBJECT_OFFERS);
  return { user, query, registry, resource, options, form, limits: watchLimits, stopping };
}

async function handleSubresource(
  request: ApiRequest,
  route: ResourceRoute,
  path: ObjectPath,
  context: HandlerContext,
): Promise<void> {
  const { registry } = context;
  const { module } = path.resource;
  const { verb, subresource } = route;
  const writes = verb === 'update' || verb === 'patch';
  const isPods = module.group === '' && module.plural === 'pods';
  const isPart =
    subresource === 'status' || subresource === 'approval' || subresource === 'ephemeralcontainers';
  if (isPart && module.subresources[subresource] === true) {
    if (verb === 'get') {
      const stored = await registry.get(request.user, path, subresource);
      return sendAny(request, 200, stored, registry);
    }
    if (writes) return write(request, route, path, registry);
  } else if (subresource === 'scale' && module.subresources.scale === true) {
    if (verb === 'get') {
      const stored = await registry.get(request.user, path, 'scale');
      return sendValue(request, 200, scaleOf(path.resource, registry.parsed(stored)));
    }
    if (writes) return writeScale(request, route, path, registry);
  } else if (subresource === 'finalize' && module.plural === 'namespaces') {
    if (verb === 'update') return write(request, route, path, registry);
  } else if (isPods && subresource === 'binding') {
    if (verb === 'create') return bind(request, path, registry);
  } else if (isPods && subresource === 'eviction') {
    if (verb === 'create') return evict(request, path, registry);
  } else if (isPods && subresource === 'log') {
    if (verb === 'get') {
      const stored = await registry.get(request.user, path, 'log');
      return sendPodLog(request, registry.parsed(stored) as Pod, context.logs);
    }
  } else if (
    subresource === 'token' &&
    module.group === '' &&
    module.plural === 'serviceaccounts'
  ) {
    if (verb === 'create') return requestToken(request, path, registry);
  } else if (module.group === '' && module.plural === 'nodes' && isNodeProxy(subresource)) {
    if (verb === 'get') return proxyNode(request, path, subresource, context);
  } else if (module.group === '' && module.plural === 'nodes' && subresource === 'shell') {
    if (verb === 'get' || verb === 'create') {
      await registry.authorize(request.user, 'create', path, { subresource });
      throw badRequest('Upgrade request required: "pier shell NODE" sends one');
    }
  } else if (isPods && isStreamPart(subresource)) {
    // What asks for an upgrade does not come here, but to streams/upgrades.ts.
    if (verb === 'get' || verb === 'create') {
      await registry.authorize(request.user, verb, path, { subresource });
      throw badRequest('Upgrade request required');
    }
  } else {
    throw noSuchResource();
  }
  throw methodNotAllowed();
}

export function methodNotAllowed(): ApiError {
  return new ApiError(
    405,
    'MethodNotAllowed',
    'the server does not allow this method on the requested resource',
    {},
  );
}

/** One object, as itself, as a Table of one row, or as its metadata. */
function sendAny(request: ApiRequest, code: number, stored: Stored, registry: Registry): void {
  const form = negotiate(request.message.headers.accept, OBJECT_OFFERS);
  if (form.as === 'object') {
    sendObject(request, code, stored, form);
    return;
  }
  const include = includeObject(request.query);
  sendTransformedObject(
    request,
    code,
    { registry, resource: stored.resource, form, include },
    stored,
  );
}

function listOptions(query: URLSearchParams, namespace: string): ListOptions {
  const labelSelector = query.get('labelSelector') ?? '';
  const fieldSelector = query.get('fieldSelector') ?? '';
  return {
    ...(namespace === '' ? {} : { namespace }),
    ...(labelSelector === '' ? {} : { labelSelector }),
    ...(fieldSelector === '' ? {} : { fieldSelector }),
  };
}

async function list(request: ApiRequest, path: ObjectPath, registry: Registry): Promise<void> {
  const { query, user } = request;
  const { resource, namespace } = path;
  const form = negotiate(request.message.headers.accept, OBJECT_OFFERS);
  if (query.has('sendInitialEvents')) {
    throw new ApiError(
      422,
      'Invalid',
      'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list',
    );
  }
  const limit = parseInteger(query, 'limit') ?? 0;
  if (limit < 0) throw badRequest('limit must not be negative');
  const continueToken = query.get('continue');
  const resourceVersion = query.get('resourceVersion');
  const resourceVersionMatch = query.get('resourceVersionMatch');
  const page: ListPage = {
    limit,
    ...(continueToken === null ? {} : { continueToken }),
    ...(resourceVersion === null ? {} : { resourceVersion }),
    ...(resourceVersionMatch === null ? {} : { resourceVersionMatch }),
  };
  const found = await registry.list(user, resource, listOptions(query, namespace), page);
  return sendAnyList(request, form, found, { registry, resource });
}

async function sendAnyList(
  request: ApiRequest,
  form: AnswerForm,
  found: StoredList,
  context: { readonly registry: Registry; readonly resource: Resource },
): Promise<void> {
  if (form.as !== 'object') {
    const include = includeObject(request.query);
    return sendTransformedList(request, { ...context, form, include }, found);
  }
  if (form.format === 'json') return sendList(request, context.resource, found);
  if (form.format === 'protobuf') return sendProtobufList(request, context.resource, found);
  const { module, apiVersion } = context.resource;
  const items = found.items.map((s) => itemHead(s.revision) + Buffer.from(tailOf(s.value)));
  const text =
    `{"kind":"${module.kind}List","apiVersion":"${apiVersion}",` +
    `"metadata":${JSON.stringify(listMeta(found))},"items":[${items.join(',')}]}`;
  return sendYaml(request, 200, Buffer.from(text));
}

async function create(request: ApiRequest, path: ObjectPath, registry: Registry): Promise<void> {
  const { resource, namespace } = path;
  if (path.name !== '') throw methodNotAllowed();
  if (resource.module.namespaced && namespace === '') throw methodNotAllowed();
  await registry.authorize(request.user, 'create', path);
  const object = await readKind<KubeObject>(request, resource.module);
  const stored = await registry.create(request.user, { resource, namespace }, object, {
    dryRun: isDryRun(request.query),
    warn: (text) => request.warnings.push(text),
  });
  sendAny(request, 201, stored, registry);
}

/** PUT and PATCH of the object, its status, its approval, its ephemeral containers, or a namespace's finalizers. */
async function write(
  request: ApiRequest,
  route: ResourceRoute,
  path: ObjectPath,
  registry: Registry,
): Promise<void> {
  const { query, user } = request;
  const { resource } = path;
  if (path.name === '') throw methodNotAllowed();
  const verb = route.verb === 'patch' ? 'patch' : 'update';
  await registry.authorize(user, verb, path, { subresource: route.subresource });
  const change = await changeOf(request, verb, resource);
  const stored = await registry.update(user, path, change, {
    verb,
    subresource: route.subresource,
    part: partOf(route.subresource),
    dryRun: isDryRun(query),
    warn: (text) => request.warnings.push(text),
    ...(verb === 'patch' ? { triesMax: PATCH_TRIES } : {}),
  });
  sendAny(request, 200, stored, registry);
}

function partOf(subresource: string): WritePart {
  const parts: readonly WritePart[] = ['status', 'approval', 'ephemeralcontainers', 'finalize'];
  return parts.find((part) => part === subresource) ?? 'main';
}

async function changeOf(
  request: ApiRequest,
  verb: 'update' | 'patch',
  resource: Resource,
): Promise<(current: KubeObject) => KubeObject> {
  if (verb === 'patch') {
    const patch = await readPatch(request);
    return (current) => applyPatch(current, patch, resource.module, inputOptions(request));
  }
  const sent = await readKind<KubeObject>(request, resource.module);
  return () => copyOf(sent);
}

async function remove(request: ApiRequest, path: ObjectPath, registry: Registry): Promise<void> {
  await registry.authorize(request.user, 'delete', path);
  const { options, dryRun } = await readDeleteOptions(request);
  const { stored, removed } = await registry.delete(request.user, path, options, dryRun);
  if (!removed || RETURNS_DELETED.has(path.resource.module.plural)) {
    return sendAny(request, 200, stored, registry);
  }
  const { name = '', uid = '' } = registry.core.storage.scanned(stored).metadata ?? {};
  sendValue(request, 200, successStatus(path.resource, name, uid));
}

async function removeCollection(
  request: ApiRequest,
  path: ObjectPath,
  registry: Registry,
): Promise<void> {
  const { resource, namespace } = path;
  const { user, query } = request;
  if (resource.module.namespaced && namespace === '') throw methodNotAllowed();
  await registry.authorize(user, 'deletecollection', path);
  const { options, dryRun } = await readDeleteOptions(request);
  const selection = listOptions(query, namespace);
  const gone = await registry.deleteCollection(user, resource, selection, { ...options, dryRun });
  const form = negotiate(request.message.headers.accept, OBJECT_OFFERS);
  return sendAnyList(request, form, gone, { registry, resource });
}

/** Subresources that take a body of another kind: scale, binding and eviction. */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import type { Binding, Eviction, Scale } from '../../protocol/kinds/types.ts';
import { type ApiRequest, sendValue } from './answers.ts';
import { type BodyKind, decodeInput } from './input.ts';
import { applyPatch } from './patch.ts';
import type { ObjectPath, Registry } from './registry.ts';
import { inputOptions, isDryRun, readKind, readPatch } from './request-body.ts';
import type { ResourceRoute } from './routes.ts';
import { SCALE_KIND, scaleOf, withScale } from './scale.ts';
import { PATCH_TRIES } from './update.ts';

const BINDING_KIND: BodyKind = {
  group: '',
  version: 'v1',
  kind: 'Binding',
  message: 'io.k8s.api.core.v1.Binding',
};
const EVICTION_KIND: BodyKind = {
  group: 'policy',
  version: 'v1',
  kind: 'Eviction',
  message: 'io.k8s.api.policy.v1.Eviction',
};
const CREATED = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 };

export async function writeScale(
  request: ApiRequest,
  route: ResourceRoute,
  path: ObjectPath,
  registry: Registry,
): Promise<void> {
  const { user, query } = request;
  const { resource } = path;
  const verb = route.verb === 'patch' ? 'patch' : 'update';
  await registry.authorize(user, verb, path, { subresource: 'scale' });
  const options = inputOptions(request);
  const patch = verb === 'patch' ? await readPatch(request) : undefined;
  const sent = patch === undefined ? await readKind<Scale>(request, SCALE_KIND) : undefined;
  const change = (current: KubeObject): KubeObject => {
    const scale =
      patch === undefined
        ? sent
        : applyPatch(scaleOf(resource, current), patch, SCALE_KIND, options);
    const wanted = decodeInput<Scale>(scale, SCALE_KIND, { fieldValidation: 'Ignore' });
    return withScale(resource, current, wanted);
  };
  const stored = await registry.update(user, path, change, {
    verb,
    subresource: 'scale',
    part: 'main',
    dryRun: isDryRun(query),
    ...(verb === 'patch' ? { triesMax: PATCH_TRIES } : {}),
  });
  sendValue(request, 200, scaleOf(resource, registry.parsed(stored)));
}

export async function bind(
  request: ApiRequest,
  path: ObjectPath,
  registry: Registry,
): Promise<void> {
  const { user, query } = request;
  await registry.authorize(user, 'create', path, { subresource: 'binding' });
  const binding = await readKind<Binding>(request, BINDING_KIND);
  const options = { dryRun: isDryRun(query) };
  await registry.bind(user, path.namespace, path.name, binding, options);
  sendValue(request, 201, CREATED);
}

export async function evict(
  request: ApiRequest,
  path: ObjectPath,
  registry: Registry,
): Promise<void> {
  const { user, query } = request;
  await registry.authorize(user, 'create', path, { subresource: 'eviction' });
  const eviction = await readKind<Eviction>(request, EVICTION_KIND);
  const { gracePeriodSeconds, preconditions, dryRun } = eviction.deleteOptions ?? {};
  const dry = isDryRun(query) || (dryRun ?? []).includes('All');
  await registry.evict(
    user,
    path,
    {
      ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
      ...(preconditions === undefined ? {} : { preconditions }),
    },
    dry,
  );
  sendValue(request, 201, CREATED);
}

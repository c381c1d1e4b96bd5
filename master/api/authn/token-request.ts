/** POST serviceaccounts/NAME/token: what `kubectl create token` and the boards ask for. Never stored. */
import { rfc3339 } from '../../../protocol/clock.ts';
import type { ServiceAccount, TokenRequest } from '../../../protocol/kinds/types.ts';
import {
  badRequest,
  conflict,
  type FieldError,
  invalid,
  notFound,
} from '../../../protocol/status.ts';
import { type ApiRequest, sendValue } from '../answers.ts';
import { RESOURCES } from '../client.ts';
import type { BodyKind } from '../input.ts';
import { notSupported } from '../kinds/validate/errors.ts';
import { validateTokenSeconds } from '../kinds/validate/volumes.ts';
import type { ObjectPath, Registry } from '../registry.ts';
import { isDryRun, readKind } from '../request-body.ts';
import { type BoundObject, ISSUER } from './account-tokens.ts';

const GROUP = 'authentication.k8s.io';
export const TOKEN_REQUEST: BodyKind = {
  group: GROUP,
  version: 'v1',
  kind: 'TokenRequest',
  message: 'io.k8s.api.authentication.v1.TokenRequest',
};
const SECONDS_DEFAULT = 3600;
const BINDABLE = ['Pod', 'Secret', 'Node'] as const;

export async function requestToken(
  request: ApiRequest,
  path: ObjectPath,
  registry: Registry,
): Promise<void> {
  await registry.authorize(request.user, 'create', path, { subresource: 'token' });
  const wish = await readKind<TokenRequest>(request, TOKEN_REQUEST);
  const { status, ...made } = await createToken(registry, path, wish);
  const token = isDryRun(request.query) ? '' : status.token;
  sendValue(request, 201, { ...made, status: { ...status, token } });
}

type GivenToken = TokenRequest & { readonly status: { readonly token: string } };

/** Whoever calls has authorized. Throws `ApiError`: no such account, a wrong wish, a bound object that is another. */
export async function createToken(
  registry: Registry,
  path: ObjectPath,
  wish: TokenRequest,
): Promise<GivenToken> {
  const { namespace, name } = path;
  const account: ServiceAccount | undefined = await registry.tokens.find(
    RESOURCES.serviceAccounts,
    namespace,
    name,
  );
  if (account === undefined) throw notFound(path.resource.ref, name);
  const spec = { ...wish.spec };
  spec.expirationSeconds ??= SECONDS_DEFAULT;
  if ((spec.audiences ?? []).length === 0) spec.audiences = [ISSUER];
  const errors = validate(spec);
  if (errors.length > 0) throw invalid(GROUP, 'TokenRequest', wish.metadata?.name ?? '', errors);
  const { bound, node } = await boundObject(registry, path, spec.boundObjectRef);
  const { token, expiresMs } = registry.tokens.issue({
    account,
    audiences: spec.audiences ?? [],
    seconds: spec.expirationSeconds,
    bound,
    node,
  });
  return {
    kind: 'TokenRequest',
    apiVersion: `${GROUP}/v1`,
    metadata: { name, namespace, creationTimestamp: rfc3339(registry.core.clock.wallMs()) },
    spec,
    status: { token, expirationTimestamp: rfc3339(expiresMs) },
  };
}

function validate(spec: NonNullable<TokenRequest['spec']>): FieldError[] {
  const { expirationSeconds: seconds = 0, boundObjectRef: bound } = spec;
  const errors = validateTokenSeconds('spec.expirationSeconds', seconds);
  if (bound !== undefined && kindOf(bound.kind) === undefined) {
    errors.push(notSupported('spec.boundObjectRef.kind', bound.kind, BINDABLE));
  }
  return errors;
}

function kindOf(kind: string | undefined): BoundObject['kind'] | undefined {
  return BINDABLE.find((one) => one === kind);
}

async function boundObject(
  registry: Registry,
  { namespace, name: account }: ObjectPath,
  wanted: NonNullable<TokenRequest['spec']>['boundObjectRef'],
): Promise<{ bound?: BoundObject; node?: { name: string; uid: string } }> {
  const kind = kindOf(wanted?.kind);
  if (wanted === undefined || kind === undefined) return {};
  const name = wanted.name ?? '';
  const object = await registry.tokens.bindable(namespace, kind, name);
  const uid = object?.metadata?.uid ?? '';
  const ref = { group: '', resource: `${kind.toLowerCase()}s` };
  if (object === undefined) throw notFound(ref, name);
  if (wanted.uid !== undefined && wanted.uid !== '' && wanted.uid !== uid) {
    const why =
      `the UID in the bound object reference (${wanted.uid}) does not match the UID in record. ` +
      'The object might have been deleted and then recreated';
    throw conflict(ref, name, why);
  }
  const bound = { kind, name, uid };
  if (kind !== 'Pod') return { bound };
  if ((object.spec?.serviceAccountName || 'default') !== account) {
    throw badRequest(
      `cannot bind token for serviceaccount "${account}" to pod running with different serviceaccount name.`,
    );
  }
  const board = object.spec?.nodeName ?? '';
  const found = board === '' ? undefined : await registry.tokens.find(RESOURCES.nodes, '', board);
  if (found === undefined) return { bound };
  return { bound, node: { name: board, uid: found.metadata?.uid ?? '' } };
}

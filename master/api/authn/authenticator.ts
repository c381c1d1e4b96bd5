/**
 * Who asks: the client certificate, else the bearer token; and for whom he asks, when he may act as another (Kubernetes:
 * "User impersonation"). Nobody anonymous passes.
 */
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import { badRequest, unauthorized } from '../../../protocol/status.ts';
import { forbiddenResource, type ResourceAttributes } from '../authorizer.ts';
import type { User } from '../client.ts';
import { AUTHENTICATED, accountGroups, parseAccountUser } from '../rbac/subjects.ts';
import type { Registry } from '../registry.ts';
import { TokenError } from './account-tokens.ts';

const IMPERSONATE_PREFIX = 'impersonate-';
const EXTRA_PREFIX = 'impersonate-extra-';

export class Authenticator {
  readonly #registry: Registry;
  /** Asked once per connection. */
  readonly #users = new WeakMap<object, User | 'none'>();

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** Throws 401 for nobody, 403 when the user may not act as the one of the Impersonate headers. */
  async authenticate(message: IncomingMessage): Promise<User> {
    const user = this.#certificate(message) ?? (await this.#bearer(message));
    if (user === undefined) throw unauthorized();
    const wanted = mayImpersonate(message) ? impersonated(message) : undefined;
    if (wanted === undefined) return user;
    for (const what of rightsFor(wanted)) {
      const decision = await this.#registry.authorizer.authorize(user, what);
      if (!decision.allowed) throw forbiddenResource(user, what, decision.reason);
    }
    return withGroups(wanted);
  }

  #certificate(message: IncomingMessage): User | undefined {
    const { socket } = message;
    const known = this.#users.get(socket);
    if (known !== undefined) return known === 'none' ? undefined : known;
    const user = socket instanceof TLSSocket ? certificateUser(socket) : undefined;
    this.#users.set(socket, user ?? 'none');
    return user;
  }

  async #bearer(message: IncomingMessage): Promise<User | undefined> {
    const [scheme, token = ''] = (message.headers.authorization ?? '').trim().split(/\s+/);
    if (scheme?.toLowerCase() !== 'bearer' || token === '') return undefined;
    try {
      return (await this.#registry.tokens.verify(token)).user;
    } catch (error) {
      if (error instanceof TokenError) return undefined;
      throw error;
    }
  }
}

/** Kubernetes, X.509 client certificates: the common name is the user, each organization a group. */
function certificateUser(socket: TLSSocket): User | undefined {
  if (!socket.authorized) return undefined;
  const subject = socket.getPeerCertificate()?.subject as
    | { readonly CN?: string | string[]; readonly O?: string | string[] }
    | undefined;
  const name = subject?.CN;
  if (typeof name !== 'string' || name === '') return undefined;
  const groups = subject?.O ?? [];
  return withAuthenticated(name, typeof groups === 'string' ? [groups] : groups);
}

function withAuthenticated(name: string, groups: readonly string[]): User {
  return { name, groups: [...groups.filter((group) => group !== AUTHENTICATED), AUTHENTICATED] };
}

/** False for nearly all requests, and cheaper than to look for each of the headers. */
function mayImpersonate({ headers }: IncomingMessage): boolean {
  for (const key in headers) if (key.startsWith(IMPERSONATE_PREFIX)) return true;
  return false;
}

/** The user of the Impersonate headers; undefined without them. Throws 400 when they make no sense. */
export function impersonated(message: Pick<IncomingMessage, 'headersDistinct'>): User | undefined {
  const headers = message.headersDistinct;
  const [name = ''] = headers['impersonate-user'] ?? [];
  const groups = headers['impersonate-group'] ?? [];
  const [uid = ''] = headers['impersonate-uid'] ?? [];
  const extra: Record<string, string[]> = {};
  for (const [key, values] of Object.entries(headers)) {
    if (!key.startsWith(EXTRA_PREFIX)) continue;
    extra[unescaped(key.slice(EXTRA_PREFIX.length))] = values ?? [];
  }
  const hasExtra = Object.keys(extra).length > 0;
  if (name === '') {
    if (groups.length === 0 && uid === '' && !hasExtra) return undefined;
    throw badRequest(
      'requested impersonation of a group, uid or extra without impersonating a user',
    );
  }
  return {
    name,
    groups,
    ...(uid === '' ? {} : { uid }),
    ...(hasExtra ? { extra } : {}),
  };
}

/** Header names hold what they may not hold as %XX. */
function unescaped(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    return key;
  }
}

/** Everything that must be allowed, before one user may act as another. */
export function rightsFor(wanted: User): ResourceAttributes[] {
  const right = (group: string, resource: string, name: string, more: object = {}) => ({
    ...{ verb: 'impersonate', group, resource, subresource: '', namespace: '', name },
    ...more,
  });
  const account = parseAccountUser(wanted.name);
  const authn = 'authentication.k8s.io';
  return [
    account === undefined
      ? right('', 'users', wanted.name)
      : right('', 'serviceaccounts', account.name, { namespace: account.namespace }),
    ...wanted.groups.map((group) => right('', 'groups', group)),
    ...(wanted.uid === undefined ? [] : [right(authn, 'uids', wanted.uid)]),
    ...Object.entries(wanted.extra ?? {}).flatMap(([key, values]) =>
      values.map((value) => right(authn, 'userextras', value, { subresource: key })),
    ),
  ];
}

/** A service account that is named without groups has its own; everybody is authenticated. */
function withGroups(user: User): User {
  const account = parseAccountUser(user.name);
  const groups =
    account !== undefined && user.groups.length === 0
      ? accountGroups(account.namespace)
      : withAuthenticated(user.name, user.groups).groups;
  return { ...user, groups };
}

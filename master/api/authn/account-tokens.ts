/**
 * Tokens of service accounts: made for a TokenRequest, recognised as a bearer. A token holds as long as its account and, when
 * it is bound to one, its Pod, Secret or Node are the same objects as when it was made; whoever deletes them revokes it.
 *
 * Expiry is by the wall clock of the master, the same that made the token. That a token is "not yet valid" is not looked at:
 * a clock that was set back must not lock pods out.
 */
import type { KeyObject } from 'node:crypto';
import type { KubeObject } from '../../../protocol/kinds/meta.ts';
import type { Pod, ServiceAccount } from '../../../protocol/kinds/types.ts';
import { RESOURCES, type ResourceId, type User } from '../client.ts';
import type { Core } from '../core.ts';
import { accountGroups, accountUserName } from '../rbac/subjects.ts';
import { type Claims, JwtKey } from './jwt.ts';

/** The issuer of the tokens, and their audience when none is asked for. */
export const ISSUER = 'https://kubernetes.default.svc.cluster.local';

export interface BoundObject {
  readonly kind: 'Pod' | 'Secret' | 'Node';
  readonly name: string;
  readonly uid: string;
}

export interface TokenWish {
  readonly account: ServiceAccount;
  readonly audiences: readonly string[];
  readonly seconds: number;
  readonly bound?: BoundObject | undefined;
  /** The board of the pod that the token is bound to. */
  readonly node?: { readonly name: string; readonly uid: string } | undefined;
}

/** Why a token is not accepted, in the words that a TokenReview shows. */
export class TokenError extends Error {}

const BOUND: Readonly<Record<BoundObject['kind'], ResourceId>> = {
  Pod: RESOURCES.pods,
  Secret: RESOURCES.secrets,
  Node: RESOURCES.nodes,
};
const EXTRA = 'authentication.kubernetes.io/';
/** Verified tokens are remembered: a signature costs a millisecond on a Pi. */
const REMEMBERED_MAX = 256;

export class AccountTokens {
  readonly #core: Core;
  readonly #key: JwtKey;
  readonly #remembered = new Map<string, Claims>();

  constructor(core: Core, key: KeyObject) {
    this.#core = core;
    this.#key = new JwtKey(key);
  }

  /** The token and when it ends, in milliseconds of the wall clock. */
  issue(wish: TokenWish): { readonly token: string; readonly expiresMs: number } {
    const nowSeconds = Math.floor(this.#core.clock.wallMs() / 1000);
    const { name = '', namespace = '', uid = '' } = wish.account.metadata ?? {};
    const { bound, node } = wish;
    const claims = {
      aud: wish.audiences,
      exp: nowSeconds + wish.seconds,
      iat: nowSeconds,
      iss: ISSUER,
      jti: this.#core.random.uuid(),
      'kubernetes.io': {
        namespace,
        ...(node === undefined ? {} : { node }),
        ...(bound === undefined
          ? {}
          : { [bound.kind.toLowerCase()]: { name: bound.name, uid: bound.uid } }),
        serviceaccount: { name, uid },
      },
      nbf: nowSeconds,
      sub: accountUserName(namespace, name),
    };
    return { token: this.#key.sign(claims), expiresMs: claims.exp * 1000 };
  }

  /** Throws TokenError. `audiences`: at least one of them must be the token's. */
  async verify(
    token: string,
    audiences: readonly string[] = [ISSUER],
  ): Promise<{ readonly user: User; readonly audiences: readonly string[] }> {
    const claims = this.#claims(token);
    if (claims === undefined || claims.iss !== ISSUER) throw new TokenError('invalid bearer token');
    if (!(Number(claims.exp) * 1000 > this.#core.clock.wallMs())) {
      throw new TokenError('service account token has expired');
    }
    const own = Array.isArray(claims.aud) ? claims.aud : [];
    const common = audiences.filter((one) => own.includes(one));
    if (common.length === 0) {
      const shown = JSON.stringify(own);
      throw new TokenError(`token audiences ${shown} is invalid for the target audiences`);
    }
    return { user: await this.#user(claims), audiences: common };
  }

  /** RFC 7517: what outsiders need to check our tokens. */
  keySet(): object {
    return { keys: [this.#key.jwk()] };
  }

  #claims(token: string): Claims | undefined {
    const known = this.#remembered.get(token);
    if (known !== undefined) return known;
    const claims = this.#key.verify(token);
    if (claims === undefined) return undefined;
    this.#remembered.set(token, claims);
    if (this.#remembered.size > REMEMBERED_MAX) {
      for (const oldest of this.#remembered.keys()) {
        this.#remembered.delete(oldest);
        break;
      }
    }
    return claims;
  }

  async #user(claims: Claims): Promise<User> {
    const own = part(claims, 'kubernetes.io');
    const namespace = String(own.namespace ?? '');
    const account = reference(own, 'serviceaccount');
    if (account === undefined) throw new TokenError('invalid bearer token');
    await this.#require(RESOURCES.serviceAccounts, namespace, account);
    const extra: Record<string, string[]> = {
      [`${EXTRA}credential-id`]: [`JTI=${String(claims.jti)}`],
    };
    for (const kind of ['Pod', 'Secret', 'Node'] as const) {
      const bound = reference(own, kind.toLowerCase());
      if (bound === undefined) continue;
      // The board of a pod may have been made anew; only what the token was bound to must be the same.
      const isBinding = kind !== 'Node' || reference(own, 'pod') === undefined;
      if (isBinding) await this.#require(BOUND[kind], kind === 'Node' ? '' : namespace, bound);
      if (kind === 'Secret') continue;
      extra[`${EXTRA}${kind.toLowerCase()}-name`] = [bound.name];
      extra[`${EXTRA}${kind.toLowerCase()}-uid`] = [bound.uid];
    }
    return {
      name: accountUserName(namespace, account.name),
      uid: account.uid,
      groups: accountGroups(namespace),
      extra,
    };
  }

  async #require(
    id: ResourceId,
    namespace: string,
    wanted: { readonly name: string; readonly uid: string },
  ): Promise<void> {
    const object = await this.find(id, namespace, wanted.name);
    if (object?.metadata?.uid !== wanted.uid) {
      throw new TokenError('service account token has been invalidated');
    }
  }

  /** The object, or undefined when there is none. */
  async find(id: ResourceId, namespace: string, name: string): Promise<KubeObject | undefined> {
    const resource = this.#core.table.get(id);
    const stored = await this.#core.storage.read(resource, namespace, name);
    return stored && this.#core.storage.parsed(stored);
  }

  /** What a token may be bound to, with its uid. Undefined when it is not there. */
  async bindable(
    namespace: string,
    kind: BoundObject['kind'],
    name: string,
  ): Promise<Pod | undefined> {
    return this.find(BOUND[kind], kind === 'Node' ? '' : namespace, name);
  }
}

function part(value: object, key: string): Readonly<Record<string, unknown>> {
  const inner: unknown = Reflect.get(value, key);
  return typeof inner === 'object' && inner !== null ? { ...inner } : {};
}

function reference(
  claims: object,
  key: string,
): { readonly name: string; readonly uid: string } | undefined {
  const { name, uid } = part(claims, key);
  return typeof name === 'string' && typeof uid === 'string' ? { name, uid } : undefined;
}

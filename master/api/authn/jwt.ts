/** JSON Web Tokens signed with ES256, and nothing else (RFC 7515, 7518 section 3.4, 7519). */
import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';

export type Claims = Readonly<Record<string, unknown>>;

const TOKEN_BYTES_MAX = 16 * 1024;

export class JwtKey {
  readonly #private: KeyObject;
  readonly #public: KeyObject;
  readonly #head: string;
  readonly id: string;

  /** `key`: a P-256 private key. */
  constructor(key: KeyObject) {
    this.#private = key;
    this.#public = createPublicKey(key);
    const der = this.#public.export({ type: 'spki', format: 'der' });
    this.id = createHash('sha256').update(der).digest('base64url');
    this.#head = encode({ alg: 'ES256', kid: this.id });
  }

  sign(claims: Claims): string {
    const text = `${this.#head}.${encode(claims)}`;
    const key = { key: this.#private, dsaEncoding: 'ieee-p1363' as const };
    return `${text}.${sign('sha256', Buffer.from(text), key).toString('base64url')}`;
  }

  /** The claims of a token that this key signed; undefined for anything else. Dates are not looked at. */
  verify(token: string): Claims | undefined {
    const [head = '', body = '', signature = '', ...more] = token.split('.');
    // The one head that we write: no other algorithm can be talked into.
    if (token.length > TOKEN_BYTES_MAX || more.length > 0 || head !== this.#head) return undefined;
    const key = { key: this.#public, dsaEncoding: 'ieee-p1363' as const };
    const bytes = Buffer.from(signature, 'base64url');
    if (!verify('sha256', Buffer.from(`${head}.${body}`), key, bytes)) return undefined;
    const claims: unknown = JSON.parse(Buffer.from(body, 'base64url').toString('utf8'));
    return typeof claims === 'object' && claims !== null ? { ...claims } : undefined;
  }

  /** The public half as a JSON Web Key (RFC 7517). */
  jwk(): object {
    return { use: 'sig', kid: this.id, alg: 'ES256', ...this.#public.export({ format: 'jwk' }) };
  }
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

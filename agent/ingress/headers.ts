/**
 * What of a message's header goes on. Pure, over header lists as Node has them: name, value, name, value.
 *
 * RFC 9110 (7.6.1): fields of one connection end here, among them those that Connection names. How a body is framed is said
 * anew on each side, so that no two parsers see two messages in one. What a client says about who it is for is not
 * believed: boards are the first that see it.
 */

const OF_CONNECTION: ReadonlySet<string> = new Set([
  ...['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding'],
  ...['upgrade', 'http2-settings'],
]);
/** Not to be taken away by naming it in Connection. */
const NEVER_OF_CONNECTION: ReadonlySet<string> = new Set(['content-length', 'host', 'expect']);
const FORWARDED = /^(x-forwarded-.*|forwarded|x-real-ip)$/;

export interface ClientFacts {
  readonly ip: string;
  /** As the client named it, with the port. */
  readonly authority: string;
  readonly scheme: 'http' | 'https';
}

/** For the backend. `upgrade`: the protocol to change to. */
export function requestHeaders(
  raw: readonly string[],
  { ip, authority, scheme }: ClientFacts,
  upgrade?: string,
): string[] {
  const isChunked = valuesOf(raw, 'transfer-encoding').length > 0;
  const kept = filtered(raw, (name) => {
    // Backends of old take "_" for "-".
    if (FORWARDED.test(name.replaceAll('_', '-'))) return false;
    return name !== 'host' && !(isChunked && name === 'content-length');
  });
  return [
    ...['Host', authority],
    ...kept,
    ...['X-Forwarded-For', ip, 'X-Forwarded-Host', authority, 'X-Forwarded-Proto', scheme],
    ...['X-Real-IP', ip],
    ...(isChunked ? ['Transfer-Encoding', 'chunked'] : []),
    ...(upgrade === undefined ? [] : ['Connection', 'Upgrade', 'Upgrade', upgrade]),
  ];
}

/** For the client. */
export function responseHeaders(raw: readonly string[]): string[] {
  const isChunked = valuesOf(raw, 'transfer-encoding').length > 0;
  return filtered(raw, (name) => !(isChunked && name === 'content-length'));
}

/** Whether a body may follow; its length is not known while it is chunked. */
export function hasBody(raw: readonly string[]): boolean {
  const length = valuesOf(raw, 'content-length').some((value) => Number(value) !== 0);
  return length || valuesOf(raw, 'transfer-encoding').length > 0;
}

/** Every coding but chunked would have to be understood here. */
export function hasUnknownCoding(raw: readonly string[]): boolean {
  const codings = valuesOf(raw, 'transfer-encoding').join(',').toLowerCase().trim();
  return codings !== '' && codings !== 'chunked';
}

/** Of all fields with this name, in order. */
export function valuesOf(raw: readonly string[], name: string): string[] {
  return raw.filter((_, index) => index % 2 === 1 && raw[index - 1]?.toLowerCase() === name);
}

function filtered(raw: readonly string[], isKept: (name: string) => boolean): string[] {
  const named = valuesOf(raw, 'connection').flatMap((value) => value.toLowerCase().split(','));
  const ended = new Set(named.map((name) => name.trim()));
  for (const name of NEVER_OF_CONNECTION) ended.delete(name);
  const kept: string[] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const [field = '', value = ''] = [raw[index], raw[index + 1]];
    const name = field.toLowerCase();
    if (!OF_CONNECTION.has(name) && !ended.has(name) && isKept(name)) kept.push(field, value);
  }
  return kept;
}

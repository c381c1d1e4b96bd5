/**
 * Which host and path a request is for. Pure.
 *
 * Paths are compared in the normal form of RFC 3986 (6.2.2): unreserved characters unescaped, dot segments resolved. So a rule
 * cannot be got round by another spelling of the same path, while the backend gets the request as the client wrote it.
 */

export interface RequestTarget {
  /** In lower case and without the port; empty when the client named none. */
  readonly host: string;
  /** As the client wrote it, with its port: for the backend. */
  readonly authority: string;
  /** To compare with rules. */
  readonly path: string;
  /** Path and query as the client wrote them. */
  readonly rest: string;
}

/** "http://host/path" instead of "/path": RFC 9112 (3.2.2) makes servers take it, and its host counts. */
const ABSOLUTE = /^https?:\/\/([^/?#]*)(.*)$/i;
const AUTHORITY = /^([a-z0-9._-]*|\[[0-9a-f:.]+\])(?::\d{0,5})?$/i;

/** No DNS name is longer. It is told to backends twice, and must not make a header too long that was not. */
const HOST_MAX = 255;

/** Undefined for what no server should guess about: several hosts, a host that is none, a target that is no path. */
export function requestTarget(
  url: string,
  rawHeaders: readonly string[],
): RequestTarget | undefined {
  const hosts = rawHeaders.filter(
    (_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === 'host',
  );
  if (hosts.length > 1) return undefined;
  const [, named, afterHost = ''] = ABSOLUTE.exec(url) ?? [];
  const authority = named ?? hosts[0] ?? '';
  const [, name] = AUTHORITY.exec(authority) ?? [];
  const rest = named === undefined ? url : afterHost.replace(/^(?!\/)/, '/');
  if (name === undefined || name.length > HOST_MAX) return undefined;
  if (!rest.startsWith('/') || rest.includes('#')) return undefined;
  const path = normalPath(rest.replace(/\?.*$/s, ''));
  return { host: name.toLowerCase().replace(/\.$/, ''), authority, path, rest };
}

/** Begins with "/"; never above it. */
export function normalPath(path: string): string {
  const segments: string[] = [];
  let last = '';
  for (const segment of path
    .replaceAll(/%[0-9a-f]{2}/gi, unescaped)
    .slice(1)
    .split('/')) {
    last = segment;
    if (segment === '..') segments.pop();
    else if (segment !== '.') segments.push(segment);
  }
  // "/a/.." and "/a/." are folders.
  if (last === '.' || last === '..') segments.push('');
  return `/${segments.join('/')}`;
}

function unescaped(code: string): string {
  const character = String.fromCharCode(Number.parseInt(code.slice(1), 16));
  return /[a-z0-9._~-]/i.test(character) ? character : code;
}

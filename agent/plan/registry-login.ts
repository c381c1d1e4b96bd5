/**
 * Which of a pod's imagePullSecrets a registry is shown for an image. Pure; as Kubernetes documents it ("Images",
 * interpretation of config.json): an entry is for a registry's host and port, whose parts may be globs, and, if it has a
 * path, for the images below it; the one that says most comes first, and all that fit are tried.
 */
import { fullImageName } from '../../protocol/image-name.ts';
import type { RegistryLogin } from '../runtime/runtime.ts';
import type { BoardPod } from './board-pod.ts';
import type { ConfigLookup } from './environment.ts';

export interface RegistryLogins {
  /** Best first; none: the registry is asked without a name. */
  readonly logins: readonly RegistryLogin[];
  /** Names of secrets that are not there or hold no such thing. */
  readonly missing: readonly string[];
}

interface Entry {
  /** Host with port and path, without a scheme. */
  readonly place: string;
  readonly login: RegistryLogin;
}

/** Docker's own registry goes by a name that no image has. */
const DOCKER_HUB = 'index.docker.io';

/** For the image of a container. The secrets come from the pod's namespace. */
export function registryLogins(
  pod: BoardPod,
  configs: ConfigLookup,
  image: string,
): RegistryLogins {
  const entries: Entry[] = [];
  const missing: string[] = [];
  for (const { name = '' } of pod.spec.imagePullSecrets ?? []) {
    const data = name === '' ? undefined : configs('secret', pod.namespace, name);
    const found = data === undefined ? undefined : readEntries(data);
    if (found !== undefined) entries.push(...found);
    else if (name !== '') missing.push(name);
  }
  return { logins: matching(entries, imagePlace(image)), missing };
}

/** Host and path of an image, without tag and digest. */
function imagePlace(image: string): string {
  const [name = ''] = fullImageName(image).split('@');
  const colon = name.lastIndexOf(':');
  return colon > name.lastIndexOf('/') ? name.slice(0, colon) : name;
}

function matching(entries: readonly Entry[], place: string): RegistryLogin[] {
  // The longer of two places with the same beginning sorts behind it: so the last comes first.
  const sorted = [...entries].sort((a, b) => (a.place < b.place ? 1 : a.place > b.place ? -1 : 0));
  const fitting = sorted.filter((entry) => fits(entry.place, place));
  const isDockerHub = place.startsWith('docker.io/');
  const found =
    fitting.length === 0 && isDockerHub ? sorted.filter((e) => e.place === DOCKER_HUB) : fitting;
  return found.map(({ login }) => login);
}

function fits(pattern: string, place: string): boolean {
  const [wanted, found] = [split(pattern), split(place)];
  if (wanted.port !== found.port || wanted.parts.length !== found.parts.length) return false;
  if (!found.path.startsWith(wanted.path)) return false;
  return wanted.parts.every((part, index) => glob(part).test(found.parts[index] ?? ''));
}

function split(place: string): { parts: string[]; port: string; path: string } {
  const slash = place.indexOf('/');
  const host = slash < 0 ? place : place.slice(0, slash);
  const [name = '', port = ''] = host.split(':');
  return { parts: name.split('.'), port, path: slash < 0 ? '' : place.slice(slash) };
}

/** `*`, `?` and `[...]` within one part of a host's name. */
function glob(part: string): RegExp {
  const text = part
    .replace(/[\\^$.+(){}|]/g, '\\$&')
    .replace(/\*/g, '.*')
    .replace(/\?/g, '.');
  try {
    return new RegExp(`^${text}$`);
  } catch {
    // "[" without an end: no host has it in its name.
    return /(?!)/;
  }
}

/** Undefined when the secret holds neither of the two forms. */
function readEntries(data: Readonly<Record<string, Uint8Array>>): Entry[] | undefined {
  const modern = data['.dockerconfigjson'];
  const hosts = modern === undefined ? parse(data['.dockercfg']) : member(parse(modern), 'auths');
  if (hosts === undefined) return undefined;
  return Object.entries(hosts).flatMap(([host, value]) => {
    const login = readLogin(value);
    return login === undefined ? [] : [{ place: placeOf(host), login }];
  });
}

type JsonMap = Readonly<Record<string, unknown>>;

function parse(bytes: Uint8Array | undefined): JsonMap | undefined {
  if (bytes === undefined) return undefined;
  try {
    return asMap(JSON.parse(new TextDecoder().decode(bytes)));
  } catch {
    return undefined;
  }
}

function asMap(value: unknown): JsonMap | undefined {
  return typeof value === 'object' && value !== null ? (value as JsonMap) : undefined;
}

function member(value: JsonMap | undefined, name: string): JsonMap | undefined {
  return asMap(value?.[name]);
}

/** `https://index.docker.io/v1/` is the host alone: versions of the registry's API are no part of an image's path. */
function placeOf(host: string): string {
  const plain = host.replace(/^https?:\/\//, '');
  return plain.replace(/^([^/]*)\/v[12]\//, '$1/').replace(/^([^/]*)\/$/, '$1');
}

/** `auth` is "name:password" in base64, and counts before the two fields. */
function readLogin(value: unknown): RegistryLogin | undefined {
  const { auth, username, password } = asMap(value) ?? {};
  if (typeof auth === 'string' && auth !== '') {
    const text = decodeBase64(auth);
    const colon = text.indexOf(':');
    if (colon < 0) return undefined;
    // Docker's own tools have padded passwords with zeros.
    const secret = text.slice(colon + 1).replace(/\0+$/, '');
    return { username: text.slice(0, colon), password: secret };
  }
  if (typeof username !== 'string' || typeof password !== 'string') return undefined;
  return { username, password };
}

function decodeBase64(text: string): string {
  try {
    const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
    return new TextDecoder().decode(bytes);
  } catch {
    return '';
  }
}

/** What a request for exec, attach or port-forward asks: the query of core/v1 PodExecOptions and its siblings. Pure. */
import type { Pod } from '../../../protocol/kinds/types.ts';
import { badRequest } from '../../../protocol/status.ts';
import { parseBoolean } from '../routes.ts';
import type { Redirections } from './source.ts';

/** kubectl honours it, too: which container is meant when none is named. */
const DEFAULT_CONTAINER = 'kubectl.kubernetes.io/default-container';
const PORTS_MAX = 64;

export type StreamPart = 'exec' | 'attach' | 'portforward';

/** Whether this subresource of pods is a stream, which a client gets by an upgrade. */
export function isStreamPart(subresource: string): subresource is StreamPart {
  return subresource === 'exec' || subresource === 'attach' || subresource === 'portforward';
}

/** Throws ApiError 400. */
export function commandOf(query: URLSearchParams): string[] {
  const command = query.getAll('command');
  if (command.length === 0) throw badRequest('you must specify at least one command');
  return command;
}

/** Throws ApiError 400. */
export function redirectionsOf(pod: Pod, query: URLSearchParams): Redirections {
  const tty = isSet(query, 'tty');
  const wanted = {
    stdin: isSet(query, 'stdin'),
    stdout: isSet(query, 'stdout'),
    // A terminal has one output only.
    stderr: isSet(query, 'stderr') && !tty,
    tty,
  };
  if (!wanted.stdin && !wanted.stdout && !wanted.stderr) {
    throw badRequest('you must specify at least 1 of stdin, stdout, stderr');
  }
  return { container: containerOf(pod, query.get('container') ?? ''), ...wanted };
}

function isSet(query: URLSearchParams, key: string): boolean {
  return query.has(key) && parseBoolean(query.get(key));
}

/** The one that is named, or that the pod's annotation names, or the first. */
function containerOf({ metadata, spec }: Pod, wanted: string): string {
  const main = (spec?.containers ?? []).map(({ name }) => name);
  const others = [...(spec?.initContainers ?? []), ...(spec?.ephemeralContainers ?? [])];
  const all = [...main, ...others.map(({ name }) => name)];
  if (wanted !== '') {
    if (all.includes(wanted)) return wanted;
    throw badRequest(`container ${wanted} is not valid for pod ${metadata?.name}`);
  }
  const usual = metadata?.annotations?.[DEFAULT_CONTAINER];
  if (usual !== undefined && all.includes(usual)) return usual;
  const [first] = main;
  if (first === undefined) throw badRequest(`pod ${metadata?.name} has no container`);
  return first;
}

/** Of the older WebSocket form of port-forward, `?ports=80&ports=81,82`. Throws ApiError 400. */
export function portsOf(query: URLSearchParams): number[] {
  const texts = query.getAll('ports').flatMap((text) => text.split(','));
  if (texts.length === 0) throw badRequest('query parameter "ports" is required');
  if (texts.length > PORTS_MAX) throw badRequest(`at most ${PORTS_MAX} ports can be forwarded`);
  return texts.map((text) => {
    const port = parsePort(text);
    if (port === undefined) throw badRequest(`query parameter "ports": "${text}" is no port`);
    return port;
  });
}

/** 1 to 65535; undefined for anything else. */
export function parsePort(text: string): number | undefined {
  if (!/^\d{1,5}$/.test(text)) return undefined;
  const port = Number(text);
  return port >= 1 && port <= 65_535 ? port : undefined;
}

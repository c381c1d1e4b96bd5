/**
 * The board's own resolvers: as far as a pod can reach them, for pods that ask for them, and all of them for our DNS
 * server to ask.
 */
import { readFile } from 'node:fs/promises';
import type { Clock } from '../../protocol/clock.ts';
import type { Resolver } from '../plan/container-spec.ts';

/** From the text of resolv.conf. A resolver on the board's loopback cannot be reached by a pod. Pure. */
export function parseResolver(text: string): Resolver {
  const { servers, searches, options } = parseResolvConf(text);
  const reachable = servers.filter((ip) => !ip.startsWith('127.') && ip !== '::1');
  return { servers: reachable, searches, options };
}

/** The text of resolv.conf as it is. Pure. */
function parseResolvConf(text: string): {
  servers: string[];
  searches: string[];
  options: string[];
} {
  const servers: string[] = [];
  const options: string[] = [];
  let searches: string[] = [];
  for (const line of text.split('\n')) {
    const [word, ...rest] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (word === 'nameserver') servers.push(...rest.slice(0, 1));
    else if (word === 'search' || word === 'domain') searches = rest;
    else if (word === 'options') options.push(...rest);
  }
  return { servers, searches, options };
}

/** systemd-resolved keeps the real servers in a file of its own. */
const RESOLVER_FILES = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'];

export async function readResolver(): Promise<Resolver> {
  let found: Resolver = { servers: [], searches: [], options: [] };
  for (const file of RESOLVER_FILES) {
    found = parseResolver(await readFile(file, 'utf8').catch(() => ''));
    if (found.servers.length > 0) return found;
  }
  return found;
}

export interface BoardResolversOptions {
  readonly clock: Clock;
  /** Addresses that lead to our own DNS server, which would ask itself for ever. */
  readonly isOurs: (ip: string) => boolean;
  readonly readText?: (file: string) => Promise<string>;
}

/** The files are looked at again after so long, when somebody asks. */
const LOOK_AGAIN_MS = 5_000;

/** Whom our DNS server asks: a resolver on the board's loopback is as good as any. */
export class BoardResolvers {
  readonly #options: BoardResolversOptions;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #servers: Promise<readonly string[]> = Promise.resolve([]);

  constructor(options: BoardResolversOptions) {
    this.#options = options;
  }

  /** Never rejects; empty when the board has none. */
  servers(): Promise<readonly string[]> {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#readAtMs >= LOOK_AGAIN_MS) {
      this.#readAtMs = nowMs;
      this.#servers = this.#read();
    }
    return this.#servers;
  }

  async #read(): Promise<readonly string[]> {
    const { isOurs, readText = (file: string) => readFile(file, 'utf8') } = this.#options;
    for (const file of RESOLVER_FILES) {
      const { servers } = parseResolvConf(await readText(file).catch(() => ''));
      const usable = [...new Set(servers)].filter((ip) => !isOurs(ip));
      if (usable.length > 0) return usable;
    }
    return [];
  }
}

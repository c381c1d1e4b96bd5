/**
 * Routes to the pods of the other boards, through their LAN addresses. Only routes with our own protocol number
 * are ever looked at or changed. Forks `ip` only when something has to change; the minutely look for
 * routes that somebody else removed (a DHCP client, an interface that went down) reads /proc.
 */
import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import type { BoardRoute } from '../../protocol/messages.ts';
import { cidrContains } from '../plan/pod-ip.ts';
import { messageOf } from '../pods/pod-steps.ts';
import { ROUTE_PROTOCOL, type RunIp } from './anyip.ts';

export interface Route {
  readonly cidr: string;
  readonly via: string;
}

export interface RouteChanges {
  readonly set: readonly Route[];
  readonly remove: readonly Route[];
}

/** What has to change so that `present` becomes what `boards` ask for. Pure. */
export function routeChanges(
  boards: readonly BoardRoute[],
  self: string,
  present: readonly Route[],
): RouteChanges {
  const wanted = wantedRoutes(boards, self);
  const have = new Map(present.map(({ cidr, via }) => [cidr, via]));
  const names = new Set(wanted.map(({ cidr }) => cidr));
  return {
    set: wanted.filter(({ cidr, via }) => have.get(cidr) !== via),
    remove: present.filter(({ cidr }) => !names.has(cidr)),
  };
}

/** From `ip -json route show proto 99`. The local route of the service range is not among them. Pure. */
export function parseRoutes(json: string): Route[] {
  const list: unknown = json.trim() === '' ? [] : JSON.parse(json);
  if (!Array.isArray(list)) return [];
  return list.flatMap((entry: unknown) => {
    if (typeof entry !== 'object' || entry === null) return [];
    const dst = 'dst' in entry ? entry.dst : undefined;
    const gateway = 'gateway' in entry ? entry.gateway : undefined;
    return typeof dst === 'string' && typeof gateway === 'string'
      ? [{ cidr: dst, via: gateway }]
      : [];
  });
}

/** The routes with a gateway in the text of /proc/net/route. Pure. */
export function kernelRoutes(text: string): Route[] {
  return text.split('\n').flatMap((line) => {
    const [, destination, gateway, , , , , mask] = line.trim().split(/\s+/);
    const cidr = destination === undefined ? undefined : hexAddress(destination);
    const via = gateway === undefined ? undefined : hexAddress(gateway);
    const bits = mask === undefined ? undefined : hexBits(mask);
    if (cidr === undefined || via === undefined || bits === undefined) return [];
    return [{ cidr: `${cidr}/${bits}`, via }];
  });
}

export interface PodRoutesOptions {
  readonly self: string;
  readonly ip: RunIp;
  readonly log: Logger;
}

export class PodRoutes {
  readonly #options: PodRoutesOptions;
  #boards: readonly BoardRoute[] | undefined;
  #work: Promise<void> = Promise.resolve();
  readonly #failed = new Map<string, string>();

  constructor(options: PodRoutesOptions) {
    this.#options = options;
  }

  /** Follows the boards there are. Boards that are unknown (`undefined`) change nothing. */
  update(boards: readonly BoardRoute[]): void {
    const key = JSON.stringify(wantedRoutes(boards, this.#options.self));
    const known = this.#boards && JSON.stringify(wantedRoutes(this.#boards, this.#options.self));
    this.#boards = boards;
    if (key !== known) this.#apply();
  }

  /** Puts back what is missing; call it now and then. */
  async check(): Promise<void> {
    const text = await readFile('/proc/net/route', 'utf8').catch(() => '');
    const present = new Set(kernelRoutes(text).map(({ cidr, via }) => `${cidr} ${via}`));
    const wanted = wantedRoutes(this.#boards ?? [], this.#options.self);
    const missing = wanted.filter(
      ({ cidr, via }) => !present.has(`${cidr} ${via}`) && !this.#failed.has(cidr),
    );
    if (missing.length > 0 || this.#failed.size > 0) this.#apply();
  }

  /** Waits for changes under way. */
  async flush(): Promise<void> {
    await this.#work;
  }

  #apply(): void {
    this.#work = this.#work
      .then(() => this.#applyNow())
      .catch((error: unknown) => {
        this.#options.log.error({ reason: messageOf(error) }, 'routes to boards cannot be set');
      });
  }

  async #applyNow(): Promise<void> {
    const { ip, self, log } = this.#options;
    const present = parseRoutes(
      await ip(['-json', '-4', 'route', 'show', 'proto', ROUTE_PROTOCOL]),
    );
    const { set, remove } = routeChanges(this.#boards ?? [], self, present);
    for (const { cidr, via } of remove) {
      await ip(['route', 'del', cidr, 'via', via, 'proto', ROUTE_PROTOCOL]);
      this.#failed.delete(cidr);
      log.info({ cidr, via }, 'route removed');
    }
    for (const { cidr, via } of set) {
      try {
        await ip(['route', 'replace', cidr, 'via', via, 'proto', ROUTE_PROTOCOL]);
        this.#failed.delete(cidr);
        log.info({ cidr, via }, 'route set');
      } catch (error) {
        // A board in another subnet cannot be a gateway; the others still can.
        const reason = messageOf(error);
        if (this.#failed.get(cidr) !== reason) log.warn({ cidr, via, reason }, 'route not set');
        this.#failed.set(cidr, reason);
      }
    }
  }
}

function wantedRoutes(boards: readonly BoardRoute[], self: string): Route[] {
  const own = boards.find(({ node }) => node === self);
  return boards
    .filter(({ node, podCidr, address }) => {
      const usable = node !== self && podCidr !== '' && address !== '';
      // A board must never route its own pods, or a gateway, to somebody else.
      return usable && podCidr !== own?.podCidr && !cidrContains(podCidr, address);
    })
    .map(({ podCidr, address }) => ({ cidr: podCidr, via: address }))
    .sort((a, b) => (a.cidr < b.cidr ? -1 : 1));
}

/** "0101A8C0" is 192.168.1.1: the kernel prints the address in the board's byte order (little endian). */
function hexAddress(hex: string): string | undefined {
  if (!/^[0-9A-F]{8}$/.test(hex)) return undefined;
  return [6, 4, 2, 0].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)).join('.');
}

function hexBits(mask: string): number | undefined {
  const address = hexAddress(mask);
  if (address === undefined) return undefined;
  const bits = address
    .split('.')
    .map((part) => Number(part).toString(2).replaceAll('0', '').length);
  return bits.reduce((sum, count) => sum + count, 0);
}

/**
 * Routes to the pods of the other boards, through their LAN addresses; the ranges of boards behind another subnet are made local
 * instead, so that the agent can listen on the addresses of their pods (agent/relay/). Only routes with our own protocol number
 * are ever looked at or changed. Forks `ip` only when something has to change; the minutely look for
 * routes that somebody else removed (a DHCP client, an interface that went down) reads /proc.
 */
import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { BoardRoute } from '../../protocol/messages.ts';
import { messageOf } from '../pods/pod-steps.ts';
import { ROUTE_PROTOCOL, type RunIp } from './anyip.ts';
import { type Reach, type Route, reachOf } from './reach.ts';
import { kernelLocalRanges, kernelRoutes, parseLocalRanges, parseRoutes } from './route-tables.ts';

export interface RouteChanges {
  readonly set: readonly Route[];
  readonly remove: readonly Route[];
}

/** What has to change so that `present` becomes `wanted`. Pure. */
export function routeChanges(wanted: readonly Route[], present: readonly Route[]): RouteChanges {
  const have = new Map(present.map(({ cidr, via }) => [cidr, via]));
  const names = new Set(wanted.map(({ cidr }) => cidr));
  return {
    set: wanted.filter(({ cidr, via }) => have.get(cidr) !== via),
    remove: present.filter(({ cidr }) => !names.has(cidr)),
  };
}

export interface PodRoutesOptions {
  readonly self: string;
  readonly ip: RunIp;
  readonly log: Logger;
  /** Local as well, and none of the boards' ranges. */
  readonly serviceCidr: string;
  /** The board's LAN address with its prefix, as it is now; undefined: see `reachOf`. */
  readonly lan: () => string | undefined;
  /** Whether boards that cannot be a gateway are relayed to. */
  readonly canRelay: boolean;
  /** Their pods are reached through their agents from now on; those of all others are not. */
  readonly onRelays: (boards: readonly BoardRoute[]) => void;
}

export class PodRoutes {
  readonly #options: PodRoutesOptions;
  #boards: readonly BoardRoute[] = [];
  #applied: Reach | undefined;
  #relays: readonly BoardRoute[] = [];
  #work: Promise<void> = Promise.resolve();
  /** Ranges whose route the kernel did not take, with its words. */
  readonly #refused = new Map<string, string>();

  constructor(options: PodRoutesOptions) {
    this.#options = options;
  }

  /** Follows the boards there are. */
  update(boards: readonly BoardRoute[]): void {
    this.#boards = boards;
    if (!isDeepStrictEqual(this.#reach(), this.#applied)) this.#apply();
  }

  /** Puts back what is missing, and follows the board's own address; call it now and then. */
  async check(): Promise<void> {
    const [routes, trie] = await Promise.all(
      ['/proc/net/route', '/proc/net/fib_trie'].map((file) =>
        readFile(file, 'utf8').catch(() => ''),
      ),
    );
    const present = new Set(kernelRoutes(routes ?? '').map(({ cidr, via }) => `${cidr} ${via}`));
    const local = kernelLocalRanges(trie ?? '');
    const reach = this.#reach();
    const isWhole =
      isDeepStrictEqual(reach, this.#applied) &&
      reach.routes.every(({ cidr, via }) => present.has(`${cidr} ${via}`)) &&
      this.#relays.every(({ podCidr }) => local.has(podCidr));
    if (!isWhole || this.#refused.size > 0) this.#apply();
  }

  /** Waits for changes under way. */
  async flush(): Promise<void> {
    await this.#work;
  }

  #reach(): Reach {
    const { self, lan, canRelay } = this.#options;
    return reachOf(this.#boards, self, canRelay ? lan() : undefined);
  }

  #apply(): void {
    this.#applied = this.#reach();
    this.#work = this.#work
      .then(() => this.#applyNow())
      .catch((error: unknown) => {
        this.#applied = undefined;
        this.#options.log.error({ reason: messageOf(error) }, 'routes to boards cannot be set');
      });
  }

  async #applyNow(): Promise<void> {
    const { ip, serviceCidr, canRelay } = this.#options;
    const show = ['-json', '-4', 'route', 'show'];
    const present = parseRoutes(await ip([...show, 'proto', ROUTE_PROTOCOL]));
    const local = parseLocalRanges(
      await ip([...show, 'table', 'local', 'proto', ROUTE_PROTOCOL]),
    ).filter((range) => range !== serviceCidr);
    const { routes, relays } = this.#reach();
    await this.#setRoutes(routeChanges(routes, present).set);
    for (const range of this.#refused.keys()) {
      if (!routes.some(({ cidr }) => cidr === range)) this.#refused.delete(range);
    }
    const refused = this.#boards.filter(({ podCidr }) => this.#refused.has(podCidr));
    const wanted = canRelay ? [...relays, ...refused] : [];
    // Nobody listens on addresses that stop being local, and all of them are when somebody begins to.
    const known = new Set(this.#relays.map(({ podCidr }) => podCidr));
    this.#tell(wanted.filter(({ podCidr }) => known.has(podCidr)));
    const taken = routes.filter(({ cidr }) => !this.#refused.has(cidr));
    await this.#removeRoutes(routeChanges(taken, present).remove);
    await this.#followLocal(
      wanted.map(({ podCidr }) => podCidr),
      local,
    );
    this.#tell(wanted);
  }

  async #setRoutes(routes: readonly Route[]): Promise<void> {
    const { ip, log } = this.#options;
    for (const { cidr, via } of routes) {
      try {
        await ip(['route', 'replace', cidr, 'via', via, 'proto', ROUTE_PROTOCOL]);
        this.#refused.delete(cidr);
        log.info({ cidr, via }, 'route set');
      } catch (error) {
        // What the kernel does not reach without a router cannot be a gateway; the others still can.
        const reason = messageOf(error);
        if (this.#refused.get(cidr) !== reason) log.warn({ cidr, via, reason }, 'route not set');
        this.#refused.set(cidr, reason);
      }
    }
  }

  async #removeRoutes(routes: readonly Route[]): Promise<void> {
    const { ip, log } = this.#options;
    for (const { cidr, via } of routes) {
      await ip(['route', 'del', cidr, 'via', via, 'proto', ROUTE_PROTOCOL]);
      log.info({ cidr, via }, 'route removed');
    }
  }

  /** AnyIP, as for services: the kernel takes all addresses of these ranges for the board's own. */
  async #followLocal(wanted: readonly string[], present: readonly string[]): Promise<void> {
    const { ip, log } = this.#options;
    const local = (verb: string, cidr: string) =>
      ip(['route', verb, 'local', cidr, 'dev', 'lo', 'proto', ROUTE_PROTOCOL]);
    for (const cidr of present.filter((range) => !wanted.includes(range))) {
      await local('del', cidr);
      log.info({ cidr }, 'pods of a board are not relayed to any more');
    }
    for (const cidr of wanted.filter((range) => !present.includes(range))) {
      await local('replace', cidr);
      log.info({ cidr }, 'pods of a board behind another subnet are relayed to');
    }
  }

  #tell(relays: readonly BoardRoute[]): void {
    if (isDeepStrictEqual(relays, this.#relays)) return;
    this.#relays = relays;
    this.#options.onRelays(relays);
  }
}

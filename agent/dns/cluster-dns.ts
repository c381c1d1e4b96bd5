/**
 * The DNS server of the board, put together: the cluster's names out of the desired state on the board's own disk, so
 * with or without a master; everything else from the board's resolvers.
 */
import { networkInterfaces } from 'node:os';
import type { Logger } from 'pino';
import type { Clock } from '../../protocol/clock.ts';
import type { BoardRoute, DesiredService } from '../../protocol/messages.ts';
import { BoardResolvers } from '../network/resolver.ts';
import { cidrContains } from '../plan/pod-ip.ts';
import { portHolder } from '../proxy/port-holder.ts';
import type { ServiceProblem } from '../proxy/service-table.ts';
import { mayAsk } from './clients.ts';
import { ClusterZone } from './cluster-zone.ts';
import { Forwarder, type ForwarderLimits } from './forwarder.ts';
import { Resolver } from './resolver.ts';
import { Responder, type ResponderLimits } from './responder.ts';
import { DnsServer, type DnsServerLimits } from './server.ts';
import { Upstream, type UpstreamLimits } from './upstream.ts';

export interface DnsLimits extends DnsServerLimits, ResponderLimits {
  readonly forwarder: ForwarderLimits;
  readonly upstream: UpstreamLimits;
}

/** What the names are made of. */
export interface DnsFacts {
  readonly services: readonly DesiredService[];
  readonly boards: readonly BoardRoute[];
  /** Empty while the board has no range of its own. */
  readonly podCidr: string;
}

export interface ClusterDnsOptions {
  readonly ip: string;
  readonly domain: string;
  readonly serviceCidr: string;
  /** Ranges of clients beside pods and the board. */
  readonly clients: readonly string[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: DnsLimits;
  readonly random: () => number;
  /** 0 to 65535, not to be guessed. */
  readonly randomId: () => number;
  readonly facts: () => DnsFacts;
  readonly onProblem: (problem: ServiceProblem) => void;
}

const DNS_PORT = 53;
/** The Service that stands for this server in the API. */
const DNS_SERVICE = { namespace: 'kube-system', name: 'kube-dns' };
const ADDRESSES_KEPT_MS = 5_000;

export class ClusterDns {
  readonly #options: ClusterDnsOptions;
  readonly #server: DnsServer;
  readonly #responder: Responder;
  /** Undefined after a change: made again when somebody asks. */
  #zone: ClusterZone | undefined;
  #own: { readonly addresses: ReadonlySet<string>; readonly atMs: number } | undefined;

  constructor(options: ClusterDnsOptions) {
    this.#options = options;
    const { clock, limits, serviceCidr, random, randomId, ip, log } = options;
    const resolvers = new BoardResolvers({
      clock,
      isOurs: (server) => cidrContains(serviceCidr, server),
    });
    const upstream = new Upstream({
      servers: async () =>
        (await resolvers.servers()).map((server) => ({ ip: server, port: DNS_PORT })),
      limits: limits.upstream,
      randomId,
    });
    const forwarder = new Forwarder({
      clock,
      limits: limits.forwarder,
      exchange: (question) => upstream.exchange(question),
      after: (delayMs, callback) => {
        const timer = setTimeout(callback, delayMs);
        return () => clearTimeout(timer);
      },
      onDown: (reason) => log.warn({ reason }, 'names outside of the cluster are not found'),
    });
    this.#responder = new Responder({
      clock,
      limits,
      resolver: new Resolver(() => this.#currentZone(), forwarder, random),
      mayAsk: (client) => {
        const { podCidr } = options.facts();
        return mayAsk(
          { podCidr, ownAddresses: this.#addresses(), ranges: options.clients },
          client,
        );
      },
    });
    this.#server = new DnsServer({
      ip,
      port: DNS_PORT,
      clock,
      log,
      limits,
      responder: this.#responder,
      onProblem: (error, transport) => void this.#taken(error, transport),
    });
  }

  start(): void {
    this.#server.start();
  }

  stop(): void {
    this.#server.stop();
  }

  /** Services or boards have changed. */
  changed(): void {
    this.#zone = undefined;
    this.#responder.zoneChanged();
  }

  #currentZone(): ClusterZone {
    const { ip, domain, serviceCidr, facts } = this.#options;
    const { services, boards } = facts();
    this.#zone ??= new ClusterZone({ domain, dnsIp: ip, serviceCidr, services, boards });
    return this.#zone;
  }

  #addresses(): ReadonlySet<string> {
    const { clock, ip } = this.#options;
    const nowMs = clock.monotonicMs();
    if (this.#own === undefined || nowMs - this.#own.atMs > ADDRESSES_KEPT_MS) {
      const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
      // A program of the board that asks us does so from the address it asks.
      const addresses = new Set([ip, ...all.map(({ address }) => address)]);
      this.#own = { addresses, atMs: nowMs };
    }
    return this.#own.addresses;
  }

  async #taken(error: NodeJS.ErrnoException, transport: 'UDP' | 'TCP'): Promise<void> {
    const { ip, log, onProblem } = this.#options;
    const taken = error.code === 'EADDRINUSE';
    const holder = taken ? await portHolder(DNS_PORT, transport).catch(() => undefined) : undefined;
    const message = taken
      ? `${ip} port ${DNS_PORT}/${transport} is held by ${holder ?? 'another program'}, so pods of this ` +
        'board do not reach cluster DNS: let it listen on the addresses it needs instead of all'
      : `${ip} port ${DNS_PORT}/${transport} cannot be listened on: ${error.message}`;
    log.warn({ ip, transport, reason: message }, 'names of the cluster cannot be served');
    onProblem({ service: DNS_SERVICE, reason: taken ? 'PortConflict' : 'ListenFailed', message });
  }
}

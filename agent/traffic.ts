/**
 * What the board does for services: the proxy, the web server of Ingresses, names, routes to the other boards' pods and
 * addresses of the pool. All of it follows the desired state and works without a master.
 */
import { randomInt } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import { systemClock as clock } from '../protocol/clock.ts';
import type { BoardCredentials, BoardRoute } from '../protocol/messages.ts';
import type { BoardSelf } from './board-self.ts';
import type { AgentConfig } from './config.ts';
import { ClusterDns } from './dns/cluster-dns.ts';
import { lanNames } from './dns/mdns/lan-names.ts';
import { Mdns } from './dns/mdns/mdns.ts';
import { withIngresses } from './ingress/listeners.ts';
import { PortProblems } from './ingress/port-problems.ts';
import { routingTable } from './ingress/routing-table.ts';
import { WebServer } from './ingress/web-server.ts';
import { lanOf, localIpv4 } from './network/addresses.ts';
import { ensureForwarding, ensureServiceRoute, runIp } from './network/anyip.ts';
import { PodAddresses } from './network/pod-addresses.ts';
import { PodRoutes } from './network/routes.ts';
import { arping } from './pool/arping.ts';
import { PoolMember } from './pool/pool-member.ts';
import { type HostPort, withHostPorts } from './proxy/host-ports.ts';
import { withRelayedPods } from './proxy/relayed-pods.ts';
import { ServiceProxy } from './proxy/service-proxy.ts';
import { type ServiceProblem, serviceTable } from './proxy/service-table.ts';
import { Relay } from './relay/relay.ts';
import type { Reporter } from './reporter.ts';
import type { DesiredState } from './state/desired-state.ts';

export interface TrafficOptions {
  readonly config: AgentConfig;
  readonly credentials: BoardCredentials;
  readonly session: string;
  readonly log: Logger;
  readonly desired: DesiredState;
  readonly board: BoardSelf;
  readonly reporter: Reporter;
  /** Whether its pods can run: other boards hold the pool's addresses when not. */
  readonly isReady: () => boolean;
}

export class BoardTraffic {
  readonly #options: TrafficOptions;
  readonly #proxy: ServiceProxy;
  readonly #web: WebServer;
  readonly #portProblems = new PortProblems();
  readonly #dns: ClusterDns;
  readonly #routes: PodRoutes;
  readonly #podAddresses: PodAddresses;
  readonly #relay: Relay;
  readonly #pool: PoolMember;
  readonly #mdns: Mdns;
  #hostPorts: readonly HostPort[] = [];
  /** Boards whose pods are reached through their agents. */
  #relayed: readonly BoardRoute[] = [];

  constructor(options: TrafficOptions) {
    const { config, credentials, log } = options;
    this.#options = options;
    this.#relay = this.#makeRelay();
    this.#proxy = new ServiceProxy({
      clock,
      log: log.child({ part: 'proxy' }),
      limits: config.limits.proxy,
      random: Math.random,
      onProblem: (problem) => this.#tellProblem(problem),
      onWeb: (client, web) => this.#web.accept(client, web),
      relay: (backend) => this.#relay.connect(backend),
      relayDatagrams: (backend, events) => this.#relay.datagrams(backend, events),
    });
    this.#web = new WebServer({
      balancer: this.#proxy.balancer,
      limits: config.limits.web,
      relay: (backend) => this.#relay.connect(backend),
    });
    this.#dns = this.#makeDns();
    this.#routes = this.#makeRoutes();
    this.#podAddresses = new PodAddresses({ self: credentials.node, log });
    this.#pool = this.#makePool();
    this.#mdns = this.#makeMdns();
  }

  /** For what it measures. */
  get proxy(): ServiceProxy {
    return this.#proxy;
  }

  /** Follows the desired state from here on, which has been loaded, as the board has been read. */
  async start(): Promise<void> {
    await ensureForwarding();
    await ensureServiceRoute(this.#options.config.serviceCidr, runIp);
    this.#followCluster();
    this.#dns.start();
    this.#options.desired.onChange((change) => {
      if (change === 'cluster') this.#followCluster();
      else this.#followServices();
    });
  }

  async stop(): Promise<void> {
    await this.#mdns.stop();
    await this.#pool.stop();
    await this.#routes.flush();
    await this.#podAddresses.flush();
    await this.#dns.stop();
    await this.#web.stop();
    await this.#proxy.stop();
    this.#relay.stop();
  }

  /** The engine has made the network of this board's pods. */
  podNetworkMade(): Promise<void> {
    return this.#podAddresses.networkMade();
  }

  /** What a pod has told may open or close ports of the board. */
  followHostPorts(ports: readonly HostPort[]): void {
    if (isDeepStrictEqual(ports, this.#hostPorts)) return;
    this.#hostPorts = ports;
    this.#followServices();
  }

  /** An interface that came or went, a lease with another address; true when the board has another address. */
  async checkNetwork(): Promise<boolean> {
    const { board, log } = this.#options;
    const before = board.address;
    await board.read();
    await this.#routes.check();
    this.#followRelayed(this.#relayed);
    this.#followServices();
    if (board.address === before) return false;
    log.info({ before, now: board.address }, "this board's address changed");
    return true;
  }

  #followCluster(): void {
    const { boards, services } = this.#options.desired.current();
    this.#pool.update(services, boards);
    this.#followServices();
    this.#dns.changed();
    this.#routes.update(boards);
    this.#podAddresses.update(boards);
  }

  #followRelayed(boards: readonly BoardRoute[]): void {
    const { address } = this.#options.board;
    this.#relayed = boards;
    // An address that is on no interface is somebody else's who passes on to us.
    this.#relay.follow(boards, lanOf(address) === undefined ? '0.0.0.0' : address);
  }

  #followServices(): void {
    const { credentials, desired } = this.#options;
    const { address } = this.#options.board;
    const board = { node: credentials.node, address, addresses: localIpv4() };
    const { services, ingresses = [], configs } = desired.current();
    const table = withHostPorts(serviceTable(services, board), this.#hostPorts, board);
    const ranges = this.#relayed.map(({ podCidr }) => podCidr);
    const routes = routingTable(ingresses, services, board.node);
    const { problems, ...listened } = withIngresses(
      withRelayedPods(table, services, ranges),
      ingresses,
      board,
    );
    const wrong = [...this.#web.update(routes, ingresses, configs), ...this.#announceNames()];
    this.#portProblems.keepOnly(ingresses);
    this.#proxy.update({ ...listened, problems: [...problems, ...wrong, ...this.#pool.problems] });
  }

  #announceNames(): readonly ServiceProblem[] {
    const { config, credentials, desired, board } = this.#options;
    const { services, ingresses = [], boards } = desired.current();
    const { clusterDomain } = config;
    const { address } = board;
    const { node } = credentials;
    const { names, problems } = lanNames({ services, ingresses, node, address, clusterDomain });
    this.#mdns.update(names, lanOf(address), new Set(boards.map((one) => one.address)));
    return [...problems, ...this.#mdns.problems];
  }

  #tellProblem(problem: ServiceProblem): void {
    const { desired, reporter } = this.#options;
    const { service } = problem;
    const isOfPort = service.isIngress === true && service.name === '';
    const told = isOfPort
      ? this.#portProblems.of(problem, desired.current().ingresses ?? [])
      : [problem];
    for (const one of told) reporter.serviceProblem(one);
  }

  #makeRoutes(): PodRoutes {
    const { config, credentials, log, board } = this.#options;
    return new PodRoutes({
      self: credentials.node,
      ip: runIp,
      log,
      serviceCidr: config.serviceCidr,
      lan: () => lanOf(board.address)?.cidr,
      canRelay: config.relayPort !== 0,
      onRelays: (boards) => {
        this.#followRelayed(boards);
        this.#followServices();
      },
    });
  }

  #makeRelay(): Relay {
    const { config, credentials, log, desired, reporter } = this.#options;
    return new Relay({
      credentials,
      clock,
      log: log.child({ part: 'relay' }),
      limits: config.limits.relay,
      port: config.relayPort,
      podCidr: () => desired.current().node?.podCidr ?? '',
      isBoard: (node) => desired.current().boards.some((board) => board.node === node),
      onTrouble: (reason, message) => reporter.node(reason, message),
    });
  }

  #makeDns(): ClusterDns {
    const { config, log, desired, reporter } = this.#options;
    const { dnsIp, dnsClients, clusterDomain, serviceCidr, limits } = config;
    return new ClusterDns({
      ip: dnsIp,
      domain: clusterDomain,
      serviceCidr,
      clients: dnsClients,
      clock,
      log: log.child({ part: 'dns' }),
      limits: limits.dns,
      random: Math.random,
      randomId: () => randomInt(65_536),
      facts: () => {
        const { services, boards, node } = desired.current();
        return { services, boards, podCidr: node?.podCidr ?? '' };
      },
      onProblem: (problem) => reporter.serviceProblem(problem),
    });
  }

  #makeMdns(): Mdns {
    const { config, log, reporter } = this.#options;
    return new Mdns({
      clock,
      log: log.child({ part: 'mdns' }),
      limits: config.limits.mdns,
      random: Math.random,
      onChange: () => this.#followServices(),
      onTrouble: (reason, message) => reporter.node(reason, message),
    });
  }

  #makePool(): PoolMember {
    const { config, credentials, session, log, board, reporter, isReady } = this.#options;
    return new PoolMember({
      credentials,
      session,
      clock,
      log: log.child({ part: 'pool' }),
      limits: config.limits.pool,
      ip: runIp,
      arping,
      address: () => board.address,
      isReady,
      onChange: () => this.#followServices(),
      onProblem: (problem) => reporter.serviceProblem(problem),
      onTrouble: (reason, message) => reporter.node(reason, message),
    });
  }
}

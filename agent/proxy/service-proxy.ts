/**
 * Service traffic of the board: TCP and UDP over one balancer, and each problem told once while it lasts.
 */
import type { Logger } from 'pino';
import type { Clock } from '../../protocol/clock.ts';
import { Balancer } from './balancer.ts';
import type { ServiceProblem, ServiceTable } from './service-table.ts';
import { type ProxyLimits, TcpProxy, type TcpProxyOptions } from './tcp-proxy.ts';
import { type UdpLimits, UdpProxy, type UdpProxyOptions } from './udp-proxy.ts';

export interface ServiceProxyLimits extends ProxyLimits, UdpLimits {
  /** Clients of services with session affinity that are remembered. */
  readonly affinityClientsMax: number;
}

export interface ServiceProxyOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: ServiceProxyLimits;
  readonly random: () => number;
  readonly onProblem: (problem: ServiceProblem) => void;
  /** Absent: nobody is the web server of this board. */
  readonly onWeb?: TcpProxyOptions['onWeb'];
  /** Absent: all backends are reached directly. */
  readonly relay?: TcpProxyOptions['relay'];
  readonly relayDatagrams?: UdpProxyOptions['relayDatagrams'];
}

export class ServiceProxy {
  /** Also for traffic to services that does not come through their ports. */
  readonly balancer: Balancer;
  readonly #onProblem: (problem: ServiceProblem) => void;
  readonly #tcp: TcpProxy;
  readonly #udp: UdpProxy;
  #told = new Set<string>();

  constructor(options: ServiceProxyOptions) {
    const { clock, log, limits, random, onProblem, onWeb, relay, relayDatagrams } = options;
    this.balancer = new Balancer({ clock, random, clientsMax: limits.affinityClientsMax });
    const shared = { clock, log, limits, balancer: this.balancer, onProblem };
    this.#onProblem = onProblem;
    const reset: TcpProxyOptions['onWeb'] = (client) => client.resetAndDestroy();
    this.#tcp = new TcpProxy({ ...shared, relay, onWeb: onWeb ?? reset });
    this.#udp = new UdpProxy({ ...shared, relayDatagrams });
  }

  update({ listeners, udpListeners, problems }: ServiceTable): void {
    const told = new Set<string>();
    for (const problem of problems) {
      const key = `${problem.service.namespace}/${problem.service.name} ${problem.message}`;
      if (!this.#told.has(key) && !told.has(key)) this.#onProblem(problem);
      told.add(key);
    }
    this.#told = told;
    this.#tcp.update(listeners);
    this.#udp.update(udpListeners);
  }

  /** Client connections that are open now. */
  get connections(): number {
    return this.#tcp.connections;
  }

  /** UDP flows that are not idle. */
  get flows(): number {
    return this.#udp.flows;
  }

  /** Whether every wanted listener listens. */
  get settled(): boolean {
    return this.#tcp.settled && this.#udp.settled;
  }

  /** Closes the listeners, the connections and the flows. */
  stop(): void {
    this.#tcp.stop();
    this.#udp.stop();
  }
}

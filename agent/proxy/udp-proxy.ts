/**
 * Forwards the datagrams of services in userspace.
 *
 * Promises: datagrams of one client go to one backend as long as it is an endpoint and the flow is not idle; a backend
 * that does not listen is passed over; the number of flows is bounded, and the one that was idle longest gives
 * way; a port that cannot be listened on is told once and tried again.
 */
import dgram from 'node:dgram';
import type { Logger } from 'pino';
import type { Clock } from '../../protocol/clock.ts';
import { type Backoff, type BackoffLimits, growBackoff } from '../plan/backoff.ts';
import type { Balancer } from './balancer.ts';
import { ByteBudget } from './byte-budget.ts';
import { directPath, type OpenDatagrams } from './datagram-path.ts';
import { listenProblem } from './listen-problem.ts';
import {
  type Backend,
  backendKey,
  type ListenerSpec,
  type ServiceProblem,
} from './service-table.ts';
import { isLetIn } from './source-ranges.ts';
import { UdpFlow } from './udp-flow.ts';

export interface UdpLimits {
  readonly udpFlowsMax: number;
  /** A flow to which nothing came back is over after so long (Linux' connection tracking: 30 s), ... */
  readonly udpUnrepliedMs: number;
  /** ... any other after so long without a datagram (120 s there). */
  readonly udpIdleMs: number;
  /** Datagrams of a flow that are sent again when its backend turns out not to listen, for how long, and of all flows together. */
  readonly udpWaitingMax: number;
  readonly udpWaitingMs: number;
  readonly udpWaitingBytesMax: number;
  readonly listenRetry: BackoffLimits;
}

export interface UdpProxyOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: UdpLimits;
  readonly balancer: Balancer;
  readonly onProblem: (problem: ServiceProblem) => void;
  /** For backends that are not reached directly. */
  readonly relayDatagrams?: OpenDatagrams | undefined;
}

interface Listener {
  spec: ListenerSpec;
  socket: dgram.Socket | undefined;
  listening: boolean;
  retry: NodeJS.Timeout | undefined;
  backoff: Backoff | undefined;
  closed: boolean;
  /** By the client's address and port. */
  readonly flows: Map<string, UdpFlow>;
}

interface Held {
  readonly listener: Listener;
  readonly key: string;
}

export class UdpProxy {
  readonly #options: UdpProxyOptions;
  readonly #listeners = new Map<string, Listener>();
  /** All flows, in the order of their last use. */
  readonly #flows = new Map<UdpFlow, Held>();
  readonly #waitingBytes: ByteBudget;
  readonly #sweep: NodeJS.Timeout;

  constructor(options: UdpProxyOptions) {
    this.#options = options;
    this.#waitingBytes = new ByteBudget(options.limits.udpWaitingBytesMax);
    this.#sweep = setInterval(() => this.#endIdle(), Math.min(options.limits.udpUnrepliedMs, 5000));
    this.#sweep.unref();
  }

  get flows(): number {
    return this.#flows.size;
  }

  get settled(): boolean {
    return [...this.#listeners.values()].every(({ listening }) => listening);
  }

  /** Follows the table. Flows to backends that are none any more are over. */
  update(specs: ReadonlyMap<string, ListenerSpec>): void {
    for (const [key, listener] of this.#listeners) {
      if (specs.has(key)) continue;
      this.#listeners.delete(key);
      this.#close(listener);
    }
    for (const [key, spec] of specs) {
      const known = this.#listeners.get(key);
      if (known === undefined) {
        this.#listeners.set(key, this.#open(spec));
        continue;
      }
      known.spec = spec;
      const wanted = new Set(spec.backends.map(backendKey));
      for (const flow of known.flows.values()) {
        const { backend } = flow;
        if (backend === undefined || !wanted.has(backendKey(backend))) this.#end(flow);
      }
    }
  }

  stop(): void {
    clearInterval(this.#sweep);
    for (const listener of this.#listeners.values()) this.#close(listener);
    this.#listeners.clear();
  }

  #open(spec: ListenerSpec): Listener {
    const listener: Listener = {
      spec,
      socket: undefined,
      listening: false,
      retry: undefined,
      backoff: undefined,
      closed: false,
      flows: new Map(),
    };
    this.#listen(listener);
    return listener;
  }

  #listen(listener: Listener): void {
    const { ip, port } = listener.spec;
    const socket = dgram.createSocket({
      type: 'udp4',
      // Addresses are numbers already: no look-up, and no turn of the event loop for it.
      lookup: (host, _options, done) => done(null, host, 4),
    });
    listener.socket = socket;
    socket.on('message', (bytes, client) => this.#receive(listener, bytes, client));
    socket.on('error', (error) => {
      if (listener.listening) {
        this.#options.log.warn({ err: error, ip, port }, 'UDP socket of a service failed');
        return;
      }
      socket.close();
      listener.socket = undefined;
      if (!listener.closed) void this.#listenFailed(listener, error);
    });
    socket.bind({ address: ip ?? '0.0.0.0', port }, () => {
      listener.listening = true;
      listener.backoff = undefined;
    });
  }

  async #listenFailed(listener: Listener, error: NodeJS.ErrnoException): Promise<void> {
    const { log, clock, limits, onProblem } = this.#options;
    const first = listener.backoff === undefined;
    listener.backoff = growBackoff(listener.backoff, limits.listenRetry, clock.monotonicMs());
    listener.retry = setTimeout(() => this.#listen(listener), listener.backoff.delayMs);
    if (!first) return;
    const problem = await listenProblem(listener.spec, 'UDP', error);
    log.warn(
      { service: problem.service, reason: problem.message },
      'service cannot be listened for',
    );
    onProblem(problem);
  }

  #receive(listener: Listener, bytes: Buffer, client: dgram.RemoteInfo): void {
    if (!isLetIn(listener.spec.sourceRanges, client.address)) return;
    const key = `${client.address} ${client.port}`;
    const known = listener.flows.get(key);
    const flow = known ?? this.#begin(listener, key, client);
    if (flow === undefined) return;
    this.#touch(flow, { listener, key });
    flow.send(bytes);
  }

  #begin(listener: Listener, key: string, client: dgram.RemoteInfo): UdpFlow | undefined {
    const { balancer, clock, limits, relayDatagrams } = this.#options;
    const { address, port } = client;
    let refused = false;
    const flow: UdpFlow = new UdpFlow({
      client: { address, port },
      open: (backend, events) => relayDatagrams?.(backend, events) ?? directPath(backend, events),
      waitingMax: limits.udpWaitingMax,
      waitingMs: limits.udpWaitingMs,
      budget: this.#waitingBytes,
      nowMs: () => clock.monotonicMs(),
      nextBackend: (tried: ReadonlySet<Backend>) => balancer.choose(listener.spec, tried, address),
      onReply: (bytes) => {
        this.#touch(flow, { listener, key });
        // A client that has gone is no error of ours.
        listener.socket?.send(bytes, port, address, ignore);
      },
      onOpen: (backend) => balancer.count(backend, 1),
      onClosed: (backend) => balancer.count(backend, -1),
      onRefused: () => {
        refused = true;
        this.#forget(listener, key);
      },
    });
    if (refused) return undefined;
    listener.flows.set(key, flow);
    if (this.#flows.size >= limits.udpFlowsMax) {
      const [idlest] = this.#flows.keys();
      if (idlest !== undefined) this.#end(idlest);
    }
    return flow;
  }

  #touch(flow: UdpFlow, held: Held): void {
    flow.lastMs = this.#options.clock.monotonicMs();
    this.#flows.delete(flow);
    this.#flows.set(flow, held);
  }

  #end(flow: UdpFlow): void {
    const held = this.#flows.get(flow);
    if (held !== undefined) this.#forget(held.listener, held.key);
    flow.close();
  }

  #forget(listener: Listener, key: string): void {
    const flow = listener.flows.get(key);
    listener.flows.delete(key);
    if (flow !== undefined) this.#flows.delete(flow);
  }

  #endIdle(): void {
    const { clock, limits } = this.#options;
    const nowMs = clock.monotonicMs();
    for (const flow of this.#flows.keys()) {
      const idleMs = nowMs - flow.lastMs;
      if (idleMs >= (flow.replied ? limits.udpIdleMs : limits.udpUnrepliedMs)) this.#end(flow);
      else flow.dropOld();
    }
  }

  #close(listener: Listener): void {
    listener.closed = true;
    clearTimeout(listener.retry);
    for (const flow of [...listener.flows.values()]) this.#end(flow);
    listener.socket?.close();
    listener.socket = undefined;
  }
}

function ignore(): void {}

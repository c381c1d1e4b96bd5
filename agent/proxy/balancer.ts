/**
 * Which backend gets the next connection or flow, over all services of the board. Counts what is open and remembers the
 * clients of services with session affinity; the choices themselves are pure (service-table.ts).
 */
import type { Clock } from '../../protocol/clock.ts';
import { AffinityTable } from './affinity.ts';
import {
  type Backend,
  backendKey,
  chooseBackend,
  type ListenerSpec,
  stickyBackend,
} from './service-table.ts';

export class Balancer {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #open = new Map<string, number>();
  /** When each was last chosen. A changed service has new backends: they begin anew, in random order. */
  readonly #turns = new WeakMap<Backend, number>();
  readonly #affinity: AffinityTable;
  #turn = 0;

  constructor(options: { clock: Clock; random: () => number; clientsMax: number }) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.#affinity = new AffinityTable(options.clientsMax);
  }

  /** Undefined when all backends are in `tried`, or there is none. */
  choose(
    spec: Pick<ListenerSpec, 'backends' | 'affinity'>,
    tried: ReadonlySet<Backend>,
    clientIp: string,
  ): Backend | undefined {
    const { backends, affinity } = spec;
    if (affinity === undefined) {
      const open = (backend: Backend) => this.#open.get(backendKey(backend)) ?? 0;
      const turn = (backend: Backend) => this.#turns.get(backend) ?? 0;
      const next = chooseBackend(backends, tried, open, turn, this.#random);
      if (next !== undefined) this.#turns.set(next, ++this.#turn);
      return next;
    }
    const client = `${affinity.key} ${clientIp}`;
    const nowMs = this.#clock.monotonicMs();
    const last = this.#affinity.get(client, nowMs);
    const known = backends.find((one) => backendKey(one) === last && !tried.has(one));
    const chosen = known ?? stickyBackend(backends, tried, clientIp);
    if (chosen !== undefined) {
      this.#affinity.set(client, backendKey(chosen), nowMs + affinity.seconds * 1000);
    }
    return chosen;
  }

  /** A connection to the backend begins (1) or is over (-1). */
  count(backend: Backend, change: 1 | -1): void {
    const key = backendKey(backend);
    const open = (this.#open.get(key) ?? 0) + change;
    if (open > 0) this.#open.set(key, open);
    else this.#open.delete(key);
  }
}

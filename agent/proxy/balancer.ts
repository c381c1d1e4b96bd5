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

type Choices = Pick<ListenerSpec, 'backends' | 'affinity'>;

/** For so long a backend that let a client wait in vain is chosen only when there is no other. */
const SILENT_MS = 10_000;

export class Balancer {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #open = new Map<string, number>();
  /** When each was last chosen. A changed service has new backends: they begin anew, in random order. */
  readonly #turns = new WeakMap<Backend, number>();
  readonly #affinity: AffinityTable;
  /** Until when, in monotonic ms. */
  readonly #silent = new Map<string, number>();
  #turn = 0;

  constructor(options: { clock: Clock; random: () => number; clientsMax: number }) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.#affinity = new AffinityTable(options.clientsMax);
  }

  /** Undefined when all backends are in `tried`, or there is none. */
  choose(spec: Choices, tried: ReadonlySet<Backend>, clientIp: string): Backend | undefined {
    const silent = this.#silentOf(spec.backends);
    const left =
      silent.length > 0 ? this.#choose(spec, new Set([...tried, ...silent]), clientIp) : undefined;
    return left ?? this.#choose(spec, tried, clientIp);
  }

  /**
   * A client waited in vain for this backend to answer; one that refuses costs nobody time and is not meant. Nobody else may
   * know yet: a board that dies with the master on it stays among the endpoints until there is a master again.
   */
  wasSilent(backend: Backend): void {
    this.#silent.set(backendKey(backend), this.#clock.monotonicMs() + SILENT_MS);
  }

  #silentOf(backends: readonly Backend[]): Backend[] {
    if (this.#silent.size === 0) return [];
    const nowMs = this.#clock.monotonicMs();
    for (const [key, untilMs] of this.#silent) if (untilMs <= nowMs) this.#silent.delete(key);
    return backends.filter((backend) => this.#silent.has(backendKey(backend)));
  }

  #choose(spec: Choices, tried: ReadonlySet<Backend>, clientIp: string): Backend | undefined {
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

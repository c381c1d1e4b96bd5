/**
 * Pods that wait for a board. Pure state with time as an argument: no timers, no I/O.
 *
 * Promises: a key is in at most one of three places: active (try now), backing off (try after a
 * time), or parked (nothing has changed that could help it). Parked pods are never polled: `wake`
 * moves those that an event could help. Back-off doubles per attempt from 1 s to 10 s, as in
 * kube-scheduler. Order of the active ones: priority, then arrival. It holds no more than the
 * pending pods of the cluster.
 */
import type { FilterName } from './filters.ts';

/** What happened in the cluster that may let a parked pod fit. */
type ClusterEvent = 'node' | 'podRemoved' | 'podPlaced' | 'namespace' | 'volume' | 'image';

const HELPED_BY: Readonly<Record<Exclude<ClusterEvent, 'node'>, readonly FilterName[]>> = {
  podRemoved: [
    ...(['NodePorts', 'NodeResourcesFit', 'VolumeBinding'] as const),
    ...(['PodTopologySpread', 'InterPodAffinity'] as const),
  ],
  podPlaced: ['PodTopologySpread', 'InterPodAffinity'],
  namespace: ['InterPodAffinity'],
  volume: ['VolumeBinding'],
  image: ['ImageArchitecture'],
};

const BACKOFF_FIRST_MS = 1_000;
const BACKOFF_MAX_MS = 10_000;

interface Entry {
  readonly key: string;
  priority: number;
  readonly arrival: number;
  attempts: number;
  /** When back-off ends. */
  readyAtMs: number;
  place: 'active' | 'backoff' | 'parked' | 'taken';
  refusedBy: readonly FilterName[];
}

export class SchedulingQueue {
  readonly #entries = new Map<string, Entry>();
  #arrivals = 0;

  get size(): number {
    return this.#entries.size;
  }

  /** How many wait for what. A pod that is being tried counts as active. */
  pending(): { readonly active: number; readonly backoff: number; readonly unschedulable: number } {
    const counts = { active: 0, backoff: 0, parked: 0, taken: 0 };
    for (const { place } of this.#entries.values()) counts[place] += 1;
    const { active, taken, backoff, parked } = counts;
    return { active: active + taken, backoff, unschedulable: parked };
  }

  /** A new pod, or one whose spec changed: tried as soon as possible. */
  add(key: string, priority: number): void {
    const known = this.#entries.get(key);
    if (known === undefined) {
      this.#arrivals += 1;
      this.#entries.set(key, {
        key,
        priority,
        arrival: this.#arrivals,
        attempts: 0,
        readyAtMs: 0,
        place: 'active',
        refusedBy: [],
      });
      return;
    }
    known.priority = priority;
    if (known.place === 'parked') known.place = 'backoff';
  }

  /** The pod is bound, gone or gated. */
  remove(key: string): void {
    this.#entries.delete(key);
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /**
   * Takes up to `max` pods whose time has come; each must be given back by `park`, `retry` or
   * `remove`.
   */
  take(max: number, nowMs: number): string[] {
    const ready: Entry[] = [];
    for (const entry of this.#entries.values()) {
      if (entry.place === 'backoff' && entry.readyAtMs <= nowMs) entry.place = 'active';
      if (entry.place === 'active') ready.push(entry);
    }
    ready.sort((a, b) => b.priority - a.priority || a.arrival - b.arrival);
    return ready.slice(0, max).map((entry) => {
      entry.place = 'taken';
      entry.attempts += 1;
      return entry.key;
    });
  }

  /** It fits nowhere: wait for an event that could help. */
  park(key: string, refusedBy: readonly FilterName[], nowMs: number): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    entry.place = 'parked';
    entry.refusedBy = refusedBy;
    entry.readyAtMs = nowMs + backoffMs(entry.attempts);
  }

  /** The attempt failed for a reason of our own (the API refused): once more after back-off. */
  retry(key: string, nowMs: number): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    entry.place = 'backoff';
    entry.readyAtMs = nowMs + backoffMs(entry.attempts);
  }

  /** Moves parked pods that `event` could help; true when there were any. */
  wake(event: ClusterEvent): boolean {
    let woken = false;
    for (const entry of this.#entries.values()) {
      if (entry.place !== 'parked') continue;
      if (event !== 'node' && !entry.refusedBy.some((name) => HELPED_BY[event].includes(name))) {
        continue;
      }
      entry.place = 'backoff';
      woken = true;
    }
    return woken;
  }

  /**
   * Milliseconds until the next pod may be tried; 0 for now, undefined when none waits for time.
   */
  nextInMs(nowMs: number): number | undefined {
    let next: number | undefined;
    for (const entry of this.#entries.values()) {
      if (entry.place === 'active') return 0;
      if (entry.place !== 'backoff') continue;
      const wait = Math.max(0, entry.readyAtMs - nowMs);
      if (next === undefined || wait < next) next = wait;
    }
    return next;
  }
}

function backoffMs(attempts: number): number {
  return Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.max(0, attempts - 1));
}

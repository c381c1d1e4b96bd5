/**
 * Since when, by the master's monotonic clock, something has been as it is. Timestamps in objects
 * come from clocks that may be wrong by decades, so nothing is decided by them. After a restart
 * every time begins anew: waits then last longer, never shorter. Bounded: one entry per existing
 * object; entries go when their object is deleted.
 */
import type { Clock } from '../../protocol/clock.ts';
import type { Pod } from '../../protocol/kinds/types.ts';
import type { Informer } from '../informer/informer.ts';
import { isPodReady, type PodTimes } from './pods.ts';

/** Remembers per key a value and when that value was first seen. */
export class FirstSeen {
  readonly #entries = new Map<string, { value: string; sinceMs: number }>();

  /** When `key` took the `value`; a different value than last time starts at `nowMs`. */
  since(key: string, value: string, nowMs: number): number {
    const known = this.#entries.get(key);
    if (known !== undefined && known.value === value) return known.sinceMs;
    this.#entries.set(key, { value, sinceMs: nowMs });
    return nowMs;
  }

  forget(key: string): void {
    this.#entries.delete(key);
  }

  /** Forgets all other keys. */
  keepOnly(keys: ReadonlySet<string>): void {
    for (const key of this.#entries.keys()) if (!keys.has(key)) this.#entries.delete(key);
  }

  get size(): number {
    return this.#entries.size;
  }
}

/** Follows the pods and knows since when each exists and is ready. */
export class ObservedPodTimes implements PodTimes {
  readonly #entries = new Map<
    string,
    { seenMs: number; readyMs: number | undefined; wasReady: boolean }
  >();
  readonly #stop: () => void;

  constructor(pods: Informer<Pod>, clock: Clock) {
    this.#stop = pods.onChange(({ type, object }) => {
      const uid = object.metadata?.uid ?? '';
      if (type === 'deleted') {
        this.#entries.delete(uid);
        return;
      }
      const nowMs = clock.monotonicMs();
      const known = this.#entries.get(uid);
      const readyMs = isPodReady(object) ? (known?.readyMs ?? nowMs) : undefined;
      const wasReady = known?.wasReady === true || readyMs !== undefined;
      this.#entries.set(uid, { seenMs: known?.seenMs ?? nowMs, readyMs, wasReady });
    });
  }

  firstSeenMs(uid: string): number | undefined {
    return this.#entries.get(uid)?.seenMs;
  }

  readySinceMs(uid: string): number | undefined {
    return this.#entries.get(uid)?.readyMs;
  }

  /** Seen ready by this master, even if it is not any more. */
  wasReady(uid: string): boolean {
    return this.#entries.get(uid)?.wasReady === true;
  }

  stop(): void {
    this.#stop();
  }
}

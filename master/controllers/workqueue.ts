/**
 * The queue between informers and a controller. Pure state with time as an argument: no timers, no
 * I/O.
 *
 * Promises (those of client-go's workqueue): a key that is queued twice is handled once; a key that
 * arrives while it is being handled is handled again afterwards, never at the same time; order is
 * first come, first served. On top: delays per key (the earliest wins) and back-off per key, 200 ms
 * doubling to 30 s, reset by `succeed`. It holds at most one entry per key, so it is bounded by the
 * number of objects.
 */
const BACKOFF_FIRST_MS = 200;
const BACKOFF_MAX_MS = 30_000;
/** After so many failures in a row a new event no longer shortens the wait: no hot loops. */
const PATIENT_AFTER = 5;

export class WorkQueue {
  readonly #ready = new Set<string>();
  readonly #delayed = new Map<string, number>();
  readonly #active = new Set<string>();
  readonly #again = new Set<string>();
  readonly #failures = new Map<string, number>();

  #adds = 0;
  #retries = 0;

  /** Keys that could be taken now; all that were added, and all that failed, so far. */
  get figures(): { readonly depth: number; readonly adds: number; readonly retries: number } {
    return { depth: this.#ready.size, adds: this.#adds, retries: this.#retries };
  }

  get size(): number {
    return this.#ready.size + this.#delayed.size + this.#active.size;
  }

  add(key: string): void {
    if ((this.#failures.get(key) ?? 0) > PATIENT_AFTER && this.#delayed.has(key)) return;
    this.#put(key);
  }

  addAfter(key: string, delayMs: number, nowMs: number): void {
    const at = nowMs + delayMs;
    const known = this.#delayed.get(key);
    if (known === undefined || at < known) this.#delayed.set(key, at);
  }

  /**
   * The next key to handle, which is then active until `done`; undefined when there is none now.
   */
  take(nowMs: number): string | undefined {
    for (const [key, at] of this.#delayed) {
      if (at > nowMs) continue;
      this.#delayed.delete(key);
      this.#put(key);
    }
    for (const key of this.#ready) {
      this.#ready.delete(key);
      this.#active.add(key);
      return key;
    }
    return undefined;
  }

  /** The key was handled, well or not; what came in meanwhile is queued now. */
  done(key: string): void {
    this.#active.delete(key);
    if (this.#again.delete(key)) this.#ready.add(key);
  }

  /** Handled well: back-off starts anew next time. */
  succeed(key: string): void {
    this.#failures.delete(key);
  }

  /** Handled badly: once more after back-off. The milliseconds it will wait. */
  fail(key: string, nowMs: number): number {
    const failures = this.#failures.get(key) ?? 0;
    this.#retries += 1;
    this.#failures.set(key, failures + 1);
    const delayMs = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** failures);
    this.addAfter(key, delayMs, nowMs);
    return delayMs;
  }

  #put(key: string): void {
    const place = this.#active.has(key) ? this.#again : this.#ready;
    if (!place.has(key)) this.#adds += 1;
    place.add(key);
  }

  /** Milliseconds until a key can be taken; 0 for now, undefined when nothing waits. */
  nextInMs(nowMs: number): number | undefined {
    if (this.#ready.size > 0) return 0;
    let next: number | undefined;
    for (const at of this.#delayed.values()) {
      const wait = Math.max(0, at - nowMs);
      if (next === undefined || wait < next) next = wait;
    }
    return next;
  }
}

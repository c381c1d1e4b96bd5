/**
 * Time in the hand: events in the order of their time, then of their making. After each event every promise that can go on
 * does so before the next event, so that a run is one history. Nothing in the simulation waits for anything else.
 */
import type { Timers } from '../../../master/informer/timers.ts';
import type { Clock } from '../../../protocol/clock.ts';

interface Event {
  readonly atMs: number;
  readonly order: number;
  run: (() => void) | undefined;
}

export class SimTime implements Clock, Timers {
  #nowMs = 1_000;
  /** Between the monotonic clock and the wall: what NTP, or nobody, has set. */
  wallOffsetMs = Date.UTC(2026, 5, 1);
  #order = 0;
  /** A binary heap; the earliest first. */
  readonly #heap: Event[] = [];

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return Math.floor(this.#nowMs + this.wallOffsetMs);
  }

  after(delayMs: number, run: () => void): () => void {
    this.#order += 1;
    const event: Event = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order, run };
    this.#push(event);
    return () => {
      event.run = undefined;
    };
  }

  /** Runs what is due until `endMs`; stops early when `isOver` says so. */
  async runUntil(endMs: number, isOver: () => boolean = () => false): Promise<void> {
    await settle();
    while (!isOver()) {
      const [next] = this.#heap;
      if (next === undefined || next.atMs > endMs) break;
      this.#pop();
      if (next.run === undefined) continue;
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.run();
      await settle();
    }
    if (!isOver()) this.#nowMs = Math.max(this.#nowMs, endMs);
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Event;
      if (!isBefore(event, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      if (left >= heap.length) break;
      const right = left + 1;
      const isRight = right < heap.length && isBefore(heap[right] as Event, heap[left] as Event);
      const child = isRight ? right : left;
      if (!isBefore(heap[child] as Event, last)) break;
      heap[at] = heap[child] as Event;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** Every promise that can go on has gone on: nothing here waits for the real event loop. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** The timers of one process: they end with it, and none runs while it stands still (SIGSTOP, a swapping board). */
export class ProcessTimers implements Timers {
  readonly #time: SimTime;
  #isDead = false;
  #stalledUntilMs = 0;

  constructor(time: SimTime) {
    this.#time = time;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  kill(): void {
    this.#isDead = true;
  }

  stall(ms: number): void {
    this.#stalledUntilMs = this.#time.monotonicMs() + ms;
  }

  after(delayMs: number, callback: () => void): () => void {
    const run = (): void => {
      if (this.#isDead) return;
      const leftMs = this.#stalledUntilMs - this.#time.monotonicMs();
      if (leftMs > 0) cancel = this.#time.after(leftMs, run);
      else callback();
    };
    let cancel = this.#time.after(delayMs, run);
    return () => cancel();
  }

  /** Resolves later, or never when the process has died. */
  pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(delayMs, resolve);
    });
  }
}

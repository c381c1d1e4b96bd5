/**
 * Logs refused and broken connections without letting a hostile neighbour fill the disk: each (who, reason) at
 * most once a minute, with the number left out since; at most 256 pairs are remembered.
 */
import type { Logger } from 'pino';
import type { Clock } from '../../protocol/clock.ts';

const QUIET_MS = 60_000;
const PAIRS_MAX = 256;

export class RefusalLog {
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #seen = new Map<string, { atMs: number; suppressed: number }>();

  constructor(log: Logger, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** `who` is a board's name or an address. */
  add(who: string, reason: string): void {
    const nowMs = this.#clock.monotonicMs();
    const key = `${who}\n${reason}`;
    const entry = this.#seen.get(key);
    if (entry !== undefined && nowMs - entry.atMs < QUIET_MS) {
      entry.suppressed += 1;
      return;
    }
    const suppressed = entry?.suppressed ?? 0;
    this.#seen.delete(key);
    if (this.#seen.size >= PAIRS_MAX) {
      const oldest = this.#seen.keys().next().value;
      if (oldest !== undefined) this.#seen.delete(oldest);
    }
    this.#seen.set(key, { atMs: nowMs, suppressed: 0 });
    this.#log.warn({ who, reason, suppressed }, 'refused on the broker');
  }
}

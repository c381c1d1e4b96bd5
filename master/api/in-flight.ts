/**
 * How many requests may be worked on at once, over all and per user, so that one noisy client does not starve the others.
 * Watches and logs are not counted: they wait, they do not work.
 */
import { ApiError } from '../../protocol/status.ts';

export interface InFlightLimits {
  readonly readsMax: number;
  readonly writesMax: number;
  /** Share of each that one user may take, 0 to 1. */
  readonly userShare: number;
}

export const DEFAULT_IN_FLIGHT: InFlightLimits = { readsMax: 400, writesMax: 200, userShare: 0.75 };

export class InFlight {
  readonly #limits: InFlightLimits;
  readonly #total = { reads: 0, writes: 0 };
  readonly #users = { reads: new Map<string, number>(), writes: new Map<string, number>() };

  constructor(limits: InFlightLimits) {
    this.#limits = limits;
  }

  /** How many are worked on. */
  get now(): { readonly reads: number; readonly writes: number } {
    return this.#total;
  }

  /** Throws 429 when there is no room; else call the result when the request is done. */
  enter(user: string, kind: 'reads' | 'writes'): () => void {
    const max = kind === 'reads' ? this.#limits.readsMax : this.#limits.writesMax;
    const users = this.#users[kind];
    const own = users.get(user) ?? 0;
    if (this.#total[kind] >= max || own >= Math.max(1, max * this.#limits.userShare)) {
      throw tooManyRequests();
    }
    this.#total[kind] += 1;
    users.set(user, own + 1);
    return () => {
      this.#total[kind] -= 1;
      const left = (users.get(user) ?? 1) - 1;
      if (left > 0) users.set(user, left);
      else users.delete(user);
    };
  }
}

function tooManyRequests(): ApiError {
  return new ApiError(429, 'TooManyRequests', 'Too many requests, please try again later.', {
    retryAfterSeconds: 1,
  });
}

/**
 * Waiting longer after every failure in a row. Pure; all times are monotonic milliseconds.
 */

export interface BackoffLimits {
  /** The wait after the first failure. */
  readonly firstMs: number;
  /** No wait is longer. */
  readonly maxMs: number;
}

export interface Backoff {
  readonly delayMs: number;
  readonly untilMs: number;
}

/** Doubles the wait of `previous`, or starts with the first one. */
export function growBackoff(
  previous: Backoff | undefined,
  limits: BackoffLimits,
  nowMs: number,
): Backoff {
  const delayMs =
    previous === undefined || previous.delayMs === 0
      ? limits.firstMs
      : Math.min(previous.delayMs * 2, limits.maxMs);
  return { delayMs, untilMs: nowMs + delayMs };
}

/**
 * The wait after a container ended. The first end is answered at once, as the kubelet does; the next ones
 * wait 10 s, 20 s, ... 5 min. A container that ran `resetAfterMs` starts over.
 */
export function crashBackoff(
  previous: Backoff | undefined,
  limits: BackoffLimits & { readonly resetAfterMs: number },
  nowMs: number,
  ranMs: number,
): Backoff {
  if (previous === undefined || ranMs >= limits.resetAfterMs) {
    return { delayMs: 0, untilMs: nowMs };
  }
  return growBackoff(previous, limits, nowMs);
}

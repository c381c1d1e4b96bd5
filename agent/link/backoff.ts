/**
 * How long to wait before the next attempt: 250 ms doubling to 10 s, each spread over its upper half, so
 * that a shelf of boards does not come back in one wave. Pure.
 */
const FIRST_MS = 250;
const MAX_MS = 10_000;

/** `attempt` counts failures since the last success, from 0; `random` gives [0, 1). */
export function backoffMs(attempt: number, random: () => number): number {
  const ceiling = Math.min(FIRST_MS * 2 ** Math.min(attempt, 16), MAX_MS);
  return Math.round(ceiling * (0.5 + random() / 2));
}

/**
 * Time as an argument. Decisions use `monotonicMs`, which never jumps; `wallMs` exists only to print
 * a timestamp for people. Boards have no RTC, so the wall clock may stand in 1970 and leap by decades.
 */
export interface Clock {
  /** Milliseconds since an arbitrary start; never goes back, unaffected by NTP. */
  monotonicMs(): number;
  /** Milliseconds since 1970-01-01 as the board believes it; for display only. */
  wallMs(): number;
}

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
};

/** RFC 3339 in UTC without fractions, the form of `metav1.Time`. */
export function rfc3339(wallMs: number): string {
  return `${new Date(wallMs).toISOString().slice(0, 19)}Z`;
}

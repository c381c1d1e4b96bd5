/**
 * Durations for people, with two to three significant figures: the AGE column of `kubectl get`.
 * Steps as k8s.io/apimachinery util/duration HumanDuration.
 */
const SECONDS_PER_MINUTE = 60;
const MINUTES_PER_HOUR = 60;
const HOURS_PER_DAY = 24;
const DAYS_PER_YEAR = 365;

/** `18m`, `3d4h`, `2y10d`. A small negative duration (clocks of two boards) is `0s`. */
export function humanDuration(durationMs: number): string {
  const seconds = Math.trunc(durationMs / 1000);
  if (seconds < -1) return '<invalid>';
  if (seconds <= 0) return '0s';
  if (seconds < 2 * SECONDS_PER_MINUTE) return `${seconds}s`;
  const minutes = Math.floor(seconds / SECONDS_PER_MINUTE);
  if (minutes < 10) return withRest(minutes, 'm', seconds % SECONDS_PER_MINUTE, 's');
  if (minutes < 3 * MINUTES_PER_HOUR) return `${minutes}m`;
  const hours = Math.floor(minutes / MINUTES_PER_HOUR);
  if (hours < 8) return withRest(hours, 'h', minutes % MINUTES_PER_HOUR, 'm');
  if (hours < 2 * HOURS_PER_DAY) return `${hours}h`;
  const days = Math.floor(hours / HOURS_PER_DAY);
  if (days < 8) return withRest(days, 'd', hours % HOURS_PER_DAY, 'h');
  if (days < 2 * DAYS_PER_YEAR) return `${days}d`;
  const years = Math.floor(days / DAYS_PER_YEAR);
  if (years < 8) return withRest(years, 'y', days % DAYS_PER_YEAR, 'd');
  return `${years}y`;
}

function withRest(count: number, unit: string, rest: number, restUnit: string): string {
  return rest === 0 ? `${count}${unit}` : `${count}${unit}${rest}${restUnit}`;
}

/** Time since an RFC 3339 timestamp, `<unknown>` when there is none. */
export function ageSince(timestamp: string | undefined, nowMs: number): string {
  if (timestamp === undefined || timestamp === '') return '<unknown>';
  const thenMs = Date.parse(timestamp);
  return Number.isNaN(thenMs) ? '<unknown>' : humanDuration(nowMs - thenMs);
}

/**
 * The scalar types of the API that have a JSON form of their own: times, durations, base64. Each function
 * brings a text to the form in which the API server stores it, or says in Go's words what is wrong. Pure.
 */

export type Scalar =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly error: string };

const TIME = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d{1,9})\d*)?(?:Z|([+-])(\d\d):(\d\d))$/;

/** The elements of RFC 3339 in the order in which Go reads them, with Go's name for each. */
const TIME_PARTS: readonly (readonly [RegExp, string])[] = [
  [/^\d{4}/, '2006'],
  [/^-/, '-'],
  [/^(0[1-9]|1[0-2])/, '01'],
  [/^-/, '-'],
  [/^\d\d/, '02'],
  [/^T/, 'T'],
  [/^\d\d/, '15'],
  [/^:/, ':'],
  [/^\d\d/, '04'],
  [/^:/, ':'],
  [/^\d\d(?:[.,]\d+)?/, '05'],
  [/^(?:Z|[+-]\d\d:\d\d)/, 'Z07:00'],
];

/** RFC 3339 in any zone to UTC with whole seconds (`digits` 0, Time) or microseconds (6, MicroTime). */
export function normalizeTime(text: string, digits: 0 | 6): Scalar {
  const match = TIME.exec(text);
  const local = match?.[1];
  const ms = local === undefined ? Number.NaN : Date.parse(`${local}Z`);
  // V8 takes 30 February for 1 March; the API server refuses it.
  const rolledOver = !Number.isNaN(ms) && new Date(ms).toISOString().slice(0, 19) !== local;
  if (match === null || Number.isNaN(ms) || rolledOver)
    return { ok: false, error: timeError(text) };
  const offsetMinutes = Number(match[4] ?? 0) * 60 + Number(match[5] ?? 0);
  const date = new Date(ms - (match[3] === '-' ? -1 : 1) * offsetMinutes * 60_000);
  const iso = date.toISOString();
  // Outside of the years 0000 to 9999 the text is not RFC 3339 any more.
  if (iso.length !== 24) return { ok: false, error: timeError(text) };
  const fraction = digits === 0 ? '' : `.${(match[2] ?? '').padEnd(6, '0').slice(0, 6)}`;
  return { ok: true, text: `${iso.slice(0, 19)}${fraction}Z` };
}

function timeError(text: string): string {
  const head = `parsing time ${JSON.stringify(text)}`;
  let rest = text;
  for (const [part, name] of TIME_PARTS) {
    const found = part.exec(rest);
    if (found === null) {
      const cannot = `cannot parse ${JSON.stringify(rest)} as ${JSON.stringify(name)}`;
      return `${head} as "2006-01-02T15:04:05Z07:00": ${cannot}`;
    }
    rest = rest.slice(found[0].length);
  }
  if (rest !== '') return `${head}: extra text: ${JSON.stringify(rest)}`;
  return `${head}: day, hour, minute or second out of range`;
}

const DURATION_NANOS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/** Go's duration, "1m30s" or "1.5h", in nanoseconds; undefined when it is none. */
export function durationNanos(text: string): number | undefined {
  const match = /^([-+]?)((?:\d+(?:\.\d*)?(?:ns|us|µs|μs|ms|s|m|h))+|0)$/.exec(text);
  if (match === null) return undefined;
  let nanos = 0;
  for (const [, number, unit] of (match[2] ?? '').matchAll(/(\d+(?:\.\d*)?)([nuµμm]?s|m|h)/g)) {
    nanos += Number(number) * (DURATION_NANOS[unit ?? ''] ?? 0);
  }
  return match[1] === '-' ? -Math.round(nanos) : Math.round(nanos);
}

/** Nanoseconds as Go prints them: "1m30s", "1.5s", "250ms", "0s". */
export function formatDuration(nanos: number): string {
  const sign = nanos < 0 ? '-' : '';
  const magnitude = Math.abs(nanos);
  if (magnitude === 0) return '0s';
  if (magnitude < 1e3) return `${sign}${magnitude}ns`;
  if (magnitude < 1e6) return `${sign}${magnitude / 1e3}µs`;
  if (magnitude < 1e9) return `${sign}${magnitude / 1e6}ms`;
  const hours = Math.floor(magnitude / 3600e9);
  const minutes = Math.floor((magnitude % 3600e9) / 60e9);
  const seconds = `${(magnitude % 60e9) / 1e9}s`;
  if (hours > 0) return `${sign}${hours}h${minutes}m${seconds}`;
  return minutes > 0 ? `${sign}${minutes}m${seconds}` : `${sign}${seconds}`;
}

/** Standard base64 with padding; line breaks are taken out, as Go does. */
export function normalizeBase64(text: string): Scalar {
  const plain = /[\r\n]/.test(text) ? text.replace(/[\r\n]/g, '') : text;
  const illegal = plain.search(/[^A-Za-z0-9+/=]/);
  const padding = plain.indexOf('=');
  const bodyLength = padding < 0 ? plain.length : padding;
  const isPadded = padding < 0 || (plain.length - padding <= 2 && plain.endsWith('='));
  const onlyPadding = padding < 0 || /^=+$/.test(plain.slice(padding));
  if (illegal < 0 && plain.length % 4 === 0 && isPadded && onlyPadding) {
    return { ok: true, text: plain };
  }
  const at = illegal >= 0 ? illegal : bodyLength;
  return { ok: false, error: `illegal base64 data at input byte ${at}` };
}

/**
 * Cron schedules as CronJob has them: five fields (minute, hour, day of month, month, day of week), macros, "@every",
 * in a time zone. Pure but for the zone rules, which come with Node. Source: Kubernetes' documentation of CronJob,
 * "Schedule syntax".
 *
 * By the clock on the wall of the zone: a time that a change to summer time skips does not come that day, one that
 * comes twice in autumn is met twice. Day of month and day of week: when both are restricted, either will do.
 */
const MINUTE_MS = 60_000;
/** A schedule that matches nothing in this time never does (the 30th of February); leap days come within it. */
const SEARCH_YEARS = 9;

export interface CronSchedule {
  /** The first time after `afterMs` (wall clock, UTC), undefined when there is none. */
  next(afterMs: number, timeZone: string | undefined): number | undefined;
}

export class CronSyntaxError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'CronSyntaxError';
  }
}

interface FieldRule {
  readonly what: string;
  readonly min: number;
  readonly max: number;
  readonly names: readonly string[];
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

const FIELDS: readonly FieldRule[] = [
  { what: 'minute', min: 0, max: 59, names: [] },
  { what: 'hour', min: 0, max: 23, names: [] },
  { what: 'day of month', min: 1, max: 31, names: [] },
  { what: 'month', min: 1, max: 12, names: MONTHS },
  { what: 'day of week', min: 0, max: 6, names: DAYS },
];

const MACROS: Readonly<Record<string, string>> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
};

/** Throws CronSyntaxError whose message says which part is wrong. */
export function parseSchedule(text: string): CronSchedule {
  const every = /^@every (.+)$/.exec(text);
  if (every !== null) return intervalSchedule(every[1] ?? '');
  const spec = MACROS[text] ?? text;
  if (spec.startsWith('@')) throw new CronSyntaxError(`unrecognized descriptor: ${text}`);
  const parts = spec.trim().split(/\s+/);
  if (parts.length !== FIELDS.length || spec.trim() === '') {
    const found = spec.trim() === '' ? 0 : parts.length;
    throw new CronSyntaxError(`expected exactly 5 fields, found ${found}: [${parts.join(' ')}]`);
  }
  const [minute, hour, day, month, weekday] = FIELDS.map((rule, at) =>
    parseField(parts[at] ?? '', rule),
  );
  if (!minute || !hour || !day || !month || !weekday) {
    throw new CronSyntaxError('expected exactly 5 fields');
  }
  const fields = { minute, hour, day, month, weekday };
  return { next: (afterMs, timeZone) => nextMatch(fields, afterMs, clockOf(timeZone)) };
}

/** Is this a name of the time zone database? Kubernetes refuses "Local", which is no place. */
export function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_+/-]*$/.test(name) || name.toLowerCase() === 'local') return false;
  try {
    clockOf(name);
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: MINUTE_MS, s: 1_000 };

/** "@every 1h30m": from the last time on, in whole seconds, whatever the clock on the wall says. */
function intervalSchedule(text: string): CronSchedule {
  if (!/^(\d+[hms])+$/.test(text)) {
    throw new CronSyntaxError(`failed to parse duration @every ${text}: want a form like 1h30m`);
  }
  let ms = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+)([hms])/g)) {
    ms += Number(amount) * (UNIT_MS[unit ?? ''] ?? 0);
  }
  const step = Math.max(1_000, ms);
  return { next: (afterMs) => Math.floor(afterMs / 1_000) * 1_000 + step };
}

interface Field {
  readonly values: ReadonlySet<number>;
  /** "*" or "?", with or without a step: for the rule of the two days. */
  readonly isOpen: boolean;
}

function parseField(text: string, rule: FieldRule): Field {
  const values = new Set<number>();
  let isOpen = false;
  for (const part of text.split(',')) {
    const range = parseRange(part, rule);
    isOpen ||= range.isOpen;
    for (let at = range.from; at <= range.to; at += range.step) values.add(at);
  }
  return { values, isOpen };
}

function parseRange(part: string, rule: FieldRule) {
  const { min, max, what } = rule;
  const refuse = (why: string): CronSyntaxError => new CronSyntaxError(`${why}: ${what} "${part}"`);
  const [span = '', stepText, ...rest] = part.split('/');
  if (rest.length > 0) throw refuse('too many slashes');
  const [first = '', last, ...more] = span.split('-');
  if (more.length > 0) throw refuse('too many hyphens');
  const isOpen = first === '*' || first === '?';
  if (isOpen && last !== undefined) throw refuse('a range has two numbers');
  const from = isOpen ? min : parseValue(first, rule, refuse);
  const step = stepText === undefined ? 1 : parseNumber(stepText, refuse);
  if (step === 0) throw refuse('step of range should be a positive number');
  const end = last === undefined ? undefined : parseValue(last, rule, refuse);
  // "5/15" means from 5 to the end; "5" alone means 5.
  const to = end ?? (isOpen || stepText !== undefined ? max : from);
  if (from < min) throw refuse(`beginning of range (${from}) below minimum (${min})`);
  if (to > max) throw refuse(`end of range (${to}) above maximum (${max})`);
  if (from > to) throw refuse(`beginning of range (${from}) beyond end of range (${to})`);
  return { from, to, step, isOpen: isOpen && step === 1 };
}

function parseValue(text: string, rule: FieldRule, refuse: (why: string) => Error): number {
  const named = rule.names.indexOf(text.toLowerCase());
  return named < 0 ? parseNumber(text, refuse) : named + rule.min;
}

function parseNumber(text: string, refuse: (why: string) => Error): number {
  if (!/^\d{1,9}$/.test(text)) throw refuse('failed to parse number');
  return Number(text);
}

interface WallTime {
  readonly month: number;
  readonly day: number;
  readonly weekday: number;
  readonly hour: number;
  readonly minute: number;
}

type WallClock = (ms: number) => WallTime;

/** Making a formatter costs a thousand times what using one does. A handful of zones in one home. */
const clocks = new Map<string, WallClock>();
const CLOCKS_MAX = 64;

/** The clock on the wall of a zone; UTC without one. Throws RangeError for a zone that is none. */
function clockOf(timeZone = 'UTC'): WallClock {
  const known = clocks.get(timeZone);
  if (known !== undefined) return known;
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    month: 'numeric',
    day: 'numeric',
    weekday: 'short',
    hour: 'numeric',
    minute: 'numeric',
  });
  const clock: WallClock = (ms) => {
    const parts = new Map(format.formatToParts(ms).map(({ type, value }) => [type, value]));
    const number = (type: 'month' | 'day' | 'hour' | 'minute'): number => Number(parts.get(type));
    return {
      month: number('month'),
      day: number('day'),
      weekday: DAYS.indexOf((parts.get('weekday') ?? '').toLowerCase()),
      hour: number('hour'),
      minute: number('minute'),
    };
  };
  if (clocks.size >= CLOCKS_MAX) clocks.clear();
  clocks.set(timeZone, clock);
  return clock;
}

type Fields = Readonly<Record<'minute' | 'hour' | 'day' | 'month' | 'weekday', Field>>;

function matchesDay({ day, month, weekday }: Fields, wall: WallTime): boolean {
  if (!month.values.has(wall.month)) return false;
  const inMonth = day.values.has(wall.day);
  const inWeek = weekday.values.has(wall.weekday);
  return day.isOpen || weekday.isOpen ? inMonth && inWeek : inMonth || inWeek;
}

function nextMatch(fields: Fields, afterMs: number, clock: WallClock): number | undefined {
  let at = Math.floor(afterMs / MINUTE_MS) * MINUTE_MS + MINUTE_MS;
  const endMs = at + SEARCH_YEARS * 366 * 24 * 60 * MINUTE_MS;
  while (at < endMs) {
    const wall = clock(at);
    const toNextHour = 60 - wall.minute;
    if (!matchesDay(fields, wall)) {
      // To midnight, but for the last two hours: the clock may be changed on the way.
      const toMidnight = 24 * 60 - wall.hour * 60 - wall.minute;
      at += Math.max(toNextHour, toMidnight - 120) * MINUTE_MS;
    } else if (!fields.hour.values.has(wall.hour)) {
      at += toNextHour * MINUTE_MS;
    } else if (!fields.minute.values.has(wall.minute)) {
      at += MINUTE_MS;
    } else {
      return at;
    }
  }
  return undefined;
}

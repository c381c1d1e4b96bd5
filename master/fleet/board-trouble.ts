/**
 * Heat and weak power of a board, as conditions that new pods keep away from. Pure.
 *
 * Promises: a board that reports no sensor gets no condition. What swings around a limit does not swing the
 * condition, because each change of one is a write to the card: heat ends 5 degrees below where it began,
 * under-voltage a minute after it was seen last (a weak supply dips with each peak of the load).
 */
import type { Heartbeat } from '../../protocol/messages.ts';

/** Raspberry Pi documentation, "Frequency management and thermal control": throttling begins here. */
const HOT_CELSIUS = 80;
const COOL_CELSIUS = 75;
const STEADY_POWER_MS = 60_000;

/** Undefined fields: the board has no such sensor. */
export interface BoardTrouble {
  readonly overheating?: boolean;
  readonly underVoltage?: boolean;
  /** On the monotonic clock; only while `underVoltage`. */
  readonly underVoltageSeenMs?: number;
}

/** What a heartbeat makes of what was known. `nowMs` is monotonic. */
export function nextTrouble(
  before: BoardTrouble,
  heartbeat: Pick<Heartbeat, 'temperatureCelsius' | 'underVoltage'>,
  nowMs: number,
): BoardTrouble {
  const { temperatureCelsius: celsius, underVoltage } = heartbeat;
  return {
    ...(celsius === undefined
      ? {}
      : { overheating: celsius >= (before.overheating === true ? COOL_CELSIUS : HOT_CELSIUS) }),
    ...(underVoltage === undefined ? {} : power(before, underVoltage, nowMs)),
  };
}

function power(before: BoardTrouble, isLow: boolean, nowMs: number): BoardTrouble {
  if (isLow) return { underVoltage: true, underVoltageSeenMs: nowMs };
  const { underVoltageSeenMs: seenMs } = before;
  if (seenMs === undefined || nowMs - seenMs >= STEADY_POWER_MS) return { underVoltage: false };
  return { underVoltage: true, underVoltageSeenMs: seenMs };
}

/** Do the two differ in a condition? */
export function troubleDiffers(a: BoardTrouble, b: BoardTrouble): boolean {
  return a.overheating !== b.overheating || a.underVoltage !== b.underVoltage;
}

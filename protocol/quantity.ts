/**
 * Kubernetes' Quantity: an exact decimal with a suffix, as in "500m", "1.5Gi" or "2e3".
 *
 * Promises: no rounding but Kubernetes' own (more than nine fractional digits round away from zero, more than
 * 2^63-1 is cut to that), the canonical form that the API server stores ("1000m" is "1", "0.5" is "500m"),
 * and errors worded as the API server words them. Pure; the cost of hostile input is bounded.
 *
 * Source: the documentation of `resource.Quantity` in k8s.io/apimachinery.
 */

/** What suffix the canonical form takes: powers of 1000, of 1024, or an exponent. */
export type QuantityFormat = 'decimalSI' | 'binarySI' | 'decimalExponent';

export interface ParsedQuantity {
  /** The value times 10^9. */
  readonly nanos: bigint;
  readonly format: QuantityFormat;
}

export class QuantityError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'QuantityError';
  }
}

const FORM = /^([+-]?)(\d*)(?:\.(\d*))?([eEinumkKMGTP]*[-+]?\d*)$/;
const FORM_MESSAGE =
  "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
/** Longer than any sensible number; keeps the arithmetic of hostile input cheap. */
const LENGTH_MAX = 128;

const NANO_EXPONENT = 9;
const NANOS_PER_UNIT = 10n ** 9n;
const NANOS_PER_MILLI = 10n ** 6n;
const NANOS_MAX = (2n ** 63n - 1n) * NANOS_PER_UNIT;

/** From 10^-9 in steps of 10^3; the unit itself has none. */
const DECIMAL_SUFFIXES = ['n', 'u', 'm', '', 'k', 'M', 'G', 'T', 'P', 'E'];
const BINARY_SUFFIXES = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];

/** Reads a quantity. Throws `QuantityError`. */
export function parseQuantity(text: string): ParsedQuantity {
  const match = FORM.exec(text);
  if (match === null || text.length > LENGTH_MAX) throw new QuantityError(FORM_MESSAGE);
  const [, sign = '', whole = '', fraction = '', suffix = ''] = match;
  if (whole === '' && fraction === '') {
    throw new QuantityError(
      text === '' ? FORM_MESSAGE : 'unable to parse numeric part of quantity',
    );
  }
  const { format, exponent, factor } = scaleOf(suffix);
  const digits = BigInt(whole + fraction) * factor;
  const magnitude = scaled(digits, exponent - fraction.length + NANO_EXPONENT);
  const capped = magnitude > NANOS_MAX ? NANOS_MAX : magnitude;
  return { nanos: sign === '-' ? -capped : capped, format };
}

/** The canonical text: no fraction, and the largest suffix that needs none. */
export function formatQuantity(quantity: ParsedQuantity): string {
  const { nanos, format } = quantity;
  if (nanos === 0n) return '0';
  const sign = nanos < 0n ? '-' : '';
  const magnitude = nanos < 0n ? -nanos : nanos;
  if (format === 'binarySI' && magnitude >= 1024n * NANOS_PER_UNIT) {
    return sign + formatBinary(magnitude);
  }
  let mantissa = magnitude;
  let exponent = -NANO_EXPONENT;
  while (exponent < 18 && mantissa % 1000n === 0n) {
    mantissa /= 1000n;
    exponent += 3;
  }
  if (format !== 'decimalExponent')
    return sign + mantissa + DECIMAL_SUFFIXES[(exponent + NANO_EXPONENT) / 3];
  return sign + mantissa + (exponent === 0 ? '' : `e${exponent}`);
}

/** The form in which the API server stores a quantity. JSON numbers are taken too. Throws `QuantityError`. */
export function canonicalQuantity(text: string | number): string {
  // Most quantities in manifests have this form, and it is canonical already.
  if (typeof text === 'string' && /^[1-9]\d{0,2}(m|Mi|Gi)?$/.test(text)) return text;
  return formatQuantity(parseQuantity(String(text).trim()));
}

/** Negative, zero or positive, as a sort function returns it. Throws `QuantityError`. */
export function compareQuantities(a: string, b: string): number {
  const left = parseQuantity(a).nanos;
  const right = parseQuantity(b).nanos;
  return left < right ? -1 : left > right ? 1 : 0;
}

/** a + b in the format of a, or of b when a is zero. Throws `QuantityError`. */
export function addQuantities(a: string, b: string): string {
  return combine(parseQuantity(a), parseQuantity(b), 1n);
}

/** a - b in the format of a, or of b when a is zero. Throws `QuantityError`. */
export function subQuantities(a: string, b: string): string {
  return combine(parseQuantity(a), parseQuantity(b), -1n);
}

/** The value as a number, rounded away from zero to a whole one: bytes, pods, cores. Throws `QuantityError`. */
export function value(text: string): number {
  return fastValue(text, 1) ?? Number(divideUp(parseQuantity(text).nanos, NANOS_PER_UNIT));
}

/** The value times 1000, rounded away from zero: millicores. Throws `QuantityError`. */
export function milliValue(text: string): number {
  return fastValue(text, 1000) ?? Number(divideUp(parseQuantity(text).nanos, NANOS_PER_MILLI));
}

/** A quantity in thousandths, as "250m" or "2". */
export function quantityOfMilli(milli: number): string {
  return formatQuantity({
    nanos: BigInt(Math.round(milli)) * NANOS_PER_MILLI,
    format: 'decimalSI',
  });
}

/** A quantity of bytes, as "512Mi". */
export function quantityOfBytes(bytes: number): string {
  return formatQuantity({ nanos: BigInt(Math.round(bytes)) * NANOS_PER_UNIT, format: 'binarySI' });
}

/** Plain small numbers, millis and the common binary suffixes, without BigInt: the scheduler asks often. */
function fastValue(text: string, factor: 1 | 1000): number | undefined {
  const match = /^(\d{1,6})(m|Ki|Mi|Gi)?$/.exec(text);
  if (match === null) return undefined;
  const number = Number(match[1]);
  if (match[2] === undefined) return number * factor;
  if (match[2] === 'm') return factor === 1000 ? number : Math.ceil(number / 1000);
  return number * factor * 1024 ** BINARY_SUFFIXES.indexOf(match[2]);
}

function scaleOf(suffix: string): { format: QuantityFormat; exponent: number; factor: bigint } {
  const decimal = DECIMAL_SUFFIXES.indexOf(suffix);
  if (decimal >= 0)
    return { format: 'decimalSI', exponent: decimal * 3 - NANO_EXPONENT, factor: 1n };
  const binary = BINARY_SUFFIXES.indexOf(suffix);
  if (binary > 0) return { format: 'binarySI', exponent: 0, factor: 1024n ** BigInt(binary) };
  const exponent = /^[eE]([-+]?\d+)$/.exec(suffix)?.[1];
  if (exponent === undefined) throw new QuantityError("unable to parse quantity's suffix");
  return { format: 'decimalExponent', exponent: Number(exponent), factor: 1n };
}

/** digits * 10^exponent, rounded up. Far outside of what is representable the exponent does not matter. */
function scaled(digits: bigint, exponent: number): bigint {
  if (digits === 0n) return 0n;
  const bounded = Math.max(-2 * LENGTH_MAX, Math.min(exponent, 2 * LENGTH_MAX));
  if (bounded >= 0) return digits * 10n ** BigInt(bounded);
  return divideUp(digits, 10n ** BigInt(-bounded));
}

/** Rounds away from zero: who asks for something gets something. `divisor` is positive. */
function divideUp(dividend: bigint, divisor: bigint): bigint {
  const quotient = dividend / divisor;
  if (quotient * divisor === dividend) return quotient;
  return dividend < 0n ? quotient - 1n : quotient + 1n;
}

function formatBinary(magnitude: bigint): string {
  // Binary suffixes have no fractions: what is below one unit rounds up.
  let mantissa = divideUp(magnitude, NANOS_PER_UNIT);
  let power = 0;
  while (power < BINARY_SUFFIXES.length - 1 && mantissa % 1024n === 0n) {
    mantissa /= 1024n;
    power++;
  }
  return `${mantissa}${BINARY_SUFFIXES[power]}`;
}

function combine(a: ParsedQuantity, b: ParsedQuantity, sign: bigint): string {
  const format = a.nanos === 0n ? b.format : a.format;
  return formatQuantity({ nanos: a.nanos + sign * b.nanos, format });
}

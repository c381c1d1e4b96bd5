/** What every benchmark of this folder exports, and the small arithmetic they share. */

/** Plain JSON, so that the last line of a run can be read by any program. */
export type Json =
  | string
  | number
  | boolean
  | null
  | readonly Json[]
  | { readonly [key: string]: Json };

export interface Figures {
  readonly figures: { readonly [key: string]: Json };
  /** What the peers did on the same machine in the same run; empty with --no-peers. */
  readonly peers: { readonly [key: string]: Json };
}

export interface Benchmark {
  /** One line for the list. */
  readonly summary: string;
  run(args: string[]): Promise<Figures>;
}

/** Progress goes to stderr: stdout is for tables and the last line. */
export function say(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}

export function round(value: number, digits: number): number {
  const factor = 10 ** digits;
  return Math.round(value * factor) / factor;
}

/** Linear between neighbours. `share` from 0 to 1. Throws a RangeError when there is no value. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * share;
  const low = sorted[Math.floor(place)];
  const high = sorted[Math.ceil(place)];
  if (low === undefined || high === undefined) throw new RangeError('no value was measured');
  return low + (high - low) * (place - Math.floor(place));
}

export interface Spread {
  readonly [key: string]: number;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly rounds: number;
}

export function spreadOf(values: readonly number[], digits = 0): Spread {
  return {
    median: round(quantile(values, 0.5), digits),
    min: round(Math.min(...values), digits),
    max: round(Math.max(...values), digits),
    rounds: values.length,
  };
}

/** A table for people; the first row is the head. Columns of numbers are aligned to the right. */
export function printTable(rows: ReadonlyArray<ReadonlyArray<string | number>>): void {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, String(cell).length);
    });
  }
  for (const row of rows) {
    const cells = row.map((cell, column) => {
      const width = widths[column] ?? 0;
      return column === 0 ? String(cell).padEnd(width) : String(cell).padStart(width);
    });
    process.stdout.write(`${cells.join('  ').trimEnd()}\n`);
  }
}

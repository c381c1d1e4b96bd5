/**
 * A property on a million hostile inputs, for test/long. PIER_INPUTS: fewer. Prints its seed; PIER_SEED repeats it. fast-check runs
 * in parts, each with a seed of its own, so that a failure says from where on to look.
 */
import fc from 'fast-check';
import t from 'tap';

const PART = 50_000;

/** `limitMs` bounds the whole, in ms. */
export function onAMillionInputs<T>(
  inputs: fc.Arbitrary<T>,
  holds: (input: T) => void,
  limitMs: number,
): void {
  const runs = Number(process.env.PIER_INPUTS ?? 1_000_000);
  const part = Math.min(runs, PART);
  t.setTimeout(limitMs);
  t.test('a million inputs', { timeout: limitMs }, async (t) => {
    const seed = Number(process.env.PIER_SEED ?? Date.now() & 0x7fffffff);
    t.comment(`PIER_SEED=${seed}`);
    for (let at = 0; at < runs / part; at++) {
      fc.assert(fc.property(inputs, holds), { numRuns: part, seed: seed + at });
    }
    t.pass();
  });
}

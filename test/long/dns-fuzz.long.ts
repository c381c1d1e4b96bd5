/** A million hostile inputs for the DNS parser. A failure prints the seed; the short run of it is in test/agent/dns/codec.ts. */
import fc from 'fast-check';
import t from 'tap';
import { hostile, parsesOrRefuses } from '../agent/dns/arbitraries.ts';

const RUNS = 1_000_000;
const PART = 50_000;
/** No input may take long: the whole is bounded. */
const LIMIT_MS = 30 * 60_000;

t.setTimeout(LIMIT_MS);

t.test('a million inputs', { timeout: LIMIT_MS }, async (t) => {
  const seed = Number(process.env.PIER_SEED ?? Date.now() & 0x7fffffff);
  t.comment(`PIER_SEED=${seed}`);
  for (let part = 0; part < RUNS / PART; part++) {
    fc.assert(fc.property(hostile, parsesOrRefuses), { numRuns: PART, seed: seed + part });
  }
  t.pass();
});

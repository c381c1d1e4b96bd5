/**
 * A million ends of connections, told to backends by PROXY headers of both versions and read back by a reader of its own. The agent reads no
 * such headers. A failure prints the seed; the short run is in test/agent/proxy/services.ts.
 */
import fc from 'fast-check';
import t from 'tap';
import { connectionEnds, isReadBack } from '../agent/proxy/proxy-header-reader.ts';

const RUNS = Number(process.env.PIER_INPUTS ?? 1_000_000);
const PART = Math.min(RUNS, 50_000);
/** The whole is bounded. */
const LIMIT_MS = 30 * 60_000;

t.setTimeout(LIMIT_MS);

t.test('a million inputs', { timeout: LIMIT_MS }, async (t) => {
  const seed = Number(process.env.PIER_SEED ?? Date.now() & 0x7fffffff);
  t.comment(`PIER_SEED=${seed}`);
  for (let part = 0; part < RUNS / PART; part++) {
    fc.assert(fc.property(connectionEnds, isReadBack), { numRuns: PART, seed: seed + part });
  }
  t.pass();
});

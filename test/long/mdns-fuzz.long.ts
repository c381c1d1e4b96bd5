/** A million short talks of a hostile LAN with the mDNS responder. A failure prints the seed; the short run is in test/agent/dns/mdns.ts. */
import fc from 'fast-check';
import t from 'tap';
import { behaves, hostileMdns } from '../agent/dns/mdns-hostile.ts';

const RUNS = Number(process.env.PIER_INPUTS ?? 1_000_000);
const PART = Math.min(RUNS, 50_000);
/** No input may take long: the whole is bounded. */
const LIMIT_MS = 60 * 60_000;

t.setTimeout(LIMIT_MS);

t.test('a million inputs', { timeout: LIMIT_MS }, async (t) => {
  const seed = Number(process.env.PIER_SEED ?? Date.now() & 0x7fffffff);
  t.comment(`PIER_SEED=${seed}`);
  for (let part = 0; part < RUNS / PART; part++) {
    fc.assert(fc.property(hostileMdns, behaves), { numRuns: PART, seed: seed + part });
  }
  t.pass();
});

/** A million hostile inputs for the web server of Ingresses. A failure prints its seed; the short run is test/agent/ingress/fuzz.ts. */
import t from 'tap';
import { sendHostile } from '../agent/ingress/hostile.ts';

const count = Number(process.env.PIER_INPUTS ?? 1_000_000);
const PART = 20_000;
/** The whole is bounded. */
const LIMIT_MS = 90 * 60_000;

t.setTimeout(LIMIT_MS);

t.test('a million inputs', { timeout: LIMIT_MS }, async (t) => {
  const first = Number(process.env.PIER_SEED ?? Date.now() & 0x7fffffff);
  t.comment(`PIER_SEED=${first}`);
  for (let sent = 0; sent < count; sent += PART) {
    await t.test(`inputs from ${first + sent} on`, { timeout: LIMIT_MS }, async (t) => {
      t.same(await sendHostile(t, first + sent, Math.min(PART, count - sent)), []);
    });
  }
});

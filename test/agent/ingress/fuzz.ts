/** Hostile HTTP, a small part of what test/long/http-fuzz.long.ts sends; and PROXY headers, which we write and never read. */
import { isIPv4, isIPv6 } from 'node:net';
import fc from 'fast-check';
import t from 'tap';
import { proxyHeader } from '../../../agent/proxy/proxy-header.ts';
import { KEPT_SEEDS, sendHostile } from './hostile.ts';

t.test('hostile requests get an error and do no harm', { timeout: 120_000 }, async (t) => {
  for (const seed of KEPT_SEEDS) t.same(await sendHostile(t, seed, 1), []);
  t.same(await sendHostile(t, 1_000, 1_500), []);
});

t.test('a PROXY header is one, whatever the socket says of its ends', async () => {
  const address = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.ipV4().map((ip) => `::ffff:${ip}`),
    fc.ipV6().map((ip) => `${ip}%eth0`),
    fc.constant(undefined),
  );
  const port = fc.option(fc.integer({ min: 0, max: 65_535 }), { nil: undefined });
  const ends = fc.record({
    ...{ remoteAddress: address, remotePort: port, localAddress: address, localPort: port },
  });
  fc.assert(
    fc.property(ends, (ends) => {
      const v1 = proxyHeader('v1', ends).toString('latin1');
      const v2 = proxyHeader('v2', ends);
      return isV1(v1) && v2.length === 16 + v2.readUInt16BE(14) && [16, 28, 52].includes(v2.length);
    }),
    { numRuns: 3_000 },
  );
});

/** At most 107 bytes, as the specification says, and of one family. */
function isV1(line: string): boolean {
  if (line === 'PROXY UNKNOWN\r\n') return true;
  const [, family, from = '', to = ''] =
    /^PROXY TCP([46]) (\S+) (\S+) \d{1,5} \d{1,5}\r\n$/.exec(line) ?? [];
  const isIp = family === '4' ? isIPv4 : isIPv6;
  return line.length <= 107 && isIp(from) && isIp(to);
}

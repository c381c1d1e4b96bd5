/** Messages from a hostile LAN for property tests of the mDNS responder; used by the short and by the long run. */
import fc from 'fast-check';
import { Claims } from '../../../agent/dns/mdns/claims.ts';
import { buildMessage, type Message, parseMessage, TYPE } from '../../../agent/dns/message.ts';
import { DnsFormatError, type Name } from '../../../agent/dns/name.ts';
import { message } from './arbitraries.ts';

const NAMES = ['web.local', 'a.local', 'app.local'];
const START_MS = 10_000;
const uint16 = fc.integer({ min: 0, max: 65_535 });
const ours: fc.Arbitrary<Name> = fc.constantFrom(...NAMES).map((text) => text.split('.'));
const classOf = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(1, 0x8001, 255, 0x80ff) },
  { weight: 1, arbitrary: uint16 },
);
const question = fc.record({
  name: ours,
  type: fc.constantFrom(TYPE.A, TYPE.AAAA, TYPE.ANY, TYPE.NSEC, TYPE.PTR),
  class: classOf,
});
const ip = fc.constantFrom([10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 240], [1, 2, 3, 4]);
const record = fc.record({
  name: ours,
  type: fc.constantFrom(TYPE.A, TYPE.A, TYPE.A, TYPE.AAAA, TYPE.NSEC, TYPE.PTR),
  class: classOf,
  ttl: fc.constantFrom(0, 1, 29, 30, 60, 120, 0x7fffffff),
  data: fc.oneof(
    ip.map((octets) => [Uint8Array.from(octets)]),
    ours.map((name) => [name]),
    fc
      .uint8Array({ maxLength: 6 })
      .map((list) => (list.length === 0 ? [] : [new Uint8Array(list)])),
  ),
});
const records = fc.array(record, { maxLength: 3 });

/** About our names, of the kinds that matter. */
const near: fc.Arbitrary<Message> = fc
  .tuple(message, fc.array(question, { maxLength: 3 }), records, records, records)
  .map(([base, questions, answers, authorities, additionals]) => ({
    ...base,
    opcode: 0,
    rcode: 0,
    questions,
    answers,
    authorities,
    additionals,
  }));

const bytes = fc
  .tuple(
    fc.oneof({ weight: 4, arbitrary: near }, { weight: 1, arbitrary: message }),
    fc.array(fc.tuple(fc.nat(600), fc.integer({ min: 0, max: 255 })), { maxLength: 2 }),
    fc.boolean(),
  )
  .map(([one, changes, isDamaged]) => {
    // NSEC and PTR with bytes that are no name cannot be built: these go as they are.
    const built = buildMessage(one);
    if (isDamaged) for (const [at, octet] of changes) built[at % built.length] = octet;
    return built;
  });

const port = fc.oneof(fc.constant(5353), uint16);
const event = fc.record({ bytes, port, waitMs: fc.constantFrom(0, 10, 300, 2_000, 70_000) });

export const hostileMdns = fc.array(event, { minLength: 1, maxLength: 3 });

/** Throws where the responder does: nothing is thrown, little is said, and what is said can be read. */
export function behaves(
  events: ReadonlyArray<{ bytes: Uint8Array; port: number; waitMs: number }>,
) {
  const claims = new Claims(() => 0.5);
  const owners = [{ namespace: 'default', name: 'web' }];
  const names = NAMES.map((text, index) => {
    const addresses = [`10.0.0.${index === 2 ? 240 : 1}`];
    return { text, name: text.split('.'), addresses, isOwn: index < 2, owners };
  });
  claims.update(names, new Set(['10.0.0.1', '10.0.0.2']), 0);
  let nowMs = 0;
  const run = (endMs: number): number => {
    let said = 0;
    for (let turns = 0; claims.nextMs <= endMs; turns++) {
      if (turns > 100) throw new Error('it never rests');
      nowMs = Math.max(nowMs, claims.nextMs);
      for (const { message } of claims.due(nowMs)) {
        const built = buildMessage(message, 9_000);
        if (parseMessage(built).answers.length !== message.answers.length) {
          throw new Error('what was said cannot be read');
        }
        said += 1;
      }
    }
    nowMs = endMs;
    return said;
  };
  run(START_MS);
  for (const { bytes, port, waitMs } of events) {
    try {
      claims.receive(parseMessage(bytes), { ip: '10.0.0.99', port }, nowMs);
    } catch (error) {
      if (!(error instanceof DnsFormatError)) throw error;
    }
    // A name that is contested is probed for again and announced: eight messages, and an answer to each.
    if (run(nowMs + waitMs) > 60) throw new Error('too much was said');
    if (Number.isNaN(claims.nextMs)) throw new Error('the time is lost');
    if (claims.problems.length > NAMES.length) throw new Error('too many problems');
  }
}

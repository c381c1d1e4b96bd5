/** Messages and bytes for property tests of the DNS codec; used by the short and by the long run. */
import fc from 'fast-check';
import { buildMessage, type Message, parseMessage, TYPE } from '../../../agent/dns/message.ts';
import { DnsFormatError, isName, type Name } from '../../../agent/dns/name.ts';

const label = fc
  .uint8Array({ minLength: 1, maxLength: 12 })
  .map((bytes) => Buffer.from(bytes).toString('latin1'));
// Few different labels, so that tails repeat and are compressed.
const common = fc.constantFrom('web', 'default', 'svc', 'cluster', 'local', 'a', 'A', 'x.y');
const name: fc.Arbitrary<Name> = fc
  .array(fc.oneof({ weight: 4, arbitrary: common }, { weight: 1, arbitrary: label }), {
    maxLength: 6,
  })
  .filter(isName);
const uint16 = fc.integer({ min: 0, max: 65_535 });
const bytes = fc.uint8Array({ maxLength: 40 }).map((list) => new Uint8Array(list));

const data = (type: number): fc.Arbitrary<(Uint8Array | Name)[]> => {
  const fixed = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
  switch (type) {
    case TYPE.NS:
    case TYPE.CNAME:
    case TYPE.PTR:
      return name.map((one) => [one]);
    case TYPE.MX:
      return fc.tuple(fixed(2), name).map(([head, one]) => [head, one]);
    case TYPE.SRV:
      return fc.tuple(fixed(6), name).map(([head, one]) => [head, one]);
    case TYPE.SOA:
      return fc.tuple(name, name, fixed(20)).map(([a, b, rest]) => [a, b, rest]);
    default:
      return bytes.map((list) => (list.length === 0 ? [] : [list]));
  }
};

const record = fc
  .constantFrom(TYPE.A, TYPE.NS, TYPE.CNAME, TYPE.SOA, TYPE.PTR, TYPE.MX, TYPE.TXT, TYPE.SRV, 999)
  .chain((type) =>
    fc.record({
      name,
      type: fc.constant(type),
      class: uint16,
      ttl: fc.integer({ min: 0, max: 0x7fffffff }),
      data: data(type),
    }),
  );
const records = fc.array(record, { maxLength: 4 });

export const message: fc.Arbitrary<Message> = fc
  .record({
    id: uint16,
    response: fc.boolean(),
    opcode: fc.integer({ min: 0, max: 15 }),
    authoritative: fc.boolean(),
    truncated: fc.boolean(),
    recursionDesired: fc.boolean(),
    recursionAvailable: fc.boolean(),
    authenticData: fc.boolean(),
    checkingDisabled: fc.boolean(),
    rcode: fc.integer({ min: 0, max: 15 }),
    questions: fc.array(fc.record({ name, type: uint16, class: uint16 }), { maxLength: 2 }),
    answers: records,
    authorities: records,
    additionals: records,
    edns: fc.option(
      fc.record({
        udpSize: uint16,
        version: fc.integer({ min: 0, max: 255 }),
        dnssecOk: fc.boolean(),
      }),
      { nil: undefined },
    ),
  })
  .chain((one) =>
    one.edns === undefined
      ? fc.constant(one)
      : fc.integer({ min: 0, max: 4095 }).map((rcode) => ({ ...one, rcode })),
  );

/** Bytes that are nearly a message: cut, with octets changed, with octets put behind. */
const damaged = fc
  .tuple(
    message,
    fc.array(fc.tuple(fc.nat(600), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
    fc.option(fc.nat(600), { nil: undefined }),
  )
  .map(([one, changes, cut]) => {
    const built = buildMessage(one);
    for (const [at, octet] of changes) if (built.length > 0) built[at % built.length] = octet;
    return cut === undefined ? built : built.subarray(0, cut);
  });

export const hostile = fc.oneof(
  { weight: 3, arbitrary: damaged },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 600 }).map((list) => Buffer.from(list)) },
);

/** What `parseMessage` promises of any bytes; throws where it does not hold. */
export function parsesOrRefuses(input: Uint8Array): void {
  let parsed: Message;
  try {
    parsed = parseMessage(input);
  } catch (error) {
    if (error instanceof DnsFormatError) return;
    throw error;
  }
  // What was read can be written, and means the same when it is read again.
  const again = JSON.stringify(parseMessage(buildMessage(parsed)));
  if (again !== JSON.stringify(parsed)) throw new Error('built again, it means something else');
}

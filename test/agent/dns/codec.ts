/** The DNS codec: what is written can be read, and bytes that are none do no harm. */
import fc from 'fast-check';
import t from 'tap';
import { buildMessage, parseMessage, TYPE } from '../../../agent/dns/message.ts';
import { DnsFormatError, nameKey, nameOf, nameText } from '../../../agent/dns/name.ts';
import { hostile, message, parsesOrRefuses } from './arbitraries.ts';

const HEADER = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
const IN_A = [0, 1, 0, 1];

t.test('bytes that are no message are refused in words', async (t) => {
  const cases: [string, number[], RegExp][] = [
    ['nothing', [], /header is cut off/],
    ['half a header', HEADER.slice(0, 11), /header is cut off/],
    ['a question that is not there', HEADER, /a name is cut off/],
    ['a label beyond the end', [...HEADER, 9, 97], /a name is cut off/],
    ['a pointer to itself', [...HEADER, 0xc0, 12, ...IN_A], /points forward/],
    ['a pointer forward', [...HEADER, 0xc0, 40, ...IN_A], /points forward/],
    ['half a pointer', [...HEADER, 0xc0], /a name is cut off/],
    ['two pointers to each other', [...HEADER, 1, 97, 0xc0, 12, ...IN_A], /points forward/],
    ['a label of a reserved kind', [...HEADER, 0x40, 97, 0, ...IN_A], /unknown kind/],
    ['a question cut off', [...HEADER, 0, 0, 1], /cut off/],
    ['octets behind the end', [...HEADER, 0, ...IN_A, 7], /1 octets follow/],
    ['a record count that lies', [0, 1, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0], /cut off/],
  ];
  for (const [what, bytes, words] of cases) {
    t.throws(
      () => parseMessage(Uint8Array.from(bytes)),
      { name: 'DnsFormatError', message: words },
      what,
    );
  }
  const long = Array.from({ length: 5 }, () => [60, ...Array(60).fill(97)]).flat();
  t.throws(() => parseMessage(Uint8Array.from([...HEADER, ...long, 0, ...IN_A])), /too long/);
});

t.test('a message whose pointers unpack to far more than it holds is refused soon', async (t) => {
  const deep = Array.from({ length: 120 }, () => [1, 97]).flat();
  const record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0];
  const count = 5000;
  const bytes = [0, 1, 0, 0, 0, 1, count >> 8, count & 255, 0, 0, 0, 0, ...deep, 0, ...IN_A];
  for (let index = 0; index < count; index++) bytes.push(...record);
  t.throws(() => parseMessage(Uint8Array.from(bytes)), /unpack to too much/);
});

t.test('what is written is read the same', async () => {
  fc.assert(
    fc.property(message, (one) => {
      const { edns, ...rest } = parseMessage(buildMessage(one));
      return JSON.stringify({ ...rest, edns }) === JSON.stringify(one);
    }),
    { numRuns: 1500 },
  );
});

t.test('no bytes break the parser', async () => {
  fc.assert(fc.property(hostile, parsesOrRefuses), { numRuns: 15_000 });
});

t.test('a message that is cut to a size is still one, and says so', async (t) => {
  fc.assert(
    fc.property(message, fc.integer({ min: 512, max: 700 }), (one, room) => {
      const bytes = buildMessage(one, room);
      if (bytes.length > room) return false;
      const read = parseMessage(bytes);
      const whole =
        read.answers.length === one.answers.length &&
        read.authorities.length === one.authorities.length;
      return read.truncated || whole;
    }),
    { numRuns: 1000 },
  );
  const name = nameOf('web.default.svc.cluster.local');
  const answer = { name, type: TYPE.A, class: 1, ttl: 5, data: [Uint8Array.of(10, 42, 0, 2)] };
  const base = parseMessage(Uint8Array.from([...HEADER, 0, ...IN_A]));
  const many = { ...base, response: true, answers: Array(100).fill(answer) };
  const cut = parseMessage(buildMessage(many, 512));
  t.ok(cut.truncated);
  t.ok(cut.answers.length > 25 && cut.answers.length < 35, 'filled with what fits');
  t.notOk(parseMessage(buildMessage(many)).truncated);
});

t.test('names compare without case, and labels with dots are no two labels', async (t) => {
  t.same(nameOf('a.b.'), ['a', 'b']);
  t.same(nameOf('.'), []);
  t.equal(nameKey(['Web', 'Default']), nameKey(['wEB', 'default']));
  t.not(nameKey(['a.b']), nameKey(['a', 'b']));
  t.equal(nameText(['a.b', 'c\x07 d']), 'a\\.b.c\\007\\032d.');
  for (const bad of ['a..b', '.a', `${'x'.repeat(64)}.y`, Array(130).fill('ab').join('.')]) {
    t.throws(() => nameOf(bad), DnsFormatError, bad);
  }
});

/** The fleet protocol: codec, bombs, digests, seals, topics, stream frames, and the agent's outbox. */
import { createHash, generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { backoffMs } from '../../agent/link/backoff.ts';
import { decodeIncoming } from '../../agent/link/incoming.ts';
import { Outbox } from '../../agent/link/outbox.ts';
import {
  decodeCbor,
  decodeMessage,
  digestOf,
  encodeCbor,
  encodeMessage,
  MESSAGE_BYTES_MAX,
  MessageError,
} from '../../protocol/codec.ts';
import { DesiredPod, Manifest, Online } from '../../protocol/messages.ts';
import { open, SealError, seal, secretContext } from '../../protocol/seal.ts';
import { decodeFailure, decodeFrame, encodeFailure, encodeFrame } from '../../protocol/streams.ts';
import { clusterTopics, nodeTopics, parseTopic } from '../../protocol/topics.ts';

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));

const MANIFEST: Manifest = {
  v: 1,
  clusterId: 'c1',
  epoch: 0,
  revision: 42,
  node: { name: 'pi4', uid: 'u', podCidr: '10.42.1.0/24' },
  pods: [{ uid: 'p1', digest: 'd1' }],
  configs: [],
};

t.test('messages', (t) => {
  t.test('any JSON value with bytes comes back as it was', (t) => {
    const leaf = fc.oneof(
      fc.string(),
      fc.boolean(),
      fc.constant(null),
      fc.integer({ min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER }),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => (n === 0 ? 0 : n)),
      fc.uint8Array(),
    );
    const key = fc.string().filter((k) => k !== '__proto__');
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { depthSize: 'small' },
        leaf,
        fc.array(tie('tree')),
        fc.dictionary(key, tie('tree'), { noNullPrototype: true }),
      ),
    }));
    fc.assert(
      fc.property(tree, (value) => {
        t.strictSame(decodeCbor(encodeCbor(value)), value);
      }),
      { numRuns: 300 },
    );
    t.end();
  });

  t.test('undefined properties are left out, other foreign values refused by name', (t) => {
    t.strictSame(decodeCbor(encodeCbor({ a: 1, b: undefined })), { a: 1 });
    t.throws(() => encodeCbor({ a: { b: () => 1 } }), { message: /^\/a\/b is of type function/ });
    t.throws(() => encodeCbor({ a: new Date(0) }), { message: /^\/a is no plain object/ });
    t.throws(() => encodeCbor([Number.NaN]), { message: /^\/0 is NaN/ });
    t.throws(() => encodeCbor(JSON.parse('{"__proto__":1}')), { message: /__proto__/ });
    t.end();
  });

  t.test('a wrong field, a missing one and another version are named', (t) => {
    const decode = (value: unknown) => () => decodeMessage(Manifest, encodeCbor(value));
    t.strictSame(decode(MANIFEST)(), MANIFEST);
    t.throws(decode({ ...MANIFEST, revision: 'x' }), { message: '/revision must be integer' });
    t.throws(decode({ ...MANIFEST, pods: [{ uid: 'a' }] }), { message: /^\/pods\/0 .*digest/ });
    t.throws(decode({ ...MANIFEST, v: 2 }), {
      name: 'MessageError',
      message: /message version 2 is not understood here, only 1/,
    });
    t.throws(decode('text'), MessageError);
    t.end();
  });

  t.test('a message larger than 1 MiB is neither sent nor read', (t) => {
    const pod = { v: 1, uid: 'u', digest: 'd', pod: { x: 'y'.repeat(MESSAGE_BYTES_MAX) } } as const;
    t.throws(() => encodeMessage(DesiredPod, pod), { message: /larger than 1048576/ });
    t.throws(() => decodeCbor(new Uint8Array(MESSAGE_BYTES_MAX + 1)), { message: /larger than/ });
    t.end();
  });
  t.end();
});

t.test('hostile CBOR is refused, and fast', (t) => {
  const bombs: Record<string, Uint8Array> = {
    'a bignum of 64 KB': Buffer.concat([hex('c25a0000ffff'), Buffer.alloc(65_535, 255)]),
    'a RegExp tag': hex('d81b8261612067'),
    'a date tag': hex('c11a00000000'),
    'an array header of 2^32-1': hex('9affffffff'),
    'a map header of 2^53': hex('bb0020000000000000'),
    'a string longer than the message': hex('7affffffff'),
    'a million nested arrays': Buffer.alloc(1_000_000, 0x81),
    'an array of half a million arrays': Buffer.concat([
      hex('9a0007a120'),
      Buffer.alloc(500_000, 0x80),
    ]),
    'an indefinite array': hex('9fff'),
    undefined: hex('f7'),
    NaN: hex('f97e00'),
    'an infinite double': hex('fb7ff0000000000000'),
    'an integer beyond 2^53': hex('1b0020000000000000'),
    'a doubled key': hex('a2616101616102'),
    __proto__: Buffer.concat([hex('a169'), Buffer.from('__proto__'), hex('a0')]),
    'a numeric key': hex('a10101'),
    'a key that is no UTF-8': hex('a161ff01'),
    'bytes behind the end': hex('0000'),
    nothing: hex(''),
    'a reserved length': hex('1c'),
    'a break': hex('ff'),
  };
  for (const [what, bytes] of Object.entries(bombs)) {
    t.throws(() => decodeCbor(bytes), { name: 'MessageError' }, what);
  }
  t.end();
});

t.test('random bytes and mutated messages never do more than a MessageError', (t) => {
  const good = encodeMessage(Manifest, MANIFEST);
  const tryBoth = (bytes: Uint8Array): void => {
    try {
      decodeMessage(Manifest, bytes);
    } catch (error) {
      if (!(error instanceof MessageError)) throw error;
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), tryBoth), { numRuns: 2_000 });
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.nat(255), (at, byte) => {
      const changed = Uint8Array.from(good);
      changed[at] = byte;
      tryBoth(changed);
    }),
    { numRuns: 2_000 },
  );
  t.equal(Object.getPrototypeOf({}), Object.prototype);
  t.end();
});

t.test('a digest depends on content and not on the order of keys', (t) => {
  const digest = (value: unknown): string => digestOf(value, sha256);
  t.equal(digest({ a: 1, b: [1, { c: 2, d: 3 }] }), digest({ b: [1, { d: 3, c: 2 }], a: 1 }));
  t.equal(digest({ a: 1, b: undefined }), digest({ a: 1 }));
  t.match(digest({}), /^[0-9a-f]{32}$/);
  const different = [
    { a: 1 },
    { a: '1' },
    { a: [1] },
    { b: 1 },
    { a: null },
    [],
    {},
    "h'01'",
    hex('01'),
  ];
  t.equal(new Set(different.map(digest)).size, different.length);
  t.end();
});

t.test('sealed data', async (t) => {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const publicKey = keys.publicKey.export({ type: 'spki', format: 'der' });
  const privateKey = keys.privateKey.export({ type: 'pkcs8', format: 'der' });
  const context = secretContext('pi4', 'default', 'db');
  const data = Buffer.from('canary-7b1f');
  const sealed = await seal(publicKey, data, context);

  t.equal(Buffer.from(await open(privateKey, sealed, context)).toString(), 'canary-7b1f');
  t.notOk(Buffer.from(sealed).includes(data), 'the plain text is not in it');
  t.notSame(await seal(publicKey, data, context), sealed, 'never the same twice');

  const foreignKey = other.privateKey.export({ type: 'pkcs8', format: 'der' });
  await t.rejects(open(foreignKey, sealed, context), SealError, 'not with another key');
  await t.rejects(open(privateKey, sealed, secretContext('pi4', 'default', 'x')), SealError);
  for (const at of [0, 1, 40, 66, sealed.length - 1]) {
    const changed = Uint8Array.from(sealed);
    changed[at] = (changed[at] ?? 0) ^ 1;
    await t.rejects(open(privateKey, changed, context), SealError, `byte ${at} changed`);
  }
  await t.rejects(open(privateKey, sealed.subarray(0, 20), context), SealError, 'cut');
  await t.rejects(seal(new Uint8Array(91), data, context), 'no key');
});

t.test('topics are built and parsed alike', (t) => {
  const topics = nodeTopics('pi4');
  t.strictSame(parseTopic(topics.manifest), { type: 'manifest', node: 'pi4' });
  t.strictSame(parseTopic(topics.pod('u')), { type: 'pod', node: 'pi4', uid: 'u' });
  t.strictSame(parseTopic(topics.podStatus('u')), { type: 'podStatus', node: 'pi4', uid: 'u' });
  t.strictSame(parseTopic(topics.config('secret', 'ns', 'n')), {
    type: 'config',
    node: 'pi4',
    kind: 'secret',
    namespace: 'ns',
    name: 'n',
  });
  t.strictSame(parseTopic(clusterTopics.service('ns', 'n')), {
    type: 'service',
    namespace: 'ns',
    name: 'n',
  });
  for (const topic of ['', 'pier', 'pier/v2/cluster/manifest', 'pier/v1/node', '$SYS/x', 'a/b/c']) {
    t.equal(parseTopic(topic), undefined, topic);
  }
  t.end();
});

t.test('the agent takes a message only if topic and content agree', (t) => {
  const topics = nodeTopics('pi4');
  const bytes = encodeMessage(Manifest, MANIFEST);
  t.strictSame(decodeIncoming('pi4', topics.manifest, bytes), {
    type: 'manifest',
    message: MANIFEST,
  });
  t.equal(
    decodeIncoming('pi4', topics.manifest, new Uint8Array(0)),
    undefined,
    'cleared: no order',
  );
  t.throws(() => decodeIncoming('pi5', topics.manifest, bytes), { message: /for board "pi4"/ });
  t.throws(() => decodeIncoming('pi5', nodeTopics('pi5').manifest, bytes), { message: /pi4/ });
  const pod = encodeMessage(DesiredPod, { v: 1, uid: 'u1', digest: 'd', pod: {} });
  t.throws(() => decodeIncoming('pi4', topics.pod('u2'), pod), { message: /"u1".*"u2"/ });
  const online = encodeMessage(Online, { v: 1, online: true, session: 's' });
  t.throws(() => decodeIncoming('pi4', topics.online, online), MessageError);
  t.end();
});

t.test('the outbox keeps the latest state, bounded happenings, and repeats a lost flight', (t) => {
  const box = new Outbox();
  const state = (topic: string, n: number) =>
    ({ kind: 'state', topic, payload: Uint8Array.of(n) }) as const;
  box.put(state('a', 1));
  box.put(state('b', 1));
  box.put(state('a', 2));
  const first = box.next();
  t.equal(first?.topic, 'b', 'what was updated goes to the end');
  const second = box.next();
  t.strictSame([second?.topic, second?.payload[0]], ['a', 2], 'only the latest');
  t.equal(box.next(), undefined);
  box.put(state('a', 3));
  box.reset();
  const again = [box.next(), box.next(), box.next()];
  t.strictSame(
    again
      .map((one) => one && [one.topic, one.payload[0]])
      .filter(Boolean)
      .sort(),
    [
      ['a', 3],
      ['b', 1],
    ],
    'newer wins over the lost flight',
  );
  for (let n = 0; n < 300; n++) {
    box.put({ kind: 'happening', topic: 'e', payload: Uint8Array.of(n % 256) });
  }
  t.equal(box.takeDropped(), 44, 'the oldest events are dropped and counted');
  t.equal(box.takeDropped(), 0);
  let flight = 0;
  while (box.next() !== undefined) flight += 1;
  t.ok(flight <= 32, 'the window is bounded');
  t.end();
});

t.test('back-off doubles, is spread, and has a ceiling', (t) => {
  t.equal(
    backoffMs(0, () => 1),
    250,
  );
  t.equal(
    backoffMs(0, () => 0),
    125,
  );
  t.equal(
    backoffMs(3, () => 1),
    2_000,
  );
  t.equal(
    backoffMs(1_000, () => 1),
    10_000,
  );
  t.end();
});

t.test('stream frames and failures', (t) => {
  const frame = decodeFrame(encodeFrame(1, Buffer.from('hi')));
  t.equal(frame?.channel, 1);
  t.equal(Buffer.from(frame?.data ?? []).toString(), 'hi');
  t.equal(decodeFrame(new Uint8Array(0)), undefined);
  const failure = { code: 404, reason: 'NotFound', message: 'no such container' };
  t.strictSame(decodeFailure(encodeFailure(failure)), failure);
  t.match(decodeFailure(Buffer.from('garbage')), { code: 500, message: /garbage/ });
  t.match(decodeFailure(Buffer.from('{"code":200,"reason":"","message":""}')), { code: 500 });
  t.end();
});

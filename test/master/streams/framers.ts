/** Framers and channels: what goes in comes out, however it is cut; nonsense is refused and bounded. */
import { createDeflate, constants as zlib } from 'node:zlib';
import fc from 'fast-check';
import t from 'tap';
import { type OutputPart, StreamDemux } from '../../../agent/runtime/stream-demux.ts';
import { parseSize } from '../../../master/api/streams/channel-client.ts';
import {
  chooseExecProtocol,
  choosePortProtocol,
  decodeChannel,
  encodeChannel,
} from '../../../master/api/streams/channel-protocol.ts';
import { parsePort } from '../../../master/api/streams/options.ts';
import {
  dataFrame,
  ping,
  rstStream,
  type SpdyFrame,
  SpdyParser,
  synReply,
  synStream,
} from '../../../protocol/spdy/frames.ts';
import {
  encodeHeaders,
  HeaderPacker,
  HeaderUnpacker,
  SPDY_DICTIONARY,
  SpdyError,
} from '../../../protocol/spdy/headers.ts';
import {
  decodeExit,
  decodeFailure,
  decodeFrame,
  decodeSize,
  encodeExit,
  encodeFailure,
  encodeFrame,
  encodeSize,
} from '../../../protocol/streams.ts';

/** The bytes in pieces of these lengths, over and over. */
function* cut(bytes: Uint8Array, lengths: readonly number[]): Generator<Uint8Array> {
  let turn = 0;
  for (let at = 0; at < bytes.length; turn += 1) {
    const end = at + (lengths[turn % lengths.length] ?? 1);
    yield bytes.subarray(at, end);
    at = end;
  }
}

const pieces = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 });
const streamId = fc.integer({ min: 1, max: 0x7fff_ffff });
const someBytes = fc.uint8Array({ maxLength: 60 });

type Wanted =
  | { readonly type: 'data'; readonly id: number; readonly fin: boolean; readonly data: Uint8Array }
  | {
      readonly type: 'synStream';
      readonly id: number;
      readonly fin: boolean;
      readonly block: Uint8Array;
    }
  | { readonly type: 'reset'; readonly id: number }
  | { readonly type: 'ping'; readonly id: number };

const anyFrame: fc.Arbitrary<Wanted> = fc.oneof(
  fc.record({
    type: fc.constant('data' as const),
    id: streamId,
    fin: fc.boolean(),
    data: someBytes,
  }),
  fc.record({
    type: fc.constant('synStream' as const),
    id: streamId,
    fin: fc.boolean(),
    block: someBytes,
  }),
  fc.record({ type: fc.constant('reset' as const), id: streamId }),
  fc.record({ type: fc.constant('ping' as const), id: streamId }),
);

function encoded(frame: Wanted): Buffer {
  switch (frame.type) {
    case 'data':
      return dataFrame(frame.id, frame.data, frame.fin);
    case 'synStream':
      return synStream(frame.id, frame.block, frame.fin);
    case 'reset':
      return rstStream(frame.id, 3);
    case 'ping':
      return ping(frame.id);
    default: {
      const never: never = frame;
      return never;
    }
  }
}

/** Parts of one data frame put together again: the parser hands them on as they come. */
function joined(frames: Iterable<SpdyFrame>, boundaries: readonly Wanted[]): object[] {
  const all = [...frames];
  return boundaries.map((wanted) => {
    const first = all.shift();
    if (wanted.type !== 'data' || first?.type !== 'data') return plain(first);
    let data = Buffer.from(first.data);
    let { fin } = first;
    while (data.length < wanted.data.length) {
      const next = all.shift();
      if (next?.type !== 'data' || next.id !== wanted.id) throw new Error('a part is missing');
      data = Buffer.concat([data, next.data]);
      fin = next.fin;
    }
    return { type: 'data', id: first.id, fin, data: [...data] };
  });
}

function plain(frame: object | undefined): object {
  const entries = Object.entries(frame ?? {}).map(([key, value]) => [
    key,
    value instanceof Uint8Array ? [...value] : value,
  ]);
  return Object.fromEntries(entries);
}

t.test('SPDY frames come out as they went in, however they are cut', async (t) => {
  fc.assert(
    fc.property(fc.array(anyFrame, { maxLength: 12 }), pieces, (frames, lengths) => {
      const parser = new SpdyParser();
      const bytes = Buffer.concat(frames.map(encoded));
      const seen = [...cut(bytes, lengths)].flatMap((part) => [...parser.push(part)]);
      t.same(joined(seen, frames), frames.map(plain));
    }),
  );
});

t.test('bytes that are no SPDY are refused or skipped, never kept without bound', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      try {
        for (const frame of new SpdyParser().push(bytes)) t.ok(frame.type);
      } catch (error) {
        if (!(error instanceof SpdyError)) throw error;
      }
    }),
  );
  const huge = synStream(1, Buffer.alloc(40_000));
  t.throws(() => [...new SpdyParser().push(huge)], { message: /over 32768 bytes/ });
  const http2 = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  t.doesNotThrow(() => [...new SpdyParser().push(http2)], 'data of a stream that nobody opened');
  const version2 = Buffer.from([0x80, 2, 0, 1, 0, 0, 0, 0]);
  t.throws(() => [...new SpdyParser().push(version2)], { message: /version 2 is not 3/ });
  const short = Buffer.from([0x80, 3, 0, 1, 0, 0, 0, 2, 1, 1]);
  t.throws(() => [...new SpdyParser().push(short)], { message: /too short/ });
});

const headerText = fc.string({ maxLength: 30, unit: 'binary-ascii' });
const someHeaders = fc
  .array(fc.tuple(headerText, headerText), { maxLength: 8 })
  .map((pairs) => new Map(pairs.map(([name, value]) => [name.toLowerCase(), value])));

t.test('headers are packed for any reader of zlib, and unpacked block by block', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(someHeaders, { minLength: 1, maxLength: 5 }), async (blocks) => {
      const packer = new HeaderPacker();
      const unpacker = new HeaderUnpacker();
      for (const headers of blocks) {
        t.same(await unpacker.unpack(packer.pack(headers)), headers);
      }
      unpacker.close();
    }),
    { numRuns: 40 },
  );
});

/** As Go's clients do: compressed, one stream, a sync flush per block. */
function clientDeflate(): (bytes: Uint8Array) => Promise<Buffer> {
  const deflate = createDeflate({ dictionary: SPDY_DICTIONARY, level: 9 });
  return (bytes) =>
    new Promise((resolve) => {
      deflate.write(bytes);
      deflate.flush(zlib.Z_SYNC_FLUSH, () => resolve(deflate.read() as Buffer));
    });
}

t.test('compressed headers of a client are read; what explodes or lies is refused', async (t) => {
  const pack = clientDeflate();
  const unpacker = new HeaderUnpacker();
  for (const port of ['80', '8080']) {
    const headers = new Map([
      ['streamtype', 'data'],
      ['port', port],
    ]);
    t.same(await unpacker.unpack(await pack(encodeHeaders(headers))), headers);
  }
  const bomb = await pack(Buffer.alloc(1_000_000));
  t.ok(bomb.length < 5_000, 'small as it comes');
  await t.rejects(unpacker.unpack(bomb), { name: 'SpdyError', message: /over 65536 bytes/ });
  await t.rejects(unpacker.unpack(bomb), SpdyError, 'and it stays refused');

  await t.rejects(new HeaderUnpacker().unpack(Buffer.from('no zlib')), SpdyError);
  const lying = Buffer.from([0, 0, 0, 1, 0, 0, 255, 255, 1]);
  await t.rejects(new HeaderUnpacker().unpack(await clientDeflate()(lying)), /too early/);
  const many = Buffer.from([0, 1, 0, 0]);
  await t.rejects(new HeaderUnpacker().unpack(await clientDeflate()(many)), /more than 64/);
  t.equal(synReply(5, Buffer.alloc(0)).readUInt32BE(8), 5);
});

t.test("an engine's frames come out as they went in, however they are cut", async (t) => {
  const part = fc.record({
    stream: fc.constantFrom('stdout' as const, 'stderr' as const),
    data: someBytes,
  });
  fc.assert(
    fc.property(fc.array(part, { maxLength: 12 }), pieces, (parts, lengths) => {
      const bytes = Buffer.concat(
        parts.map(({ stream, data }) => {
          const head = Buffer.alloc(8);
          head[0] = stream === 'stdout' ? 1 : 2;
          head.writeUInt32BE(data.length, 4);
          return Buffer.concat([head, data]);
        }),
      );
      const demux = new StreamDemux();
      const seen = [...cut(bytes, lengths)].flatMap((piece) => [...demux.push(piece)]);
      t.same(runs(seen), runs(parts));
    }),
  );
  t.throws(() => [...new StreamDemux().push(Buffer.alloc(8, 9))], /unknown kind 9/);
});

/** Neighbours of one stream as one. */
function runs(parts: readonly OutputPart[]): string[] {
  const found: { stream: string; text: string }[] = [];
  for (const { stream, data } of parts.filter((one) => one.data.length > 0)) {
    const last = found.at(-1);
    const text = Buffer.from(data).toString('hex');
    if (last?.stream === stream) last.text += text;
    else found.push({ stream, text });
  }
  return found.map(({ stream, text }) => `${stream} ${text}`);
}

t.test('channel messages go both ways in every protocol', async (t) => {
  const names = ['v5.channel.k8s.io', 'v4.base64.channel.k8s.io', 'channel.k8s.io', undefined];
  for (const name of names) {
    const protocol = chooseExecProtocol(name);
    if (protocol === undefined) throw new Error(`${name} is not known`);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 9 }), someBytes, (channel, data) => {
        const message = Buffer.from(encodeChannel(protocol, channel, data));
        const back = decodeChannel(protocol, message);
        t.same({ ...back, data: [...(back?.data ?? [])] }, { channel, data: [...data] });
      }),
    );
    t.equal(decodeChannel(protocol, Buffer.alloc(0)), undefined);
  }
  const base64 = chooseExecProtocol('base64.channel.k8s.io');
  t.equal(base64 && decodeChannel(base64, Buffer.from('xAAAA')), undefined, 'x is no digit');
});

t.test('the best protocol that both know is chosen', async (t) => {
  const exec = (offered?: string) => chooseExecProtocol(offered)?.name;
  t.equal(exec('v4.channel.k8s.io, v5.channel.k8s.io'), 'v5.channel.k8s.io');
  t.equal(exec('base64.channel.k8s.io,v4.base64.channel.k8s.io'), 'v4.base64.channel.k8s.io');
  t.equal(exec(undefined), '', 'none named: the plain channels');
  t.equal(exec('graphql-ws'), undefined);
  t.equal(choosePortProtocol('v5.channel.k8s.io,v4.channel.k8s.io')?.name, 'v4.channel.k8s.io');
  t.equal(choosePortProtocol('v5.channel.k8s.io'), undefined);
});

t.test('sizes, ports, exit codes and failures are read with care', async (t) => {
  const size = (text: string) => parseSize(Buffer.from(text));
  t.same(size('{"Width":80,"Height":24}'), { columns: 80, rows: 24 });
  for (const bad of [
    '',
    '{}',
    '[1]',
    'null',
    '{"Width":-1,"Height":2}',
    '{"Width":1e9,"Height":2}',
  ]) {
    t.equal(size(bad), undefined, bad);
  }
  for (const bad of ['', '0', '65536', '-1', '80x', ' 80', '1e3'])
    t.equal(parsePort(bad), undefined);
  t.equal(parsePort('65535'), 65_535);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffff }), fc.integer(), (columns, code) => {
      t.same(decodeSize(encodeSize({ columns, rows: 7 })), { columns, rows: 7 });
      t.equal(decodeExit(encodeExit(code)), code);
    }),
  );
  t.equal(decodeExit(new Uint8Array(3)), undefined);
  t.equal(decodeSize(new Uint8Array(5)), undefined);
  t.same(decodeFrame(encodeFrame(7, Buffer.from('x'))), { channel: 7, data: Buffer.from('x') });
  t.equal(decodeFrame(new Uint8Array(0)), undefined);
  const failure = { code: 404, reason: 'NotFound', message: 'no "x"' };
  t.same(decodeFailure(encodeFailure(failure)), failure);
  t.match(decodeFailure(Buffer.from('oops')), { code: 500, message: /oops/ });
});

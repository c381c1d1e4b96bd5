/** The DNS server over real sockets on loopback, with a resolver of its own to ask. */
import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { mayAsk } from '../../../agent/dns/clients.ts';
import { Forwarder } from '../../../agent/dns/forwarder.ts';
import {
  buildMessage,
  CLASS_IN,
  type Message,
  parseMessage,
  RCODE,
  TYPE,
} from '../../../agent/dns/message.ts';
import { nameOf, nameText } from '../../../agent/dns/name.ts';
import { Resolver } from '../../../agent/dns/resolver.ts';
import { Responder } from '../../../agent/dns/responder.ts';
import { DnsServer } from '../../../agent/dns/server.ts';
import { Upstream, type UpstreamServer } from '../../../agent/dns/upstream.ts';
import { BoardResolvers } from '../../../agent/network/resolver.ts';
import { systemClock as clock } from '../../../protocol/clock.ts';
import type { ServiceEndpoint } from '../../../protocol/messages.ts';
import { testZone } from './zone.ts';

const LOOPBACK = '127.0.0.1';
const log = pino({ level: 'silent' });
const BASE: Message = parseMessage(Uint8Array.from([0, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]));

function query(name: string, type: number = TYPE.A, more: Partial<Message> = {}): Message {
  return { ...BASE, questions: [{ name: nameOf(name), type, class: CLASS_IN }], ...more };
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = clock.monotonicMs() + 20_000;
  while (!condition()) {
    if (clock.monotonicMs() > endMs) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A port that is free for TCP and for UDP. */
async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, LOOPBACK);
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

interface Upstreams {
  readonly server: UpstreamServer;
  readonly names: string[];
}

type Answerer = (asked: Message, transport: 'UDP' | 'TCP') => Message | undefined;

/** A resolver for others' names, over UDP and TCP on one port. */
async function fakeResolver(t: Test, answer: Answerer): Promise<Upstreams> {
  const names: string[] = [];
  const port = await freePort();
  const udp = dgram.createSocket('udp4');
  udp.on('message', (bytes, from) => {
    const asked = parseMessage(bytes);
    names.push(nameText(asked.questions[0]?.name ?? []));
    const reply = answer(asked, 'UDP');
    if (reply !== undefined) udp.send(buildMessage(reply), from.port, from.address);
  });
  const tcp = net.createServer((socket) => {
    socket.once('data', (chunk: Buffer) => {
      const reply = answer(parseMessage(chunk.subarray(2)), 'TCP');
      if (reply === undefined) return;
      const bytes = buildMessage(reply);
      socket.end(Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 255), bytes]));
    });
  });
  udp.bind(port, LOOPBACK);
  tcp.listen(port, LOOPBACK);
  await Promise.all([once(udp, 'listening'), once(tcp, 'listening')]);
  t.teardown(() => {
    udp.close();
    tcp.close();
  });
  return { server: { ip: LOOPBACK, port }, names };
}

function replyWith(asked: Message, count: number): Message {
  const [question] = asked.questions;
  const data = (index: number) => [Uint8Array.of(192, 0, 2, index & 255)];
  const answers = Array.from({ length: count }, (_, index) => ({
    name: question?.name ?? [],
    type: TYPE.A,
    class: CLASS_IN,
    ttl: 60,
    data: data(index),
  }));
  return { ...asked, response: true, answers };
}

interface Options {
  readonly servers?: readonly UpstreamServer[];
  readonly mayAsk?: (ip: string) => boolean;
  readonly tcpIdleMs?: number;
  readonly endpoints?: number;
  readonly attemptMs?: number;
  readonly onDown?: () => void;
}

async function running(t: Test, options: Options = {}) {
  const port = await freePort();
  const upstream = new Upstream({
    servers: async () => options.servers ?? [],
    limits: { attemptMs: options.attemptMs ?? 2000, totalMs: 8000, rounds: 2 },
    randomId: () => Math.floor(Math.random() * 65_536),
  });
  const forwarder = new Forwarder({
    clock,
    limits: {
      cache: {
        entriesMax: 100,
        bytesMax: 100_000,
        ttlMaxSeconds: 60,
        negativeTtlMaxSeconds: 60,
        staleSeconds: 60,
      },
      pendingMax: 100,
      staleAfterMs: 1800,
      downMs: 1000,
    },
    exchange: (question) => upstream.exchange(question),
    after: (delayMs, callback) => {
      const timer = setTimeout(callback, delayMs);
      return () => clearTimeout(timer);
    },
    onDown: options.onDown ?? (() => {}),
  });
  const endpoints: ServiceEndpoint[] = Array.from(
    { length: options.endpoints ?? 0 },
    (_, index) => ({
      ip: `10.42.0.${index}`,
      ready: true,
      terminating: false,
      ports: {},
    }),
  );
  const extra = (clusterIp: string, more: object) => ({
    v: 1 as const,
    namespace: 'default',
    name: 'big',
    digest: 'd',
    type: 'ClusterIP' as const,
    clusterIp,
    ports: [],
    endpoints: [],
    internalTrafficLocal: false,
    externalTrafficLocal: false,
    ...more,
  });
  const services = [
    extra('None', { endpoints }),
    extra('10.43.7.7', { name: 'web' }),
    extra('', { name: 'out', type: 'ExternalName', externalName: 'www.example.com' }),
    extra('', {
      name: 'loop',
      type: 'ExternalName',
      externalName: 'loop.default.svc.cluster.local',
    }),
    extra('', { name: 'in', type: 'ExternalName', externalName: 'web.default.svc.cluster.local' }),
  ];
  let zone = testZone(services);
  const responder = new Responder({
    clock,
    limits: { repliesMax: 100, repeatMs: 1000 },
    resolver: new Resolver(() => zone, forwarder, Math.random),
    mayAsk: options.mayAsk ?? (() => true),
  });
  const problems: string[] = [];
  const server = new DnsServer({
    ip: LOOPBACK,
    port,
    clock,
    log,
    limits: {
      tcpConnectionsMax: 2,
      tcpIdleMs: options.tcpIdleMs ?? 20_000,
      tcpPendingMax: 2,
      listenRetry: { firstMs: 20, maxMs: 20 },
    },
    responder,
    onProblem: (error, transport) => problems.push(`${transport} ${error.code}`),
  });
  t.teardown(() => server.stop());
  server.start();
  const change = (clusterIp: string) => {
    zone = testZone([extra(clusterIp, { name: 'web' })]);
    responder.zoneChanged();
  };
  return { port, server, problems, change };
}

/** Sends bytes until an answer comes: a datagram may get lost on a busy machine. */
async function udpBytes(port: number, bytes: Uint8Array): Promise<Message> {
  const socket = dgram.createSocket('udp4');
  try {
    for (let attempt = 0; attempt < 10; attempt++) {
      socket.send(bytes, port, LOOPBACK);
      const signal = AbortSignal.timeout(3000);
      const [answer] = await once(socket, 'message', { signal }).catch(() => []);
      if (answer !== undefined) return parseMessage(answer);
    }
    throw new Error('no answer');
  } finally {
    socket.close();
  }
}

function udp(port: number, message: Message): Promise<Message> {
  return udpBytes(port, buildMessage(message));
}

function framed(message: Message): Buffer {
  const bytes = buildMessage(message);
  return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 255), bytes]);
}

/** Reads answers until there are `count` of them. */
async function readFramed(socket: net.Socket, count: number): Promise<Message[]> {
  let received = Buffer.alloc(0);
  const messages: Message[] = [];
  for await (const chunk of socket) {
    received = Buffer.concat([received, chunk]);
    while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
      const end = 2 + received.readUInt16BE(0);
      messages.push(parseMessage(received.subarray(2, end)));
      received = received.subarray(end);
    }
    if (messages.length >= count) break;
  }
  return messages;
}

const ipsOf = ({ answers }: Message) =>
  answers.filter(({ type }) => type === TYPE.A).map(({ data }) => (data[0] ?? []).join('.'));

t.test(
  'nonsense, foreign clients and unknown kinds of questions get an error or nothing',
  async (t) => {
    const { port, server } = await running(t, { mayAsk: (ip) => ip === LOOPBACK });
    await until('listening', () => server.listening);
    const cut = buildMessage(query('web.default.svc.cluster.local')).subarray(0, 20);
    t.match(await udpBytes(port, cut), { id: 7, rcode: RCODE.FormErr });
    const ask = (type: number, more: Partial<Message> = {}) => udp(port, query('a', type, more));
    t.match(await ask(TYPE.AXFR), { rcode: RCODE.Refused });
    t.match(await ask(TYPE.A, { opcode: 4 }), { rcode: RCODE.NotImp });
    t.match(await ask(TYPE.A, { questions: [] }), { rcode: RCODE.FormErr });
    const edns = { udpSize: 1232, version: 1, dnssecOk: false };
    t.match(await ask(TYPE.A, { edns }), { rcode: RCODE.BadVers, edns: { version: 0 } });
    // A reply is never answered; the question after it is.
    const socket = dgram.createSocket('udp4');
    const heard: Message[] = [];
    socket.on('message', (bytes) => heard.push(parseMessage(bytes)));
    const last = query('web.default.svc.cluster.local', TYPE.A, { id: 9 });
    await until('an answer', () => {
      socket.send(buildMessage({ ...last, id: 8, response: true }), port, LOOPBACK);
      socket.send(buildMessage(last), port, LOOPBACK);
      return heard.length > 0;
    });
    t.ok(heard.every(({ id }) => id === 9));
    socket.close();
  },
);

t.test('clients that are neither pods nor the board are refused', async (t) => {
  const { port, server } = await running(t, { mayAsk: () => false });
  await until('listening', () => server.listening);
  const refused = await udp(port, query('web.default.svc.cluster.local'));
  t.match(refused, { id: 7, rcode: RCODE.Refused, answers: [] });
  const rules = {
    podCidr: '10.42.3.0/24',
    ownAddresses: new Set(['192.0.2.1', '10.43.0.10']),
    ranges: [],
  };
  const may = (ip: string) => mayAsk(rules, ip);
  t.same(
    ['127.0.0.1', '::1', '10.43.0.10', '192.0.2.1', '10.42.3.9', '::ffff:10.42.3.9'].map(may),
    Array(6).fill(true),
  );
  t.same(
    ['10.42.4.9', '192.0.2.2', '::ffff:192.0.2.2', 'fe80::1', ''].map(may),
    Array(5).fill(false),
  );
  t.notOk(mayAsk({ ...rules, podCidr: '' }, '10.42.3.9'), 'a board without a range has no pods');
  const open = { ...rules, ranges: ['198.51.100.0/24', '192.0.2.0/28'] };
  t.ok(mayAsk(open, '::ffff:192.0.2.2'), 'whoever a person lets in');
  t.notOk(mayAsk(open, '192.0.2.16'));
});

t.test('names of the cluster over UDP and TCP, and their changes at once', async (t) => {
  const { port, server, change } = await running(t);
  await until('listening', () => server.listening);
  const name = 'web.default.svc.cluster.local';
  const answer = await udp(port, query(name));
  t.match(answer, { id: 7, response: true, authoritative: true, recursionAvailable: true });
  t.same(ipsOf(answer), ['10.43.7.7']);
  t.match(
    await udp(port, query(name, TYPE.A, { id: 99 })),
    { id: 99 },
    'the kept one has its own id',
  );
  const none = await udp(port, query(name, TYPE.AAAA));
  t.match(none, { rcode: RCODE.NoError, answers: [], authorities: [{ type: TYPE.SOA }] });
  const missing = await udp(port, query('no.default.svc.cluster.local'));
  t.match(missing, { rcode: RCODE.NxDomain, authorities: [{ type: TYPE.SOA }] });
  t.same(ipsOf(await udp(port, query('in.default.svc.cluster.local'))), ['10.43.7.7']);
  t.match(await udp(port, query('loop.default.svc.cluster.local')), { rcode: RCODE.ServFail });
  change('10.43.7.8');
  t.same(ipsOf(await udp(port, query(name))), ['10.43.7.8']);
});

t.test('an answer that is too large comes in parts over UDP and whole over TCP', async (t) => {
  const { port, server } = await running(t, { endpoints: 200 });
  await until('listening', () => server.listening);
  const big = query('big.default.svc.cluster.local');
  const cut = await udp(port, big);
  t.ok(cut.truncated);
  t.ok(cut.answers.length > 20 && cut.answers.length < 40, 'what fits into 512 octets');
  const edns = { udpSize: 1232, version: 0, dnssecOk: false };
  t.ok((await udp(port, { ...big, edns })).answers.length > cut.answers.length);
  const socket = net.connect(port, LOOPBACK);
  socket.write(framed(big));
  const [whole] = await readFramed(socket, 1);
  t.match(whole, { truncated: false });
  t.equal(new Set(whole === undefined ? [] : ipsOf(whole)).size, 200);
  const first = new Set<string | undefined>();
  for (let n = 0; n < 20; n++) first.add(ipsOf(await udp(port, big))[0]);
  t.ok(first.size > 3, 'each address is the first one now and then');
});

t.test('TCP: several questions at once, octet by octet, and clients that misbehave', async (t) => {
  const { port, server } = await running(t, { tcpIdleMs: 300 });
  await until('listening', () => server.listening);
  const name = 'web.default.svc.cluster.local';
  const socket = net.connect(port, LOOPBACK);
  const questions = [1, 2, 3, 4, 5].map((id) => framed(query(name, TYPE.A, { id })));
  const bytes = Buffer.concat(questions);
  for (let at = 0; at < 60; at++) socket.write(bytes.subarray(at, at + 1));
  socket.write(bytes.subarray(60));
  t.same((await readFramed(socket, 5)).map(({ id }) => id).sort(), [1, 2, 3, 4, 5]);

  const silent = net.connect(port, LOOPBACK);
  silent.resume();
  await once(silent, 'close');
  t.pass('one that says nothing is cut off');
  for (const nonsense of [
    [0, 3, 1, 2, 3],
    [255, 255, 1],
  ]) {
    const rude = net.connect(port, LOOPBACK);
    rude.on('error', () => {});
    rude.write(Buffer.from(nonsense));
    rude.resume();
    await new Promise((resolve) => rude.once('close', resolve));
  }
  t.pass('and one that sends no question');
});

t.test('more TCP connections than the limit are reset', async (t) => {
  const { port, server } = await running(t);
  await until('listening', () => server.listening);
  const sockets = [1, 2].map(() => net.connect(port, LOOPBACK));
  for (const socket of sockets) {
    socket.write(framed(query('web.default.svc.cluster.local')));
    await once(socket, 'data');
  }
  const third = net.connect(port, LOOPBACK);
  third.on('error', () => {});
  third.resume();
  await new Promise((resolve) => third.once('close', resolve));
  for (const socket of sockets) socket.destroy();
  t.pass('the third one is closed');
});

t.test('other names come from the resolver, once, and over TCP what was cut', async (t) => {
  const resolver = await fakeResolver(t, (asked, transport) => {
    const long = nameText(asked.questions[0]?.name ?? []) === 'long.example.com.';
    if (long && transport === 'UDP') return { ...replyWith(asked, 1), truncated: true };
    return replyWith(asked, long ? 150 : 1);
  });
  const { port, server } = await running(t, { servers: [resolver.server] });
  await until('listening', () => server.listening);
  const answer = await udp(port, query('www.example.com'));
  t.match(answer, { rcode: RCODE.NoError, authoritative: false });
  t.same(ipsOf(answer), ['192.0.2.0']);
  t.same(ipsOf(await udp(port, query('WWW.example.com'))), ['192.0.2.0']);
  t.same(resolver.names, ['www.example.com.'], 'asked once');
  const alias = await udp(port, query('out.default.svc.cluster.local'));
  t.match(alias.answers, [{ type: TYPE.CNAME }, { type: TYPE.A }], 'the alias and where it leads');
  const edns = { udpSize: 4096, version: 0, dnssecOk: false };
  t.equal((await udp(port, query('long.example.com', TYPE.A, { edns }))).answers.length, 150);
});

t.test('a resolver that lies, knows no EDNS0 or is dead is got round', async (t) => {
  const dead = { ip: LOOPBACK, port: await freePort() };
  const silent = await fakeResolver(t, () => undefined);
  const failing = await fakeResolver(t, (asked) => ({ ...replyWith(asked, 0), rcode: 2 }));
  const wrong = await fakeResolver(t, (asked) => ({ ...replyWith(asked, 1), id: asked.id ^ 1 }));
  const old = await fakeResolver(t, (asked) =>
    asked.edns === undefined
      ? replyWith(asked, 1)
      : { ...BASE, id: asked.id, response: true, rcode: RCODE.FormErr },
  );
  const servers = [dead, failing.server, wrong.server, silent.server, old.server];
  const upstream = new Upstream({
    servers: async () => servers,
    limits: { attemptMs: 400, totalMs: 20_000, rounds: 2 },
    randomId: () => 4711,
  });
  const question = {
    name: nameOf('a.example'),
    type: TYPE.A,
    class: CLASS_IN,
    dnssecOk: false,
    checkingDisabled: false,
  };
  const { message } = await upstream.exchange(question);
  t.equal(message.answers.length, 1);
  t.same([silent.names.length, wrong.names.length], [1, 1]);
  await upstream.exchange(question);
  t.equal(silent.names.length, 1, 'the one that answered is asked first');
  const nobody = new Upstream({
    servers: async () => [],
    limits: { attemptMs: 400, totalMs: 1000, rounds: 1 },
    randomId: () => 1,
  });
  await t.rejects(nobody.exchange(question), /the board has no resolver to ask/);
});

t.test('a resolver that asks us again is asked a few times, not for ever', async (t) => {
  const back = dgram.createSocket('udp4');
  t.teardown(() => back.close());
  let ours = 0;
  const edns = { udpSize: 1232, version: 0, dnssecOk: true };
  const loop = await fakeResolver(t, (asked) => {
    const again = { ...asked, id: asked.id ^ 1 };
    for (const one of [again, { ...again, edns }, { ...again, checkingDisabled: true }]) {
      back.send(buildMessage(one), ours, LOOPBACK);
    }
    return undefined;
  });
  const { port, server } = await running(t, { servers: [loop.server], attemptMs: 100 });
  ours = port;
  await until('listening', () => server.listening);
  t.match(await udp(port, query('loop.example.com')), { rcode: RCODE.ServFail });
  // Four ways to ask (DO, CD), two rounds each; then nobody asks any more.
  t.ok(loop.names.length <= 16, `${loop.names.length} questions`);
});

t.test('what is answered after the end goes to nobody', async (t) => {
  const silent = await fakeResolver(t, () => undefined);
  let isDown = false;
  const onDown = () => {
    isDown = true;
  };
  const { port, server } = await running(t, { servers: [silent.server], attemptMs: 20, onDown });
  await until('listening', () => server.listening);
  const client = dgram.createSocket('udp4');
  t.teardown(() => client.close());
  client.send(buildMessage(query('www.example.com')), port, LOOPBACK);
  await until('it is asked on', () => silent.names.length > 0);
  server.stop();
  // An answer that failed would be an unhandled rejection, and end the test.
  await until('the resolver is given up', () => isDown);
  await new Promise((resolve) => setImmediate(resolve));
  t.pass('nothing failed');
});

t.test('an address that is taken is told once, and had when it is free', async (t) => {
  const port = await freePort();
  const holder = net.createServer().listen(port, LOOPBACK);
  const udpHolder = dgram.createSocket('udp4');
  udpHolder.bind(port, LOOPBACK);
  await Promise.all([once(holder, 'listening'), once(udpHolder, 'listening')]);
  const problems: string[] = [];
  const server = new DnsServer({
    ip: LOOPBACK,
    port,
    clock,
    log,
    limits: {
      tcpConnectionsMax: 2,
      tcpIdleMs: 1000,
      tcpPendingMax: 2,
      listenRetry: { firstMs: 20, maxMs: 20 },
    },
    responder: new Responder({
      clock,
      limits: { repliesMax: 1, repeatMs: 1 },
      resolver: new Resolver(
        () => testZone(),
        new Forwarder({
          clock,
          limits: {
            cache: {
              entriesMax: 1,
              bytesMax: 1,
              ttlMaxSeconds: 1,
              negativeTtlMaxSeconds: 1,
              staleSeconds: 1,
            },
            pendingMax: 1,
            staleAfterMs: 1,
            downMs: 1,
          },
          exchange: () => Promise.reject(new Error('nobody')),
          after: () => () => {},
          onDown: () => {},
        }),
        Math.random,
      ),
      mayAsk: () => true,
    }),
    onProblem: (error, transport) => problems.push(`${transport} ${error.code}`),
  });
  t.teardown(() => server.stop());
  server.start();
  await until('told', () => problems.length === 2);
  t.same(problems.sort(), ['TCP EADDRINUSE', 'UDP EADDRINUSE']);
  holder.close();
  udpHolder.close();
  await until('listening after all', () => server.listening);
  t.equal(problems.length, 2, 'told once');
});

t.test("the board's resolvers are never ourselves", async (t) => {
  const texts: Record<string, string> = {
    '/etc/resolv.conf': 'nameserver 10.43.0.10\n',
    '/run/systemd/resolve/resolv.conf': 'nameserver 10.43.0.10\nnameserver 192.0.2.53\n',
  };
  const isOurs = (ip: string) => ip.startsWith('10.43.');
  let nowMs = 0;
  const resolvers = new BoardResolvers({
    clock: { monotonicMs: () => nowMs, wallMs: () => 0 },
    isOurs,
    readText: async (file) => texts[file] ?? Promise.reject(new Error('ENOENT')),
  });
  t.same(await resolvers.servers(), ['192.0.2.53']);
  texts['/etc/resolv.conf'] = 'nameserver 127.0.0.53\n';
  t.same(await resolvers.servers(), ['192.0.2.53'], 'looked at now and then');
  nowMs = 6000;
  t.same(await resolvers.servers(), ['127.0.0.53'], 'one on the board itself is as good as any');
  texts['/etc/resolv.conf'] = 'nameserver 10.43.0.10\n';
  delete texts['/run/systemd/resolve/resolv.conf'];
  nowMs = 12_000;
  t.same(await resolvers.servers(), []);
});

/** UDP services over real sockets on loopback. */
import dgram from 'node:dgram';
import { once } from 'node:events';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { Balancer } from '../../../agent/proxy/balancer.ts';
import type { Backend, ListenerSpec, ServiceProblem } from '../../../agent/proxy/service-table.ts';
import { type UdpLimits, UdpProxy } from '../../../agent/proxy/udp-proxy.ts';
import { systemClock } from '../../../protocol/clock.ts';
import { liveBufferBytes } from '../../support/live-buffers.ts';

const LOOPBACK = '127.0.0.1';

async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = systemClock.monotonicMs() + 20_000;
  while (!condition()) {
    if (systemClock.monotonicMs() > endMs) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
}

async function socketAt(t: Test, port = 0): Promise<dgram.Socket> {
  const socket = dgram.createSocket('udp4');
  socket.bind(port, LOOPBACK);
  await once(socket, 'listening');
  let open = true;
  socket.once('close', () => {
    open = false;
  });
  t.teardown(() => open && socket.close());
  return socket;
}

interface Peer extends Backend {
  /** Ports of our side that sent something. */
  readonly from: Set<number>;
  readonly heard: string[];
  readonly socket: dgram.Socket;
}

/** Answers "NAME: text" to each datagram, unless it is silent. */
async function backend(t: Test, name: string, silent = false): Promise<Peer> {
  const socket = await socketAt(t);
  const from = new Set<number>();
  const heard: string[] = [];
  socket.on('message', (bytes, { port, address }) => {
    from.add(port);
    heard.push(bytes.length > 100 ? `${bytes.length} octets` : String(bytes));
    if (!silent) socket.send(`${name}: ${bytes}`, port, address);
  });
  return { ip: LOOPBACK, port: socket.address().port, from, heard, socket };
}

async function freePort(): Promise<number> {
  const socket = dgram.createSocket('udp4');
  socket.bind(0, LOOPBACK);
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  await once(socket, 'close');
  return port;
}

async function running(t: Test, backends: readonly Backend[], more: Partial<UdpLimits> = {}) {
  const port = await freePort();
  const problems: ServiceProblem[] = [];
  const clock = { nowMs: 0 };
  const time = { monotonicMs: () => clock.nowMs, wallMs: () => 0 };
  const proxy = new UdpProxy({
    clock: time,
    log: pino({ level: 'silent' }),
    limits: {
      udpFlowsMax: 3,
      udpUnrepliedMs: 20,
      udpIdleMs: 100,
      udpWaitingMax: 4,
      udpWaitingMs: 1000,
      udpWaitingBytesMax: 1_000_000,
      listenRetry: { firstMs: 20, maxMs: 20 },
      ...more,
    },
    balancer: new Balancer({ clock: time, random: Math.random, clientsMax: 10 }),
    onProblem: (problem) => problems.push(problem),
  });
  t.teardown(() => proxy.stop());
  const set = (list: readonly Backend[], change: Partial<ListenerSpec> = {}) => {
    const service = { namespace: 'default', name: 'syslog' };
    const spec = { ip: LOOPBACK, port, service, backends: list, affinity: undefined };
    proxy.update(new Map([['syslog', { ...spec, sourceRanges: undefined, ...change }]]));
  };
  set(backends);
  return { proxy, port, set, problems, clock };
}

/** Sends until an answer comes: a datagram may get lost. */
async function ask(client: dgram.Socket, port: number, text: string): Promise<string> {
  for (let attempt = 0; attempt < 20; attempt++) {
    client.send(text, port, LOOPBACK);
    const signal = AbortSignal.timeout(1000);
    const [answer] = await once(client, 'message', { signal }).catch(() => []);
    if (answer !== undefined) return String(answer);
  }
  throw new Error('no answer');
}

t.test('UDP: a port that is taken is told with its holder, and had when it is free', async (t) => {
  const a = await backend(t, 'a');
  const { proxy, port, set, problems } = await running(t, [a]);
  await until('listening', () => proxy.settled);
  proxy.update(new Map());
  const holder = await socketAt(t, port);
  set([a]);
  await until('told', () => problems.length > 0);
  t.equal(problems[0]?.reason, 'PortConflict');
  t.match(problems[0]?.message, `port ${port}/UDP of this board is held by `);
  t.match(problems[0]?.message, `(pid ${process.pid})`);
  holder.close();
  await until('listening after all', () => proxy.settled);
  t.equal(problems.length, 1, 'told once');
});

t.test('UDP: a client stays with its backend, and answers come from where it asked', async (t) => {
  const peers = await Promise.all(['a', 'b', 'c'].map((name) => backend(t, name)));
  const { proxy, port } = await running(t, peers);
  await until('listening', () => proxy.settled);
  const client = await socketAt(t);
  client.connect(port, LOOPBACK);
  await once(client, 'connect');
  const heard: string[] = [];
  client.on('message', (bytes) => heard.push(String(bytes)));
  await until('five answers', () => {
    client.send('x');
    return heard.length >= 5;
  });
  t.equal(new Set(heard).size, 1);
  t.equal(proxy.flows, 1);
});

t.test(
  'UDP: a backend that does not listen is passed over, and the datagram is not lost',
  async (t) => {
    const dead = { ip: LOOPBACK, port: await freePort() };
    const good = await backend(t, 'good');
    const { proxy, port, set } = await running(t, [dead, good], { udpFlowsMax: 50 });
    await until('listening', () => proxy.settled);
    for (let n = 0; n < 10; n++) {
      t.equal(await ask(await socketAt(t), port, `hello ${n}`), `good: hello ${n}`);
    }
    set([dead]);
    const lost = await socketAt(t);
    lost.send('x', port, LOOPBACK);
    await until('flows to backends that are none any more are over', () => proxy.flows === 0);
  },
);

t.test(
  'UDP: flows end when they are idle, sooner without an answer, and are bounded',
  async (t) => {
    const silent = await backend(t, 'silent', true);
    const { proxy, port, set, clock } = await running(t, [silent]);
    await until('listening', () => proxy.settled);
    const client = await socketAt(t);
    client.send('x', port, LOOPBACK);
    await until('a flow', () => proxy.flows === 1);
    clock.nowMs = 19;
    await new Promise((resolve) => setTimeout(resolve, 60));
    t.equal(proxy.flows, 1);
    clock.nowMs = 20;
    await until('it is over', () => proxy.flows === 0);
    const chatty = await backend(t, 'chatty');
    set([chatty]);
    t.equal(await ask(client, port, 'x'), 'chatty: x');
    clock.nowMs = 20 + 99;
    await new Promise((resolve) => setTimeout(resolve, 60));
    t.equal(proxy.flows, 1, 'with an answer it may be idle longer');
    clock.nowMs = 20 + 100;
    await until('it is over', () => proxy.flows === 0);
    for (let n = 0; n < 6; n++) await ask(await socketAt(t), port, 'x');
    t.equal(proxy.flows, 3, 'the longest idle ones gave way');
    t.equal(chatty.from.size, 7);
  },
);

t.test('UDP: the largest datagrams pass whole, both ways', async (t) => {
  const a = await backend(t, 'a');
  const { proxy, port } = await running(t, [a]);
  await until('listening', () => proxy.settled);
  // What IPv4 has room for, less the "a: " of the answer.
  const large = 'x'.repeat(65_507 - 3);
  t.equal(await ask(await socketAt(t), port, large), `a: ${large}`);
});

t.test(
  'UDP: one that dies later gets over what was just sent, and nothing old twice',
  async (t) => {
    const peers = await Promise.all(['a', 'b'].map((name) => backend(t, name, true)));
    const { proxy, port, clock } = await running(t, peers, { udpUnrepliedMs: 60_000 });
    await until('listening', () => proxy.settled);
    const client = await socketAt(t);
    for (const [index, word] of ['one', 'two', 'three'].entries()) {
      client.send(word, port, LOOPBACK);
      await until(word, () => peers.some(({ heard }) => heard.length > index));
    }
    const [old, other] = peers.sort((a, b) => b.heard.length - a.heard.length);
    t.same([old?.heard.length, other?.heard.length], [3, 0], 'one flow');
    old?.socket.close();
    clock.nowMs = 1000;
    client.send('four', port, LOOPBACK);
    await until('the other one has it', () => (other?.heard.length ?? 0) > 0);
    t.same(other?.heard, ['four']);
  },
);

t.test('UDP: what waits for an answer is bounded over all flows', async (t) => {
  const silent = await backend(t, 'silent', true);
  const { proxy, port } = await running(t, [silent], { udpFlowsMax: 100 });
  await until('listening', () => proxy.settled);
  const large = Buffer.alloc(60_000);
  const before = liveBufferBytes();
  for (let flow = 0; flow < 100; flow++) {
    const client = await socketAt(t);
    for (let count = 0; count < 4; count++) {
      const had = silent.heard.length;
      await new Promise((resolve) => client.send(large, port, LOOPBACK, resolve));
      await until('it is there', () => silent.heard.length > had);
    }
  }
  t.equal(proxy.flows, 100);
  // Of 24 MB; sockets let go of what they have read a moment later.
  await until('most of it is let go', () => liveBufferBytes() - before < 6_000_000);
});

t.test('UDP: clients outside of the source ranges are not heard', async (t) => {
  const a = await backend(t, 'a');
  const { proxy, port, set } = await running(t, [a]);
  await until('listening', () => proxy.settled);
  set([a], { sourceRanges: ['192.0.2.0/24'] });
  const client = await socketAt(t);
  client.send('secret', port, LOOPBACK);
  // What was sent before has been read when a later one is answered.
  set([a], { sourceRanges: ['192.0.2.0/24'] });
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(proxy.flows, 0);
  set([a], { sourceRanges: ['127.0.0.0/8'] });
  t.equal(await ask(client, port, 'x'), 'a: x');
});

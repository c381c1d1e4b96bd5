/** Services over real sockets on loopback, and the pure table behind them. */
import './proxy/conversations.ts';
import './proxy/rolling.ts';
import './proxy/services.ts';
import './proxy/udp.ts';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { Balancer } from '../../agent/proxy/balancer.ts';
import { listeningInodes, portHolder } from '../../agent/proxy/port-holder.ts';
import { proxyHeader } from '../../agent/proxy/proxy-header.ts';
import { ServiceProxy } from '../../agent/proxy/service-proxy.ts';
import {
  type Backend,
  chooseBackend,
  type ListenerSpec,
  type ServiceProblem,
  type ServiceTable,
  serviceTable,
  stickyBackend,
} from '../../agent/proxy/service-table.ts';
import { systemClock } from '../../protocol/clock.ts';
import type { DesiredService } from '../../protocol/messages.ts';
import { freePort } from '../support/free-port.ts';
import { liveBufferBytes } from '../support/live-buffers.ts';
import { tcpBackend } from '../support/tcp-backend.ts';
import { endpoint, service } from './proxy/desired.ts';

const LOOPBACK = '127.0.0.1';

async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = systemClock.monotonicMs() + 8000;
  while (!condition()) {
    if (systemClock.monotonicMs() > endMs) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
}

async function serve(t: Test, onClient: (socket: net.Socket) => unknown): Promise<Backend> {
  return { ip: LOOPBACK, port: await tcpBackend(t, onClient, { allowHalfOpen: true }) };
}

function named(name: string): (socket: net.Socket) => void {
  return (socket) => {
    socket.end(name);
    socket.resume();
  };
}

function echo(socket: net.Socket): void {
  socket.on('data', (chunk) => socket.write(chunk));
  socket.on('end', () => socket.end());
}

interface Running {
  readonly proxy: ServiceProxy;
  readonly port: number;
  readonly problems: ServiceProblem[];
  readonly set: (backends: readonly Backend[]) => void;
  readonly connect: () => net.Socket;
}

async function running(
  t: Test,
  backends: readonly Backend[],
  limits: { connectionsMax?: number; connectTimeoutMs?: number } = {},
): Promise<Running> {
  const port = await freePort();
  const problems: ServiceProblem[] = [];
  const proxy = new ServiceProxy({
    clock: systemClock,
    log: pino({ level: 'silent' }),
    limits: {
      connectionsMax: 1000,
      bufferBytesMax: 4 * 1024 * 1024,
      connectTimeoutMs: 2000,
      keepAliveMs: 60_000,
      listenRetry: { firstMs: 20, maxMs: 20 },
      udpFlowsMax: 3,
      udpUnrepliedMs: 60_000,
      udpIdleMs: 60_000,
      udpWaitingMax: 4,
      udpWaitingMs: 1000,
      udpWaitingBytesMax: 100_000,
      affinityClientsMax: 100,
      ...limits,
    },
    random: Math.random,
    onProblem: (problem) => problems.push(problem),
  });
  const set = (list: readonly Backend[]) => proxy.update(table(port, list));
  set(backends);
  t.teardown(() => proxy.stop());
  const connect = () => {
    const socket = net.connect({ host: LOOPBACK, port, allowHalfOpen: true });
    socket.on('error', () => {});
    t.teardown(() => socket.destroy());
    return socket;
  };
  return { proxy, port, problems, set, connect };
}

const EMPTY_TABLE: ServiceTable = { listeners: new Map(), udpListeners: new Map(), problems: [] };

function table(
  port: number,
  backends: readonly Backend[],
  more: Partial<ListenerSpec> = {},
): ServiceTable {
  const service = { namespace: 'default', name: 'web' };
  const spec = { ip: LOOPBACK, port, service, backends, affinity: undefined };
  const listeners = new Map([['web', { ...spec, sourceRanges: undefined, ...more }]]);
  return { ...EMPTY_TABLE, listeners };
}

/** Unlike `once`, not ended by the error that comes before. */
function closed(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => socket.on('close', () => resolve()));
}

async function readAll(socket: net.Socket): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

t.test('connections reach all backends, evenly', async (t) => {
  const backends = await Promise.all(['a', 'b', 'c'].map((name) => serve(t, named(name))));
  const { proxy, connect } = await running(t, backends);
  await until('listening', () => proxy.settled);
  const counts = new Map<string, number>();
  for (let index = 0; index < 150; index++) {
    const answer = await readAll(connect());
    counts.set(answer, (counts.get(answer) ?? 0) + 1);
  }
  t.equal(counts.size, 3);
  for (const [name, count] of counts) t.ok(count > 20, `${name} got ${count} of 150`);
});

t.test('a backend that refuses is skipped, and the client notices nothing', async (t) => {
  const good = await serve(t, named('good'));
  const dead = { ip: LOOPBACK, port: await freePort() };
  const { proxy, connect } = await running(t, [dead, good]);
  await until('listening', () => proxy.settled);
  for (let index = 0; index < 40; index++) t.equal(await readAll(connect()), 'good');
});

t.test('a client is reset when every backend refuses', async (t) => {
  const dead = { ip: LOOPBACK, port: await freePort() };
  const { proxy, connect } = await running(t, [dead]);
  await until('listening', () => proxy.settled);
  const socket = connect();
  let code: string | undefined;
  socket.on('error', (error: NodeJS.ErrnoException) => {
    code = error.code;
  });
  socket.resume();
  await closed(socket);
  t.equal(code, 'ECONNRESET');
  await until('forgotten', () => proxy.connections === 0);
});

t.test('a backend that let a client wait in vain is passed over by the next ones', async (t) => {
  const silent = await unanswering(t);
  const good = await serve(t, named('good'));
  const { proxy, connect, set } = await running(t, [silent], { connectTimeoutMs: 400 });
  await until('listening', () => proxy.settled);
  const socket = connect();
  socket.resume();
  await closed(socket);
  const backends = [silent, good];
  set(backends);
  const choose = () => proxy.balancer.choose({ backends, affinity: undefined }, new Set(), '');
  for (let index = 0; index < 50; index++) t.equal(choose(), good);
  t.equal(await readAll(connect()), 'good');
});

/** As a board without power: connections to it are neither made nor refused. */
async function unanswering(t: Test): Promise<Backend> {
  const listen = 'const s = net.createServer().listen(0, "127.0.0.1", 1, () => ';
  const words = `${listen}console.log(s.address().port))`;
  const child = spawn(process.execPath, ['-e', words], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const [line] = await once(child.stdout, 'data');
  child.kill('SIGSTOP');
  const backend = { ip: LOOPBACK, port: Number(String(line)) };
  // What it does not accept fills its backlog, and then the kernel is silent for it.
  for (let isFull = false; !isFull; ) {
    const socket = net.connect(backend.port, LOOPBACK);
    t.teardown(() => socket.destroy());
    isFull = await Promise.race([
      once(socket, 'connect').then(() => false),
      new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 500)),
    ]);
  }
  return backend;
}

t.test('half-close passes in both directions', async (t) => {
  const backend = await serve(t, (socket) => {
    // Answers only after the client has said that it is done.
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('end', () => socket.end(`got ${Buffer.concat(chunks).length}`));
  });
  const early = await serve(t, (socket) => {
    // Says it is done first, and goes on listening.
    socket.end('bye');
    let bytes = 0;
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    socket.on('end', () => heard.push(bytes));
  });
  const heard: number[] = [];
  const { proxy, connect, set } = await running(t, [backend]);
  await until('listening', () => proxy.settled);
  const socket = connect();
  socket.end('x'.repeat(100_000));
  t.equal(await readAll(socket), 'got 100000');

  set([early]);
  const second = connect();
  second.resume();
  await once(second, 'end');
  second.end('y'.repeat(70_000));
  await until('the backend heard the rest', () => heard.length > 0);
  t.same(heard, [70_000]);
  await until('forgotten', () => proxy.connections === 0);
});

t.test('a reset is passed on as a reset, in both directions', async (t) => {
  const codes: string[] = [];
  const backend = await serve(t, (socket) => {
    socket.on('error', (error: NodeJS.ErrnoException) => codes.push(`backend ${error.code}`));
    socket.on('data', (chunk: Buffer) => {
      if (chunk.toString() === 'reset me') socket.resetAndDestroy();
      else socket.write('hello');
    });
  });
  const { proxy, connect } = await running(t, [backend]);
  await until('listening', () => proxy.settled);
  const client = connect();
  client.write('hi');
  await once(client, 'data');
  client.resetAndDestroy();
  await until('backend was reset', () => codes.includes('backend ECONNRESET'));

  const other = connect();
  other.on('error', (error: NodeJS.ErrnoException) => codes.push(`client ${error.code}`));
  other.resume();
  other.write('reset me');
  await until('client was reset', () => codes.includes('client ECONNRESET'));
  await until('forgotten', () => proxy.connections === 0);
});

t.test('bytes are the same after a slow reader, and memory is bounded meanwhile', async (t) => {
  const data = randomBytes(48 * 1024 * 1024);
  const backend = await serve(t, (socket) => socket.end(data));
  const { proxy, connect } = await running(t, [backend]);
  await until('listening', () => proxy.settled);
  const slow = connect();
  slow.pause();
  const quick = connect();
  const hash = async (socket: net.Socket, pauses: number): Promise<string> => {
    const sum = createHash('sha256');
    let paused = 0;
    for await (const chunk of socket) {
      sum.update(chunk);
      if (paused++ < pauses) await new Promise((resolve) => setTimeout(resolve, 2));
    }
    return sum.digest('hex');
  };
  const expected = createHash('sha256').update(data).digest('hex');
  const before = liveBufferBytes();
  t.equal(await hash(quick, 0), expected, 'the quick reader is not held up by the slow one');
  const grown = liveBufferBytes() - before;
  t.ok(grown < 40 * 1024 * 1024, `what the slow reader leaves is not gathered (${grown} bytes)`);
  t.equal(await hash(slow, 100), expected);
});

t.test('bytes are the same on the way up, past a backend that reads slowly', async (t) => {
  const data = randomBytes(16 * 1024 * 1024);
  const sums: string[] = [];
  const backend = await serve(t, async (socket) => {
    const sum = createHash('sha256');
    let paused = 0;
    for await (const chunk of socket) {
      sum.update(chunk);
      if (paused++ < 50) await new Promise((resolve) => setTimeout(resolve, 2));
    }
    sums.push(sum.digest('hex'));
  });
  const { proxy, connect } = await running(t, [backend]);
  await until('listening', () => proxy.settled);
  connect().end(data);
  await until('all has come', () => sums.length > 0);
  t.equal(sums[0], createHash('sha256').update(data).digest('hex'));
});

t.test('changed endpoints count for new connections, open ones go on', async (t) => {
  const old = await serve(t, echo);
  const fresh = await serve(t, named('new'));
  const { proxy, connect, set } = await running(t, [old]);
  await until('listening', () => proxy.settled);
  const open = connect();
  const say = async (text: string): Promise<string> => {
    open.write(text);
    const [answer] = await once(open, 'data');
    return String(answer);
  };
  t.equal(await say('one'), 'one');
  set([fresh]);
  t.equal(await readAll(connect()), 'new');
  t.equal(await say('two'), 'two');
  proxy.update(EMPTY_TABLE);
  t.equal(await say('three'), 'three', 'even when the service is gone');
  open.end();
});

t.test(
  'a port that is taken is told with its holder, and taken over when it is free',
  async (t) => {
    const backend = await serve(t, named('ok'));
    const { proxy, port, problems, set } = await running(t, [backend]);
    await until('listening', () => proxy.settled);
    proxy.update(EMPTY_TABLE);
    const holder = net.createServer();
    const hold = async (): Promise<void> => {
      holder.listen(port, LOOPBACK);
      await once(holder, 'listening');
    };
    await hold();
    set([backend]);
    await until('conflict told', () => problems.length > 0);
    t.equal(problems[0]?.reason, 'PortConflict');
    t.match(problems[0]?.message, `port ${port} of this board is held by `);
    t.match(problems[0]?.message, `(pid ${process.pid})`);
    holder.close();
    await until('listening after all', () => proxy.settled);
    t.equal(problems.length, 1, 'told once');
  },
);

t.test('a wildcard socket leads a client by the address it came to', async (t) => {
  const [one, other] = await Promise.all(['one', 'other'].map((name) => serve(t, named(name))));
  const { proxy, port } = await running(t, []);
  const spec = table(port, one === undefined ? [] : [one]).listeners.get('web');
  if (spec === undefined || other === undefined) throw new Error('no listener');
  const listeners = new Map([
    ['a', { ...spec, ip: '127.0.0.2' }],
    ['b', { ...spec, ip: undefined, backends: [other] }],
  ]);
  proxy.update({ ...EMPTY_TABLE, listeners });
  await until('listening', () => proxy.settled);
  t.equal(await readAll(net.connect(port, '127.0.0.2')), 'one');
  t.equal(await readAll(net.connect(port, LOOPBACK)), 'other');
});

t.test('a client outside of the source ranges is reset', async (t) => {
  const backend = await serve(t, named('ok'));
  const { proxy, port, connect } = await running(t, [backend]);
  proxy.update(table(port, [backend], { sourceRanges: ['192.0.2.0/24'] }));
  await until('listening', () => proxy.settled);
  const socket = connect();
  socket.resume();
  await closed(socket);
  t.equal(socket.bytesRead, 0);
  proxy.update(table(port, [backend], { sourceRanges: ['127.0.0.0/8'] }));
  t.equal(await readAll(connect()), 'ok');
});

t.test('a backend is told who the client is, before its first byte', async (t) => {
  const backend = await serve(t, echo);
  const { proxy, port, connect } = await running(t, [backend]);
  await until('listening', () => proxy.settled);
  for (const proxyProtocol of ['v1', 'v2'] as const) {
    proxy.update(table(port, [backend], { proxyProtocol }));
    const client = connect();
    await once(client, 'connect');
    const header = proxyHeader(proxyProtocol, {
      ...{ remoteAddress: LOOPBACK, remotePort: client.localPort },
      ...{ localAddress: LOOPBACK, localPort: port },
    });
    client.end('hello');
    t.equal(await readAll(client), `${header}hello`);
  }
});

t.test('more connections than the limit are reset', async (t) => {
  const backend = await serve(t, echo);
  const { proxy, connect } = await running(t, [backend], { connectionsMax: 2 });
  await until('listening', () => proxy.settled);
  const first = connect();
  const second = connect();
  await until('two are open', () => proxy.connections === 2);
  const third = connect();
  third.resume();
  await closed(third);
  t.equal(proxy.connections, 2);
  first.end();
  second.end();
});

t.test('the holder of a port is known, and nobody for a free one', async (t) => {
  const { port } = await serve(t, echo);
  t.match(await portHolder(port), `(pid ${process.pid})`);
  t.equal(await portHolder(await freePort()), undefined);
  const line = '   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:0 0 0 0 4711 1';
  t.same(listeningInodes(line, 8080), ['4711']);
  t.same(listeningInodes(line, 8081), []);
});

const BOARD = { node: 'a', address: '192.0.2.1', addresses: ['127.0.0.1', '192.0.2.1'] };

t.test('the service table follows the rules of Kubernetes', async (t) => {
  const ports = [{ name: 'http', protocol: 'TCP' as const, port: 80, nodePort: 30080 }];
  const onBoards = (more: Partial<DesiredService> = {}) =>
    service({ type: 'NodePort', ports, ...more });
  const ips = (one: DesiredService, key: string) =>
    serviceTable([one], BOARD)
      .listeners.get(key)
      ?.backends.map(({ ip }) => ip);
  t.same(ips(onBoards(), '10.43.0.9:80'), ['10.42.0.2', '10.42.1.2']);
  t.same(ips(onBoards(), '*:30080'), ['10.42.0.2', '10.42.1.2']);
  t.same(ips(onBoards({ externalTrafficLocal: true }), '*:30080'), ['10.42.0.2']);
  t.same(ips(onBoards({ internalTrafficLocal: true }), '10.43.0.9:80'), ['10.42.0.2']);
  const leaving = endpoint('10.42.0.3', { ready: false, terminating: true });
  const unready = endpoint('10.42.0.4', { ready: false });
  const endpoints = [leaving, unready];
  t.same(ips(onBoards({ endpoints }), '10.43.0.9:80'), ['10.42.0.3'], 'better than none');
  t.same(ips(onBoards({ endpoints: [unready] }), '10.43.0.9:80'), undefined, 'refused at once');
  t.equal(serviceTable([onBoards({ clusterIp: 'None' })], BOARD).listeners.size, 0);
  t.equal(serviceTable([onBoards({ clusterIp: '' })], BOARD).listeners.size, 0);
  const sctp = onBoards({ ports: [{ name: 'http', protocol: 'SCTP', port: 53 }] });
  const { listeners, problems } = serviceTable([sctp], BOARD);
  t.equal(listeners.size, 0);
  t.match(problems[0], {
    reason: 'UnsupportedProtocol',
    message: /^port 53\/SCTP is not forwarded/,
  });
});

t.test('idle backends take turns, so that a few requests reach each', async (t) => {
  const backends = ['a', 'b', 'c'].map((ip) => ({ ip, port: 1 }));
  const [spec] = serviceTable([service()], BOARD).listeners.values();
  if (spec === undefined) throw new Error('no listener');
  const balancer = new Balancer({ clock: systemClock, random: Math.random, clientsMax: 1 });
  const ask = () => balancer.choose({ ...spec, backends }, new Set(), '192.0.2.1');
  for (let round = 0; round < 100; round++) {
    t.equal(new Set([ask(), ask(), ask()]).size, 3);
  }
  const [busy] = backends;
  if (busy !== undefined) balancer.count(busy, 1);
  const answers = Array.from({ length: 300 }, () => ask()?.ip);
  t.notOk(answers.includes('a'), 'a busy one waits while another is idle');
});

t.test(
  'a backend is chosen by open connections, and by client where affinity is asked',
  async (t) => {
    const backends = ['a', 'b', 'c'].map((ip) => ({ ip, port: 1 }));
    const load = new Map([
      ['a', 9],
      ['b', 0],
      ['c', 9],
    ]);
    const open = ({ ip }: Backend) => load.get(ip) ?? 0;
    const never = () => 0;
    let chosen = 0;
    for (let index = 0; index < 300; index++) {
      if (chooseBackend(backends, new Set(), open, never, Math.random)?.ip === 'b') chosen++;
    }
    t.ok(chosen > 150, `the idle one is chosen in two of three cases: ${chosen} of 300`);
    t.equal(chooseBackend(backends, new Set(backends), open, never, Math.random), undefined);
    const clients = Array.from({ length: 300 }, (_, index) => `192.0.2.${index}`);
    const before = clients.map((client) => stickyBackend(backends, new Set(), client));
    t.same(
      clients.map((client) => stickyBackend(backends, new Set(), client)),
      before,
    );
    const fewer = backends.slice(0, 2);
    const moved = clients.filter(
      (client, index) =>
        before[index]?.ip !== 'c' && stickyBackend(fewer, new Set(), client) !== before[index],
    );
    t.same(moved, [], 'only the clients of the one that went move');
    t.equal(new Set(before.map((backend) => backend?.ip)).size, 3);
  },
);

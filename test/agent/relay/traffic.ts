/** Services whose pods are behind the relay, over real sockets on loopback. */
import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { LIMITS } from '../../../agent/config.ts';
import { ServiceProxy } from '../../../agent/proxy/service-proxy.ts';
import type { Backend, ListenerSpec } from '../../../agent/proxy/service-table.ts';
import type { Relay } from '../../../agent/relay/relay.ts';
import { systemClock } from '../../../protocol/clock.ts';
import { freePort } from '../../support/free-port.ts';
import { tcpBackend } from '../../support/tcp-backend.ts';
import { boards, credentials, FAR, POD_IP, pod, readAll, until } from './boards.ts';

const LOOPBACK = '127.0.0.1';

async function proxied(
  t: Test,
  relay: Relay,
  backends: readonly Backend[],
  more: Partial<ListenerSpec> = {},
): Promise<number> {
  const port = await freePort();
  const proxy = new ServiceProxy({
    clock: systemClock,
    log: pino({ level: 'silent' }),
    limits: { ...LIMITS.proxy, connectTimeoutMs: 400, udpUnrepliedMs: 400 },
    random: Math.random,
    onProblem: ({ message }) => t.fail(message),
    relay: (backend) => relay.connect(backend),
    relayDatagrams: (backend, events) => relay.datagrams(backend, events),
  });
  t.teardown(() => proxy.stop());
  const service = { namespace: 'default', name: 'web' };
  const shared = { ip: LOOPBACK, port, service, backends };
  const spec = { ...shared, affinity: undefined, sourceRanges: undefined, ...more };
  const listeners = new Map([['web', spec]]);
  proxy.update({ listeners, udpListeners: listeners, problems: [] });
  await until('it listens', () => proxy.settled);
  return port;
}

function client(t: Test, port: number): net.Socket {
  const socket = net.connect({ host: LOOPBACK, port, allowHalfOpen: true });
  t.teardown(() => socket.destroy());
  return socket;
}

/** A pod that is reached without the relay. */
async function direct(t: Test): Promise<Backend> {
  return { ip: LOOPBACK, port: await tcpBackend(t, (socket) => socket.end('direct')) };
}

t.test('a pod that refuses is skipped, and the client notices nothing', async (t) => {
  const { near } = await boards(t);
  const good = await pod(t, async (socket) => socket.end(`good ${await readAll(socket)}`));
  const dead = { ip: POD_IP, port: await freePort() };
  const port = await proxied(t, near, [dead, good]);
  for (let index = 0; index < 20; index++) {
    const socket = client(t, port);
    socket.end('day');
    t.equal(await readAll(socket), 'good day');
  }
});

t.test('a client is reset when no pod takes it, and when its pod resets', async (t) => {
  const { near } = await boards(t);
  const rude = await pod(t, (socket) => socket.once('data', () => socket.resetAndDestroy()));
  for (const backend of [{ ip: POD_IP, port: await freePort() }, rude]) {
    const socket = client(t, await proxied(t, near, [backend]));
    socket.write('x');
    socket.resume();
    const [error] = await once(socket, 'error');
    t.equal(error.code, 'ECONNRESET');
  }
});

t.test('a board that does not answer costs time, and no connection', async (t) => {
  const { near, far, meet } = await boards(t);
  const good = await pod(t, (socket) => socket.end('good'));
  far.stop();
  const listener = await proxied(t, near, [good, await direct(t)]);
  for (let index = 0; index < 6; index++) {
    t.equal(await readAll(client(t, listener)), 'direct');
  }
  meet();
  const seen = new Set<string>();
  await until('the board is back', () => {
    void readAll(client(t, listener)).then(
      (word) => seen.add(word),
      () => {},
    );
    return seen.has('good');
  });
});

t.test('a board that hears but says nothing is passed over', async (t) => {
  const { near, far, port } = await boards(t);
  far.stop();
  const sockets = new Set<net.Socket>();
  const silent = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.resume();
  });
  silent.listen(port, FAR);
  await once(silent, 'listening');
  t.teardown(() => {
    silent.close();
    for (const socket of sockets) socket.destroy();
  });
  const listener = await proxied(t, near, [{ ip: POD_IP, port: 80 }, await direct(t)]);
  const words = await Promise.all([1, 2, 3, 4].map(() => readAll(client(t, listener))));
  t.same(new Set(words), new Set(['direct']));
});

t.test('a pod behind the relay is told of the client where its service asks for it', async (t) => {
  const { near } = await boards(t);
  const told = await pod(t, async (socket) => socket.end(await readAll(socket)));
  const port = await proxied(t, near, [told], { proxyProtocol: 'v1' });
  const socket = client(t, port);
  await once(socket, 'connect');
  const { localPort } = socket;
  socket.end('hello');
  t.equal(
    await readAll(socket),
    `PROXY TCP4 ${LOOPBACK} ${LOOPBACK} ${localPort} ${port}\r\nhello`,
  );
});

t.test('datagrams pass, and a pod that does not listen is passed over', async (t) => {
  const { near } = await boards(t, { near: await credentials('near') });
  const server = dgram.createSocket('udp4');
  server.bind(0, POD_IP);
  await once(server, 'listening');
  t.teardown(() => server.close());
  server.on('message', (bytes, from) =>
    server.send(Buffer.concat([Buffer.from('>'), bytes]), from.port, from.address),
  );
  const good = { ip: POD_IP, port: server.address().port };
  const dead = { ip: POD_IP, port: await freePort() };
  const port = await proxied(t, near, [dead, good]);
  const large = 'x'.repeat(30_000);
  for (let index = 0; index < 6; index++) {
    const socket = dgram.createSocket('udp4');
    const answers = new Set<string>();
    socket.on('message', (bytes) => answers.add(bytes.toString()));
    socket.connect(port, LOOPBACK);
    await once(socket, 'connect');
    // As clients do: on a busy machine a datagram may be too old to be sent to the next pod.
    const send = (): void => {
      for (const text of ['a', '', large]) if (!answers.has(`>${text}`)) socket.send(text);
    };
    send();
    const again = setInterval(send, 500);
    await until('all are answered', () => answers.size === 3).finally(() => {
      clearInterval(again);
      socket.close();
    });
    t.same(answers, new Set(['>a', '>', `>${large}`]));
  }
});

/** Connections through the relay behave as direct ones do. */
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import t from 'tap';
import { BackendAgent } from '../../../agent/ingress/backend-agent.ts';
import { freePort } from '../../support/free-port.ts';
import { boards, FAR, failure, listening, POD_IP, pod, readAll, until } from './boards.ts';

const PIECE = Buffer.alloc(64 * 1024, 'x');
/** What windows, streams and the kernel's sockets on loopback may hold of one connection. */
const HELD_BYTES_MAX = 24 * 1024 * 1024;

t.test('half-close passes in both directions', async (t) => {
  const { port } = await pod(t, async (socket) => {
    socket.write('first;');
    const asked = await readAll(socket);
    socket.end(`asked ${asked}`);
  });
  const { connect } = await boards(t);
  const socket = connect(port);
  await once(socket, 'connect');
  t.notOk(socket.connecting);
  socket.write('a');
  socket.end('b');
  t.equal(await readAll(socket), 'first;asked ab');
});

t.test('a pod that ends first is still listened to', async (t) => {
  let heard: Promise<string> | undefined;
  const { port } = await pod(t, (socket) => {
    heard = readAll(socket);
    socket.end('bye');
  });
  const { connect } = await boards(t);
  const socket = connect(port);
  t.equal(await readAll(socket), 'bye');
  socket.end('and now me');
  t.equal(await heard, 'and now me');
});

t.test('a pod that refuses is told from one that is not there', async (t) => {
  const { connect } = await boards(t);
  t.match(await failure(connect(await freePort())), /answers 502: pier; error=connection_refused/);
  t.match(
    await failure(connect(80, '127.9.0.255')),
    /answers 502/,
    'an address that nobody can have',
  );
});

t.test('a pod that resets is heard as a reset, also after our half-close', async (t) => {
  const { port } = await pod(t, (socket) => {
    socket.on('data', () => socket.resetAndDestroy());
  });
  const { connect } = await boards(t);
  for (const half of [false, true]) {
    const socket = connect(port);
    let isEnded = false;
    socket.on('end', () => {
      isEnded = true;
    });
    socket.resume();
    await once(socket, 'connect');
    if (half) socket.end('x');
    else socket.write('x');
    t.match(await failure(socket), /./);
    t.notOk(isEnded, 'not as if all had been said');
  }
});

t.test('a client that resets is a reset for the pod, never an end', async (t) => {
  const seen: string[] = [];
  const { port } = await pod(t, (socket) => {
    socket.on('end', () => seen.push('end'));
    socket.on('error', (error: NodeJS.ErrnoException) => seen.push(error.code ?? ''));
    socket.on('close', () => seen.push('close'));
    socket.resume();
  });
  const { connect } = await boards(t);
  const socket = connect(port);
  await once(socket, 'connect');
  socket.write('some of it');
  socket.destroy();
  await until('the pod heard', () => seen.includes('close'));
  t.same(seen, ['ECONNRESET', 'close']);
});

t.test('a slow reader holds back its own sender, in bounded memory, and nobody else', async (t) => {
  let sent = 0;
  const flood = await pod(t, (socket) => {
    const more = () => {
      while (!socket.destroyed && sent < 2 * HELD_BYTES_MAX) {
        sent += PIECE.length;
        if (!socket.write(PIECE)) return;
      }
      socket.end();
    };
    socket.on('drain', more);
    more();
  });
  const quick = await pod(t, (socket) => socket.end('quick'));
  const { connect } = await boards(t);
  const slow = connect(flood.port);
  await once(slow, 'connect');
  let before = -1;
  await until('the sender stands still', () => {
    const isSame = sent === before;
    before = sent;
    return isSame && sent > 0;
  });
  t.equal(await readAll(connect(quick.port)), 'quick');
  t.ok(sent < HELD_BYTES_MAX, `${sent} octets were taken of it`);
  let received = 0;
  for await (const chunk of slow) received += chunk.length;
  t.equal(received, sent, 'and all of it arrives');
});

t.test('a slow pod holds back its client', async (t) => {
  let taken: net.Socket | undefined;
  const { port } = await pod(t, (socket) => {
    taken = socket.pause();
  });
  const { connect } = await boards(t);
  const socket = connect(port);
  await once(socket, 'connect');
  let sent = 0;
  const more = () => {
    while (sent < 2 * HELD_BYTES_MAX) {
      sent += PIECE.length;
      if (!socket.write(PIECE)) return;
    }
    socket.end();
  };
  socket.on('drain', more);
  more();
  let before = -1;
  await until('it stands still', () => {
    const isSame = sent === before;
    before = sent;
    return isSame;
  });
  t.ok(sent < HELD_BYTES_MAX, `${sent} octets were taken of it`);
  let received = 0;
  for await (const chunk of taken ?? []) received += chunk.length;
  t.equal(received, 2 * HELD_BYTES_MAX, 'and all of it arrives');
});

t.test('requests of an Ingress pass, and their connections are used again', async (t) => {
  let connections = 0;
  const server = http.createServer((request, response) => {
    response.end(`${request.method} ${request.url}`);
  });
  server.on('connection', () => connections++);
  server.listen(0, POD_IP);
  await once(server, 'listening');
  t.teardown(() => server.close());
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  const { near } = await boards(t);
  const agent = new BackendAgent((backend) => near.connect(backend), { keepAlive: true });
  t.teardown(() => agent.destroy());
  for (const path of ['/a', '/b', '/c']) {
    const request = http.request({ agent, host: POD_IP, port, path });
    request.setTimeout(10_000, () => request.destroy(new Error('too late')));
    request.end();
    const [response] = await once(request, 'response');
    t.equal(await readAll(response), `GET ${path}`);
  }
  t.equal(connections, 1);
});

t.test(
  'a board that goes resets what it relayed, and is found again when it is back',
  async (t) => {
    const { port } = await pod(t, (socket) => socket.write('hello'));
    const { connect, far, meet, port: relayPort } = await boards(t);
    const socket = connect(port);
    const [first] = await once(socket, 'data');
    t.equal(String(first), 'hello');
    far.stop();
    t.match(await failure(socket), /./);
    t.match(await failure(connect(port)), /ECONNREFUSED/);
    meet();
    await listening(FAR, relayPort);
    const again = connect(port);
    const [word] = await Promise.race([once(again, 'data'), once(again, 'error')]);
    t.equal(String(word), 'hello');
  },
);

t.test('a board that answers no ping is gone, one that does is not', async (t) => {
  const { port: podPort } = await pod(t, (socket) => socket.write('hello'));
  const farHost = '127.0.0.4';
  const { connect, port } = await boards(t, { farHost, limits: { pingMs: 100 } });
  // A cable between the boards that can be cut: nothing is closed by that.
  const ends = new Set<net.Socket>();
  const cable = net.createServer((socket) => {
    const other = net.connect({ host: farHost, port });
    for (const end of [socket, other]) ends.add(end.on('error', () => {}));
    socket.pipe(other);
    other.pipe(socket);
  });
  cable.listen(port, FAR);
  await once(cable, 'listening');
  t.teardown(() => {
    cable.close();
    for (const end of ends) end.destroy();
  });
  const socket = connect(podPort);
  await once(socket, 'data');
  await new Promise((resolve) => setTimeout(resolve, 500));
  t.notOk(socket.destroyed, 'an idle connection stays');
  for (const end of ends) {
    end.unpipe();
    end.pause();
  }
  t.match(await failure(socket), /has not answered|reset/);
});

t.test('more than a board has room for is refused, until there is room', async (t) => {
  const { port } = await pod(t, (socket) => socket.resume());
  for (const [limits, words] of [
    [{ limits: { streamsMax: 2 } }, /this board has 2 connections/],
    [{ farLimits: { streamsMax: 2 } }, /answers 503: pier; error=connection_limit_reached/],
  ] as const) {
    const { connect } = await boards(t, limits);
    const open = [connect(port), connect(port)];
    await Promise.all(open.map((one) => once(one, 'connect')));
    t.match(await failure(connect(port)), words);
    open[0]?.destroy();
    let isThere = false;
    while (!isThere) {
      const one = connect(port);
      isThere = await once(one, 'connect').then(
        () => true,
        () => false,
      );
    }
    t.notOk(open[1]?.destroyed, 'the other one was not touched');
  }
});

t.test('clients that reset, by the thousand, end nobody else’s connection', async (t) => {
  const { port } = await pod(t, (socket) => socket.pipe(socket));
  const { near, connect } = await boards(t);
  const bystander = connect(port);
  await once(bystander, 'connect');
  const reset = async (): Promise<void> => {
    const socket = near.connect({ ip: POD_IP, port });
    if (socket === undefined) throw new Error('not relayed to');
    await once(socket, 'connect');
    socket.destroy();
  };
  for (let round = 0; round < 60; round++) await Promise.all(Array.from({ length: 25 }, reset));
  bystander.end('still here');
  t.equal(await readAll(bystander), 'still here');
});

/** WebSockets and other changes of protocol, and TLS: by name, reloaded, refused. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import tls from 'node:tls';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import WebSocket, { WebSocketServer } from 'ws';
import { ask, backend, everything, LOOPBACK, place, raw, tlsSecret, web } from './place.ts';

/** Says back what it hears, and lets go of whoever says "bye". */
async function echoServer(t: Test): Promise<number> {
  const server = http.createServer((request, response) => {
    const { upgrade = 'no upgrade' } = request.headers;
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on('end', () => response.end(`plain, ${upgrade}, ${body}`));
  });
  const sockets = new WebSocketServer({ server, path: '/echo' });
  sockets.on('connection', (socket, request) => {
    socket.send(String(request.headers['x-forwarded-proto']));
    socket.on('message', (data, isBinary) => {
      if (!isBinary && String(data) === 'bye') socket.close(4001, 'as you wish');
      else socket.send(data, { binary: isBinary });
    });
  });
  server.listen(0, LOOPBACK);
  await once(server, 'listening');
  t.teardown(() => {
    for (const one of sockets.clients) one.terminate();
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  return typeof address === 'object' ? (address?.port ?? 0) : 0;
}

async function talk(t: Test, url: string, options: WebSocket.ClientOptions = {}): Promise<void> {
  const socket = new WebSocket(url, { perMessageDeflate: false, ...options });
  t.teardown(() => socket.terminate());
  const heard: string[] = [];
  let wake = (): void => {};
  socket.on('message', (data) => {
    heard.push(data.toString());
    wake();
  });
  const next = async (): Promise<string> => {
    if (heard.length === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    return heard.shift() ?? '';
  };
  t.equal(await next(), new URL(url).protocol === 'wss:' ? 'https' : 'http');
  for (const word of ['hello', 'x'.repeat(1_000_000)]) {
    socket.send(word);
    t.ok((await next()) === word, `${word.length} characters come back`);
  }
  socket.send('bye');
  const [code, reason] = await once(socket, 'close');
  t.same([code, String(reason)], [4001, 'as you wish']);
}

t.test('WebSockets pass, and a backend may refuse them', async (t) => {
  const board = await place(t);
  const port = await echoServer(t);
  board.set([everything()], [web([port])]);
  await talk(t, `ws://${LOOPBACK}:${board.port}/echo`);
  const refused = async (): Promise<number | undefined> => {
    const socket = new WebSocket(`ws://${LOOPBACK}:${board.port}/other`);
    const [, answer] = await once(socket, 'unexpected-response');
    return answer.statusCode;
  };
  t.equal(await refused(), 400, 'by the backend');
  board.set([everything()], [web([])]);
  t.equal(await refused(), 503, 'without one');
  board.set([], []);
  t.equal(await refused(), 404);
});

t.test('who may but need not change the protocol is answered in this one', async (t) => {
  const board = await place(t);
  board.set([everything()], [web([await echoServer(t)])]);
  const head = (method: string, upgrade: string) =>
    `${method} /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\n` +
    `Upgrade: ${upgrade}\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n`;
  t.match(await raw(board.port, `${head('GET', 'h2c')}\r\n`), /plain, no upgrade, $/m);
  const body = 'Content-Length: 4\r\n\r\nbody';
  t.match(await raw(board.port, head('POST', 'h2c') + body), /plain, no upgrade, body/);
  t.match(await raw(board.port, head('POST', 'websocket') + body), /plain, no upgrade, body/);
});

t.test('a change of protocol behind a request that Node answers by itself', async (t) => {
  const board = await place(t);
  board.set([everything()], [web([await echoServer(t)])]);
  const change = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
  for (const first of ['Host: a\r\nExpect: the best', 'X-Is-There-No-Host: 1']) {
    await raw(board.port, `GET / HTTP/1.1\r\n${first}\r\n\r\n${change}`);
  }
  const answer = await raw(board.port, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  t.match(answer, /^HTTP\/1\.1 200 /, 'the server lives');
});

t.test(
  'a change of protocol behind a request that waits for its answer ends the connection',
  async (t) => {
    const board = await place(t);
    const port = await echoServer(t);
    board.set([everything()], [web([port])]);
    const get = 'GET /x HTTP/1.1\r\nHost: a\r\n\r\n';
    const change =
      'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n';
    for (const protocol of ['websocket', 'h2c']) {
      const second = `GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: ${protocol}\r\n${change}\r\n`;
      t.equal(await raw(board.port, get + second), '', protocol);
    }
    t.equal((await ask(board.port)).status, 200, 'and all goes on');
  },
);

interface Shaken {
  /** Common name of the certificate; the error when there is none. */
  readonly name: string;
  readonly protocol: string | false | null;
}

async function shake(
  port: number,
  servername: string,
  more: tls.ConnectionOptions = {},
): Promise<Shaken> {
  const options = { host: LOOPBACK, port, servername, rejectUnauthorized: false };
  const socket = tls.connect({ ...options, ALPNProtocols: ['h2', 'http/1.1'], ...more });
  try {
    await once(socket, 'secureConnect');
    const { CN } = socket.getPeerCertificate().subject;
    return { name: String(CN), protocol: socket.alpnProtocol };
  } catch (error) {
    return { name: error instanceof Error ? error.message : '', protocol: null };
  } finally {
    socket.destroy();
  }
}

t.test('each host has its certificate, and a changed Secret counts at once', async (t) => {
  const board = await place(t);
  const port = await backend(t, (request, response) => {
    response.end(`${request.headers['x-forwarded-proto']} ${request.headers.host}`);
  });
  const [a, wild, any, renewed] = [
    await tlsSecret(t, 'a.example'),
    await tlsSecret(t, '*.w.example'),
    await tlsSecret(t, 'any.example'),
    await tlsSecret(t, 'renewed.example', 'a.example'),
  ];
  const named = {
    ...everything(),
    tls: [
      { hosts: ['a.example'], secret: 'a' },
      { hosts: ['*.w.example'], secret: 'wild' },
    ],
  };
  t.same(board.set([named], [web([port])], { a, wild }), []);
  const name = async (host: string): Promise<string> => (await shake(board.securePort, host)).name;
  t.same(await shake(board.securePort, 'A.example'), { name: 'a.example', protocol: 'http/1.1' });
  t.equal(await name('x.w.example'), '*.w.example');
  t.match(await name('x.y.w.example'), /handshake failure|alert/, 'one label only');
  t.match(await name('other.example'), /handshake failure|alert/);
  t.match(await name(''), /handshake failure|alert/, 'no certificate is better than a wrong one');
  const old = await shake(board.securePort, 'a.example', {
    maxVersion: 'TLSv1.1',
    minVersion: 'TLSv1',
  });
  t.match(old.name, /version|protocol|unsupported/i);

  const open = tls.connect({
    ...{
      host: LOOPBACK,
      port: board.securePort,
      servername: 'a.example',
      rejectUnauthorized: false,
    },
  });
  t.teardown(() => open.destroy());
  await once(open, 'secureConnect');
  const withDefault = { ...named, tls: [...named.tls, { hosts: [], secret: 'any' }] };
  t.same(board.set([withDefault], [web([port])], { a: renewed, wild, any }), []);
  t.equal(await name('a.example'), 'renewed.example');
  t.equal(await name('other.example'), 'any.example');
  t.equal(await name(''), 'any.example');
  open.write('GET / HTTP/1.1\r\nHost: a.example\r\n\r\n');
  t.match(String((await once(open, 'data'))[0]), /^HTTP\/1\.1 200 OK/, 'open connections go on');

  const broken = { 'tls.crt': Buffer.from('x'), 'tls.key': Buffer.from('y') };
  const wrong = board.set([named], [web([port])], { a: broken, wild: {} });
  t.match(wrong, [
    {
      service: { name: 'all', isIngress: true },
      reason: 'InvalidCertificate',
      message: /^TLS Secret a holds no usable certificate and key \(.*\): no HTTPS for a\.example$/,
    },
    { message: 'TLS Secret wild holds no tls.crt and tls.key: no HTTPS for *.w.example' },
  ]);
  t.match(await name('a.example'), /handshake failure|alert/);
  t.match(board.set([named], [], {}), [{ message: /^TLS Secret a is not there: / }, {}]);
});

t.test('curl and WebSockets over TLS', async (t) => {
  const board = await place(t);
  const secret = await tlsSecret(t, 'a.example');
  const withTls = { ...everything('a.example'), tls: [{ hosts: ['a.example'], secret: 'a' }] };
  board.set([withTls], [web([await echoServer(t)])], { a: secret });
  const ca = Buffer.from(secret['tls.crt']).toString();
  const host = { host: LOOPBACK, servername: 'a.example', headers: { Host: 'a.example' }, ca };
  await talk(t, `wss://${LOOPBACK}:${board.securePort}/echo`, host);
  const { stdout } = await promisify(execFile)('curl', [
    ...['-sS', '--http2', '-k', '--data', 'from curl', '--max-time', '10'],
    ...['--resolve', `a.example:${board.securePort}:${LOOPBACK}`],
    `https://a.example:${board.securePort}/x`,
  ]);
  t.equal(stdout, 'plain, no upgrade, from curl');
  const clear = await promisify(execFile)('curl', [
    ...['-sS', '--http2', '--data', 'in clear', '-H', 'Host: a.example', '--max-time', '10'],
    `http://${LOOPBACK}:${board.port}/x`,
  ]);
  t.equal(clear.stdout, 'plain, no upgrade, in clear', 'curl offers h2c');
  t.equal((await ask(board.port, { headers: { Host: 'b.example' } })).status, 404);
});

/** Requests through the web server of a board: what arrives, what comes back, what is refused, what is held back. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import type { Writable } from 'node:stream';
import t from 'tap';
import { freePort } from '../../support/free-port.ts';
import { tcpBackend } from '../../support/tcp-backend.ts';
import { ask, backend, everything, LOOPBACK, place, raw, until, web } from './place.ts';

t.test('a request arrives as it was sent, and its answer as it was given', async (t) => {
  const port = await backend(t, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      response.writeHead(207, 'So So', ['Set-Cookie', 'a', 'Set-Cookie', 'b', 'X-Own', '1']);
      const { method, url, rawHeaders } = request;
      response.end(JSON.stringify([method, url, rawHeaders, Buffer.concat(chunks).toString()]));
    });
  });
  const board = await place(t);
  board.set([everything()], [web([port])]);
  const answer = await ask(
    board.port,
    {
      method: 'PUT',
      path: '/a/../%61?b=%20',
      headers: ['Host', 'a.example', 'X-Two', '1', 'X-Two', '2', 'X-Forwarded-For', '6.6.6.6'],
    },
    'the body',
  );
  t.equal(answer.status, 207);
  t.match(answer.rawHeaders.slice(0, 6), ['Set-Cookie', 'a', 'Set-Cookie', 'b', 'X-Own', '1']);
  const [method, url, headers, body] = JSON.parse(answer.text);
  t.same([method, url, body], ['PUT', '/a/../%61?b=%20', 'the body']);
  t.same(headers, [
    ...['Host', 'a.example', 'X-Two', '1', 'X-Two', '2'],
    ...['X-Forwarded-For', '127.0.0.1', 'X-Forwarded-Host', 'a.example'],
    ...['X-Forwarded-Proto', 'http', 'X-Real-IP', '127.0.0.1'],
    ...['Transfer-Encoding', 'chunked', 'Connection', 'close'],
  ]);
  for (const method of ['DELETE', 'GET']) {
    const chunked = { method, headers: { 'Transfer-Encoding': 'chunked' } };
    const [, , , got] = JSON.parse((await ask(board.port, chunked, 'odd')).text);
    t.equal(got, 'odd', `${method} may have a body, too`);
  }
  const empty = JSON.parse(
    (await ask(board.port, { method: 'POST', headers: { 'Content-Length': 0 } })).text,
  );
  t.match(empty, ['POST', '/', /^/, ''], 'and POST none');
});

t.test('answers without a body, and clients of old', async (t) => {
  const port = await backend(t, ({ url }, response) => {
    if (url === '/304') response.writeHead(304, { ETag: 'x' }).end();
    else response.writeHead(200, { 'Content-Length': 5 }).end('hello');
  });
  const board = await place(t);
  board.set([everything()], [web([port])]);
  const head = await ask(board.port, { method: 'HEAD' });
  t.match(head, { status: 200, headers: { 'content-length': '5' }, text: '' });
  t.match(await ask(board.port, { path: '/304' }), {
    status: 304,
    headers: { etag: 'x' },
    text: '',
  });
  const old = await raw(board.port, 'GET / HTTP/1.0\r\n\r\n');
  t.match(old, /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\nConnection: close\r\n\r\nhello$/);
  const two =
    'GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
  t.equal((await raw(board.port, two)).match(/hello/g)?.length, 2, 'pipelined');
});

t.test('what cannot be answered by a backend is said in plain words', async (t) => {
  const limits = { connectTimeoutMs: 300, answerTimeoutMs: 300, requestsMax: 2 };
  const board = await place(t, limits);
  const said = async (options: http.RequestOptions = {}, body = ''): Promise<string> => {
    const { status, text, headers } = await ask(board.port, options, body);
    t.match(headers, { 'content-type': 'text/plain; charset=utf-8' });
    t.match(text, new RegExp(`^${status} `));
    return text;
  };
  board.set([everything('a.example')], [web([])]);
  t.equal(await said(), '404 Not Found: no Ingress has a rule for this host and path\n');
  const host = { headers: { Host: 'a.example' } };
  t.equal(
    await said(host),
    '503 Service Unavailable: service default/web has no pod that is ready\n',
  );
  const refusing = await freePort();
  board.set([everything()], [web([refusing])]);
  t.match(await said(), /^502 Bad Gateway: no backend answered: connect ECONNREFUSED/);
  let asked = 0;
  const dropping = await tcpBackend(t, (socket) => {
    asked++;
    socket.once('data', () => socket.destroy());
  });
  board.set([everything()], [web([dropping])]);
  t.match(await said({ method: 'POST' }, 'once'), /^502 .*: the backend gave no answer: /);
  t.equal(asked, 1, 'a POST is not repeated');
  const silent = await tcpBackend(t, (socket) => socket.resume());
  board.set([everything()], [web([silent])]);
  t.equal(
    await said(),
    '504 Gateway Timeout: the backend gave no answer: it did not answer in time\n',
  );
  const garbage = await tcpBackend(t, (socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n'));
  board.set([everything()], [web([garbage])]);
  t.match(await said(), /^502 Bad Gateway: .*Parse Error/);
  const asking = [ask(board.port, { path: '/1' }), ask(board.port, { path: '/2' })];
  board.set([everything()], [web([silent])]);
  const all = await Promise.all([...asking, ...[1, 2, 3].map(() => ask(board.port))]);
  t.ok(
    all.some(
      ({ text }) => text === '503 Service Unavailable: this board has 2 requests under way\n',
    ),
  );
});

t.test('a backend that refuses or drops a question costs no request', async (t) => {
  const good = await backend(t, (_, response) => response.end('good'));
  const dead = await freePort();
  const dropping = await tcpBackend(t, (socket) => socket.once('data', () => socket.destroy()));
  const board = await place(t);
  board.set([everything()], [web([dead, good])]);
  for (let index = 0; index < 20; index++) {
    t.equal((await ask(board.port, { method: 'POST' }, 'x')).text, 'good');
  }
  board.set([everything()], [web([dropping, good])]);
  for (let index = 0; index < 20; index++) t.equal((await ask(board.port)).text, 'good');
});

t.test(
  'connections to backends are used again, and one that was closed meanwhile does no harm',
  async (t) => {
    const sockets = new Set<net.Socket>();
    let connections = 0;
    const port = await tcpBackend(t, (socket) => {
      connections++;
      sockets.add(socket);
      socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
    });
    const board = await place(t);
    board.set([everything()], [web([port])]);
    for (let index = 0; index < 5; index++) t.equal((await ask(board.port)).text, 'ok');
    t.equal(connections, 1);
    for (let index = 0; index < 20; index++) {
      for (const socket of sockets) socket.resetAndDestroy();
      sockets.clear();
      t.equal((await ask(board.port)).text, 'ok', 'whether we have heard of the end or not');
    }
  },
);

t.test('events come at once, and a client that goes away is noticed by the backend', async (t) => {
  let gone = false;
  let send: (event: string) => void = () => {};
  const port = await backend(t, (_, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders();
    send = (event) => response.write(event);
    response.on('close', () => {
      gone = true;
    });
  });
  const board = await place(t);
  board.set([everything()], [web([port])]);
  const request = http.get({ host: LOOPBACK, port: board.port, agent: false });
  const [response] = await once(request, 'response');
  t.match(response.headers, { 'content-type': 'text/event-stream' }, 'the header comes first');
  for (const event of ['data: 1\n\n', 'data: 2\n\n']) {
    send(event);
    t.equal(String((await once(response, 'data'))[0]), event);
  }
  request.destroy();
  await until('the backend knows', () => gone);
});

t.test('large bodies go both ways whole, and no faster than they are read', async (t) => {
  const content = randomBytes(24 * 1024 * 1024);
  const sum = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
  let heard = 0;
  let held: http.IncomingMessage | undefined;
  let stalled: Promise<number> | undefined;
  const port = await backend(t, (request, response) => {
    if (request.url === '/hold') {
      held = request.pause();
      return;
    }
    if (request.url === '/endless') {
      stalled = mebibytesTaken(response);
      return;
    }
    if (request.method === 'GET') {
      response.end(content);
      return;
    }
    const hash = createHash('sha256');
    request.on('data', (chunk: Buffer) => {
      heard += chunk.length;
      hash.update(chunk);
    });
    request.on('end', () => response.end(hash.digest('hex')));
  });
  const board = await place(t);
  board.set([everything()], [web([port])]);
  const upload = http.request({ host: LOOPBACK, port: board.port, method: 'POST', agent: false });
  upload.end(content);
  const [answer] = await once(upload, 'response');
  t.equal(String((await once(answer, 'data'))[0]), sum(content));
  t.equal(heard, content.length);

  const get = http.get({ host: LOOPBACK, port: board.port, agent: false });
  const [download] = await once(get, 'response');
  const chunks: Buffer[] = [];
  for await (const chunk of download) chunks.push(chunk);
  t.equal(sum(Buffer.concat(chunks)), sum(content));

  const slow = http.request({ host: LOOPBACK, port: board.port, path: '/hold', method: 'POST' });
  slow.on('error', () => {});
  const up = await mebibytesTaken(slow);
  t.ok(up < 20, `a backend that does not read stops the client after ${up} MiB`);
  t.ok(held !== undefined);
  slow.destroy();

  const endless = http.get({ host: LOOPBACK, port: board.port, path: '/endless', agent: false });
  const [stopped] = await once(endless, 'response');
  stopped.pause();
  const down = (await stalled) ?? Number.NaN;
  t.ok(down < 20, `a client that does not read stops the backend after ${down} MiB`);
  endless.destroy();
});

/** Writes as much as the other side takes: until nothing more went for a moment. */
async function mebibytesTaken(stream: Writable): Promise<number> {
  for (let taken = 1; ; taken++) {
    if (stream.write(Buffer.alloc(1024 * 1024))) continue;
    const signal = AbortSignal.timeout(500);
    const drained = await once(stream, 'drain', { signal }).then(
      () => true,
      () => false,
    );
    if (!drained) return taken;
  }
}

t.test('an answer that breaks off does not look whole', async (t) => {
  const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n';
  const port = await tcpBackend(t, (socket) => {
    socket.once('data', () => socket.write(head, () => socket.resetAndDestroy()));
  });
  const board = await place(t);
  board.set([everything()], [web([port])]);
  await t.rejects(ask(board.port), /aborted|ECONNRESET/);
});

t.test('100-continue is the backend’s to say', async (t) => {
  const port = await backend(t, (request, response) => {
    request.resume().on('end', () => response.end('thanks'));
  });
  const picky = await tcpBackend(t, (socket) => {
    socket.once('data', () =>
      socket.end('HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'),
    );
  });
  const board = await place(t);
  const send = async (): Promise<[boolean, number]> => {
    const request = http.request({
      ...{ host: LOOPBACK, port: board.port, method: 'POST', agent: false },
      headers: { Expect: '100-continue', 'Content-Length': 4 },
    });
    let continued = false;
    request.on('continue', () => {
      continued = true;
      request.end('body');
    });
    request.flushHeaders();
    const [response] = await once(request, 'response');
    response.resume();
    request.destroy();
    return [continued, response.statusCode];
  };
  board.set([everything()], [web([port])]);
  t.same(await send(), [true, 200]);
  board.set([everything()], [web([picky])]);
  t.same(await send(), [false, 413], 'and not ours');
});

t.test('a request that two parsers might read in two ways is refused', async (t) => {
  let reached = 0;
  const port = await backend(t, (_, response) => {
    reached++;
    response.end('reached');
  });
  const board = await place(t);
  board.set([everything()], [web([port])]);
  const post = 'POST / HTTP/1.1\r\nHost: a\r\n';
  const cases: readonly (readonly [string, number])[] = [
    [`${post}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
    [`${post}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde`, 400],
    [`${post}Content-Length: +4\r\n\r\nabcd`, 400],
    [`${post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`, 501],
    [`${post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`, 400],
    [`${post}Transfer-Encoding: chunked\r\n\r\nzz\r\n`, 400],
    [`${post}Content-Length : 4\r\n\r\nabcd`, 400],
    [`${post}X: 1\r\n folded\r\nContent-Length: 0\r\n\r\n`, 400],
    ['GET / HTTP/1.1\nHost: a\n\n', 400],
    ['GET / HTTP/1.1\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nHost: a b\r\n\r\n', 400],
    ['GET / HTTP/3.7\r\nHost: a\r\n\r\n', 400],
    ['GET\r\n\r\n', 400],
    [`GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    ['CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n', 405],
    // The beginning of HTTP/2, and what hostile clients make of it: without a version Node takes it for a request of HTTP/0.9.
    ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
    ['PRI * HTTP/2.0\r\nHost: a\r\n\r\nSM\r\n\r\n', 400],
    ['PRI / HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['PRI *5TP/2.0\r\n\r\nSM\r\n\r\n', 400],
    ['PRI //TP/2.0\r\n\r\nSM\r\n\r\n', 501],
  ];
  for (const [bytes, status] of cases) {
    const text = await raw(board.port, bytes);
    t.match(text, new RegExp(`^HTTP/1\\.1 ${status} `), JSON.stringify(bytes.slice(0, 90)));
  }
  t.ok(reached <= 1, 'of a chunked body that broke the beginning may have arrived');
  t.equal((await ask(board.port)).text, 'reached', 'and all goes on');
});

t.test('clients that keep us waiting are let go', async (t) => {
  const port = await backend(t, (request, response) => {
    request.resume().on('end', () => response.end('ok'));
  });
  const board = await place(t, { headerTimeoutMs: 200, bodyIdleMs: 200, connectionsMax: 1 });
  board.set([everything()], [web([port])]);
  t.match(await raw(board.port, 'GET / HTTP/1.1\r\nHost'), /^HTTP\/1\.1 408 /, 'half a header');
  const half = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab';
  t.match(
    await raw(board.port, half),
    /408 Request Timeout: the body of the request did not go on/,
  );
  const kept = net.connect({ host: LOOPBACK, port: board.port });
  kept.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await once(kept, 'data');
  t.equal(await raw(board.port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'), '', 'one too many');
  kept.destroy();
});

t.test('a backend that asks for the PROXY protocol is told of each client', async (t) => {
  const heard: string[] = [];
  const port = await tcpBackend(t, (socket) => {
    socket.once('data', (chunk: Buffer) => {
      heard.push(chunk.toString());
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    });
  });
  const board = await place(t);
  board.set([everything()], [web([port], { proxyProtocol: 'v1' })]);
  for (const _ of [1, 2]) t.equal((await ask(board.port)).text, 'ok');
  t.equal(heard.length, 2);
  t.match(
    heard[0],
    new RegExp(`^PROXY TCP4 127\\.0\\.0\\.1 127\\.0\\.0\\.1 \\d+ ${board.port}\r\nGET `),
  );
});

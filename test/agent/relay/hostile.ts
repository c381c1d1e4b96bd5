/** Nobody but boards of the cluster is heard, and nothing that comes in does any harm. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import tls from 'node:tls';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { BoardCredentials } from '../../../protocol/messages.ts';
import { boards, credentials, FAR, failure, POD_IP, pod, readAll, until } from './boards.ts';

/** Node's own HTTP/2 client, which may ask for anything. */
function session(t: Test, port: number, who: BoardCredentials): http2.ClientHttp2Session {
  const { certificate: cert, privateKey: key } = who;
  const options = { cert, key, rejectUnauthorized: false };
  const client = http2.connect(`https://${FAR}:${port}`, options);
  client.on('error', () => {});
  t.teardown(() => client.destroy());
  return client;
}

async function answer(
  client: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
): Promise<http2.IncomingHttpHeaders> {
  const stream = client.request(headers, { endStream: false });
  const [response] = await once(stream, 'response');
  stream.on('error', () => {});
  stream.destroy();
  return response;
}

t.test('who is no board of this cluster is not heard', async (t) => {
  const { port } = await pod(t, (socket) => socket.end('secret'));
  const strangers = {
    'of another cluster': { near: await credentials('near', { authority: 'other' }) },
    'a person of this cluster': {
      near: await credentials('near', { organization: 'people', commonName: 'near' }),
    },
    'a board that has left': { isBoard: () => false },
  };
  for (const [who, options] of Object.entries(strangers)) {
    const { connect } = await boards(t, options);
    t.match(await failure(connect(port)), /./, who);
  }
  const { port: relayPort } = await boards(t);
  const anonymous = tls.connect({ host: FAR, port: relayPort, rejectUnauthorized: false });
  const [error] = await once(anonymous, 'error');
  t.match(error.message, /certificate required/, 'nobody anonymous');
});

t.test('a board that leaves opens no more connections, and keeps what it has', async (t) => {
  let isThere = true;
  const { port } = await pod(t, (socket) => socket.pipe(socket));
  const { connect } = await boards(t, { isBoard: () => isThere });
  const socket = connect(port);
  await once(socket, 'connect');
  isThere = false;
  t.match(await failure(connect(port)), /answers 403.*has left/);
  socket.end('still here');
  t.equal(await readAll(socket), 'still here');
});

t.test('a board is believed to be itself alone', async (t) => {
  const { port } = await pod(t, (socket) => socket.end('secret'));
  for (const far of [
    await credentials('other'),
    await credentials('far', { authority: 'other' }),
    await credentials('far', { organization: 'people' }),
  ]) {
    const { connect } = await boards(t, { far, near: await credentials('near') });
    t.match(await failure(connect(port)), /is not the board far|unknown ca|alert/);
  }
});

t.test('only pods of the board are connected to, and only by CONNECT', async (t) => {
  const { port: podPort } = await pod(t, (socket) => socket.end('hello'));
  const { port } = await boards(t);
  const client = session(t, port, await credentials('near'));
  const connect = (authority: string) => ({ ':method': 'CONNECT', ':authority': authority });
  t.equal((await answer(client, connect(`${POD_IP}:${podPort}`)))[':status'], 200);
  for (const [target, status, error] of [
    ['127.0.0.1:22', 403, 'destination_ip_prohibited'],
    ['192.0.2.1:80', 403, 'destination_ip_prohibited'],
    [`${POD_IP}:0`, 400, 'http_request_error'],
    [`${POD_IP}:65536`, 400, 'http_request_error'],
    ['pod.default:80', 400, 'http_request_error'],
    ['[::1]:80', 400, 'http_request_error'],
    ['127.9.0.5.1:80', 400, 'http_request_error'],
  ] as const) {
    const headers = await answer(client, connect(target));
    t.equal(headers[':status'], status, target);
    t.match(headers['proxy-status'], `pier; error=${error};`);
  }
  const get = await answer(client, { ':path': '/', ':authority': `${POD_IP}:${podPort}` });
  t.equal(get[':status'], 400, 'GET');
  const udp = { ':method': 'CONNECT', ':protocol': 'connect-udp', ':scheme': 'https' };
  const path = '/.well-known/masque/udp/192.0.2.1/53/';
  const other = await answer(client, { ...udp, ':authority': 'x', ':path': path });
  t.equal(other[':status'], 403, 'UDP to elsewhere');
  const odd = { ...udp, ':protocol': 'websocket', ':authority': 'x', ':path': '/' };
  t.equal((await answer(client, odd))[':status'], 400, 'another protocol');
});

t.test('garbage on the wire harms nobody', async (t) => {
  const { port: podPort } = await pod(t, (socket) => socket.end('hello'));
  const { port, connect } = await boards(t);
  const { certificate: cert, privateKey: key } = await credentials('near');
  const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
  const junk = fc.sample(fc.uint8Array({ minLength: 1, maxLength: 400 }), 40);
  for (const [index, bytes] of junk.entries()) {
    const plain = net.connect({ host: FAR, port });
    plain.on('error', () => {});
    plain.end(bytes);
    const options = { host: FAR, port, cert, key, rejectUnauthorized: false };
    const socket = tls.connect({ ...options, ALPNProtocols: ['h2'] });
    socket.on('error', () => {});
    await once(socket, 'secureConnect');
    const start = index % 3 === 0 ? [] : index % 3 === 1 ? [preface] : [preface, settings];
    socket.end(Buffer.concat([...start, bytes, randomBytes(64)]));
    socket.resume();
    await once(socket, 'close');
  }
  t.equal(await readAll(connect(podPort)), 'hello', 'others are served');
});

t.test('what is no datagram ends its own flow', async (t) => {
  const { port } = await boards(t);
  const client = session(t, port, await credentials('near'));
  const path = `/.well-known/masque/udp/${POD_IP}/53/`;
  const udp = { ':method': 'CONNECT', ':protocol': 'connect-udp', ':scheme': 'https' };
  const stream = client.request(
    { ...udp, ':authority': `${POD_IP}:53`, ':path': path },
    { endStream: false },
  );
  stream.on('error', () => {});
  await once(stream, 'response');
  let isClosed = false;
  stream.on('close', () => {
    isClosed = true;
  });
  stream.write(Buffer.from([0, 0xbf, 0xff, 0xff, 0xff]));
  await until('it is over', () => isClosed);
  t.notOk(client.destroyed, 'and no other');
});

t.test('the port is another program’s: told once, and had when it is free', async (t) => {
  const holder = net.createServer();
  const first = await boards(t);
  first.far.stop();
  holder.listen(first.port, FAR);
  await once(holder, 'listening');
  const { port: podPort } = await pod(t, (socket) => socket.end('hello'));
  first.meet();
  await until('it is told', () => first.troubles.length > 0);
  t.same(first.troubles, ['RelayPortTaken']);
  holder.close();
  let words = '';
  while (words !== 'hello') words = await readAll(first.connect(podPort)).catch(() => '');
  t.same(first.troubles, ['RelayPortTaken']);
});

/** Ingresses whose pods are behind the relay. */
import { once } from 'node:events';
import http from 'node:http';
import t, { type Test } from 'tap';
import WebSocket, { WebSocketServer } from 'ws';
import { freePort } from '../../support/free-port.ts';
import { portOf } from '../../support/tcp-backend.ts';
import { ask, everything, LOOPBACK, type Place, place } from '../ingress/place.ts';
import { endpoint, service } from '../proxy/desired.ts';
import { boards, POD_IP, readAll } from './boards.ts';

/** A web server in a pod of the far board; returns its port. */
async function webPod(t: Test): Promise<number> {
  const server = http.createServer(async (request, response) => {
    response.end(`${request.method} ${request.url} ${await readAll(request)}`);
  });
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(data)));
  server.listen(0, POD_IP);
  await once(server, 'listening');
  t.teardown(() => {
    for (const one of sockets.clients) one.terminate();
    server.close();
    server.closeAllConnections();
  });
  return portOf(server);
}

async function served(t: Test, ports: readonly number[]): Promise<Place> {
  const { near } = await boards(t);
  const web = await place(t, {}, (backend) => near.connect(backend));
  const endpoints = ports.map((port) => endpoint(POD_IP, { ports: { '': port } }));
  const ofPort = [{ name: '', protocol: 'TCP' as const, port: 80 }];
  web.set([everything()], [service({ ports: ofPort, endpoints })]);
  return web;
}

t.test('requests pass, and a pod that refuses costs none', async (t) => {
  const { port } = await served(t, [await freePort(), await webPod(t)]);
  for (let index = 0; index < 8; index++) {
    t.equal((await ask(port, { path: '/a' })).text, 'GET /a ');
    const post = await ask(port, { method: 'POST', path: '/b' }, `body ${index}`);
    t.equal(post.text, `POST /b body ${index}`);
  }
});

t.test('no pod is there', async (t) => {
  const { port } = await served(t, [await freePort()]);
  const { status, text } = await ask(port, { path: '/' });
  t.equal(status, 502);
  t.match(text, /connection_refused/);
});

t.test('WebSockets pass', async (t) => {
  const { port } = await served(t, [await webPod(t)]);
  const socket = new WebSocket(`ws://${LOOPBACK}:${port}/`, { perMessageDeflate: false });
  t.teardown(() => socket.terminate());
  await once(socket, 'open');
  for (const word of ['hello', 'x'.repeat(1_000_000)]) {
    socket.send(word);
    const [answer] = await once(socket, 'message');
    t.ok(String(answer) === word, `${word.length} characters come back`);
  }
  socket.close();
  await once(socket, 'close');
});

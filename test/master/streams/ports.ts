/** port-forward from a client's socket to a server on the board's loopback, in all the forms that clients use. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { createWebSocketStream } from 'ws';
import { PODS } from '../api-fixture.ts';
import { until } from '../fleet/fixture.ts';
import { LONG, rawRequest, type StreamPlace, startPlace } from './harness.ts';
import { readHead, SpdyPeer } from './spdy-peer.ts';

const FORWARD = `${PODS}/web/portforward`;
const TUNNEL = 'SPDY/3.1+portforward.k8s.io';

let place: StreamPlace;
/** Says "hello", echoes, and says "bye" when the client has ended. */
const server = createServer({ allowHalfOpen: true }, (socket) => {
  socket.on('error', () => undefined);
  socket.write('hello ');
  socket.pipe(socket, { end: false });
  socket.once('end', () => socket.end(' bye'));
});
let open = '';
let closed = '';

t.before(async () => {
  place = await startPlace(async () => 0);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  open = String((server.address() as AddressInfo).port);
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  closed = String((other.address() as AddressInfo).port);
  other.close();
  await once(other, 'close');
});
t.teardown(async () => {
  await place.close();
  server.close();
});

/** As kubectl does it: the error stream first, and nothing is ever sent on it. */
function connection(peer: SpdyPeer, port: string, requestid: string) {
  const error = peer.open({ streamtype: 'error', port, requestid });
  peer.send(error, '', true);
  return { error, data: peer.open({ streamtype: 'data', port, requestid }) };
}

async function proveConnections(t: Test, peer: SpdyPeer): Promise<void> {
  const first = connection(peer, open, '0');
  const second = connection(peer, open, '1');
  peer.send(first.data, 'one');
  peer.send(second.data, 'two', true);
  await until(() => second.data.state === 'ended', 'the end of the second');
  t.equal(second.data.text, 'hello two bye', 'the end of what is sent reaches the pod');
  await until(() => first.data.text === 'hello one', 'the echo of the first');
  const none = connection(peer, closed, '2');
  await until(() => none.error.state === 'ended', 'the error');
  t.match(none.error.text, new RegExp(`error forwarding port ${closed}: .*refused`));
  const bad = connection(peer, 'ssh', '3');
  await until(() => bad.error.state === 'ended', 'the other error');
  t.match(bad.error.text, /"ssh" is no port/);
  t.equal(place.serving(), 1, 'only the first is left');
  peer.reset(first.data);
  await until(() => place.serving() === 0, 'the end of the first');
}

t.test('SPDY tunnelled in a WebSocket', async (t) => {
  const client = place.open(FORWARD, { protocols: [TUNNEL] });
  await client.opened;
  t.equal(client.protocol(), TUNNEL);
  await proveConnections(t, new SpdyPeer(createWebSocketStream(client.socket)));
  client.socket.close();
});

t.test('raw SPDY', async (t) => {
  const head = [
    `POST ${FORWARD} HTTP/1.1`,
    ...['Host: pier', 'Connection: Upgrade', 'Upgrade: SPDY/3.1', 'Content-Length: 0'],
    'X-Stream-Protocol-Version: portforward.k8s.io',
  ];
  const socket = await rawRequest(place.api, head);
  t.match(
    await readHead(socket),
    /^HTTP\/1.1 101 [\s\S]*X-Stream-Protocol-Version: portforward.k8s.io/,
  );
  const peer = new SpdyPeer(socket);
  await proveConnections(t, peer);
  const sideways = peer.open({ streamtype: 'sideways' });
  await until(() => sideways.state === 'reset', 'the refusal of an unknown stream');
  connection(peer, open, '9');
  await until(() => place.serving() === 1, 'one more');
  socket.destroy();
  await until(() => place.serving() === 0, 'its end with the client');
});

t.test('the older WebSocket form: two channels per port', async (t) => {
  const path = `${FORWARD}?ports=${open}&ports=${closed}`;
  const client = place.open(path, { protocols: ['v4.channel.k8s.io'] });
  await client.opened;
  client.send(0, 'three');
  await until(() => client.text(0).endsWith('three'), 'the echo');
  const port = Buffer.alloc(2);
  port.writeUInt16LE(Number(open));
  const data = client.messages.filter((message) => message[0] === 0);
  t.same(data[0]?.subarray(1), port, 'the first message is the port');
  t.equal(Buffer.concat(data.slice(1).map((one) => one.subarray(1))).toString(), 'hello three');
  await until(() => /refused/.test(client.text(3)), 'the error of the second port');
  client.socket.close();
  await until(() => place.serving() === 0, 'the end on the board');
});

t.test('what is wrong with ports is answered before the upgrade', async (t) => {
  const refused = async (path: string, protocols: string[]) => {
    const { code, body } = await place.open(path, { protocols }).refused;
    return { code, message: JSON.parse(body).message };
  };
  const v4 = ['v4.channel.k8s.io'];
  t.match(await refused(FORWARD, v4), { code: 400, message: /"ports" is required/ });
  t.match(await refused(`${FORWARD}?ports=0`, v4), { code: 400, message: /"0" is no port/ });
  const v5 = ['v5.channel.k8s.io'];
  t.match(await refused(`${FORWARD}?ports=80`, v5), { code: 400, message: /v5/ });
  const gone = `${PODS}/nobody/portforward`;
  t.match(await refused(gone, [TUNNEL]), { code: 404, message: /"nobody" not found/ });
});

t.test('a pod that does not read holds back the client, and only it', LONG, async (t) => {
  const held: Socket[] = [];
  const stuck = createServer((socket) => held.push(socket.pause())).listen(0, '127.0.0.1');
  await once(stuck, 'listening');
  const port = String((stuck.address() as AddressInfo).port);
  const client = place.open(FORWARD, { protocols: [TUNNEL] });
  await client.opened;
  const stream = createWebSocketStream(client.socket);
  const peer = new SpdyPeer(stream);
  const { data } = connection(peer, port, '0');
  for (let n = 0; n < 100; n += 1) peer.send(data, Buffer.alloc(1024 * 1024));
  let before = -1;
  await until(
    async () => {
      const still = stream.writableLength === before;
      before = stream.writableLength;
      await new Promise((resolve) => setTimeout(resolve, 300));
      return still;
    },
    'the client to be held up',
    30_000,
  );
  t.ok(before > 50 * 1024 * 1024, `${before} bytes of 100 MiB wait at the client`);
  const other = place.open(FORWARD, { protocols: [TUNNEL] });
  await other.opened;
  const second = connection(new SpdyPeer(createWebSocketStream(other.socket)), open, '0');
  await until(() => second.data.text === 'hello ', 'another client is served');
  other.socket.close();
  client.socket.terminate();
  // Nobody reads from anybody: only probes show on the way to the pod that the client has gone.
  await until(() => place.serving() === 0, 'the board to let go of its pod', 90_000);
  for (const socket of held) socket.destroy();
  stuck.close();
});

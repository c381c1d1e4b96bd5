/**
 * Hostile bytes for the web server of a board, each input from one seed, and what must hold for every one: the process goes
 * on, whoever is answered is answered in HTTP, and no backend is ever sent what a strict parser refuses.
 */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { Chance } from '../../sim/cluster/chance.ts';
import { portOf } from '../../support/tcp-backend.ts';
import { everything, LOOPBACK, place, web } from './place.ts';

/**
 * Inputs that once did harm. 1533, 2406: a WebSocket behind a request that waits for its answer ended the agent. 430536073, 430723923: a
 * broken beginning of HTTP/2 behind another request came to a backend.
 */
export const KEPT_SEEDS: readonly number[] = [1533, 2406, 430_536_073, 430_723_923];

const AT_ONCE = 32;

const MODELS: readonly string[] = [
  'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
  'HEAD /x?y HTTP/1.1\r\nHost: a.example:80\r\nConnection: close\r\n\r\n',
  'GET http://b.example/a/../b HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1\r\n\r\n',
  'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello',
  'PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: 1\r\n\r\n',
  'POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi',
  'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n\x81\x02hi',
  'POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi',
  'GET / HTTP/1.0\r\n\r\n',
  'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n',
  'CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
];
const PIECES: readonly string[] = [
  ...['\r\n', '\n', '\r', '\0', ' ', '\t', ':', ',', ';', '\x7f', '\xff', '%00', '%2e%2e/', '//'],
  ...['Content-Length: 3\r\n', 'Content-Length: -1\r\n', 'Content-Length: 1e3\r\n', '0\r\n\r\n'],
  ...['Transfer-Encoding: chunked\r\n', 'Transfer-Encoding: identity\r\n', 'ffffffffffffffff\r\n'],
  ...[
    'Transfer-Encoding : chunked\r\n',
    'Transfer_Encoding: chunked\r\n',
    'Host: b\r\n',
    'Host:\r\n',
  ],
  ...[
    'Connection: Host, Content-Length\r\n',
    'Upgrade: websocket\r\n',
    'Expect: x\r\n',
    'a'.repeat(9000),
  ],
];

/** The input of a seed, in the pieces in which it is sent. */
export function hostileInput(seed: number): Buffer[] {
  const chance = new Chance(seed);
  const below = (limit: number): number => chance.int(0, limit - 1);
  const one = (list: readonly string[]): string => chance.pick(list) ?? '';
  let bytes = Buffer.from(one(MODELS) + (chance.happens(0.3) ? one(MODELS) : ''), 'latin1');
  if (chance.happens(0.1))
    bytes = Buffer.from(Array.from({ length: below(200) }, () => below(256)));
  for (let change = below(5); change > 0; change--) {
    const at = below(bytes.length + 1);
    const end = Math.min(bytes.length, at + below(6));
    const put = chance.happens(0.7) ? one(PIECES) : String.fromCharCode(below(256));
    // Over what is there, between, or instead of all that follows.
    const rest = [bytes.subarray(end), bytes.subarray(at), Buffer.alloc(0)][
      below(10) === 0 ? 2 : below(2)
    ];
    bytes = Buffer.concat([
      bytes.subarray(0, at),
      Buffer.from(put, 'latin1'),
      rest ?? Buffer.alloc(0),
    ]);
  }
  const cut = below(bytes.length + 1);
  return chance.happens(0.5) ? [bytes] : [bytes.subarray(0, cut), bytes.subarray(cut)];
}

/** Sends the inputs of `count` seeds from `first` on. Returns what went wrong, with the seed. */
export async function sendHostile(t: Test, first: number, count: number): Promise<string[]> {
  const wrong: string[] = [];
  const backend = strictBackend((what) => wrong.push(what));
  backend.listen(0, LOOPBACK);
  await once(backend, 'listening');
  const board = await place(t);
  board.set([everything()], [web([portOf(backend)])]);
  // Not over TCP: a million connections would be more than there are ports.
  const folder = await mkdtemp(join(tmpdir(), 'pier-http-'));
  const path = join(folder, 'socket');
  const entrance = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    socket.on('error', () => {});
    board.server.accept(socket, 'http');
  });
  entrance.listen(path);
  await once(entrance, 'listening');
  t.teardown(async () => {
    entrance.close();
    backend.close();
    backend.closeAllConnections();
    await rm(folder, { recursive: true, force: true });
  });
  let next = first;
  const work = async (): Promise<void> => {
    while (next < first + count && wrong.length === 0) {
      const seed = next++;
      const said = await send(path, hostileInput(seed), seed);
      if (said !== '' && !/^HTTP\/1\.1 \d{3} /.test(said)) {
        wrong.push(`seed ${seed} was answered ${JSON.stringify(said.slice(0, 60))}`);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return wrong.map((what) => `${what} (seeds around ${next})`);
}

function strictBackend(report: (what: string) => void): http.Server {
  // Room for what boards add to a header that they took.
  const server = http.createServer({ maxHeaderSize: 18 * 1024 }, (request, response) => {
    request.on('error', () => {});
    request.resume().on('end', () => response.end('ok'));
  });
  server.on('upgrade', (_, socket) => {
    socket.on('error', () => {});
    socket.end(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    );
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    socket.destroy();
    // A client that leaves in the middle leaves half a request.
    if (!error.code?.startsWith('HPE_') || error.code === 'HPE_INVALID_EOF_STATE') return;
    const bytes = 'rawPacket' in error ? String(error.rawPacket) : '';
    report(
      `a backend was sent what is no HTTP (${error.code}): ${JSON.stringify(bytes.slice(0, 400))}`,
    );
  });
  return server;
}

/** Resolves with what the server said when the connection is over. */
function send(path: string, pieces: readonly Buffer[], seed: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect({ path, allowHalfOpen: true });
    const [first, ...rest] = pieces;
    let said = '';
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      if (said.length < 100) said += chunk.toString('latin1');
      socket.end();
    });
    socket.on('end', () => socket.end());
    socket.on('close', () => resolve(said));
    socket.write(first ?? '');
    setImmediate(() => {
      for (const piece of rest) socket.write(piece);
      // Some wait for the answer, as far as there may be one; the others have said all.
      if (seed % 2 === 0) socket.end();
      else setTimeout(() => socket.end(), 20);
    });
  });
}

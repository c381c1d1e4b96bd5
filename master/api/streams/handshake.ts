/**
 * From an HTTP request to a WebSocket (RFC 6455): what is checked before, and how it is accepted or refused. Whatever is wrong
 * before the upgrade is an ordinary answer with a Status.
 */
import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { WebSocket, WebSocketServer } from 'ws';
import { ApiError, badRequest } from '../../../protocol/status.ts';
import { asApiError } from '../answers.ts';
import type { User } from '../client.ts';

/** A request that wants to become something else. */
export interface Upgrade {
  readonly message: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly user: User;
}

/** kubectl writes 32 KiB at once; base64 and other clients a little more. */
const MESSAGE_BYTES_MAX = 4 * 1024 * 1024;

/** A page in a browser would act with the browser's certificate: only our own may. RFC 6454; RFC 6455, 10.2. */
export function checkOrigin({ headers }: IncomingMessage): void {
  const { origin, host } = headers;
  if (origin === undefined || origin.toLowerCase() === `https://${host}`.toLowerCase()) return;
  throw new ApiError(
    403,
    'Forbidden',
    `a page of ${origin} may not open streams of https://${host}`,
  );
}

/** Or else a WebSocket. Throws ApiError 400 for anything else. */
export function wantsSpdy({ headers, method }: IncomingMessage): boolean {
  const wanted = (headers.upgrade ?? '').toLowerCase();
  if (wanted === 'spdy/3.1') return true;
  if (wanted !== 'websocket') {
    throw badRequest(`unable to upgrade to "${headers.upgrade}": use websocket or SPDY/3.1`);
  }
  if (method !== 'GET') throw badRequest('a WebSocket is opened with GET');
  const key = headers['sec-websocket-key'] ?? '';
  if (headers['sec-websocket-version'] !== '13' || !/^[+/0-9A-Za-z]{22}==$/.test(key)) {
    throw badRequest('the WebSocket handshake is not that of RFC 6455');
  }
  return false;
}

let servers: Promise<WebSocketServer> | undefined;

/** `protocol` as agreed on; empty when the client named none. */
export async function acceptSocket(
  { message, socket, head }: Upgrade,
  protocol: string,
): Promise<WebSocket> {
  // Loaded with the first client that comes.
  servers ??= import('ws').then(
    (ws) =>
      new ws.WebSocketServer({
        noServer: true,
        perMessageDeflate: false,
        maxPayload: MESSAGE_BYTES_MAX,
      }),
  );
  const server = await servers;
  // Kubernetes' name of the tunnel has a slash, which ws rightly calls no token: it does not get to see it.
  delete message.headers['sec-websocket-protocol'];
  const addProtocol = (headers: string[], request: IncomingMessage): void => {
    if (request === message && protocol !== '') headers.push(`Sec-WebSocket-Protocol: ${protocol}`);
  };
  server.on('headers', addProtocol);
  try {
    return await new Promise((resolve, reject) => {
      socket.once('close', () => reject(new Error('the client went away')));
      server.handleUpgrade(message, socket, head, resolve);
    });
  } finally {
    server.off('headers', addProtocol);
  }
}

/** Any error as its Status, on a socket that speaks HTTP no more. */
export function refuseUpgrade(socket: Duplex, error: unknown): void {
  const known = asApiError(error);
  const body = `${JSON.stringify(known.toStatus())}\n`;
  socket.end(
    `HTTP/1.1 ${known.code} ${STATUS_CODES[known.code] ?? 'Error'}\r\n` +
      'Content-Type: application/json\r\nConnection: close\r\n' +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

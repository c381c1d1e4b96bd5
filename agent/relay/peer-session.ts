/**
 * One connection to the agent of another board, for all that this board has to say to its pods: HTTP/2 over TLS, each side
 * with its board's certificate. Made with the first use, closed when nobody uses it for a while.
 */
import { X509Certificate } from 'node:crypto';
import type http2 from 'node:http2';
import tls from 'node:tls';
import type { BoardCredentials } from '../../protocol/messages.ts';
import { boardOf } from '../network/board-certificate.ts';
import { loadHttp2 } from '../network/lazy-http2.ts';
import { watchLiveness } from './liveness.ts';
import type { RelayedBoard, RelayLimits } from './relay.ts';

export interface PeerSessionOptions {
  readonly board: RelayedBoard;
  readonly port: number;
  readonly credentials: BoardCredentials;
  readonly limits: RelayLimits;
  readonly onUp: () => void;
  readonly onFailed: (error: Error) => void;
  readonly onClosed: () => void;
}

export class PeerSession {
  readonly address: string;
  readonly #options: PeerSessionOptions;
  readonly #socket: tls.TLSSocket;
  readonly #session: Promise<http2.ClientHttp2Session>;
  /** What was asked for and is not over. */
  #uses = 0;
  /** Of those that are over. */
  #resets = 0;
  /** No new use. */
  #retired = false;
  #stopped = false;
  #idle: NodeJS.Timeout | undefined;

  constructor(options: PeerSessionOptions) {
    const { board, port, credentials } = options;
    this.#options = options;
    this.address = board.address;
    this.#socket = connectTo(board, port, credentials);
    this.#socket.once('close', options.onClosed);
    this.#session = this.#begin();
    this.#session.catch((error: Error) => {
      this.#retired = true;
      this.#failed(error);
    });
  }

  /** Whether a new stream may be opened. */
  get isUsable(): boolean {
    // Whatever is open may end in a reset, too.
    return !this.#retired && this.#resets + this.#uses < RESETS_MAX;
  }

  /** Rejects when the other board cannot be spoken to. */
  async open(headers: http2.OutgoingHttpHeaders): Promise<http2.ClientHttp2Stream> {
    clearTimeout(this.#idle);
    this.#uses++;
    try {
      const stream = (await this.#session).request(headers, { endStream: false });
      this.#follow(stream);
      return stream;
    } catch (error) {
      this.#over();
      throw error;
    }
  }

  /** What is open goes on; then it is closed. */
  retire(): void {
    this.#retired = true;
    if (this.#uses === 0) this.#rest();
  }

  stop(): void {
    this.#retired = true;
    clearTimeout(this.#idle);
    this.#stopped = true;
    this.#socket.destroy();
  }

  async #begin(): Promise<http2.ClientHttp2Session> {
    const { board, port, credentials, limits } = this.#options;
    const socket = this.#socket;
    await isSecure(socket, limits.handshakeTimeoutMs);
    // Only now: what waits in an HTTP/2 session is sent with the end of the handshake, whoever is there.
    checkBoard(socket, board.node, credentials.caCertificate);
    const session = loadHttp2().connect(`https://${board.address}:${port}`, {
      createConnection: () => socket,
      settings: { initialWindowSize: limits.windowBytes, enablePush: false },
      maxSessionMemory: SESSION_MEMORY_MB,
    });
    session.on('connect', () => session.setLocalWindowSize(limits.sessionWindowBytes));
    session.on('remoteSettings', this.#options.onUp);
    session.on('error', (error) => this.#failed(error));
    session.on('goaway', () => this.retire());
    session.on('close', () => this.retire());
    watchLiveness(session, limits.pingMs);
    return session;
  }

  #failed(error: Error): void {
    if (!this.#stopped) this.#options.onFailed(error);
  }

  #follow(stream: http2.ClientHttp2Stream): void {
    const { bytesRead } = this.#socket;
    let isAnswered = false;
    stream.once('response', () => {
      isAnswered = true;
    });
    stream.once('close', () => {
      if (stream.rstCode !== 0) this.#resets++;
      // Nothing came while somebody waited in vain: the next one shall not wait for the same.
      if (!isAnswered && this.#socket.bytesRead === bytesRead) this.#retired = true;
      this.#over();
    });
  }

  #over(): void {
    this.#uses--;
    if (this.#uses === 0) this.#rest();
  }

  #rest(): void {
    clearTimeout(this.#idle);
    if (!this.isUsable) this.#close();
    else {
      this.#idle = setTimeout(() => this.retire(), this.#options.limits.idleMs);
      this.#idle.unref();
    }
  }

  #close(): void {
    // One that failed has told so.
    this.#session.then((session) => session.close()).catch(() => {});
  }
}

/**
 * After more resets of streams in a short time a server ends the session (nghttp2 1.57: 1,000, and 33 a second), which would
 * reset everybody's connections: so a session is given up for new ones before.
 */
const RESETS_MAX = 900;

/** Node counts what all streams of a session hold; windows and limits of streams bound that already. */
export const SESSION_MEMORY_MB = 512;

function connectTo(
  { address: host }: RelayedBoard,
  port: number,
  { certificate: cert, privateKey: key, caCertificate: ca }: BoardCredentials,
): tls.TLSSocket {
  return tls.connect({
    ...{ host, port, cert, key, ca },
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['h2'],
    // Boards' certificates are for clients: `checkBoard` looks at it.
    rejectUnauthorized: false,
  });
}

function isSecure(socket: tls.TLSSocket, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => socket.destroy(new Error('it did not answer in time')),
      timeoutMs,
    );
    const settle = (act: () => void): void => {
      clearTimeout(timer);
      act();
    };
    socket.once('secureConnect', () => settle(resolve));
    socket.once('error', (error) => settle(() => reject(error)));
    socket.once('close', () => settle(() => reject(new Error('it closed the connection'))));
  });
}

/** Only that very board is spoken to. Otherwise throws, and the connection is closed. */
function checkBoard(socket: tls.TLSSocket, node: string, authority: string): void {
  const shown = socket.getPeerX509Certificate();
  const isOurs = shown?.verify(new X509Certificate(authority).publicKey) === true;
  if (isOurs && boardOf(shown) === node) return;
  socket.destroy();
  throw new Error(`who answers there is not the board ${node}`);
}

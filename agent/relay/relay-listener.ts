/**
 * Where agents of other boards come to reach pods of this one: HTTP/2 over TLS, for boards of the cluster alone.
 *
 * Promises: nobody but a board of this cluster, by its certificate, is heard; nothing but a pod of this board is connected to; whatever
 * comes in gets an error and never ends the process; connections, streams, what waits in them and how long anything is
 * waited for are bounded.
 */
import type http2 from 'node:http2';
import type { Logger } from 'pino';
import { boardOf } from '../network/board-certificate.ts';
import { loadHttp2 } from '../network/lazy-http2.ts';
import { type Backoff, growBackoff } from '../plan/backoff.ts';
import { watchLiveness } from './liveness.ts';
import { SESSION_MEMORY_MB } from './peer-session.ts';
import type { RelayOptions } from './relay.ts';
import { serveDatagrams, serveTcp } from './serve-target.ts';
import { type Refusal, refusal, refusalHeaders, type Target, targetOf } from './target.ts';

const HEADER_BYTES_MAX = 4096;

export class RelayListener {
  readonly #options: RelayOptions;
  readonly #log: Logger;
  #server: http2.Http2SecureServer | undefined;
  /** Each with the name of its board. */
  readonly #sessions = new Map<http2.Http2Session, string>();
  #host = '';
  #backoff: Backoff | undefined;
  #retry: NodeJS.Timeout | undefined;
  #streams = 0;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#log = options.log;
  }

  /** At this address from now on; connections that are open go on. */
  listen(host: string): void {
    if (host === this.#host) return;
    this.#host = host;
    this.#backoff = undefined;
    this.#listen();
  }

  /** Nobody new comes; connections that are open go on. */
  close(): void {
    this.#host = '';
    clearTimeout(this.#retry);
    this.#server?.close();
    this.#server = undefined;
  }

  /** Ends all connections as well. */
  stop(): void {
    this.close();
    for (const session of this.#sessions.keys()) session.destroy();
  }

  #listen(): void {
    clearTimeout(this.#retry);
    this.#server?.close();
    const { port } = this.#options;
    const host = this.#host;
    const server = this.#makeServer();
    this.#server = server;
    server.on('error', (error: NodeJS.ErrnoException) => {
      if (server.listening) this.#log.warn({ err: error, host, port }, 'relay failed');
      else if (this.#server === server) this.#listenFailed(error);
    });
    server.listen({ host, port }, () => {
      this.#backoff = undefined;
      this.#log.info({ host, port }, 'boards of other subnets reach pods of this one here');
    });
  }

  #listenFailed(error: NodeJS.ErrnoException): void {
    const { clock, limits, port, onTrouble } = this.#options;
    const isFirst = this.#backoff === undefined;
    this.#backoff = growBackoff(this.#backoff, limits.listenRetry, clock.monotonicMs());
    this.#retry = setTimeout(() => this.#listen(), this.#backoff.delayMs);
    if (!isFirst) return;
    this.#log.warn({ err: error, host: this.#host, port }, 'relay cannot be listened for');
    onTrouble(
      'RelayPortTaken',
      `TCP port ${port} of this board cannot be listened on (${error.message}), so boards of other subnets do not reach its pods: ` +
        'stop the program that has it, or give all agents another --relay-port',
    );
  }

  #makeServer(): http2.Http2SecureServer {
    const { credentials, limits } = this.#options;
    const server = loadHttp2().createSecureServer({
      cert: credentials.certificate,
      key: credentials.privateKey,
      ca: credentials.caCertificate,
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.3',
      handshakeTimeout: limits.handshakeTimeoutMs,
      unknownProtocolTimeout: limits.handshakeTimeoutMs,
      maxSessionMemory: SESSION_MEMORY_MB,
      settings: {
        enableConnectProtocol: true,
        initialWindowSize: limits.windowBytes,
        // No more than a guard: Node counts streams that are just over, too, and beyond it ends everything of that board.
        maxConcurrentStreams: 2 * limits.streamsMax,
        maxHeaderListSize: HEADER_BYTES_MAX,
      },
    });
    server.maxConnections = limits.sessionsMax;
    // Anybody may knock; what strangers send is no news.
    server.on('tlsClientError', (error) => {
      this.#log.debug({ reason: error.message }, 'relay refused a stranger');
    });
    server.on('sessionError', () => {});
    server.on('session', (session) => this.#begin(session));
    server.on('stream', (stream, headers) => this.#serve(stream, headers));
    return server;
  }

  #begin(session: http2.ServerHttp2Session): void {
    const { isBoard, limits } = this.#options;
    session.on('error', (error) => {
      this.#log.debug({ reason: error.message }, 'the connection of a board failed');
    });
    const { socket } = session;
    const shown = 'encrypted' in socket ? socket.getPeerX509Certificate() : undefined;
    const node = shown && boardOf(shown);
    if (node === undefined || !isBoard(node)) {
      const stranger = { subject: shown?.subject, from: socket.remoteAddress };
      this.#log.warn(stranger, 'the relay is for boards alone');
      session.destroy();
      return;
    }
    this.#sessions.set(session, node);
    session.once('close', () => this.#sessions.delete(session));
    session.setLocalWindowSize(limits.sessionWindowBytes);
    watchLiveness(session, limits.pingMs);
  }

  #serve(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): void {
    const { limits } = this.#options;
    stream.on('error', () => {});
    const target = this.#targetOf(stream, headers);
    if ('status' in target) {
      stream.respond(refusalHeaders(target), { endStream: true });
      stream.resume();
      return;
    }
    this.#streams++;
    stream.once('close', () => this.#streams--);
    if (target.protocol === 'TCP') serveTcp(stream, target, limits);
    else serveDatagrams(stream, target, limits);
  }

  #targetOf(
    { session }: http2.ServerHttp2Stream,
    headers: http2.IncomingHttpHeaders,
  ): Target | Refusal {
    const { isBoard, limits, podCidr } = this.#options;
    const node = session && this.#sessions.get(session);
    if (node === undefined || !isBoard(node)) {
      return refusal(403, 'connection_refused', 'this board has left the cluster');
    }
    if (this.#streams >= limits.streamsMax) {
      return refusal(503, 'connection_limit_reached', 'the board of the pod has no room for more');
    }
    return targetOf(headers, podCidr());
  }
}

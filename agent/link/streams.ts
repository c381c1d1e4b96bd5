/**
 * Answers a StreamRequest: dials the master's API server and joins what was asked for with a WebSocket
 * (protocol/streams.ts).
 *
 * Promises: back-pressure in both directions (stream-pump.ts); ends the source when the reader goes away; a failure is
 * told to the master in words before the connection closes. It never throws: what went wrong is for the master and
 * the log.
 */
import type { Logger } from 'pino';
import WebSocket from 'ws';
import { type BoardCredentials, MASTER_SERVER_NAME } from '../../protocol/messages.ts';
import { ApiError } from '../../protocol/status.ts';
import type { StreamRequest } from '../../protocol/stream-requests.ts';
import { StreamSocket } from '../../protocol/stream-socket.ts';
import {
  CHANNEL,
  encodeFailure,
  STREAM_FRAME_BYTES_MAX,
  STREAM_PATH,
} from '../../protocol/streams.ts';
import { pumpStream, type ServedStream } from './stream-pump.ts';

/**
 * Opens what the request asks for. Throw ApiError for what the user should read (404 for a container that
 * is not there); `signal` aborts when the reader goes away.
 */
export type StreamSource = (request: StreamRequest, signal: AbortSignal) => Promise<ServedStream>;

export interface ServeStreamOptions {
  readonly credentials: BoardCredentials;
  readonly request: StreamRequest;
  readonly open: StreamSource;
  readonly log: Logger;
  /** Ends it from this side, as at the agent's stop. */
  readonly signal?: AbortSignal;
}

const DIAL_TIMEOUT_MS = 10_000;
/** A master that vanished without a word is noticed after about this time and ten probes. */
const KEEP_ALIVE_MS = 60_000;

/** Resolves when the stream is over. */
export async function serveStream(options: ServeStreamOptions): Promise<void> {
  const { request, log, signal, open } = options;
  const abort = new AbortController();
  const stop = (): void => abort.abort();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    const socket = await dial(options);
    void socket.closed.then(stop);
    abort.signal.addEventListener('abort', () => socket.terminate(), { once: true });
    try {
      const served = await open(request, abort.signal);
      await pumpStream(socket, served, abort.signal);
    } catch (error) {
      if (!abort.signal.aborted) await tellFailure(socket, error);
      log.debug({ err: error, stream: request.id }, 'stream ended with an error');
    }
    // The master closes when it has read all; however slow it is, the end must not overtake the data.
    await socket.closed;
  } catch (error) {
    log.warn({ err: error, stream: request.id }, 'a stream to the master could not be opened');
  } finally {
    signal?.removeEventListener('abort', stop);
    abort.abort();
  }
}

function dial({ credentials, request }: ServeStreamOptions): Promise<StreamSocket> {
  const base = new URL(credentials.apiServer);
  // ws hands these on to tls.connect; its types leave out the server's name.
  const options: WebSocket.ClientOptions & { readonly servername: string } = {
    ca: credentials.caCertificate,
    cert: credentials.certificate,
    key: credentials.privateKey,
    servername: MASTER_SERVER_NAME,
    handshakeTimeout: DIAL_TIMEOUT_MS,
    perMessageDeflate: false,
    maxPayload: STREAM_FRAME_BYTES_MAX + 1,
  };
  const socket = new WebSocket(`wss://${base.host}${STREAM_PATH}${request.id}`, options);
  socket.once('upgrade', (answer) => answer.socket.setKeepAlive(true, KEEP_ALIVE_MS));
  // Listens from the start: the first frames may come with the answer.
  const stream = new StreamSocket(socket);
  return new Promise((resolve, reject) => {
    socket.once('open', () => resolve(stream));
    socket.once('error', reject);
  });
}

async function tellFailure(socket: StreamSocket, error: unknown): Promise<void> {
  const { code, reason, message } =
    error instanceof ApiError
      ? error
      : {
          code: 500,
          reason: 'InternalError',
          message: error instanceof Error ? error.message : String(error),
        };
  try {
    await socket.send(CHANNEL.error, encodeFailure({ code, reason, message }));
  } catch {
    // The connection is gone as well: nobody is left to be told.
  }
}

/**
 * gRPC to a container engine over its unix socket: unary calls with a time limit, and streams of answers. A lost
 * connection is made anew by itself; a call waits for it a while, so that a restart of the engine is bridged.
 * A call that broke off may have been carried out, so only reads are repeated.
 *
 * @grpc/grpc-js with our own messages (wire.ts) instead of its loader of .proto files: 290 KB in the bundle and 4 MiB
 * of memory more than bare HTTP/2, in a chunk of its own that only boards with this runtime load.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { RuntimeError } from '../runtime.ts';
import type { Method } from './proto.ts';
import { type Decoded, decode, type Encodable, encode, type MessageTable } from './wire.ts';

export interface CallOptions {
  /** For the whole call, in ms; default 60 s. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly headers?: Readonly<Record<string, string>>;
  /** A read: repeated once when the connection broke within it. */
  readonly isRead?: boolean;
}

/** The engine refused or could not be reached; `code` is gRPC's. */
export class GrpcError extends RuntimeError {
  readonly code: number;

  constructor(message: string, code: number, options?: ErrorOptions) {
    super(message, options);
    this.name = 'GrpcError';
    this.code = code;
  }
}

export const isNotFound = (error: unknown): boolean => hasCode(error, status.NOT_FOUND);
/** Words of containerd 1.6, whose code for it is UNKNOWN. */
export const isLate = (error: unknown): boolean =>
  hasCode(error, status.DEADLINE_EXCEEDED) ||
  (error instanceof GrpcError &&
    /timeout .* exceeded|context deadline exceeded/.test(error.message));
export const isUnimplemented = (error: unknown): boolean => hasCode(error, status.UNIMPLEMENTED);
export const isAlreadyThere = (error: unknown): boolean => hasCode(error, status.ALREADY_EXISTS);
const isUnavailable = (error: unknown): boolean => hasCode(error, status.UNAVAILABLE);

const TIMEOUT_MS = 60_000;
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;
const CONNECT_MS = 10_000;
const STARTING_MS = 50;

export class GrpcSocket {
  readonly socketPath: string;
  readonly #client: Client;
  readonly #connectMs: number;

  /** `connectMs`: how long a call waits for an engine that is being restarted. */
  constructor(socketPath: string, connectMs: number = CONNECT_MS) {
    this.socketPath = socketPath;
    this.#connectMs = connectMs;
    this.#client = new Client(`unix:${socketPath}`, credentials.createInsecure(), {
      'grpc.enable_channelz': 0,
      'grpc.enable_http_proxy': 0,
      'grpc.service_config_disable_resolution': 1,
      'grpc.max_receive_message_length': ANSWER_BYTES_MAX,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 2_000,
    });
  }

  close(): void {
    this.#client.close();
  }

  /** Throws GrpcError, also when nobody listens or the time is over. */
  async call<Q extends MessageTable, A extends MessageTable>(
    method: Method<Q, A>,
    request: Encodable<Q>,
    options: CallOptions = {},
  ): Promise<Decoded<A>> {
    const deadline = performance.now() + this.#connectMs;
    let mayRepeat = options.isRead === true;
    for (;;) {
      await this.#connected(deadline - performance.now());
      try {
        return await this.#once(method, request, options);
      } catch (error) {
        if (isStarting(error) && performance.now() < deadline) await delay(STARTING_MS);
        else if (mayRepeat && isUnavailable(error)) mayRepeat = false;
        else throw error;
      }
    }
  }

  /** Whether somebody answers within that time; throws GrpcError when not. */
  async #connected(timeoutMs: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#client.waitForReady(Date.now() + Math.max(0, timeoutMs), (cause) => {
        if (cause === undefined) resolve();
        else {
          const words = `nobody answers at ${this.socketPath}: is the container engine running?`;
          reject(new GrpcError(words, status.UNAVAILABLE, { cause }));
        }
      });
    });
  }

  #once<Q extends MessageTable, A extends MessageTable>(
    { path, request: table, answer }: Method<Q, A>,
    request: Encodable<Q>,
    { timeoutMs = TIMEOUT_MS, signal, headers }: CallOptions,
  ): Promise<Decoded<A>> {
    return new Promise((resolve, reject) => {
      const call = this.#client.makeUnaryRequest(
        path,
        serializer(table),
        deserializer(answer),
        request,
        metadataOf(headers),
        { deadline: Date.now() + timeoutMs },
        (error, message) => {
          signal?.removeEventListener('abort', cancel);
          if (error !== null) reject(grpcError(path, error));
          else if (message === undefined) {
            reject(new GrpcError(`${path} was answered with nothing`, status.INTERNAL));
          } else resolve(message);
        },
      );
      const cancel = () => call.cancel();
      signal?.addEventListener('abort', cancel, { once: true });
      if (signal?.aborted === true) cancel();
    });
  }

  /** A stream of answers to one request; ends quietly on abort, throws GrpcError when it breaks off. */
  async *answers<Q extends MessageTable, A extends MessageTable>(
    { path, request: table, answer }: Method<Q, A>,
    request: Encodable<Q>,
    signal: AbortSignal,
  ): AsyncGenerator<Decoded<A>> {
    await this.#connected(this.#connectMs);
    const stream = this.#client.makeServerStreamRequest(
      path,
      serializer(table),
      deserializer(answer),
      request,
      new Metadata(),
      {},
    );
    const cancel = () => stream.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    if (signal.aborted) cancel();
    try {
      for await (const message of stream) yield message;
    } catch (error) {
      if (signal.aborted) return;
      throw isServiceError(error) ? grpcError(path, error) : error;
    } finally {
      signal.removeEventListener('abort', cancel);
      stream.cancel();
    }
  }

  /** Sends all requests of a stream, then takes the last answer. Throws GrpcError. */
  async exchange<Q extends MessageTable, A extends MessageTable>(
    { path, request: table, answer }: Method<Q, A>,
    requests: Iterable<Encodable<Q>>,
    { timeoutMs = TIMEOUT_MS, headers }: CallOptions = {},
  ): Promise<Decoded<A> | undefined> {
    await this.#connected(this.#connectMs);
    const stream = this.#client.makeBidiStreamRequest(
      path,
      serializer(table),
      deserializer(answer),
      metadataOf(headers),
      { deadline: Date.now() + timeoutMs },
    );
    let last: Decoded<A> | undefined;
    try {
      for (const request of requests) stream.write(request);
      stream.end();
      for await (const message of stream) last = message;
    } catch (error) {
      throw isServiceError(error) ? grpcError(path, error) : error;
    } finally {
      stream.cancel();
    }
    return last;
  }
}

function serializer<M extends MessageTable>(table: M): (message: Encodable<M>) => Buffer {
  return (message) => Buffer.from(encode(table, message));
}

function deserializer<M extends MessageTable>(table: M): (bytes: Buffer) => Decoded<M> {
  return (bytes) => decode(table, bytes);
}

function metadataOf(headers: Readonly<Record<string, string>> = {}): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}

/** The engine's own words; "rpc error" and the code in front of them help nobody. */
function grpcError(path: string, error: ServiceError): GrpcError {
  const words = error.details.replace(/^rpc error: code = \w+ desc = /, '');
  const name = path.slice(path.lastIndexOf('/') + 1);
  return new GrpcError(`${name}: ${words}`, error.code, { cause: error });
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'details' in error;
}

/** containerd listens before it has read what there is; nothing was carried out then. */
function isStarting(error: unknown): boolean {
  return error instanceof GrpcError && error.message.endsWith('server is not initialized yet');
}

function hasCode(error: unknown, code: number): boolean {
  return error instanceof GrpcError && error.code === code;
}

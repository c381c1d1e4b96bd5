/** A small HTTPS client of the API for Pier's own commands; people use kubectl. */
import { Agent, request } from 'node:https';
import type { Connection } from './kubeconfig.ts';

export class RequestError extends Error {
  /** HTTP status, or 0 when the server was not reached. */
  readonly code: number;
  constructor(code: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RequestError';
    this.code = code;
  }
}

export interface RequestOptions {
  readonly method?: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE';
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string;
  readonly timeoutMs?: number;
  /** Gives the request up; then it throws as if the server were not reached. */
  readonly signal?: AbortSignal;
}

const ANSWER_BYTES_MAX = 32 * 1024 * 1024;

export class Client {
  readonly #connection: Connection;
  readonly #agent: Agent;

  constructor(connection: Connection) {
    this.#connection = connection;
    const { ca, cert, key, serverName } = connection;
    this.#agent = new Agent({
      keepAlive: true,
      ca,
      cert,
      key,
      ...(serverName === undefined ? {} : { servername: serverName }),
    });
  }

  /** The parsed JSON answer. Throws RequestError with the server's own message. */
  async json<T>(path: string, options: RequestOptions = {}): Promise<T> {
    return JSON.parse(await this.text(path, options)) as T;
  }

  async text(path: string, options: RequestOptions = {}): Promise<string> {
    const { code, body } = await this.#send(path, options);
    if (code >= 200 && code < 300) return body;
    throw new RequestError(code, messageOf(body) ?? `HTTP ${code}`);
  }

  close(): void {
    this.#agent.destroy();
  }

  #send(path: string, options: RequestOptions): Promise<{ code: number; body: string }> {
    const { server } = this.#connection;
    const body = options.body === undefined ? undefined : JSON.stringify(options.body);
    return new Promise((resolve, reject) => {
      const fail = (error: Error) =>
        reject(
          new RequestError(0, `cannot reach the API server at ${server.origin}: ${error.message}`, {
            cause: error,
          }),
        );
      const call = request(
        new URL(path, server),
        {
          method: options.method ?? 'GET',
          agent: this.#agent,
          timeout: options.timeoutMs ?? 30_000,
          ...(options.signal === undefined ? {} : { signal: options.signal }),
          headers: {
            accept: options.accept ?? 'application/json',
            ...(body === undefined
              ? {}
              : {
                  'content-type': options.contentType ?? 'application/json',
                  // Node sends the body of a DELETE without it, which no server understands.
                  'content-length': Buffer.byteLength(body),
                }),
          },
        },
        (answer) => {
          const chunks: Buffer[] = [];
          let bytes = 0;
          answer.on('data', (chunk: Buffer) => {
            bytes += chunk.length;
            if (bytes > ANSWER_BYTES_MAX) call.destroy(new Error('the answer is too large'));
            else chunks.push(chunk);
          });
          answer.on('error', fail);
          answer.on('end', () =>
            resolve({ code: answer.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }),
          );
        },
      );
      call.on('timeout', () => call.destroy(new Error('no answer in time')));
      call.on('error', fail);
      call.end(body);
    });
  }
}

function messageOf(body: string): string | undefined {
  try {
    const status: unknown = JSON.parse(body);
    if (typeof status === 'object' && status !== null && 'message' in status) {
      return String(status.message);
    }
  } catch {
    // Not a Status: the code alone must do.
  }
  return undefined;
}

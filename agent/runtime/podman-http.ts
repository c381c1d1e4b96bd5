/**
 * HTTP to libpod, or to the Docker Engine, over its unix socket: JSON calls with a time limit, and streams. Sockets are kept open between
 * calls. Every failure is an EngineHttpError: with `status` when the engine answered, with `connected: false`
 * when nobody listened (then the call was certainly not carried out and may be repeated).
 */
import { Agent, type IncomingMessage, type RequestOptions, request } from 'node:http';
import type { Duplex } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { asArray, asObject, asText, type JsonObject } from './json-read.ts';
import { type RegistryLogin, RuntimeError } from './runtime.ts';

export interface EngineApi {
  /** In front of the engine's words in messages. */
  readonly engine: string;
  /** In front of every path. */
  readonly base: string;
}

/** Both podman 4 (Debian 12) and 5 (Debian 13) serve this version. */
const LIBPOD: EngineApi = { engine: 'podman', base: '/v4.0.0/libpod' };
const BODY_BYTES_MAX = 64 * 1024 * 1024;
const LINE_LENGTH_MAX = 1024 * 1024;

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** A GET of libpod; undefined for 404. */
export type Get = (path: string, query: Query) => Promise<unknown>;

export interface CallOptions {
  readonly query?: Query;
  readonly body?: unknown;
  /** Sent as it is, instead of `body`. */
  readonly bytes?: Uint8Array;
  /** For the registry that the call leads to. */
  readonly login?: RegistryLogin | undefined;
  readonly signal?: AbortSignal;
  /** For the whole call; default 60 s. */
  readonly timeoutMs?: number;
}

export class EngineHttpError extends RuntimeError {
  readonly status: number | undefined;
  readonly connected: boolean;

  constructor(
    message: string,
    facts: { status?: number; connected: boolean },
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'EngineHttpError';
    this.status = facts.status;
    this.connected = facts.connected;
  }
}

export class PodmanHttp {
  readonly socketPath: string;
  readonly #agent: Agent;
  readonly #api: EngineApi;

  constructor(socketPath: string, api: EngineApi = LIBPOD) {
    this.socketPath = socketPath;
    this.#api = api;
    this.#agent = new Agent({ keepAlive: true, maxFreeSockets: 8 });
  }

  close(): void {
    this.#agent.destroy();
  }

  /** The answer's JSON; undefined for an empty body. Throws EngineHttpError for every status from 400. */
  async json(method: string, path: string, options: CallOptions = {}): Promise<unknown> {
    const limit = timeLimit(options.timeoutMs ?? 60_000, options.signal);
    const { text, status } = await this.#answer(method, path, options, limit.signal).finally(
      limit.end,
    );
    if (status >= 400) {
      throw new EngineHttpError(engineWords(this.#api, text, status, `${method} ${path}`), {
        status,
        connected: true,
      });
    }
    if (text === '') return undefined;
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw new EngineHttpError(
        `${this.#api.engine} answered ${method} ${path} with something that is not JSON`,
        { status, connected: true },
        { cause },
      );
    }
  }

  async #answer(
    method: string,
    path: string,
    options: CallOptions,
    signal: AbortSignal,
  ): Promise<{ text: string; status: number }> {
    const answer = await this.#send(method, path, options, signal);
    return { text: await readText(answer, signal), status: answer.statusCode ?? 0 };
  }

  /**
   * podman's version, from the header of the cheapest call there is (`GET /version` forks conmon and the OCI
   * runtime to ask for theirs, which takes a second). Throws EngineHttpError when nobody answers.
   */
  async ping(timeoutMs: number): Promise<string> {
    const signal = AbortSignal.timeout(timeoutMs);
    const answer = await this.stream('GET', '/_ping', { signal });
    answer.resume();
    return asText(answer.headers['libpod-api-version']) ?? 'unknown';
  }

  /** The open answer, for whoever reads it piece by piece; it ends with the signal. */
  async stream(
    method: string,
    path: string,
    options: CallOptions & { readonly signal: AbortSignal },
  ): Promise<IncomingMessage> {
    const answer = await this.#send(method, path, options, options.signal);
    const status = answer.statusCode ?? 0;
    if (status >= 400) {
      const text = await readText(answer, options.signal);
      throw new EngineHttpError(engineWords(this.#api, text, status, `${method} ${path}`), {
        status,
        connected: true,
      });
    }
    return answer;
  }

  /**
   * A POST whose connection becomes a stream of its own (HTTP upgrade to "tcp", as Docker's API has it). The time
   * limit (default 60 s) is for the answer, the stream has none.
   */
  hijack(path: string, options: CallOptions = {}): Promise<Duplex> {
    const signal = AbortSignal.timeout(options.timeoutMs ?? 60_000);
    const { request: wanted, bytes } = this.#requestOf('POST', path, options);
    const headers = { ...wanted.headers, Connection: 'Upgrade', Upgrade: 'tcp' };
    return new Promise((resolve, reject) => {
      const call = request({ ...wanted, headers, agent: false });
      // Not as the request's signal: that would end the stream as well.
      const giveUp = (): void => void call.destroy();
      signal.addEventListener('abort', giveUp, { once: true });
      call.once('upgrade', (_answer, stream, head) => {
        signal.removeEventListener('abort', giveUp);
        if (head.length > 0) stream.unshift(head);
        resolve(stream);
      });
      call.once('response', (answer) => {
        readText(answer, signal).then((text) => {
          const status = answer.statusCode ?? 0;
          const words = engineWords(this.#api, text, status, `POST ${path}`);
          reject(new EngineHttpError(words, { status, connected: true }));
        }, reject);
      });
      call.once('error', (cause) => reject(this.#failure(`POST ${path}`, cause, signal)));
      call.end(bytes);
    });
  }

  #send(
    method: string,
    path: string,
    options: CallOptions,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const { request: wanted, bytes } = this.#requestOf(method, path, options);
    return new Promise((resolve, reject) => {
      const call = request({ ...wanted, agent: this.#agent, signal });
      call.once('response', resolve);
      call.once('error', (cause) => reject(this.#failure(`${method} ${path}`, cause, signal)));
      call.end(bytes);
    });
  }

  #requestOf(
    method: string,
    path: string,
    options: CallOptions,
  ): { request: RequestOptions; bytes: Uint8Array | undefined } {
    const payload = payloadOf(options);
    const request = {
      socketPath: this.socketPath,
      method,
      path: `${this.#api.base}${path}${queryString(options.query)}`,
      headers: { Host: this.#api.engine, ...payload?.headers, ...loginHeader(options.login) },
    };
    return { request, bytes: payload?.bytes };
  }

  #failure(what: string, cause: NodeJS.ErrnoException, signal: AbortSignal): EngineHttpError {
    const absent = cause.code === 'ECONNREFUSED' || cause.code === 'ENOENT';
    const why = signal.aborted ? 'was given up (time limit or abort)' : `failed: ${cause.message}`;
    const message = `${this.#api.engine} at ${this.socketPath}: ${what} ${why}`;
    return new EngineHttpError(message, { connected: !absent }, { cause });
  }
}

/**
 * The lines of an open answer, without their newlines. Ends quietly when `signal` aborts, throws EngineHttpError
 * when the answer breaks off otherwise.
 */
export async function* answerLines(
  answer: IncomingMessage,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  try {
    for await (const part of answer) {
      rest += decoder.write(part);
      if (rest.length > LINE_LENGTH_MAX) {
        throw new Error(`a line of the answer is over ${LINE_LENGTH_MAX} characters`);
      }
      const lines = rest.split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line !== '') yield line;
    }
  } catch (cause) {
    if (signal.aborted) return;
    throw new EngineHttpError(
      `the engine's answer broke off: ${String(cause)}`,
      { connected: true },
      { cause },
    );
  }
  if (rest !== '') yield rest;
}

/**
 * Aborts after a time, or with the other signal, until it is ended. Not AbortSignal.timeout: what it refers to outlives the call, and
 * many calls fill the old generation of V8's heap with it.
 */
function timeLimit(ms: number, other?: AbortSignal): { signal: AbortSignal; end: () => void } {
  const limit = new AbortController();
  const abort = () => limit.abort();
  const timer = setTimeout(abort, ms);
  other?.addEventListener('abort', abort);
  if (other?.aborted === true) abort();
  const end = () => {
    clearTimeout(timer);
    other?.removeEventListener('abort', abort);
  };
  return { signal: limit.signal, end };
}

function payloadOf(
  options: CallOptions,
): { bytes: Uint8Array; headers: Record<string, string | number> } | undefined {
  if (options.bytes !== undefined) {
    return {
      bytes: options.bytes,
      headers: {
        'Content-Type': 'application/x-tar',
        'Content-Length': options.bytes.length,
      },
    };
  }
  if (options.body === undefined) return undefined;
  const bytes = Buffer.from(JSON.stringify(options.body));
  return {
    bytes,
    headers: { 'Content-Type': 'application/json', 'Content-Length': bytes.length },
  };
}

/** Base64 with `-` and `_`, and padded: podman and Docker both insist. */
function loginHeader(login: RegistryLogin | undefined): Record<string, string> {
  if (login === undefined) return {};
  const { username, password } = login;
  const text = Buffer.from(JSON.stringify({ username, password })).toString('base64');
  return { 'X-Registry-Auth': text.replaceAll('+', '-').replaceAll('/', '_') };
}

function queryString(query: Query = {}): string {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined) params.set(key, String(value));
  }
  const text = params.toString();
  return text === '' ? '' : `?${text}`;
}

async function readText(answer: IncomingMessage, signal: AbortSignal): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const part of answer) {
      const piece = Buffer.from(part);
      bytes += piece.length;
      if (bytes > BODY_BYTES_MAX) throw new Error(`the answer is over ${BODY_BYTES_MAX} bytes`);
      parts.push(piece);
    }
  } catch (cause) {
    const why = signal.aborted ? 'time limit or abort' : String(cause);
    throw new EngineHttpError(
      `the engine's answer broke off: ${why}`,
      { connected: true },
      {
        cause,
      },
    );
  }
  return Buffer.concat(parts).toString('utf8');
}

/**
 * libpod's errors are `{"cause": ..., "message": ..., "response": status}`, where the message is the longer one; those
 * about a whole pod are `{"Errs": [...]}`.
 */
function engineWords({ engine }: EngineApi, text: string, status: number, call: string): string {
  const words = bodyWords(text);
  if (words !== '') return `${engine}: ${words}`;
  return `${engine} answered ${call} with ${status}: ${text.trim().slice(0, 500)}`;
}

function bodyWords(text: string): string {
  let body: JsonObject;
  try {
    body = asObject(JSON.parse(text));
  } catch {
    // Not JSON, as in "404 page not found": the caller shows the text itself.
    return '';
  }
  const several = asArray(body.Errs).filter((error) => typeof error === 'string');
  return asText(body.message) ?? several.join('; ');
}

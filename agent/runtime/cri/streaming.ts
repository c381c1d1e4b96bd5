/**
 * exec and attach through CRI: the engine answers with the URL of its streaming server, which speaks remotecommand v4 over
 * SPDY/3.1, one stream per standard stream. (containerd 1.6 has WebSockets too, but no end of the input in them.)
 *
 * The engine keeps no hold on what runs: a command with a terminal whose client leaves is not told, as in Kubernetes.
 */
import { request } from 'node:http';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { SpdySession, type SpdyStream } from '../../../protocol/spdy/session.ts';
import { asArray, asObject, asText } from '../json-read.ts';
import {
  type ExecOptions,
  type ExecSession,
  RuntimeError,
  type StreamOptions,
} from '../runtime.ts';
import type { OutputPart } from '../stream-demux.ts';
import { notRunning } from './exec.ts';
import type { GrpcSocket } from './grpc.ts';
import { CRI } from './proto.ts';

/** A connection to the engine's streaming server, which listens on the board's loopback. */
export type Dial = (host: string, port: number) => Duplex;

export const dialTcp: Dial = (host, port) => connect({ host, port });

const PROTOCOL = 'v4.channel.k8s.io';
const UPGRADE_MS_MAX = 30_000;
/** A Status with the words of an engine. */
const STATUS_BYTES_MAX = 64 * 1024;
/** Until the first resize comes, moments later. */
const FIRST_SIZE = { columns: 80, rows: 24 };

export interface Streaming {
  readonly grpc: GrpcSocket;
  readonly dial: Dial;
}

/** Throws RuntimeError, also when the container does not run. */
export async function criExec(
  { grpc, dial }: Streaming,
  containerId: string,
  options: ExecOptions,
): Promise<ExecSession> {
  const { url } = await grpc
    .call(CRI.exec, { containerId, ...options })
    .catch((error) => notRunning(error, containerId));
  return openRemote(dial, url, options, true);
}

/** Throws RuntimeError, also when the container does not run. */
export async function criAttach(
  { grpc, dial }: Streaming,
  containerId: string,
  options: StreamOptions,
): Promise<ExecSession> {
  const { url } = await grpc
    .call(CRI.attach, { containerId, ...options })
    .catch((error) => notRunning(error, containerId));
  return openRemote(dial, url, options, false);
}

type StreamName = 'error' | 'stdin' | 'stdout' | 'stderr' | 'resize';
type RemoteStreams = ReadonlyMap<StreamName, SpdyStream>;

/** `hasExit`: there is an exit code of its own at the end, as of an exec. Throws RuntimeError. */
export async function openRemote(
  dial: Dial,
  url: string,
  options: StreamOptions,
  hasExit: boolean,
): Promise<ExecSession> {
  const connection = new SpdySession(await upgrade(dial, new URL(url)), 'client');
  const names: StreamName[] = ['error'];
  for (const name of ['stdin', 'stdout', 'stderr'] as const) if (options[name]) names.push(name);
  if (options.tty) names.push('resize');
  const streams = new Map<StreamName, SpdyStream>();
  try {
    for (const name of names) {
      streams.set(name, await connection.open(new Map([['streamtype', name]])));
    }
  } catch (cause) {
    connection.destroy();
    throw new RuntimeError(`the engine's streaming server went away: ${String(cause)}`, { cause });
  }
  return new RemoteSession(connection, streams, { tty: options.tty, hasExit });
}

function upgrade(dial: Dial, url: URL): Promise<Duplex> {
  if (url.protocol !== 'http:') {
    const what = `the engine's streaming server wants ${url.protocol}//, which is not supported`;
    return Promise.reject(new RuntimeError(`${what}: set enable_tls_streaming to false`));
  }
  return new Promise((resolve, reject) => {
    const fail = (why: string, cause?: unknown): void =>
      reject(new RuntimeError(`the engine's streaming server at ${url.host} ${why}`, { cause }));
    const call = request({
      method: 'POST',
      host: url.hostname,
      port: url.port,
      path: `${url.pathname}${url.search}`,
      headers: {
        Connection: 'Upgrade',
        Upgrade: 'SPDY/3.1',
        'X-Stream-Protocol-Version': PROTOCOL,
        'Content-Length': 0,
      },
      createConnection: () => dial(url.hostname, Number(url.port)),
    });
    const timer = setTimeout(() => call.destroy(new Error('no answer in time')), UPGRADE_MS_MAX);
    call.once('upgrade', (answer, stream, head) => {
      clearTimeout(timer);
      const spoken = answer.headers['x-stream-protocol-version'];
      if (spoken === PROTOCOL) {
        if (head.length > 0) stream.unshift(head);
        resolve(stream);
      } else {
        stream.destroy();
        fail(`does not speak ${PROTOCOL}`);
      }
    });
    call.once('response', (answer) => {
      clearTimeout(timer);
      answer.destroy();
      fail(`answered ${answer.statusCode}`);
    });
    call.once('error', (cause) => {
      clearTimeout(timer);
      fail(`failed: ${cause.message}`, cause);
    });
    call.end();
  });
}

interface RemoteEnd {
  readonly tty: boolean;
  readonly hasExit: boolean;
}

class RemoteSession implements ExecSession {
  readonly output: AsyncIterable<OutputPart>;
  readonly #connection: SpdySession;
  readonly #streams: RemoteStreams;
  readonly #end: RemoteEnd;
  readonly #status: Promise<string>;
  #failure: unknown;

  constructor(connection: SpdySession, streams: RemoteStreams, end: RemoteEnd) {
    this.#connection = connection;
    this.#streams = streams;
    this.#end = end;
    connection.run().catch((error: unknown) => {
      this.#failure = error;
    });
    this.output = this.#read();
    this.#status = this.#readStatus();
    if (end.tty) void this.resize(FIRST_SIZE);
  }

  async write(data: Uint8Array): Promise<void> {
    await this.#streams.get('stdin')?.write(data);
  }

  endInput(): void {
    if (!this.#end.tty) void this.#streams.get('stdin')?.end();
  }

  async resize({ columns, rows }: { columns: number; rows: number }): Promise<void> {
    const size = `${JSON.stringify({ Width: columns, Height: rows })}\n`;
    // Refused when the process has ended meanwhile.
    await this.#streams
      .get('resize')
      ?.write(Buffer.from(size))
      .catch(() => undefined);
  }

  async exitCode(): Promise<number | undefined> {
    const text = await this.#status;
    if (text === '' && !this.#end.hasExit) return undefined;
    const code = readExitStatus(text);
    return this.#end.hasExit ? code : undefined;
  }

  close(): void {
    this.#connection.destroy();
  }

  /** Of both outputs what comes first, one part at a time. */
  async *#read(): AsyncGenerator<OutputPart> {
    const next = async (stream: 'stdout' | 'stderr') => ({
      stream,
      data: await this.#streams.get(stream)?.next(),
    });
    const coming = new Map<OutputPart['stream'], ReturnType<typeof next>>();
    for (const stream of ['stdout', 'stderr'] as const) coming.set(stream, next(stream));
    while (coming.size > 0) {
      const { stream, data } = await Promise.race(coming.values());
      coming.delete(stream);
      if (data === undefined) continue;
      yield { stream, data };
      // Behind the other one, so that neither is kept waiting by the other.
      coming.set(stream, next(stream));
    }
    if (this.#failure === undefined) return;
    const words = `the engine's stream broke off: ${String(this.#failure)}`;
    throw new RuntimeError(words, { cause: this.#failure });
  }

  async #readStatus(): Promise<string> {
    const parts: Uint8Array[] = [];
    let bytes = 0;
    for (;;) {
      const part = await this.#streams.get('error')?.next();
      if (part === undefined) break;
      bytes += part.length;
      if (bytes <= STATUS_BYTES_MAX) parts.push(part);
    }
    return Buffer.concat(parts).toString();
  }
}

/**
 * The exit code in a Status of remotecommand v4: none says success, another is a cause of the reason ExitCode. Throws
 * RuntimeError with the engine's words when the command could not be run, or nothing is known of its end.
 */
export function readExitStatus(text: string): number {
  let status: unknown;
  try {
    status = JSON.parse(text);
  } catch (cause) {
    const what = text === '' ? 'nothing' : JSON.stringify(text.slice(0, 200));
    throw new RuntimeError(`the engine told ${what} of how the command ended`, { cause });
  }
  const { status: outcome, message, details } = asObject(status);
  if (outcome === 'Success') return 0;
  for (const cause of asArray(asObject(details).causes)) {
    const { reason, message: code } = asObject(cause);
    if (reason === 'ExitCode' && /^\d+$/.test(asText(code) ?? '')) return Number(code);
  }
  throw new RuntimeError(asText(message) ?? 'the engine failed to run the command');
}

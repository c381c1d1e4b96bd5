/**
 * A client of exec or attach over SPDY (kubectl before 1.30, and where a proxy refuses WebSockets): remotecommand v4 and
 * older, one SPDY stream per standard stream, named by the header `streamtype`.
 */

import type { SpdySession, SpdyStream } from '../../../protocol/spdy/session.ts';
import type { Status } from '../../../protocol/status.ts';
import { parseSize } from './channel-client.ts';
import type { ClientInput, RemoteClient } from './remote-client.ts';
import type { Redirections } from './source.ts';

/** Best first. v4: the error stream holds a Status in JSON; before, words. v3: resize. */
export const SPDY_EXEC_PROTOCOLS = [
  'v4.channel.k8s.io',
  'v3.channel.k8s.io',
  'v2.channel.k8s.io',
] as const;
export type SpdyExecProtocol = (typeof SPDY_EXEC_PROTOCOLS)[number];

const STREAMS_TIMEOUT_MS = 30_000;
/** One message is `{"Width":80,"Height":24}`. */
const SIZE_BYTES_MAX = 256;

/** The streams that a client must open for what it asks. */
function expectedStreams(wanted: Redirections, protocol: SpdyExecProtocol): string[] {
  return [
    'error',
    ...(wanted.stdin ? ['stdin'] : []),
    ...(wanted.stdout ? ['stdout'] : []),
    ...(wanted.stderr ? ['stderr'] : []),
    ...(wanted.tty && protocol !== 'v2.channel.k8s.io' ? ['resize'] : []),
  ];
}

export class SpdyClient implements RemoteClient {
  readonly #session: SpdySession;
  readonly #protocol: SpdyExecProtocol;
  readonly #streams: ReadonlyMap<string, SpdyStream>;
  readonly #inputs: ClientInput[] = [];
  #gone = false;
  #wake: () => void = () => undefined;
  #taken: Array<() => void> = [];

  private constructor(
    session: SpdySession,
    protocol: SpdyExecProtocol,
    streams: ReadonlyMap<string, SpdyStream>,
  ) {
    this.#session = session;
    this.#protocol = protocol;
    this.#streams = streams;
    void this.#readInput();
    void this.#readSizes();
    void session.closed.then(() => this.#leave());
  }

  /** When the client has opened all its streams. Throws an Error when it does not in time. */
  static async accept(
    session: SpdySession,
    wanted: Redirections,
    protocol: SpdyExecProtocol,
  ): Promise<SpdyClient> {
    const missing = new Set(expectedStreams(wanted, protocol));
    const streams = new Map<string, SpdyStream>();
    const timer = setTimeout(() => session.destroy(), STREAMS_TIMEOUT_MS);
    try {
      for (;;) {
        const stream = await session.next();
        if (stream === undefined) break;
        const type = stream.headers.get('streamtype') ?? '';
        if (!missing.delete(type)) throw new Error(`the stream type "${type}" was not expected`);
        streams.set(type, stream);
        if (missing.size === 0) return new SpdyClient(session, protocol, streams);
      }
    } finally {
      clearTimeout(timer);
    }
    throw new Error(`the client did not open its streams ${[...missing].join(', ')}`);
  }

  async next(): Promise<ClientInput | undefined> {
    for (;;) {
      const input = this.#inputs.shift();
      if (input !== undefined) {
        for (const wake of this.#taken.splice(0)) wake();
        return input;
      }
      if (this.#gone) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async write(name: 'stdout' | 'stderr', data: Uint8Array): Promise<void> {
    await this.#streams.get(name)?.write(data);
  }

  async finish(status: Status): Promise<void> {
    const error = this.#streams.get('error');
    if (this.#protocol === 'v4.channel.k8s.io') {
      await error?.write(Buffer.from(JSON.stringify(status)));
    } else if (status.status !== 'Success') {
      await error?.write(Buffer.from(status.message ?? 'failed'));
    }
    for (const stream of this.#streams.values()) await stream.end();
    // The client closes when it has read to the end of its streams.
    await this.#session.end();
  }

  destroy(): void {
    this.#leave();
    this.#session.destroy();
  }

  async #readInput(): Promise<void> {
    const stdin = this.#streams.get('stdin');
    if (stdin === undefined) return;
    for (;;) {
      const data = await stdin.next();
      if (data === undefined) break;
      await this.#give({ type: 'stdin', data });
    }
    if (!stdin.isReset) await this.#give({ type: 'stdinEnd' });
  }

  async #readSizes(): Promise<void> {
    const resize = this.#streams.get('resize');
    let text = '';
    for (;;) {
      const data = await resize?.next();
      if (data === undefined) return;
      text += Buffer.from(data).toString('utf8');
      // JSON objects one after the other, however they were cut.
      for (let end = text.indexOf('}'); end >= 0; end = text.indexOf('}')) {
        const size = parseSize(Buffer.from(text.slice(0, end + 1)));
        text = text.slice(end + 1);
        if (size !== undefined) await this.#give({ type: 'resize', size });
      }
      if (text.length > SIZE_BYTES_MAX) text = '';
    }
  }

  /** Waits until it was taken: one input of each stream waits at most. */
  async #give(input: ClientInput): Promise<void> {
    if (this.#gone) return;
    this.#inputs.push(input);
    this.#wake();
    await new Promise<void>((resolve) => this.#taken.push(resolve));
  }

  #leave(): void {
    this.#gone = true;
    for (const wake of this.#taken.splice(0)) wake();
    this.#wake();
  }
}

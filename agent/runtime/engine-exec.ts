/**
 * exec and attach on libpod's and Docker's REST APIs, which are alike: a connection is hijacked (HTTP upgrade) and carries the process' streams, framed by
 * StreamDemux or, with a terminal, as they are. The end of our side of the connection is the end of the standard input.
 *
 * An attach must have no body: podman would give its bytes to the container's standard input. The exit code is known
 * once the engine has closed the connection.
 */
import type { Duplex } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { asNumber, asObject, asText } from './json-read.ts';
import { type CallOptions, EngineHttpError } from './podman-http.ts';
import { type ExecOptions, type ExecSession, RuntimeError, type StreamOptions } from './runtime.ts';
import { type OutputPart, StreamDemux } from './stream-demux.ts';

export interface EngineCalls {
  call(method: string, path: string, options?: CallOptions): Promise<unknown>;
  hijack(path: string, options: CallOptions): Promise<Duplex>;
  /** Sends SIGHUP to a process of this container; does nothing when it is none of its. */
  hangUp(pid: number, containerId: string): Promise<void>;
}

const EXIT_POLL_MS = 50;
const EXIT_WAIT_MS = 30_000;
/** Until the first resize comes, moments later. */
const FIRST_SIZE = { h: 24, w: 80 };

/** Throws RuntimeError (EngineHttpError) with the engine's words. */
export async function engineExec(
  engine: EngineCalls,
  containerId: string,
  options: ExecOptions,
): Promise<ExecSession> {
  const { command, stdin, stdout, stderr, tty } = options;
  const body = {
    AttachStdin: stdin,
    AttachStdout: stdout,
    AttachStderr: stderr,
    Tty: tty,
    Cmd: command,
  };
  const created = asObject(await engine.call('POST', `/containers/${containerId}/exec`, { body }));
  const id = asText(created.Id);
  if (id === undefined)
    throw new RuntimeError(`the engine told no id for a command in the container ${containerId}`);
  const start = { Detach: false, Tty: tty, ...(tty ? FIRST_SIZE : {}) };
  const socket = await engine.hijack(`/exec/${id}/start`, { body: start });
  return new HijackedSession(socket, tty, {
    mayBreak: true,
    resize: (query) => engine.call('POST', `/exec/${id}/resize`, { query }),
    exitCode: () => exitCodeOf(engine, id),
    leave: async () => {
      if (!tty) return;
      const { Running, Pid } = asObject(await engine.call('GET', `/exec/${id}/json`));
      const pid = asNumber(Pid) ?? 0;
      if (Running === true && pid > 0) await engine.hangUp(pid, containerId);
    },
  });
}

/** Throws RuntimeError (EngineHttpError) with the engine's words. */
export async function engineAttach(
  engine: EngineCalls,
  containerId: string,
  options: StreamOptions,
): Promise<ExecSession> {
  const { stdin, stdout, stderr, tty } = options;
  const query = { stream: true, logs: false, stdin, stdout, stderr };
  const socket = await engine.hijack(`/containers/${containerId}/attach`, { query });
  return new HijackedSession(socket, tty, {
    mayBreak: false,
    resize: (size) => engine.call('POST', `/containers/${containerId}/resize`, { query: size }),
    exitCode: async () => undefined,
    leave: async () => undefined,
  });
}

async function exitCodeOf(engine: EngineCalls, id: string): Promise<number> {
  for (let waited = 0; waited < EXIT_WAIT_MS; waited += EXIT_POLL_MS) {
    const { Running, ExitCode } = asObject(await engine.call('GET', `/exec/${id}/json`));
    const code = asNumber(ExitCode);
    if (Running === false && code !== undefined) return code;
    await pause(EXIT_POLL_MS);
  }
  throw new RuntimeError('the engine closed the streams of a process that still runs');
}

interface SessionCalls {
  /**
   * Whether a broken connection is an end like any other: one that is closed before all input was read ends so, with EPIPE
   * when we were writing, and the exit code tells whether the process has ended.
   */
  readonly mayBreak: boolean;
  readonly resize: (size: { readonly h: number; readonly w: number }) => Promise<unknown>;
  readonly exitCode: () => Promise<number | undefined>;
  /** When the client leaves before the end. */
  readonly leave: () => Promise<void>;
}

class HijackedSession implements ExecSession {
  readonly output: AsyncIterable<OutputPart>;
  readonly #socket: Duplex;
  readonly #tty: boolean;
  readonly #calls: SessionCalls;
  #over = false;

  constructor(socket: Duplex, tty: boolean, calls: SessionCalls) {
    this.#socket = socket;
    this.#tty = tty;
    this.#calls = calls;
    // A broken connection shows as the end of the output or as a failed write.
    socket.on('error', () => undefined);
    this.output = this.#read();
  }

  write(data: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.write(data, (error) => (error ? reject(error) : resolve()));
    });
  }

  endInput(): void {
    if (!this.#tty) this.#socket.end();
  }

  async resize({ columns, rows }: { columns: number; rows: number }): Promise<void> {
    if (!this.#tty || this.#over) return;
    try {
      await this.#calls.resize({ h: rows, w: columns });
    } catch (error) {
      // The process ended meanwhile, or is not quite there: then a later size counts.
      if (!(error instanceof EngineHttpError) || error.status === undefined) throw error;
    }
  }

  exitCode(): Promise<number | undefined> {
    return this.#calls.exitCode();
  }

  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#socket.destroy();
    // Nobody is left to be told when that fails; the process then stays until its container ends.
    this.#calls.leave().catch(() => undefined);
  }

  async *#read(): AsyncGenerator<OutputPart> {
    const demux = new StreamDemux();
    try {
      for await (const chunk of this.#socket as AsyncIterable<Buffer>) {
        if (this.#tty) yield { stream: 'stdout', data: chunk };
        else yield* demux.push(chunk);
      }
    } catch (cause) {
      if (this.#over) return;
      const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
      if (!this.#calls.mayBreak || (code !== 'ECONNRESET' && code !== 'EPIPE'))
        throw new RuntimeError(`the engine's stream broke off: ${String(cause)}`, { cause });
    }
    this.#over = true;
  }
}

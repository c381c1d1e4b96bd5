/**
 * A shell on the board itself, with a terminal, for `pier shell NODE`: off unless the agent was started with --allow-shell, because
 * whoever may open it is root on the board. The terminal is node-pty's, a native module that is compiled on the board; it is
 * loaded with the first shell, and what to install is said when it is not there.
 *
 * Promises: output is read only as fast as it is taken (once the shell has ended, what is not taken within 200 ms is lost:
 * node-pty's limit); when the client goes, the terminal is hung up, and what does not heed that is killed.
 */
import { existsSync, readFileSync } from 'node:fs';
import { ApiError } from '../protocol/status.ts';
import type { TerminalSize } from '../protocol/streams.ts';
import type { ExecSession } from './runtime/runtime.ts';

/** What is used of node-pty's terminal. */
export interface Pty {
  readonly pid: number;
  onData(listener: (data: string | Uint8Array) => void): unknown;
  onExit(listener: (end: { readonly exitCode: number; readonly signal?: number }) => void): unknown;
  write(data: Buffer): void;
  resize(columns: number, rows: number): void;
  pause(): void;
  resume(): void;
  kill(signal: string): void;
}

export interface PtyLibrary {
  spawn(
    file: string,
    args: string[],
    options: {
      readonly name: string;
      readonly cols: number;
      readonly rows: number;
      readonly cwd: string;
      readonly env: Record<string, string>;
      /** Null: bytes. */
      readonly encoding: null;
    },
  ): Pty;
}

export interface ShellOptions {
  readonly node: string;
  readonly isAllowed: boolean;
  /** Of the client's terminal, such as xterm-256color. */
  readonly term: string;
  /** Throws when it is not installed, or not compiled. */
  readonly loadPty: () => Promise<PtyLibrary>;
}

const SIZE: TerminalSize = { columns: 80, rows: 24 };
const SHELLS = ['/bin/bash', '/bin/sh'];
const WAITING_BYTES_MAX = 64 * 1024;
/** From the hang-up to the kill. */
const HANG_UP_MS = 3_000;
/** Ctrl-D: a terminal has no other end of input. */
const END_OF_INPUT = Buffer.from([4]);

export async function loadNodePty(): Promise<PtyLibrary> {
  // Never in the bundle: it is native, and not every board has it.
  const { default: library } = await import('node-pty');
  return library;
}

/** Throws ApiError with what the user should read. */
export async function openShell(options: ShellOptions): Promise<ExecSession> {
  const { node, isAllowed, term, loadPty } = options;
  if (!isAllowed) {
    const how =
      'its agent must be started with --allow-shell (PIER_AGENT_ALLOW_SHELL=true in /etc/pier/agent.env)';
    throw new ApiError(403, 'Forbidden', `board "${node}" allows no shell: ${how}`);
  }
  const library = await loadPty().catch((cause: unknown) => {
    const how =
      'install a compiler there (apt-get install build-essential python3), and it with ' +
      '"npm install --prefix /usr/local/lib/pier node-pty@1.1.0" (in a clone: "npm rebuild node-pty")';
    const message = `board "${node}" has no terminal for a shell, because node-pty is not there: ${how}`;
    throw new ApiError(501, 'NotImplemented', message, {}, { cause });
  });
  const shell = SHELLS.find((path) => existsSync(path)) ?? '/bin/sh';
  const pty = library.spawn(shell, ['-l'], {
    name: term,
    cols: SIZE.columns,
    rows: SIZE.rows,
    cwd: existsSync('/root') ? '/root' : '/',
    env: shellEnvironment(shell, term),
    encoding: null,
  });
  return ptySession(pty);
}

/** Nothing of the agent's own environment. */
function shellEnvironment(shell: string, term: string): Record<string, string> {
  return {
    HOME: '/root',
    USER: 'root',
    LOGNAME: 'root',
    SHELL: shell,
    TERM: term,
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  };
}

function ptySession(pty: Pty): ExecSession {
  const output = new Output(pty);
  let code: number | undefined;
  let isClosed = false;
  pty.onExit(({ exitCode, signal = 0 }) => {
    code = signal === 0 ? exitCode : 128 + signal;
    output.end();
  });
  return {
    output: output.read(),
    write: async (data) => {
      if (code === undefined) pty.write(Buffer.from(data));
    },
    endInput: () => {
      if (code === undefined) pty.write(END_OF_INPUT);
    },
    resize: async ({ columns, rows }) => {
      if (code === undefined && columns > 0 && rows > 0) pty.resize(columns, rows);
    },
    exitCode: async () => code,
    close: () => {
      if (isClosed) return;
      isClosed = true;
      output.drop();
      if (code === undefined) hangUp(pty, () => code !== undefined);
    },
  };
}

/**
 * As when a terminal is closed. The shell and the command in its foreground are killed when they do not heed that; what somebody
 * has left in the background with nohup stays, as after an ssh.
 */
function hangUp(pty: Pty, hasEnded: () => boolean): void {
  const foreground = foregroundGroup(pty.pid);
  pty.kill('SIGHUP');
  setTimeout(() => {
    if (foreground !== undefined && foreground !== pty.pid) killGroup(foreground);
    if (!hasEnded()) killGroup(pty.pid);
  }, HANG_UP_MS);
}

function killGroup(id: number): void {
  try {
    process.kill(-id, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

/** The process group that has the terminal of this shell: the eighth field of proc(5) stat. */
function foregroundGroup(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second is a name in parentheses, which may hold anything.
    const id = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[5]);
    return id > 1 ? id : undefined;
  } catch {
    return undefined;
  }
}

/** Between a terminal that pushes and a reader that pulls. */
class Output {
  readonly #pty: Pty;
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #isPaused = false;
  #isOver = false;
  #isDropped = false;
  #wake: () => void = () => {};

  constructor(pty: Pty) {
    this.#pty = pty;
    pty.onData((data) => this.#push(typeof data === 'string' ? Buffer.from(data) : data));
  }

  end(): void {
    this.#isOver = true;
    this.#wake();
  }

  /** Nobody reads any more: what comes is thrown away, so that the shell can end. */
  drop(): void {
    this.#isDropped = true;
    this.#parts = [];
    this.#resume();
    this.end();
  }

  async *read(): ExecSession['output'] extends AsyncIterable<infer Part>
    ? AsyncGenerator<Part>
    : never {
    for (;;) {
      const parts = this.#parts;
      this.#parts = [];
      this.#bytes = 0;
      for (const data of parts) yield { stream: 'stdout', data };
      if (this.#parts.length > 0) continue;
      if (this.#isOver) return;
      this.#resume();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #push(data: Uint8Array): void {
    if (this.#isDropped) return;
    this.#parts.push(data);
    this.#bytes += data.length;
    if (this.#bytes >= WAITING_BYTES_MAX && !this.#isPaused) {
      this.#isPaused = true;
      this.#pty.pause();
    }
    this.#wake();
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#pty.resume();
  }
}

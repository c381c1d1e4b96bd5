/**
 * What a test makes the fake runtime do: programs, pulls, and exec and attach, whose process is a function of the test. Keeps the contract of ExecSession: a
 * write waits until it is read, an output until it is taken.
 */
import type { ExecSession, RegistryLogin } from './runtime.ts';
import type { OutputPart } from './stream-demux.ts';

/** What a container does once it is started. */
export interface FakeProgram {
  /** Printed at the start. */
  readonly output?: ReadonlyArray<{ readonly stream: 'stdout' | 'stderr'; readonly line: string }>;
  /** Ends by itself after so long; absent: runs until it is stopped. */
  readonly runMs?: number;
  readonly exitCode?: number;
  readonly oomKilled?: boolean;
  /** Does not react to SIGTERM, so that a stop takes the whole grace period. */
  readonly isDeaf?: boolean;
  /** startContainer fails with these words. */
  readonly startError?: string;
  readonly cpuNanos?: number;
  readonly memoryBytes?: number;
}

/** What a pull does: takes `ms`, then fails with `error` or succeeds. */
export type FakePull = (
  image: string,
  login: RegistryLogin | undefined,
) => { readonly ms?: number; readonly error?: string };

/** What a fake process sees. */
export interface FakeProcess {
  readonly command: readonly string[];
  /** Ends with the standard input, or when the client leaves. */
  readonly stdin: AsyncIterable<Uint8Array>;
  /** Resolves when it was taken; rejects when the client has left. */
  readonly print: (stream: 'stdout' | 'stderr', text: string | Uint8Array) => Promise<void>;
  /** The last one that was told; undefined without a terminal. */
  readonly size: () => { readonly columns: number; readonly rows: number } | undefined;
}

/** Returns its exit code. */
export type FakeExec = (process: FakeProcess) => Promise<number>;

/** One value at a time from a giver to a taker; both wait for each other. */
class Handover<T> {
  #value: { readonly value: T; readonly taken: () => void } | undefined;
  #over = false;
  #wake: () => void = () => undefined;
  #refuse: () => void = () => undefined;

  give(value: T): Promise<void> {
    if (this.#over) return Promise.reject(new Error('nobody takes it any more'));
    return new Promise((taken, reject) => {
      this.#refuse = () => reject(new Error('nobody takes it any more'));
      this.#value = { value, taken };
      this.#wake();
    });
  }

  /** No more is given. */
  end(): void {
    this.#over = true;
    this.#wake();
  }

  /** No more is taken. */
  leave(): void {
    this.#value = undefined;
    this.#refuse();
    this.end();
  }

  async *taken(): AsyncGenerator<T> {
    for (;;) {
      const given = this.#value;
      if (given !== undefined) {
        this.#value = undefined;
        given.taken();
        yield given.value;
      } else if (this.#over) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}

export function fakeSession(run: FakeExec, command: readonly string[], tty: boolean): ExecSession {
  const input = new Handover<Uint8Array>();
  const output = new Handover<OutputPart>();
  let size: { readonly columns: number; readonly rows: number } | undefined;
  const ended = run({
    command,
    stdin: input.taken(),
    print: (stream, text) =>
      output.give({ stream: tty ? 'stdout' : stream, data: Buffer.from(text) }),
    size: () => size,
  }).finally(() => {
    input.leave();
    output.end();
  });
  // Told by exitCode; a client that left asks no more.
  ended.catch(() => undefined);
  return {
    output: output.taken(),
    write: (data) => input.give(data),
    endInput: () => {
      if (!tty) input.end();
    },
    resize: async (wanted) => {
      if (tty) size = wanted;
    },
    exitCode: () => ended,
    close: () => {
      input.leave();
      output.leave();
    },
  };
}

/** A command that nothing else is said about: prints itself, then what it is given. */
export const echoExec: FakeExec = async ({ command, stdin, print }) => {
  await print('stdout', `${command.join(' ')}\n`);
  for await (const data of stdin) await print('stdout', data);
  return 0;
};

/** Prints "attached" and what it is given, until the container exits. */
export function attachedSession(tty: boolean, exited: Promise<void>): ExecSession {
  const over = exited.then(() => 0);
  const run: FakeExec = (process) => Promise.race([over, echoExec(process).then(() => over)]);
  return { ...fakeSession(run, ['attached'], tty), exitCode: async () => undefined };
}

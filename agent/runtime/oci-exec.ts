/**
 * A command in a container by the OCI runtime itself (`runc exec`, `crun exec`; same arguments in both), for probes and
 * hooks. podman's own exec sessions would do, but each of them leaves two conmon processes behind for five minutes and
 * writes its database on the card four times: with a probe every ten seconds that is worse than the probed program.
 * This costs the forks and nothing else; the runtime's files are on a tmpfs.
 */
import { spawn } from 'node:child_process';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { BoundedOutput } from './bounded-output.ts';
import { asNumber, asObject, type JsonObject } from './json-read.ts';
import { signalProcess } from './process-signal.ts';
import { type ExecuteOptions, type ExecuteResult, RuntimeError } from './runtime.ts';

/** Runtimes of containers that are remembered. */
const KNOWN_MAX = 256;

export interface OciExecOptions {
  readonly inspect: (containerId: string) => Promise<unknown>;
  readonly readText: (path: string) => Promise<string | undefined>;
  /** On a tmpfs. */
  readonly pidDir: string;
}

export class OciExec {
  readonly #options: OciExecOptions;
  readonly #runtimes = new Map<string, string>();
  #count = 0;

  constructor(options: OciExecOptions) {
    this.#options = options;
  }

  /** Throws RuntimeError when the container does not run or the program cannot be started. */
  async execute(
    containerId: string,
    command: readonly string[],
    options: ExecuteOptions,
  ): Promise<ExecuteResult> {
    const runtime = await this.#runtimeOf(containerId);
    this.#count += 1;
    // Before anything is waited for: commands that begin together must not share a file.
    const pidFile = `${this.#options.pidDir}/${process.pid}-${this.#count}`;
    await mkdir(this.#options.pidDir, { recursive: true, mode: 0o700 });
    try {
      return await this.#run(runtime, { containerId, command, pidFile }, options);
    } finally {
      await rm(pidFile, { force: true });
    }
  }

  async #run(
    runtime: string,
    {
      containerId,
      command,
      pidFile,
    }: { containerId: string; command: readonly string[]; pidFile: string },
    { timeoutMs, outputBytesMax }: ExecuteOptions,
  ): Promise<ExecuteResult> {
    const output = new BoundedOutput(outputBytesMax);
    const child = spawn(runtime, ['exec', '--pid-file', pidFile, containerId, ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.on('data', (part: Buffer) => output.add(part));
    child.stderr.on('data', (part: Buffer) => output.add(part));
    const closed = new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', resolve);
    });
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      // Not only the runtime's process: the command is no child of it and would run on.
      const killed = this.#kill(pidFile, containerId).catch(() => undefined);
      void killed.then(() => child.kill('SIGKILL'));
    }, timeoutMs);
    try {
      const exitCode = await closed;
      if (timedOut) return { exitCode: undefined, output: output.text() };
      const started = await readFile(pidFile, 'utf8').catch(() => '');
      if (started === '') throw new RuntimeError(startError(output.text(), command));
      return { exitCode: exitCode ?? 137, output: output.text() };
    } catch (cause) {
      if (cause instanceof RuntimeError) throw cause;
      throw new RuntimeError(`${runtime} exec failed: ${String(cause)}`, { cause });
    } finally {
      clearTimeout(timer);
    }
  }

  async #kill(pidFile: string, containerId: string): Promise<void> {
    const pid = Number(await readFile(pidFile, 'utf8').catch(() => ''));
    await signalProcess(pid, containerId, 'SIGKILL');
  }

  /** As conmon's command line tells it (`-r PATH`); the name in the inspection may lack its path. */
  async #runtimeOf(containerId: string): Promise<string> {
    const known = this.#runtimes.get(containerId);
    if (known !== undefined) return known;
    const inspected = asObject(await this.#options.inspect(containerId));
    const state: JsonObject = asObject(inspected.State);
    const conmon = await this.#options.readText(`/proc/${asNumber(state.ConmonPid) ?? 0}/cmdline`);
    const args = conmon?.split('\0') ?? [];
    const runtime = args[args.indexOf('-r') + 1];
    if (state.Status !== 'running' || !args.includes('-r') || runtime === undefined) {
      throw new RuntimeError(`the container ${containerId} does not run`);
    }
    const [oldest] = this.#runtimes.keys();
    if (this.#runtimes.size >= KNOWN_MAX && oldest !== undefined) this.#runtimes.delete(oldest);
    this.#runtimes.set(containerId, runtime);
    return runtime;
  }
}

/** runc logs `time=... level=error msg="..."`, crun plain words. */
function startError(output: string, command: readonly string[]): string {
  const line = output.trim().split('\n').at(-1) ?? '';
  const words = /msg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1]?.replaceAll('\\"', '"') ?? line;
  return words === '' ? `${command[0] ?? ''}: could not be started` : words;
}

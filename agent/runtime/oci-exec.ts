/**
 * A command in a container by the OCI runtime itself (`runc exec`, `crun exec`; same arguments in both), for probes and
 * hooks. podman's own exec sessions would do, but each of them leaves two conmon processes behind for five minutes and
 * writes its database on the card four times: with a probe every ten seconds that is worse than the probed program.
 * This costs the forks and nothing else; the runtime's files and ours are on a tmpfs.
 */
import { spawn } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { BoundedOutput } from './bounded-output.ts';
import { asNumber, asObject, type JsonObject } from './json-read.ts';
import { signalProcess } from './process-signal.ts';
import { type ExecuteOptions, type ExecuteResult, RuntimeError } from './runtime.ts';

/** Runtimes of containers that are remembered. */
const KNOWN_MAX = 256;

export interface OciExecOptions {
  readonly inspect: (containerId: string) => Promise<unknown>;
  readonly readText: (path: string) => Promise<string | undefined>;
  /** For files that live as long as a command; on a tmpfs. */
  readonly dir: string;
}

/** As conmon was told. */
interface OciRuntime {
  readonly path: string;
  /** Folder of the container's config.json. */
  readonly bundle: string;
}

export class OciExec {
  readonly #options: OciExecOptions;
  readonly #runtimes = new Map<string, OciRuntime>();
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
    const { path, bundle } = await this.#runtimeOf(containerId);
    this.#count += 1;
    // Before anything is waited for: commands that begin together must not share a file.
    const pidFile = `${this.#options.dir}/${process.pid}-${this.#count}`;
    const processFile = `${pidFile}.json`;
    await mkdir(this.#options.dir, { recursive: true, mode: 0o700 });
    try {
      const spec = await this.#options.readText(`${bundle}/config.json`);
      const wanted = processOf(containerId, spec ?? '', command);
      await writeFile(processFile, JSON.stringify(wanted), { mode: 0o600 });
      const files = { pidFile, processFile };
      return await this.#run(path, { containerId, command, ...files }, options);
    } finally {
      await Promise.all([rm(pidFile, { force: true }), rm(processFile, { force: true })]);
    }
  }

  async #run(
    runtime: string,
    {
      containerId,
      command,
      pidFile,
      processFile,
    }: {
      containerId: string;
      command: readonly string[];
      pidFile: string;
      processFile: string;
    },
    { timeoutMs, outputBytesMax }: ExecuteOptions,
  ): Promise<ExecuteResult> {
    const output = new BoundedOutput(outputBytesMax);
    const args = ['exec', '--pid-file', pidFile, '--process', processFile, containerId];
    const child = spawn(runtime, args, { stdio: ['ignore', 'pipe', 'pipe'] });
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

  /** As conmon's command line tells it (`-r PATH -b BUNDLE`); the name in the inspection may lack its path. */
  async #runtimeOf(containerId: string): Promise<OciRuntime> {
    const known = this.#runtimes.get(containerId);
    if (known !== undefined) return known;
    const inspected = asObject(await this.#options.inspect(containerId));
    const state: JsonObject = asObject(inspected.State);
    const conmon = await this.#options.readText(`/proc/${asNumber(state.ConmonPid) ?? 0}/cmdline`);
    const args = conmon?.split('\0') ?? [];
    const [path, bundle] = ['-r', '-b'].map((flag) => args[args.indexOf(flag) + 1 || args.length]);
    if (state.Status !== 'running' || path === undefined || bundle === undefined) {
      throw new RuntimeError(`the container ${containerId} does not run`);
    }
    const runtime = { path, bundle };
    const [oldest] = this.#runtimes.keys();
    if (this.#runtimes.size >= KNOWN_MAX && oldest !== undefined) this.#runtimes.delete(oldest);
    this.#runtimes.set(containerId, runtime);
    return runtime;
  }
}

/**
 * The container's own process with another command: its user, groups, environment, folder and rights. Told none of it, runc takes
 * the container's by itself, crun (1.8) takes root. Throws RuntimeError when `config` is no config.json (OCI runtime specification, "process").
 */
function processOf(containerId: string, config: string, command: readonly string[]): JsonObject {
  try {
    const { process: own } = asObject(JSON.parse(config));
    if (own !== undefined)
      return { ...asObject(own), args: command, terminal: false, consoleSize: undefined };
  } catch {
    // Cut off, or not there: the same to the caller.
  }
  throw new RuntimeError(`the container ${containerId} does not run: it has no config.json`);
}

/** runc logs `time=... level=error msg="..."`, crun plain words. */
function startError(output: string, command: readonly string[]): string {
  const line = output.trim().split('\n').at(-1) ?? '';
  const words = /msg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1]?.replaceAll('\\"', '"') ?? line;
  return words === '' ? `${command[0] ?? ''}: could not be started` : words;
}

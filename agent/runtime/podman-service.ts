/**
 * `podman system service` as a child of the agent, where nobody else offers libpod's socket. Promises: one start
 * at a time; a service that dies is started again after a pause that doubles from 100 ms to 30 s; a service that an
 * earlier agent left running is taken over (its process id stands beside the socket). Containers do not
 * depend on it: each has its own conmon.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import type { Logger } from 'pino';
import { EngineHttpError, type PodmanHttp } from './podman-http.ts';
import { RuntimeError } from './runtime.ts';

/** Where Debian's podman.socket listens (systemd's socket activation). */
const SYSTEM_SOCKET = '/run/podman/podman.sock';
/** Where our own service listens when there is no system one. */
const OWN_SOCKET = '/run/pier/podman.sock';

/** Exists where systemd is process 1: then a system service is in our process namespace. */
const SYSTEMD = '/run/systemd/system';

export interface PodmanServiceOptions {
  readonly podmanBinary: string;
  /** Storage of this board alone; both or none. */
  readonly root?: string;
  readonly runroot?: string;
  /** Replaces the environment of the service, as in CONTAINERS_CONF. */
  readonly env?: NodeJS.ProcessEnv;
  readonly log?: Logger;
}

const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 30_000;
/** A service that lived so long starts the back-off from the beginning. */
const STABLE_MS = 60_000;
// A cold board with a slow card needs its time.
const START_MS_MAX = 60_000;
const LAST_WORDS_MAX = 20;
const PING_MS_MAX = 5_000;

/** Throws RuntimeError for options that cannot go together. */
export function socketOf(
  options: Pick<PodmanServiceOptions, 'root' | 'runroot'> & { readonly socketPath?: string },
): string {
  const { root, runroot, socketPath } = options;
  if ((root === undefined) !== (runroot === undefined)) {
    throw new RuntimeError('podman: set both root and runroot, or none of them');
  }
  if (root !== undefined && socketPath === undefined) {
    throw new RuntimeError('podman: a root of its own needs a socketPath of its own');
  }
  return socketPath ?? (existsSync(SYSTEM_SOCKET) ? SYSTEM_SOCKET : OWN_SOCKET);
}

/** The command line behind the binary. Exported for tests. */
export function serviceArguments(
  options: Pick<PodmanServiceOptions, 'root' | 'runroot'>,
  socketPath: string,
): string[] {
  const { root, runroot } = options;
  return [
    // Each board has its own networks and its own state beside its own storage.
    ...(root === undefined ? [] : ['--root', root, '--network-config-dir', `${root}/networks`]),
    ...(runroot === undefined ? [] : ['--runroot', runroot, '--tmpdir', `${runroot}/libpod`]),
    'system',
    'service',
    '--time=0',
    `unix://${socketPath}`,
  ];
}

export class PodmanService {
  readonly #options: PodmanServiceOptions;
  readonly #http: PodmanHttp;
  readonly #pidPath: string;
  #child: ChildProcess | undefined;
  #starting: Promise<void> | undefined;
  #retryMs = RETRY_MS_MIN;
  /** Monotonic; nobody starts the service before that. */
  #notBeforeMs = 0;
  #retryTimer: NodeJS.Timeout | undefined;
  #stopped = false;
  #lastWords: string[] = [];
  #starts = 0;

  constructor(http: PodmanHttp, options: PodmanServiceOptions) {
    this.#http = http;
    this.#options = options;
    this.#pidPath = `${http.socketPath}.pid`;
  }

  /** Whether podman runs beside us, so that a process id of its answers means the same here. */
  get sharesProcesses(): boolean {
    return this.#child !== undefined || existsSync(this.#pidPath) || existsSync(SYSTEMD);
  }

  /** How often a service was started here: each of them may have ended in the middle of something. */
  get starts(): number {
    return this.#starts;
  }

  /** Returns when the engine answers. Throws RuntimeError with what to do when it cannot be had. */
  ensure(): Promise<void> {
    this.#starting ??= this.#ensureOnce().finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  /** Ends the service when it is ours (started here or by an earlier agent). Pods stay. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#retryTimer);
    const pid = await this.#ownPid();
    if (pid === undefined) return;
    const child = this.#child;
    const gone =
      child === undefined || !isAlive(child)
        ? waitUntil(() => !existsSync(`/proc/${pid}`), 5_000)
        : new Promise<boolean>((resolve) => child.once('exit', () => resolve(true)));
    killQuietly(pid, 'SIGTERM');
    const inTime = await Promise.race([gone, waitUntil(() => !existsSync(`/proc/${pid}`), 5_000)]);
    if (!inTime) killQuietly(pid, 'SIGKILL');
    await rm(this.#pidPath, { force: true });
    await rm(this.#http.socketPath, { force: true });
  }

  /** The process id of the service when it is ours; undefined when it belongs to the system. */
  async #ownPid(): Promise<number | undefined> {
    if (this.#child?.pid !== undefined && isAlive(this.#child)) return this.#child.pid;
    let pid: number;
    try {
      pid = Number(await readFile(this.#pidPath, 'utf8'));
      const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8');
      // A process id may have been given to somebody else meanwhile.
      return commandLine.includes(`unix://${this.#http.socketPath}`) ? pid : undefined;
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  async #ensureOnce(): Promise<void> {
    if (await this.#answers()) return;
    if (this.#stopped) throw new RuntimeError('the podman runtime was stopped');
    if (this.#http.socketPath === SYSTEM_SOCKET) {
      throw new RuntimeError(
        `podman does not answer at ${SYSTEM_SOCKET}: try "systemctl restart podman.socket"`,
      );
    }
    // One that lives but does not answer is busy or still starting: a second one would not be faster. It may
    // also be dying, when its socket is gone before its process is: then one takes its place.
    let isStarted = false;
    const deadline = performance.now() + START_MS_MAX;
    while (performance.now() < deadline) {
      if ((await this.#ownPid()) !== undefined) await sleep(20);
      else if (isStarted) break;
      else {
        await this.#spawn();
        isStarted = true;
      }
      if (await this.#answers()) return;
    }
    // Deaf for so long: the next call starts another one.
    const deaf = await this.#ownPid();
    if (deaf !== undefined) killQuietly(deaf, 'SIGKILL');
    const words = this.#lastWords.length === 0 ? '' : `: ${this.#lastWords.join(' | ')}`;
    throw new RuntimeError(
      `"${this.#options.podmanBinary} system service" does not answer at ` +
        `${this.#http.socketPath}${words}; try "podman info" on this board`,
    );
  }

  async #answers(): Promise<boolean> {
    try {
      await this.#http.ping(PING_MS_MAX);
      return true;
    } catch (error) {
      if (error instanceof EngineHttpError && error.status === undefined) return false;
      throw error;
    }
  }

  async #spawn(): Promise<void> {
    const { podmanBinary, env, log } = this.#options;
    await sleep(Math.max(0, this.#notBeforeMs - performance.now()));
    await mkdir(dirname(this.#http.socketPath), { recursive: true, mode: 0o700 });
    await rm(this.#http.socketPath, { force: true });
    this.#lastWords = [];
    this.#starts += 1;
    const child = spawn(podmanBinary, serviceArguments(this.#options, this.#http.socketPath), {
      // conmon leaves a file `oom` wherever the service stands: on a tmpfs, not in the root of the card.
      cwd: dirname(this.#http.socketPath),
      stdio: ['ignore', 'ignore', 'pipe'],
      env: env ?? process.env,
      // A group of its own: Ctrl-C on the agent must not end it before the agent has.
      detached: true,
    });
    const startedAt = performance.now();
    this.#child = child;
    createInterface({ input: child.stderr }).on('line', (line) => {
      this.#lastWords = [...this.#lastWords, line].slice(-LAST_WORDS_MAX);
      log?.debug({ line }, 'podman service says');
    });
    const ended = (why: string): void => {
      if (this.#child !== child) return;
      this.#child = undefined;
      if (this.#stopped) return;
      log?.warn({ why, words: this.#lastWords.slice(-3) }, 'podman service ended');
      this.#restartLater(performance.now() - startedAt);
    };
    child.once('exit', (code, signal) => ended(signal ?? `exit code ${code}`));
    child.once('error', (error) => {
      this.#lastWords.push(error.message);
      ended(error.message);
    });
    if (child.pid !== undefined) await writeFile(this.#pidPath, String(child.pid));
    log?.info({ pid: child.pid, socket: this.#http.socketPath }, 'podman service started');
  }

  #restartLater(livedMs: number): void {
    if (livedMs > STABLE_MS) this.#retryMs = RETRY_MS_MIN;
    const waitMs = this.#retryMs;
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MS_MAX);
    this.#notBeforeMs = performance.now() + waitMs;
    this.#retryTimer = setTimeout(() => {
      if (this.#stopped) return;
      this.ensure().catch((error: unknown) => {
        this.#options.log?.warn({ error }, 'podman service could not be started again');
      });
    }, waitMs);
    this.#retryTimer.unref();
  }
}

/** A child that a signal ended has no exit code. */
function isAlive(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

function killQuietly(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // ESRCH: it ended by itself, which is what we want.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function waitUntil(condition: () => boolean, limitMs: number): Promise<boolean> {
  const deadline = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > deadline) return false;
    await sleep(20);
  }
  return true;
}

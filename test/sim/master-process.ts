/**
 * A real master process on loopback, bundled as it is on a board (it starts three times as fast as from its sources), with a
 * client. It stands in a process group of its own, so that a wrapper such as strace dies with it.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { Client } from '../../cli/client.ts';
import { readKubeconfig } from '../../cli/kubeconfig.ts';
import { freePort } from '../support/free-port.ts';

const HOME = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const PORT_TRIES = 5;
const START_MS = 60_000;
const WORDS_MAX = 64 * 1024;

/** Paths of `pier.mjs` and `pier-master.mjs`. */
export interface Programs {
  readonly pier: string;
  readonly master: string;
}

/** Bundles both programs into `folder`, as firmware-scripts/build.mjs does into dist/. */
export async function bundlePrograms(folder: string): Promise<Programs> {
  await build({
    absWorkingDir: HOME,
    entryPoints: { pier: 'cli/main.ts', 'pier-master': 'master/main.ts' },
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: ['node-pty', 'cbor-extract', 'bufferutil', 'utf-8-validate'],
    banner: {
      js: "import{createRequire as __pierRequire}from'node:module';const require=__pierRequire(import.meta.url);",
    },
    logLevel: 'warning',
  });
  return { pier: join(folder, 'pier.mjs'), master: join(folder, 'pier-master.mjs') };
}

/** What a command said, and its exit code; -1 when it was killed or did not end in time. */
export interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export function runCommand(program: string, ...args: string[]): Said {
  const run = spawnSync(process.execPath, [program, ...args], {
    encoding: 'utf8',
    timeout: START_MS,
    maxBuffer: 64 * 1024 * 1024,
  });
  return { code: run.status ?? -1, stdout: run.stdout, stderr: run.stderr };
}

export interface StartOptions {
  readonly program: string;
  readonly data: string;
  /** Of the API and of the broker; others each time if absent. */
  readonly ports?: readonly [number, number];
  /** A command that runs the command that follows it, such as strace. */
  readonly wrapper?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

export class MasterProcess {
  readonly #child: ChildProcess;
  readonly #data: string;
  readonly #closed: Promise<void>;
  #words = '';
  #isClosed = false;
  #client: Client | undefined;

  constructor(child: ChildProcess, data: string) {
    this.#child = child;
    this.#data = data;
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#words = (this.#words + chunk.toString('utf8')).slice(-WORDS_MAX);
    });
    this.#closed = new Promise((resolve) => {
      child.once('close', () => {
        this.#isClosed = true;
        this.#client?.close();
        resolve();
      });
    });
  }

  /** Starts it and does not wait. */
  static async spawn(options: StartOptions): Promise<MasterProcess> {
    const { program, data, wrapper = [], env = {} } = options;
    const [api, mqtt] = options.ports ?? [await freePort(), await freePort()];
    const ports = ['--api-port', String(api), '--mqtt-port', String(mqtt)];
    const own = ['--listen', '127.0.0.1', '--address', '127.0.0.1', '--data', data];
    const [command = '', ...args] = [
      ...wrapper,
      process.execPath,
      program,
      'run',
      ...own,
      ...ports,
    ];
    const child = spawn(command, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
      env: { ...process.env, ...env },
    });
    return new MasterProcess(child, data);
  }

  static async start(options: StartOptions): Promise<MasterProcess> {
    for (let tries = 0; ; tries++) {
      const master = await MasterProcess.spawn(options);
      if (await master.isUp()) return master;
      // Somebody took the port between the look and the use of it.
      const isTaken = master.words.includes('EADDRINUSE');
      if (!isTaken || tries === PORT_TRIES)
        throw new Error(`the master did not start: ${master.words}`);
    }
  }

  /** What it wrote to stderr, the end of it. */
  get words(): string {
    return this.#words;
  }

  get hasEnded(): boolean {
    return this.#isClosed;
  }

  /** Waits until it listens; false when it ended before that. */
  async isUp(): Promise<boolean> {
    const deadline = performance.now() + START_MS;
    while (!this.#words.includes('the master is up')) {
      if (this.#isClosed) return false;
      if (performance.now() > deadline)
        throw new Error(`no master after ${START_MS} ms: ${this.#words}`);
      await sleep(5);
    }
    return true;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get kubeconfig(): string {
    return join(this.#data, 'admin.kubeconfig');
  }

  /** Where its API listens. */
  get server(): string {
    return readKubeconfig(this.kubeconfig).server.href.replace(/\/$/, '');
  }

  /** As the admin. Only once it is up. */
  get client(): Client {
    this.#client ??= new Client(readKubeconfig(this.kubeconfig));
    return this.#client;
  }

  /** kill -9 of the whole group; returns when it is gone. */
  async kill(): Promise<void> {
    if (!this.#isClosed && this.#child.pid !== undefined) killGroup(this.#child.pid);
    await this.#closed;
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.#closed;
  }

  /** Resolves when it has ended by itself, false after `ms`. */
  async endsWithin(ms: number): Promise<boolean> {
    const waiting = new AbortController();
    const late = sleep(ms, undefined, { signal: waiting.signal }).catch(() => undefined);
    await Promise.race([this.#closed, late]);
    waiting.abort();
    return this.#isClosed;
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    // It has just ended.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

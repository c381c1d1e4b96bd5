/**
 * A container engine of a test's own: in a network and a mount namespace of its own, everything it writes below one
 * temporary folder (what it insists to have in /run and /var/lib lies in memory and goes with it). At the end
 * nothing is left, also when a test failed: whatever still names the folder in its command line is killed.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const START_MS_MAX = 60_000;
const STOP_MS_MAX = 30_000;

/** Why such an engine cannot be tested here; undefined when it can. */
export function engineMissing(...programs: string[]): string | undefined {
  if (process.getuid?.() !== 0) return `${programs[0]} is tested as root only`;
  for (const program of [...programs, 'nsenter', 'unshare', 'ip', 'runc']) {
    try {
      execFileSync('which', [program], { stdio: 'ignore' });
    } catch {
      return `${program} is not installed`;
    }
  }
  return existsSync('/bin/busybox') ? undefined : 'busybox-static is not installed';
}

export class TestEngine {
  /** Holds everything. */
  readonly dir: string;
  /** The network namespace, under /run/netns. */
  readonly netns: string;
  /** Keeps the namespaces while the engine is down: shims and mounts live on in them. */
  readonly #holder: ChildProcess;
  #child: ChildProcess | undefined;
  #command: readonly string[] = [];

  private constructor(dir: string, netns: string, holder: ChildProcess) {
    this.dir = dir;
    this.netns = netns;
    this.#holder = holder;
  }

  static async make(name: string): Promise<TestEngine> {
    const dir = await mkdtemp(join(tmpdir(), `pier-${name}-`));
    const netns = `pier-${process.pid}-${name}`;
    await run('ip', ['netns', 'add', netns]);
    await run('ip', ['-n', netns, 'link', 'set', 'lo', 'up']);
    const own =
      'mount -t tmpfs tmpfs /var/lib && mount -t tmpfs tmpfs /run && echo && exec sleep infinity';
    const holder = spawn(
      'nsenter',
      [`--net=/run/netns/${netns}`, 'unshare', '-m', 'sh', '-c', own],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    await new Promise<void>((resolve, reject) => {
      holder.stdout.once('data', () => resolve());
      holder.once('exit', () => reject(new Error('no namespace could be made for the engine')));
    });
    return new TestEngine(dir, netns, holder);
  }

  get socketPath(): string {
    return join(this.dir, 'engine.sock');
  }

  /** Its process id; the engine itself, because every program in front of it becomes the next. */
  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('the engine does not run');
    return pid;
  }

  get isRunning(): boolean {
    const child = this.#child;
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  /** The first start; a failed one leaves nothing behind. */
  async startOrRemove(command: readonly string[]): Promise<void> {
    await this.start(command).catch(async (error: unknown) => {
      await this.remove();
      throw error;
    });
  }

  /** Returns when it listens. Its words go to `engine.log` in the folder. */
  async start(command: readonly string[] = this.#command): Promise<void> {
    this.#command = command;
    await rm(this.socketPath, { force: true });
    const words = await open(join(this.dir, 'engine.log'), 'a');
    const child = spawn('nsenter', ['-t', `${this.#holder.pid}`, '-m', '-n', ...command], {
      stdio: ['ignore', words.fd, words.fd],
    });
    await words.close();
    this.#child = child;
    const deadline = performance.now() + START_MS_MAX;
    while (!existsSync(this.socketPath)) {
      if (child.exitCode !== null || performance.now() > deadline) {
        throw new Error(`the engine did not start: ${(await this.words()).slice(-2000)}`);
      }
      await sleep(20);
    }
  }

  /** Ends the engine alone; containers may live on. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.isRunning) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill(signal);
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX);
    await gone;
    clearTimeout(late);
  }

  /** SIGKILL to everything of the engine's but the engine: what a power cut does to containers. */
  async killContainers(): Promise<void> {
    for (const pid of await this.#leftOver()) if (pid !== this.#child?.pid) killQuietly(pid);
    await eventuallyNone(() => this.#leftOver());
  }

  words(): Promise<string> {
    return readFile(join(this.dir, 'engine.log'), 'utf8');
  }

  /** Runs a program inside the engine's network namespace; returns stdout. */
  async inside(program: string, ...args: string[]): Promise<string> {
    return (await run('nsenter', [`--net=/run/netns/${this.netns}`, program, ...args])).stdout;
  }

  async remove(): Promise<void> {
    await this.kill('SIGTERM');
    this.#holder.kill('SIGKILL');
    await eventuallyNone(async () => {
      const left = await this.#leftOver();
      for (const pid of left) killQuietly(pid);
      return left;
    });
    await run('ip', ['netns', 'delete', this.netns]);
    await rm(this.dir, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
  }

  /** Shims, which name the folder, and what they have started. */
  async #leftOver(): Promise<number[]> {
    const found = new Set<number>();
    const parents = new Map<number, number>();
    for (const name of await readdir('/proc')) {
      const pid = Number(name);
      if (!Number.isInteger(pid) || pid === process.pid) continue;
      const words = await readQuietly(`/proc/${pid}/cmdline`);
      const stat = await readQuietly(`/proc/${pid}/stat`);
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (state === 'Z') continue;
      parents.set(pid, Number(parent));
      if (words.includes(`${this.dir}/`)) found.add(pid);
    }
    for (let grew = true; grew; ) {
      grew = false;
      for (const [pid, parent] of parents) {
        if (!found.has(parent) || found.has(pid)) continue;
        found.add(pid);
        grew = true;
      }
    }
    return [...found];
  }
}

async function eventuallyNone(look: () => Promise<readonly number[]>): Promise<void> {
  const deadline = performance.now() + STOP_MS_MAX;
  for (let left = await look(); left.length > 0; left = await look()) {
    if (performance.now() > deadline) throw new Error(`processes stay: ${left.join(' ')}`);
    await sleep(50);
  }
}

async function readQuietly(path: string): Promise<string> {
  // A process that has just ended has no files.
  return readFile(path, 'utf8').catch(() => '');
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

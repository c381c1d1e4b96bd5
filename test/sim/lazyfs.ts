/**
 * LazyFS (https://github.com/dsrhaslab/lazyfs): a FUSE file system that keeps what was not synced in its own cache, so that
 * its root directory is at every moment what a power cut would leave. It is fetched and built here when it is needed and is no
 * part of this repository.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const HOME = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const URL = 'https://github.com/dsrhaslab/lazyfs';
const COMMIT = 'a47a5baea559020f29902662de77764b0cbd62ce';
const PACKAGES = 'g++ pkg-config libfuse3-dev libspdlog-dev libtoml11-dev e2fsprogs';
const BUILD_MS = 900_000;
const MOUNT_MS = 60_000;

/** The program, built on the first call. A string with the reason when it cannot be had. */
export function buildLazyFs(): { readonly program: string } | string {
  if (process.getuid?.() !== 0) return 'mounting needs root';
  const folder = join(HOME, '.cache', `lazyfs-${COMMIT.slice(0, 12)}`);
  const program = join(folder, 'lazyfs');
  if (existsSync(program)) return { program };
  try {
    execFileSync('pkg-config', ['--exists', 'fuse3', 'spdlog'], { stdio: 'ignore' });
  } catch {
    return `LazyFS needs what \`apt-get install ${PACKAGES}\` brings`;
  }
  mkdirSync(folder, { recursive: true });
  const own = process.env.PIER_LAZYFS;
  if (own !== undefined) {
    compile(own, program);
    return { program };
  }
  const source = join(folder, 'source');
  try {
    execFileSync('git', ['init', '-q', source]);
    execFileSync('git', ['-C', source, 'fetch', '-q', '--depth=1', URL, COMMIT]);
    execFileSync('git', ['-C', source, 'checkout', '-q', COMMIT]);
  } catch {
    return `LazyFS could not be fetched from ${URL}; PIER_LAZYFS names a folder with its sources`;
  }
  compile(source, program);
  return { program };
}

function compile(source: string, program: string): void {
  const below = (folder: string) =>
    readdirSync(join(source, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.cpp'))
      .map((name) => join(source, folder, name));
  const flags = (...args: string[]) =>
    execFileSync('pkg-config', [...args, 'fuse3'], { encoding: 'utf8' })
      .trim()
      .split(/\s+/);
  const includes = ['libs/libpcache/include', 'lazyfs/include'].map((path) => join(source, path));
  const sources = [
    ...below('libs/libpcache/src'),
    ...below('lazyfs/src'),
    join(source, 'lazyfs/include/lazyfs/fusepp/Fuse.cpp'),
  ];
  const args = ['-O1', '-std=c++17', '-w', '-D_FILE_OFFSET_BITS=64', '-DFUSE_USE_VERSION=36'];
  args.push(...includes.map((path) => `-I${path}`), ...flags('--cflags'), ...sources);
  args.push('-o', program, ...flags('--libs'), '-lpthread', '-lfmt', '-lspdlog');
  execFileSync('g++', args, { timeout: BUILD_MS, stdio: ['ignore', 'ignore', 'inherit'] });
}

export class LazyFs {
  readonly root: string;
  readonly mount: string;
  readonly #child: ChildProcess;
  readonly #closed: Promise<void>;

  private constructor(folder: string, child: ChildProcess) {
    this.root = join(folder, 'root');
    this.mount = join(folder, 'mount');
    this.#child = child;
    this.#closed = new Promise((resolve) => child.once('close', () => resolve()));
  }

  /** `prepare` may put files into the root before; they are on the disk. */
  static async start(
    program: string,
    folder: string,
    prepare: (root: string) => void = () => undefined,
  ): Promise<LazyFs> {
    const [root, mount] = [join(folder, 'root'), join(folder, 'mount')];
    mkdirSync(root, { recursive: true });
    prepare(root);
    mkdirSync(mount, { recursive: true });
    const config = join(folder, 'lazyfs.toml');
    const text = [
      `[faults]\nfifo_path="${join(folder, 'faults')}"`,
      '[cache]\napply_eviction=false\n[cache.simple]\ncustom_size="256mb"\nblocks_per_page=1',
      `[filesystem]\nlog_all_operations=false\nlogfile=""\n`,
    ];
    writeFileSync(config, text.join('\n'));
    // One thread: a frozen moment is then between two requests or within one.
    const options = [
      '-s',
      '-o',
      'allow_other',
      '-o',
      'modules=subdir',
      '-o',
      `subdir=${root}`,
      '-f',
    ];
    const child = spawn(program, [mount, '--config-path', config, ...options], { stdio: 'ignore' });
    const lazy = new LazyFs(folder, child);
    const deadline = performance.now() + MOUNT_MS;
    while (!readFileSync('/proc/mounts', 'utf8').includes(` ${mount} `)) {
      if (child.exitCode !== null) throw new Error(`LazyFS ended with ${child.exitCode}`);
      if (performance.now() > deadline) throw new Error(`LazyFS is not there after ${MOUNT_MS} ms`);
      await sleep(10);
    }
    return lazy;
  }

  /** Holds it still, so that its root can be copied as of one moment. */
  async frozen<T>(work: () => Promise<T>): Promise<T> {
    this.#child.kill('SIGSTOP');
    try {
      // A thread inside the kernel goes on until it comes back.
      while (!this.#isStopped()) await sleep(1);
      return await work();
    } finally {
      this.#child.kill('SIGCONT');
    }
  }

  #isStopped(): boolean {
    const tasks = `/proc/${this.#child.pid}/task`;
    return readdirSync(tasks).every((task) => {
      const text = readFileSync(join(tasks, task, 'stat'), 'utf8');
      return text.slice(text.lastIndexOf(')')).startsWith(') T');
    });
  }

  async stop(): Promise<void> {
    execFileSync('umount', ['--lazy', this.mount]);
    this.#child.kill('SIGKILL');
    await this.#closed;
  }
}

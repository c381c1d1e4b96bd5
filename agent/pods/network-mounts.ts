/**
 * File systems of servers (NFS) on the board, each at `ROOT/POD-UID/VOLUME`, from where the engine takes it into the pod.
 *
 * Promises
 * - What the kernel says is mounted is the truth, so a restarted agent finds what its predecessor mounted.
 * - A server that does not answer holds up its own pod only: mount points are never looked into, not even with stat(2), every
 *   program has its time, and the engine, which looks into them, is not told of one whose server does not answer.
 * - Files of a server are never removed: folders go by rmdir(2) alone, which fails where something is mounted.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, realpath, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { mountsBelow, type RunProgram, runProgram } from '../host/mount-table.ts';
import type { NfsMount } from '../plan/nfs.ts';
import { probeTcp } from '../probe/tcp-probe.ts';

export interface NetworkMountsOptions {
  /** No directory of it is ever removed with what is in it. */
  readonly root: string;
  readonly run: RunProgram;
  /** For one mount or unmount. */
  readonly timeoutMs: number;
  readonly dial: typeof probeTcp;
  readonly dialMs: number;
  /** The program that mount(8) needs for NFS. */
  readonly helper: string;
}

/** Of a real board. */
export function boardMounts(
  root: string,
  times: Pick<NetworkMountsOptions, 'timeoutMs' | 'dialMs'>,
): NetworkMountsOptions {
  return { root, run: runProgram, dial: probeTcp, helper: '/sbin/mount.nfs', ...times };
}

export interface NetworkMount extends NfsMount {
  readonly path: string;
}

export class NetworkMounts {
  readonly #options: NetworkMountsOptions;
  /** Programs that run, by mount point; a killed one may wait in the kernel for long. */
  readonly #running = new Map<string, Promise<void>>();

  constructor(options: NetworkMountsOptions) {
    this.#options = options;
  }

  /** Idempotent; asks the server each time. Throws an Error that says what to do. */
  async ensure(mount: NetworkMount): Promise<void> {
    const { path: target, source, options } = mount;
    const parent = path.dirname(target);
    await mkdir(parent, { recursive: true, mode: 0o700 });
    const plain = path.join(await realpath(parent), path.basename(target));
    if ((await mountsBelow(plain)).includes(plain)) return this.#ask(mount);
    if (this.#running.has(plain)) {
      throw new Error(`an earlier mount of ${source} has not ended yet: does the server answer?`);
    }
    await mkdir(plain, { recursive: true });
    try {
      await this.#run(plain, 'mount', ['-t', 'nfs', '-o', options, '--', source, plain]);
    } catch (error) {
      await rmdir(plain).catch(() => undefined);
      const { helper } = this.#options;
      if (!existsSync(helper)) {
        throw new Error(
          `mounting ${source} needs ${helper}, which this board does not have: apt-get install nfs-common`,
          { cause: error },
        );
      }
      const words = error instanceof Error ? error.message : String(error);
      throw new Error(`mount of ${source} failed: ${words}`, { cause: error });
    }
  }

  async #ask({ source, server }: NfsMount): Promise<void> {
    if (server === undefined) return;
    const { dial, dialMs } = this.#options;
    const { answer, output } = await dial(server.host, server.port, dialMs);
    if (answer !== 'success') throw new Error(`the server of ${source} does not answer: ${output}`);
  }

  /** Everything of one pod. Throws when something stays. */
  async release(uid: string): Promise<void> {
    const root = await realpath(this.#options.root).catch(absent);
    if (root === undefined) return;
    const directory = path.join(root, uid);
    for (const target of (await mountsBelow(directory)).reverse()) {
      // Neither looks at the mount point nor asks mount.nfs: both wait for a server that is gone.
      await this.#run(target, 'umount', ['-l', '-c', '-i', target]);
    }
    for (const name of (await readdir(directory).catch(absent)) ?? []) {
      await rmdir(path.join(directory, name)).catch(absent);
    }
    await rmdir(directory).catch(absent);
  }

  /** The pods that have a folder here. */
  async pods(): Promise<string[]> {
    return (await readdir(this.#options.root).catch(absent)) ?? [];
  }

  async #run(target: string, program: 'mount' | 'umount', args: string[]): Promise<void> {
    const { run, timeoutMs } = this.#options;
    const killer = new AbortController();
    const ended = run(program, args, killer.signal);
    const settled = ended.then(
      () => {},
      () => {},
    );
    this.#running.set(target, settled);
    void settled.then(() => {
      if (this.#running.get(target) === settled) this.#running.delete(target);
    });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        killer.abort();
        reject(new Error(`no answer within ${timeoutMs / 1000} s`));
      }, timeoutMs);
    });
    try {
      await Promise.race([ended, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

function absent(error: unknown): undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT') return undefined;
  throw error;
}

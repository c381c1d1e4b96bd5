/** The engine itself: which it is, how it is set up, and whether it can run our pods. */
import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { RuntimeError } from '../runtime.ts';
import type { GrpcSocket } from './grpc.ts';
import { missingPlugins, otherNetwork } from './network.ts';
import { ensurePauseImage } from './own-images.ts';
import { CRI } from './proto.ts';
import { type EngineSetup, readSetup } from './read.ts';
import { CGROUP_PARENT } from './remains.ts';

/** Where engines look for networks that do not tell. */
const CNI_CONF_DIR = '/etc/cni/net.d';

export class CriEngine {
  readonly #grpc: GrpcSocket;
  readonly #log: Logger | undefined;
  #name = 'cri';
  #setup: EngineSetup = readSetup({});
  #seccomp = true;

  constructor(grpc: GrpcSocket, log: Logger | undefined) {
    this.#grpc = grpc;
    this.#log = log;
  }

  get name(): string {
    return this.#name;
  }

  /** Known once it was started. */
  get setup(): EngineSetup {
    return this.#setup;
  }

  get cniConfDir(): string {
    return this.#setup.cniConfDir ?? CNI_CONF_DIR;
  }

  /** As its cgroup driver wants it. */
  get cgroupParent(): string {
    return this.#setup.systemdCgroup ? 'pier.slice' : `/${CGROUP_PARENT}`;
  }

  /** Whether the kernel has it. */
  get seccomp(): boolean {
    return this.#seccomp;
  }

  async version(): Promise<string> {
    const { runtimeName, runtimeVersion } = await this.#grpc.call(
      CRI.version,
      { version: 'v1' },
      { isRead: true },
    );
    this.#name = runtimeName === '' ? 'cri' : runtimeName;
    return runtimeVersion.replace(/^v/, '');
  }

  /** Throws RuntimeError that says what to do. */
  async start(): Promise<void> {
    await this.#look();
    const problem = await this.#networkProblem();
    if (problem !== undefined) throw new RuntimeError(problem);
    this.#seccomp = (await readFile('/proc/self/status', 'utf8')).includes('\nSeccomp:');
    const { sandboxImage, rootDir } = this.#setup;
    if (sandboxImage === undefined) return;
    const isMade = await ensurePauseImage(this.#grpc, sandboxImage, rootDir);
    if (isMade) this.#log?.info({ image: sandboxImage }, 'pause image made');
  }

  /** Why pods cannot be run with it, changing nothing; undefined when they can. */
  async problem(): Promise<string | undefined> {
    try {
      await this.#look();
      return await this.#networkProblem();
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  async #look(): Promise<void> {
    await this.version();
    const { info } = await this.#grpc.call(CRI.status, { verbose: true }, { isRead: true });
    this.#setup = readSetup(info);
  }

  async #networkProblem(): Promise<string | undefined> {
    const { cniBinDir } = this.#setup;
    const missing = cniBinDir === undefined ? undefined : missingPlugins(cniBinDir);
    return missing ?? (await otherNetwork(this.cniConfDir));
  }
}

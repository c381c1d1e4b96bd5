/**
 * A Runtime in memory: for unit tests, and for hollow boards in a simulation. It passes the same suite as the real
 * ones. Nothing runs by itself but what `program` says a container does; time comes from outside, so
 * that a simulation can turn the clock. `exit`, `loseEverything` and `failNext` play the faults.
 */
import { type Clock, systemClock } from '../../protocol/clock.ts';
import { FakeEvents } from './fake-events.ts';
import {
  attachedSession,
  echoExec,
  type FakeExec,
  type FakeProgram,
  type FakePull,
  fakeSession,
} from './fake-exec.ts';
import { FakeLog } from './fake-log.ts';
import type { HeldImage, ImageStore } from './image-store.ts';
import {
  type Container,
  type ContainerSpec,
  type ContainerStats,
  type ExecOptions,
  type ExecSession,
  type ExecuteOptions,
  type ExecuteResult,
  ImagePullError,
  type ImageStatus,
  type LogOptions,
  type RegistryLogin,
  type Runtime,
  RuntimeError,
  type RuntimeEvent,
  type Sandbox,
  type SandboxSpec,
  type StreamOptions,
} from './runtime.ts';

export interface FakeRuntimeOptions {
  readonly clock?: Clock;
  /** Runs something later; returns what cancels it. Default: setTimeout. */
  readonly after?: (ms: number, run: () => void) => () => void;
  /** Default: every container runs until it is stopped. */
  readonly program?: (spec: ContainerSpec) => FakeProgram;
  /** What a command in a running container does. Default: succeeds at once and prints nothing. */
  readonly execute?: (command: readonly string[], spec: ContainerSpec) => FakeProgram;
  /** What a command does that is run by `exec`. Default: prints itself and its input. */
  readonly exec?: FakeExec;
  /** On the board from the start. */
  readonly images?: readonly string[];
  /** What images are built for; one that is not named here does not tell. */
  readonly architectures?: Readonly<Record<string, string>>;
  /** What a pull does: takes `ms`, then fails with `error` or succeeds. Default: succeeds at once. */
  readonly pull?: FakePull;
}

interface FakeContainer {
  readonly sandboxId: string;
  readonly podUid: string;
  readonly spec: ContainerSpec;
  readonly program: FakeProgram;
  readonly log: FakeLog;
  view: Container;
  cancelEnd: () => void;
  onExit: Array<() => void>;
}

export class FakeRuntime implements Runtime {
  readonly name = 'fake';
  readonly podFolders = [];
  readonly #clock: Clock;
  readonly #after: (ms: number, run: () => void) => () => void;
  readonly #options: FakeRuntimeOptions;
  readonly #sandboxes = new Map<string, Sandbox>();
  readonly #containers = new Map<string, FakeContainer>();
  readonly #images: Set<string>;
  readonly images: ImageStore = {
    list: async () => [...this.#images].map(heldImage),
    remove: async ({ tags }) => {
      for (const tag of tags) this.#images.delete(tag);
    },
    folder: async () => undefined,
  };
  readonly #events = new FakeEvents();
  readonly #failures = new Map<string, Error>();
  #podCidr: string | undefined;
  #nextId = 1;

  constructor(options: FakeRuntimeOptions = {}) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#after = options.after ?? realAfter;
    this.#images = new Set(options.images);
  }

  /** Ends a running container from outside, as a crash does. */
  exit(id: string, exitCode: number, facts: { readonly oomKilled?: boolean } = {}): void {
    this.#end(this.#mustHave(id), exitCode, facts.oomKilled ?? false);
  }

  /** As a reboot of a board whose engine keeps its state in memory: no sandbox, no container, images stay. */
  loseEverything(): void {
    for (const container of this.#containers.values()) {
      container.cancelEnd();
      container.log.end();
    }
    this.#containers.clear();
    this.#sandboxes.clear();
  }

  /** The next call of this method throws the error instead. */
  failNext(method: keyof Runtime, error: Error): void {
    this.#failures.set(method, error);
  }

  /** As if it had been imported or pulled. */
  addImage(image: string): void {
    this.#images.add(image);
  }

  async start(): Promise<void> {
    this.#failIfTold('start');
  }

  async stop(): Promise<void> {
    this.#failIfTold('stop');
  }

  async version(): Promise<string> {
    this.#failIfTold('version');
    return '1.0.0';
  }

  async ensureNetwork(podCidr: string): Promise<void> {
    this.#failIfTold('ensureNetwork');
    const isUsed = [...this.#sandboxes.values()].some((sandbox) => sandbox.ip !== undefined);
    if (this.#podCidr !== undefined && this.#podCidr !== podCidr && isUsed) {
      throw new RuntimeError(
        `the pod network is ${this.#podCidr}, but ${podCidr} is wanted, and pods still use it`,
      );
    }
    this.#podCidr = podCidr;
  }

  async listSandboxes(): Promise<Sandbox[]> {
    this.#failIfTold('listSandboxes');
    return [...this.#sandboxes.values()];
  }

  async listContainers(): Promise<Container[]> {
    this.#failIfTold('listContainers');
    return [...this.#containers.values()].map((container) => container.view);
  }

  async runSandbox(spec: SandboxSpec): Promise<Sandbox> {
    this.#failIfTold('runSandbox');
    for (const other of [...this.#sandboxes.values()]) {
      if (other.podUid === spec.podUid) await this.removeSandbox(other.id);
      else if (spec.ip !== undefined && other.ip === spec.ip) {
        throw new RuntimeError(`the address ${spec.ip} is taken by the pod ${other.podName}`);
      }
    }
    const sandbox: Sandbox = {
      id: this.#makeId(),
      podUid: spec.podUid,
      podName: spec.podName,
      podNamespace: spec.podNamespace,
      ip: spec.hostNetwork ? undefined : spec.ip,
      ready: true,
    };
    this.#sandboxes.set(sandbox.id, sandbox);
    return sandbox;
  }

  async removeSandbox(id: string): Promise<void> {
    this.#failIfTold('removeSandbox');
    for (const container of [...this.#containers.values()]) {
      if (container.sandboxId === id) await this.removeContainer(container.view.id);
    }
    this.#sandboxes.delete(id);
  }

  async createContainer(sandboxId: string, spec: ContainerSpec): Promise<string> {
    this.#failIfTold('createContainer');
    const sandbox = this.#sandboxes.get(sandboxId);
    if (sandbox === undefined) throw new RuntimeError(`the pod sandbox ${sandboxId} is gone`);
    if (!this.#images.has(spec.image)) throw new RuntimeError(`${spec.image}: image not known`);
    const id = this.#makeId();
    this.#containers.set(id, {
      sandboxId,
      podUid: sandbox.podUid,
      spec,
      program: this.#options.program?.(spec) ?? {},
      log: new FakeLog(),
      cancelEnd: () => undefined,
      onExit: [],
      view: {
        id,
        podUid: sandbox.podUid,
        name: spec.name,
        attempt: spec.attempt,
        specHash: spec.specHash,
        image: spec.image,
        imageId: imageId(spec.image),
        state: 'created',
      },
    });
    return id;
  }

  async startContainer(id: string): Promise<void> {
    this.#failIfTold('startContainer');
    const container = this.#mustHave(id);
    const { program } = container;
    if (container.view.state !== 'created') {
      throw new RuntimeError(`the container ${id} was started before`);
    }
    if (program.startError !== undefined) throw new RuntimeError(program.startError);
    const startedAtMs = this.#clock.wallMs();
    container.view = { ...container.view, state: 'running', startedAtMs };
    for (const { stream, line } of program.output ?? []) {
      container.log.write(stream, line, startedAtMs);
    }
    this.#tell('started', container);
    if (program.runMs !== undefined) {
      container.cancelEnd = this.#after(program.runMs, () => {
        this.#end(container, program.exitCode ?? 0, program.oomKilled ?? false);
      });
    }
  }

  async stopContainer(id: string, graceSeconds: number): Promise<void> {
    this.#failIfTold('stopContainer');
    const container = this.#containers.get(id);
    if (container?.view.state !== 'running') return;
    if (container.program.isDeaf !== true) {
      this.#end(container, 143, false);
      return;
    }
    await new Promise<void>((resolve) => {
      const cancel = this.#after(graceSeconds * 1000, () => this.#end(container, 137, false));
      container.onExit.push(() => {
        cancel();
        resolve();
      });
    });
  }

  async removeContainer(id: string): Promise<void> {
    this.#failIfTold('removeContainer');
    const container = this.#containers.get(id);
    if (container === undefined) return;
    if (container.view.state === 'running') this.#end(container, 137, false);
    container.log.end();
    this.#containers.delete(id);
    this.#tell('removed', container);
  }

  async imageStatus(image: string): Promise<ImageStatus | undefined> {
    this.#failIfTold('imageStatus');
    return this.#images.has(image) ? this.#status(image) : undefined;
  }

  async pullImage(image: string, signal: AbortSignal, login?: RegistryLogin): Promise<ImageStatus> {
    this.#failIfTold('pullImage');
    if (image.startsWith('localhost/')) {
      if (this.#images.has(image)) return this.#status(image);
      throw new ImagePullError(`the image ${image} is not on this board`);
    }
    const { ms, error } = this.#options.pull?.(image, login) ?? {};
    if (ms !== undefined) await this.#pause(ms, signal);
    if (signal.aborted) throw new ImagePullError(`pull of ${image}: the pull was given up`);
    if (error !== undefined) throw new ImagePullError(error);
    this.#images.add(image);
    return this.#status(image);
  }

  #status(image: string): ImageStatus {
    const architecture = this.#options.architectures?.[image] ?? '';
    return { id: imageId(image), repoDigests: [], architecture };
  }

  logs(id: string, options: LogOptions, signal: AbortSignal): AsyncIterable<Uint8Array> {
    this.#failIfTold('logs');
    return this.#mustHave(id).log.read(options, signal);
  }

  async execute(
    id: string,
    command: readonly string[],
    options: ExecuteOptions,
  ): Promise<ExecuteResult> {
    this.#failIfTold('execute');
    const { spec } = this.#mustRun(id);
    const program = this.#options.execute?.(command, spec) ?? {};
    if (program.startError !== undefined) throw new RuntimeError(program.startError);
    const lines = (program.output ?? []).map(({ line }) => `${line}\n`);
    const output = lines.join('').slice(0, options.outputBytesMax);
    const { runMs = 0, exitCode = 0 } = program;
    await this.#pause(Math.min(runMs, options.timeoutMs), new AbortController().signal);
    return { exitCode: runMs > options.timeoutMs ? undefined : exitCode, output };
  }

  async exec(id: string, { command, tty }: ExecOptions): Promise<ExecSession> {
    this.#failIfTold('exec');
    this.#mustRun(id);
    return fakeSession(this.#options.exec ?? echoExec, command, tty);
  }

  /** The container's process prints what it is given. */
  async attach(id: string, { tty }: StreamOptions): Promise<ExecSession> {
    this.#failIfTold('attach');
    const { onExit } = this.#mustRun(id);
    return attachedSession(tty, new Promise((resolve) => onExit.push(() => resolve())));
  }

  async stats(ids: readonly string[]): Promise<ContainerStats[]> {
    this.#failIfTold('stats');
    return [...this.#containers.values()]
      .filter(({ view }) => view.state === 'running' && ids.includes(view.id))
      .map(({ view, program }) => ({
        containerId: view.id,
        cpuNanos: program.cpuNanos ?? 1_000_000,
        memoryBytes: program.memoryBytes ?? 1_048_576,
      }));
  }

  events(signal: AbortSignal): AsyncIterable<RuntimeEvent> {
    return this.#events.read(signal);
  }

  #end(container: FakeContainer, exitCode: number, oomKilled: boolean): void {
    if (container.view.state !== 'running') return;
    container.cancelEnd();
    const finishedAtMs = this.#clock.wallMs();
    container.view = { ...container.view, state: 'exited', exitCode, oomKilled, finishedAtMs };
    container.log.end();
    for (const told of container.onExit.splice(0)) told();
    this.#tell('exited', container);
  }

  #tell(type: RuntimeEvent['type'], container: FakeContainer): void {
    this.#events.tell({ type, containerId: container.view.id, podUid: container.podUid });
  }

  #mustHave(id: string): FakeContainer {
    const container = this.#containers.get(id);
    if (container === undefined) throw new RuntimeError(`no container ${id}`);
    return container;
  }

  #mustRun(id: string): FakeContainer {
    const container = this.#mustHave(id);
    if (container.view.state !== 'running')
      throw new RuntimeError(`the container ${id} does not run`);
    return container;
  }

  #failIfTold(method: keyof Runtime): void {
    const error = this.#failures.get(method);
    if (error === undefined) return;
    this.#failures.delete(method);
    throw error;
  }

  #pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#after(ms, resolve);
      signal.addEventListener('abort', () => {
        cancel();
        resolve();
      });
    });
  }

  #makeId(): string {
    const id = this.#nextId.toString(16).padStart(64, '0');
    this.#nextId += 1;
    return id;
  }
}

function imageId(image: string): string {
  return Buffer.from(image).toString('hex').padEnd(64, '0').slice(0, 64);
}

function heldImage(image: string): HeldImage {
  const id = imageId(image);
  const digest = `${image.replace(/:[^:/]*$/, '')}@sha256:${id}`;
  return { id, tags: [image], digests: [digest], sizeBytes: 1024, pinned: false };
}

function realAfter(ms: number, run: () => void): () => void {
  const timer = setTimeout(run, ms);
  return () => clearTimeout(timer);
}

/**
 * The Runtime on the Docker Engine, over its API. A pod is a container of our own pause image whose network and IPC
 * namespaces the others join. The engine is the system's; we neither start nor configure it. Promises: at most
 * CALLS_PARALLEL calls at once; what is known about a pod is in its labels, so an agent without memory finds
 * everything again. Containers end with dockerd unless it has `live-restore` set.
 */

import type { Logger } from 'pino';
import { type ProgramOutput, programOutput } from '../host/program-output.ts';
import { execute } from './docker/exec.ts';
import { imageStatus, importImage, pullImage } from './docker/images.ts';
import { ensureDockerNetwork, letOthersIn } from './docker/network.ts';
import { parseJsonEntry, readContainer, readSandbox, readStats } from './docker/read.ts';
import {
  containerBody,
  resolvFile,
  SANDBOX_LABEL,
  sandboxBody,
  sandboxName,
} from './docker/spec.ts';
import { engineEvents } from './engine-events.ts';
import { type EngineCalls, engineAttach, engineExec } from './engine-exec.ts';
import { engineImages } from './image-store.ts';
import { asArray, asNumber, asObject, asText } from './json-read.ts';
import { Limiter } from './limiter.ts';
import { readLogFile } from './log-file.ts';
import { PAUSE_COMMAND, PAUSE_IMAGE, pauseArch, pauseImageTar } from './pause-image.ts';
import { PodFiles, podHosts } from './pod-files.ts';
import { type CallOptions, EngineHttpError, PodmanHttp } from './podman-http.ts';
import { readEvent, readExit } from './podman-read.ts';
import { signalProcess } from './process-signal.ts';
import { ProcessStats } from './process-stats.ts';
import {
  AddressTakenError,
  type Container,
  type ContainerSpec,
  type ContainerStats,
  type ExecOptions,
  type ExecSession,
  type ExecuteOptions,
  type ExecuteResult,
  type ImageStatus,
  LABELS,
  type LogOptions,
  type RegistryLogin,
  type Runtime,
  RuntimeError,
  type RuntimeEvent,
  type Sandbox,
  type SandboxSpec,
  type StreamOptions,
} from './runtime.ts';

export interface DockerRuntimeOptions {
  readonly socketPath: string;
  /** On a tmpfs: hosts and resolver files of pods. */
  readonly runDir: string;
  /** A container's log file is started anew at this size; default 10 MiB. */
  readonly logBytesMax?: number;
  /** Where the engine's network is; default: here. */
  readonly run?: ProgramOutput;
  readonly log?: Logger;
}

const CALLS_PARALLEL = 8;
const CALLS_WAITING_MAX = 1024;
const LOG_BYTES_MAX = 10 * 1024 * 1024;
const SLOW_MS_MAX = 240_000;
const OURS = { filters: JSON.stringify({ label: [`${LABELS.managed}=true`] }), all: true };

type Facts = Pick<Container, 'state' | 'startedAtMs' | 'finishedAtMs' | 'exitCode' | 'oomKilled'>;

export class DockerRuntime implements Runtime {
  readonly name = 'docker';
  readonly podFolders: readonly string[];
  readonly #options: DockerRuntimeOptions;
  readonly #http: PodmanHttp;
  readonly #limiter = new Limiter({ parallel: CALLS_PARALLEL, queueMax: CALLS_WAITING_MAX });
  readonly #hosts: PodFiles;
  readonly #resolvers: PodFiles;
  readonly #stats: ProcessStats;
  readonly #sandboxes = new Map<string, Sandbox>();
  /** What an inspection told: of the running their start, of the ended everything. It changes no more. */
  readonly #facts = new Map<string, Facts>();
  readonly #engine: EngineCalls = {
    call: (method, path, options) => this.#call(method, path, options),
    hijack: (path, options) => this.#http.hijack(path, options),
    hangUp: (pid, id) => signalProcess(pid, id, 'SIGHUP'),
  };
  #rootDir: string | undefined;
  readonly images = engineImages(this.#engine.call, async () => this.#rootDir);

  constructor(options: DockerRuntimeOptions) {
    this.#options = options;
    // Without a version in the path the engine speaks its own newest one.
    this.#http = new PodmanHttp(options.socketPath, { engine: 'docker', base: '' });
    const folders = [`${options.runDir}/hosts`, `${options.runDir}/resolv`] as const;
    this.#hosts = new PodFiles(folders[0]);
    this.#resolvers = new PodFiles(folders[1]);
    this.podFolders = folders;
    this.#stats = new ProcessStats({
      pidOf: async (id) => asNumber(asObject(await this.#state(id)).Pid) || undefined,
      ask: (id) => this.#askStats(id),
    });
  }

  async start(): Promise<void> {
    this.#rootDir = asText(asObject(await this.#call('GET', '/info')).DockerRootDir);
    if ((await this.imageStatus(PAUSE_IMAGE)) !== undefined) return;
    const arch = pauseArch(process.arch);
    if (arch === undefined) {
      throw new RuntimeError(`no pause program for the processor "${process.arch}"`);
    }
    await this.importImage(PAUSE_IMAGE, pauseImageTar(arch), [PAUSE_COMMAND]);
  }

  async stop(): Promise<void> {
    this.#http.close();
  }

  /** Why pods cannot be run with this engine, changing nothing; undefined when they can. */
  async problem(): Promise<string | undefined> {
    return this.version().then(
      () => undefined,
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
  }

  async version(): Promise<string> {
    const { Version } = asObject(await this.#call('GET', '/version'));
    return asText(Version) ?? 'unknown';
  }

  async ensureNetwork(podCidr: string): Promise<void> {
    const call = (method: string, path: string, options?: CallOptions) =>
      this.#call(method, path, options);
    await ensureDockerNetwork(call, podCidr);
    await letOthersIn(podCidr, this.#options.run ?? programOutput, this.#options.log);
  }

  async listSandboxes(): Promise<Sandbox[]> {
    return asArray(await this.#call('GET', '/containers/json', { query: OURS })).flatMap(
      (entry) => readSandbox(entry) ?? [],
    );
  }

  async listContainers(): Promise<Container[]> {
    const answer = await this.#call('GET', '/containers/json', { query: OURS });
    const containers = asArray(answer).flatMap((entry) => readContainer(entry) ?? []);
    const there = new Set(containers.map(({ id }) => id));
    for (const id of this.#facts.keys()) if (!there.has(id)) this.#facts.delete(id);
    return Promise.all(containers.map((container) => this.#withFacts(container)));
  }

  async runSandbox(spec: SandboxSpec): Promise<Sandbox> {
    const { podUid, podName, podNamespace } = spec;
    // What a crash left half-made goes first; its name and address would still be taken.
    for (const { id, podUid: uid } of await this.listSandboxes()) {
      if (uid === podUid) await this.removeSandbox(id);
    }
    await this.#hosts.write(podUid, await podHosts(spec));
    const resolver = resolvFile(spec);
    if (resolver !== undefined) await this.#resolvers.write(podUid, resolver);
    const id = await this.#create(sandboxName(spec), sandboxBody(spec));
    try {
      await this.#call('POST', `/containers/${id}/start`, { timeoutMs: SLOW_MS_MAX });
    } catch (error) {
      await this.removeSandbox(id);
      if (!(error instanceof RuntimeError) || spec.ip === undefined) throw error;
      const isTaken = /address already in use/i.test(error.message);
      const Refusal = isTaken ? AddressTakenError : RuntimeError;
      throw new Refusal(`pod with the address ${spec.ip}: ${error.message}`, { cause: error });
    }
    const ip = spec.hostNetwork ? undefined : spec.ip;
    const sandbox: Sandbox = { id, podUid, podName, podNamespace, ip, ready: true };
    this.#sandboxes.set(id, sandbox);
    return sandbox;
  }

  async removeSandbox(id: string): Promise<void> {
    const podUid = (await this.#sandboxById(id))?.podUid;
    const label = [`${SANDBOX_LABEL}=${id}`];
    const query = { all: true, filters: JSON.stringify({ label }) };
    const inside = asArray(await this.#call('GET', '/containers/json', { query }));
    await Promise.all(
      inside.map((entry) => this.removeContainer(asText(asObject(entry).Id) ?? '')),
    );
    await this.#remove(id);
    this.#sandboxes.delete(id);
    if (podUid === undefined) return;
    await this.#hosts.remove(podUid);
    await this.#resolvers.remove(podUid);
  }

  async createContainer(sandboxId: string, spec: ContainerSpec): Promise<string> {
    const sandbox = await this.#sandboxById(sandboxId);
    if (sandbox === undefined) throw new RuntimeError(`the pod sandbox ${sandboxId} is gone`);
    this.#sandboxes.set(sandboxId, sandbox);
    const files = new Map<string, string>();
    const hosts = this.#hosts.find(sandbox.podUid);
    const resolver = this.#resolvers.find(sandbox.podUid);
    if (hosts !== undefined) files.set('/etc/hosts', hosts);
    if (resolver !== undefined) files.set('/etc/resolv.conf', resolver);
    const logBytesMax = this.#options.logBytesMax ?? LOG_BYTES_MAX;
    const { name, body } = containerBody(spec, { sandbox, files, logBytesMax });
    return this.#create(name, body);
  }

  async startContainer(id: string): Promise<void> {
    await this.#call('POST', `/containers/${id}/start`, { timeoutMs: SLOW_MS_MAX });
  }

  async stopContainer(id: string, graceSeconds: number): Promise<void> {
    const seconds = Math.max(0, Math.ceil(graceSeconds));
    // Not through the limiter: it may wait for as long as the grace period.
    await this.#http
      .json('POST', `/containers/${id}/stop`, {
        query: { t: seconds },
        timeoutMs: (seconds + 60) * 1000,
      })
      .catch(allow404);
  }

  async removeContainer(id: string): Promise<void> {
    await this.#remove(id);
    this.#facts.delete(id);
  }

  imageStatus(image: string): Promise<ImageStatus | undefined> {
    return this.#limiter.run(() => imageStatus(this.#http, image));
  }

  pullImage(image: string, signal: AbortSignal, login?: RegistryLogin): Promise<ImageStatus> {
    return pullImage({ http: this.#http, rootDir: this.#rootDir }, image, signal, login);
  }

  /** Makes an image of this board from a tar archive of its file system; returns its id. */
  importImage(reference: string, tar: Uint8Array, entrypoint?: readonly string[]): Promise<string> {
    return this.#limiter.run(() => importImage(this.#http, reference, tar, entrypoint));
  }

  async *logs(id: string, options: LogOptions, signal: AbortSignal): AsyncIterable<Uint8Array> {
    const path = asText(asObject(await this.#call('GET', `/containers/${id}/json`)).LogPath);
    if (path === undefined || path === '') {
      throw new RuntimeError(`docker keeps no log file for the container ${id}`);
    }
    const over = new AbortController();
    const ended = options.follow
      ? this.#ended(id, AbortSignal.any([signal, over.signal]))
      : Promise.resolve();
    try {
      yield* readLogFile(path, options, ended, signal, parseJsonEntry);
    } finally {
      over.abort();
    }
  }

  execute(id: string, command: readonly string[], options: ExecuteOptions): Promise<ExecuteResult> {
    // Not through the limiter: it may take as long as it likes.
    return execute(this.#http, id, command, options);
  }

  exec(id: string, options: ExecOptions): Promise<ExecSession> {
    return engineExec(this.#engine, id, options);
  }

  attach(id: string, options: StreamOptions): Promise<ExecSession> {
    return engineAttach(this.#engine, id, options);
  }

  stats(ids: readonly string[]): Promise<ContainerStats[]> {
    return this.#stats.read(ids);
  }

  events(signal: AbortSignal): AsyncIterable<RuntimeEvent> {
    return engineEvents(
      {
        engine: 'docker',
        open: (options) => this.#http.stream('GET', '/events', options),
        filters: { event: ['start', 'die', 'destroy'] },
        read: readEvent,
      },
      signal,
    );
  }

  async #create(name: string, body: Record<string, unknown>): Promise<string> {
    // A name that a crash left behind is ours alone: it holds the pod's uid.
    await this.#remove(name);
    const answer = asObject(
      await this.#call('POST', '/containers/create', { query: { name }, body }),
    );
    const id = asText(answer.Id);
    if (id === undefined) throw new RuntimeError(`docker told no id for the container ${name}`);
    return id;
  }

  /** By id or by name; with its anonymous volumes. */
  async #remove(id: string): Promise<void> {
    const query = { force: true, v: true };
    await this.#call('DELETE', `/containers/${id}`, { query, timeoutMs: SLOW_MS_MAX }).catch(
      allowGone,
    );
  }

  async #withFacts(container: Container): Promise<Container> {
    const { id, state } = container;
    let facts = this.#facts.get(id);
    if (facts?.state !== state || state === 'created') {
      const inspected = await this.#state(id);
      if (inspected === undefined) return container;
      const { startedAtMs, ...exit } = readExit({ State: inspected });
      facts = {
        state,
        ...(startedAtMs === undefined ? {} : { startedAtMs }),
        ...(state === 'exited' ? exit : {}),
      };
      this.#facts.set(id, facts);
    }
    return { ...container, ...facts };
  }

  /** `State` of an inspection; undefined when there is no such container. */
  async #state(id: string): Promise<unknown> {
    const inspected = await this.#call('GET', `/containers/${id}/json`).catch(allow404);
    return inspected === undefined ? undefined : asObject(inspected).State;
  }

  async #sandboxById(id: string): Promise<Sandbox | undefined> {
    return (
      this.#sandboxes.get(id) ?? (await this.listSandboxes()).find((sandbox) => sandbox.id === id)
    );
  }

  /** Resolves when the container runs no more. */
  async #ended(id: string, signal: AbortSignal): Promise<void> {
    await this.#http.json('POST', `/containers/${id}/wait`, {
      query: { condition: 'not-running' },
      signal,
      timeoutMs: 2 ** 31 - 1,
    });
  }

  async #askStats(id: string): Promise<ContainerStats | undefined> {
    const query = { stream: false, 'one-shot': true };
    const answer = await this.#call('GET', `/containers/${id}/stats`, { query }).catch(allow404);
    return readStats(id, answer);
  }

  #call(method: string, path: string, options: CallOptions = {}): Promise<unknown> {
    return this.#limiter.run(() => this.#http.json(method, path, options));
  }
}

function allow404(error: unknown): undefined {
  if (error instanceof EngineHttpError && error.status === 404) return undefined;
  throw error;
}

/** 409: somebody else is removing it at this moment. */
function allowGone(error: unknown): undefined {
  if (error instanceof EngineHttpError && error.status === 409) return undefined;
  return allow404(error);
}

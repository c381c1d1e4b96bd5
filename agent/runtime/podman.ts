/**
 * The Runtime on podman 4 and 5, over libpod's REST API. A pod is a libpod pod whose infra container runs our own
 * pause image; containers are libpod containers in it with restart policy "no". Promises: nothing is started by
 * a command line but podman's own service where none listens; at most CALLS_PARALLEL calls at once; what
 * is known about a pod is in its labels, so an agent without memory finds everything again.
 */

import type { Logger } from 'pino';
import { KernelLog } from '../host/kernel-log.ts';
import { readText } from '../host/read-text.ts';
import { EngineCgroups } from './engine-cgroups.ts';
import { type EventStream, engineEvents } from './engine-events.ts';
import { type EngineCalls, engineAttach, engineExec } from './engine-exec.ts';
import { engineImages } from './image-store.ts';
import { asArray, asObject, asText } from './json-read.ts';
import { Limiter } from './limiter.ts';
import { readLogFile } from './log-file.ts';
import { OciExec } from './oci-exec.ts';
import { PodFiles, podHosts } from './pod-files.ts';
import { startDespiteRemains } from './podman-conmons.ts';
import { type ExecCalls, executeBySession } from './podman-exec.ts';
import { allowHalfGone, createDespiteRemains } from './podman-half-made.ts';
import { type CallOptions, EngineHttpError, type Get, PodmanHttp } from './podman-http.ts';
import {
  ensurePauseImage,
  imageFolder,
  imageStatus,
  importImage,
  pullImage,
} from './podman-images.ts';
import { asKilled, findDead, insistently } from './podman-liveness.ts';
import { asTaken, ensurePodmanNetwork } from './podman-network.ts';
import { type ExitFacts, readContainer, readEvent, readExit, readSandbox } from './podman-read.ts';
import { podmanStrays } from './podman-repairs.ts';
import { PodmanService, socketOf } from './podman-service.ts';
import { containerBody, podBody, podName } from './podman-spec.ts';
import { PodmanStats } from './podman-stats.ts';
import { targetOf } from './podman-target.ts';
import { signalProcess } from './process-signal.ts';
import {
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

export interface PodmanRuntimeOptions {
  /** Default: the system's socket where it exists, else `/run/pier/podman.sock` with a service of our own. */
  readonly socketPath?: string;
  /** podman's `--root`: several boards on one machine each have their own; needs `runroot` and `socketPath`. */
  readonly root?: string;
  readonly runroot?: string;
  /** Environment of a service that we start, as with CONTAINERS_CONF; default: our own. */
  readonly env?: NodeJS.ProcessEnv;
  readonly podmanBinary?: string;
  /** A container's log file is started anew at this size; default 10 MiB. */
  readonly logBytesMax?: number;
  readonly log?: Logger;
}

const CALLS_PARALLEL = 8;
const CALLS_WAITING_MAX = 1024;
const PING_MS_MAX = 30_000;
const LOG_BYTES_MAX = 10 * 1024 * 1024;
const OURS = { filters: JSON.stringify({ label: [`${LABELS.managed}=true`] }) };

export class PodmanRuntime implements Runtime {
  readonly name = 'podman';
  readonly podFolders: readonly string[];
  readonly #http: PodmanHttp;
  readonly #service: PodmanService;
  readonly #limiter = new Limiter({ parallel: CALLS_PARALLEL, queueMax: CALLS_WAITING_MAX });
  readonly #hosts: PodFiles;
  readonly #logBytesMax: number;
  /** What `inspect` told about containers that have ended; it changes no more. */
  readonly #exits = new Map<string, ExitFacts>();
  readonly #get: Get = (path, query) => this.#unless404('GET', path, { query });
  readonly #stats = new PodmanStats(this.#get);
  readonly #strays = podmanStrays({
    get: this.#get,
    remove: (id) => this.#force(id),
    isOurs: (podId) => this.#cgroups.isOurs(podId),
  });
  readonly #cgroups: EngineCgroups;
  readonly #sandboxes = new Map<string, Sandbox>();
  readonly #ociExec: OciExec;
  readonly #kernelLog = new KernelLog();
  readonly #engine: EngineCalls = {
    call: (method, path, options) => this.#call(method, path, options),
    hijack: (path, options) => this.#retried(() => this.#http.hijack(path, options)),
    hangUp: async (pid, id) => {
      if (this.#service.sharesProcesses) await signalProcess(pid, id, 'SIGHUP');
    },
  };
  readonly images = engineImages(this.#engine.call, () => imageFolder(this.#http));

  constructor(options: PodmanRuntimeOptions = {}) {
    const { root, runroot, env, log } = options;
    const socketPath = socketOf(options);
    this.#http = new PodmanHttp(socketPath);
    this.#service = new PodmanService(this.#http, {
      podmanBinary: options.podmanBinary ?? 'podman',
      ...(root === undefined ? {} : { root }),
      ...(runroot === undefined ? {} : { runroot }),
      ...(env === undefined ? {} : { env }),
      ...(log === undefined ? {} : { log }),
    });
    const run = runroot ?? '/run/pier';
    this.podFolders = [`${run}/hosts`];
    this.#hosts = new PodFiles(`${run}/hosts`);
    this.#cgroups = new EngineCgroups(`${run}/podman-pods`, 'libpod_parent');
    this.#logBytesMax = options.logBytesMax ?? LOG_BYTES_MAX;
    this.#ociExec = new OciExec({
      inspect: (id) => this.#inspect(id),
      readText,
      dir: `${run}/exec`,
    });
  }

  async start(): Promise<void> {
    await this.#service.ensure();
    const version = await this.version();
    if (Number.parseInt(version, 10) < 4) {
      throw new RuntimeError(`podman ${version}: 4.0 or newer is needed, as in Debian 12`);
    }
    await this.#retried(() => ensurePauseImage(this.#http));
  }

  async stop(): Promise<void> {
    this.#strays.stop();
    await this.#service.stop();
    await this.#kernelLog.close();
    this.#http.close();
  }

  version(): Promise<string> {
    return this.#retried(() => this.#http.ping(PING_MS_MAX), true);
  }

  ensureNetwork(podCidr: string): Promise<void> {
    return ensurePodmanNetwork(this.#engine.call, podCidr);
  }

  async listSandboxes(): Promise<Sandbox[]> {
    const [pods, containers] = await Promise.all([
      this.#call('GET', '/pods/json', { query: OURS }),
      this.#call('GET', '/containers/json', { query: { ...OURS, all: true } }),
    ]);
    const dead = await this.#deadOf(containers);
    const sandboxes = asArray(pods).flatMap((pod) => readSandbox(pod, dead) ?? []);
    if (this.#service.sharesProcesses) void this.#strays.look(this.#service.starts);
    void this.#cgroups.look(sandboxes.map(({ id }) => id));
    return sandboxes;
  }

  async listContainers(): Promise<Container[]> {
    const answer = await this.#call('GET', '/containers/json', { query: { ...OURS, all: true } });
    const containers = asArray(answer).flatMap((entry) => readContainer(entry) ?? []);
    const there = new Set(containers.map((container) => container.id));
    for (const id of this.#exits.keys()) if (!there.has(id)) this.#exits.delete(id);
    const dead = await this.#deadOf(answer);
    return Promise.all(
      containers.map((container) =>
        dead.has(container.id) ? asKilled(container) : this.#withExit(container),
      ),
    );
  }

  async runSandbox(spec: SandboxSpec): Promise<Sandbox> {
    const name = podName(spec);
    // What a crash left half-made under this name goes first; its address would still be taken.
    await this.removeSandbox(name);
    await this.#hosts.write(spec.podUid, await podHosts(spec));
    const created = asObject(await this.#call('POST', '/pods/create', { body: podBody(spec) }));
    const id = asText(created.Id);
    if (id === undefined) throw new RuntimeError(`podman told no id for the pod ${name}`);
    await this.#cgroups.note([id]);
    try {
      await this.#call('POST', `/pods/${id}/start`);
    } catch (error) {
      await this.removeSandbox(id);
      throw asTaken(error);
    }
    const { podUid, podNamespace, ip } = spec;
    const sandbox = { id, podUid, podName: spec.podName, podNamespace, ip, ready: true };
    this.#sandboxes.set(id, sandbox);
    return sandbox;
  }

  async removeSandbox(id: string): Promise<void> {
    const known = this.#sandboxes.get(id) ?? (await this.#sandboxById(id));
    this.#sandboxes.delete(id);
    await insistently(() => this.#unless404('DELETE', `/pods/${id}`, { query: { force: true } }));
    await this.#cgroups.remove(known?.id ?? id);
    if (known !== undefined) await this.#hosts.remove(known.podUid);
  }

  async createContainer(sandboxId: string, spec: ContainerSpec): Promise<string> {
    const sandbox = this.#sandboxes.get(sandboxId) ?? (await this.#sandboxById(sandboxId));
    if (sandbox === undefined) throw new RuntimeError(`the pod sandbox ${sandboxId} is gone`);
    this.#sandboxes.set(sandboxId, sandbox);
    const body = containerBody(spec, {
      sandbox,
      hostsPath: this.#hosts.find(sandbox.podUid),
      logBytesMax: this.#logBytesMax,
      ...(await targetOf(spec, (one) => this.#inspect(one))),
    });
    const created = await createDespiteRemains(
      () => this.#call('POST', '/containers/create', { body }),
      (old) => this.#force(old),
    );
    const id = asText(asObject(created).Id);
    if (id === undefined) {
      throw new RuntimeError(`podman told no id for the container ${spec.name}`);
    }
    return id;
  }

  async startContainer(id: string): Promise<void> {
    await startDespiteRemains(() => this.#call('POST', `/containers/${id}/start`), id);
  }

  async stopContainer(id: string, graceSeconds: number): Promise<void> {
    const seconds = Math.max(0, Math.ceil(graceSeconds));
    const timeoutMs = (seconds + 60) * 1000;
    // Not through the limiter: it may wait for as long as the grace period.
    await insistently(() =>
      this.#direct('POST', `/containers/${id}/stop`, {
        query: { timeout: seconds, ignore: true },
        timeoutMs,
      }),
    ).catch(allow404);
  }

  async removeContainer(id: string): Promise<void> {
    await insistently(() => this.#force(id));
    this.#exits.delete(id);
  }

  imageStatus(image: string): Promise<ImageStatus | undefined> {
    return this.#limiter.run(() => this.#retried(() => imageStatus(this.#http, image)));
  }

  pullImage(image: string, signal: AbortSignal, login?: RegistryLogin): Promise<ImageStatus> {
    return this.#retried(() => pullImage(this.#http, image, { signal, login }));
  }

  /** Makes an image of this board from a tar archive of its file system; returns its id. */
  importImage(
    reference: string,
    tar: Uint8Array,
    changes: readonly string[] = [],
  ): Promise<string> {
    return this.#limiter.run(() => importImage(this.#http, reference, tar, changes));
  }

  async *logs(id: string, options: LogOptions, signal: AbortSignal): AsyncIterable<Uint8Array> {
    const inspected = asObject(await this.#call('GET', `/containers/${id}/json`));
    const path = asText(asObject(asObject(inspected.HostConfig).LogConfig).Path) ?? '';
    if (path === '') {
      throw new RuntimeError(`podman keeps no log file for the container ${id}`);
    }
    const over = new AbortController();
    const either = AbortSignal.any([signal, over.signal]);
    const ended = options.follow ? this.#ended(id, either) : Promise.resolve();
    try {
      yield* readLogFile(path, options, ended, signal);
    } finally {
      over.abort();
    }
  }

  async execute(
    id: string,
    command: readonly string[],
    options: ExecuteOptions,
  ): Promise<ExecuteResult> {
    if (this.#service.sharesProcesses) return this.#ociExec.execute(id, command, options);
    const stream: ExecCalls['stream'] = (path, call) => this.#http.stream('POST', path, call);
    return executeBySession({ json: this.#engine.call, stream }, id, command, options);
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
    const open: EventStream['open'] = (options) =>
      this.#retried(() => this.#http.stream('GET', '/events', options));
    return engineEvents({ engine: 'podman', open, read: readEvent }, signal);
  }

  /** Only where podman's process ids are ours, too: else every container would look dead. */
  async #deadOf(containers: unknown): Promise<ReadonlySet<string>> {
    if (!this.#service.sharesProcesses) return new Set();
    return findDead(readText, containers, async (id) =>
      asObject(asObject(await this.#inspect(id)).State),
    );
  }

  async #withExit(container: Container): Promise<Container> {
    if (container.state !== 'exited') return container;
    let facts = this.#exits.get(container.id);
    if (facts === undefined) {
      const inspected = await this.#inspect(container.id);
      if (inspected === undefined) return container;
      facts = readExit(inspected);
      // podman 4 does not know: conmon notes it where podman does not look.
      const mayBe = facts.exitCode !== 0 && !facts.oomKilled;
      if (mayBe) facts = { ...facts, oomKilled: await this.#kernelLog.tookFrom(container.id) };
      this.#exits.set(container.id, facts);
    }
    return { ...container, ...facts };
  }

  #force(id: string): Promise<unknown> {
    return this.#unless404('DELETE', `/containers/${id}`, { query: { force: true, v: true } });
  }

  #inspect(id: string): Promise<unknown> {
    return this.#get(`/containers/${id}/json`, {}).catch(allowHalfGone);
  }

  /** By id or by name. */
  async #sandboxById(id: string): Promise<Sandbox | undefined> {
    const inspected = await this.#unless404('GET', `/pods/${id}/json`);
    return inspected === undefined ? undefined : readSandbox(inspected, new Set());
  }

  /** Resolves when the container runs no more; a service that dies meanwhile is waited for. */
  async #ended(id: string, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#http.json('POST', `/containers/${id}/wait`, {
          query: { condition: 'exited' },
          signal,
          timeoutMs: 2 ** 31 - 1,
        });
        return;
      } catch (error) {
        if (error instanceof EngineHttpError && error.status !== undefined) return;
        if (!signal.aborted) await this.#service.ensure();
      }
    }
  }

  async #unless404(method: string, path: string, options: CallOptions = {}): Promise<unknown> {
    return this.#call(method, path, options).catch(allow404);
  }

  #call(method: string, path: string, options: CallOptions = {}): Promise<unknown> {
    return this.#limiter.run(() => this.#direct(method, path, options));
  }

  #direct(method: string, path: string, options: CallOptions): Promise<unknown> {
    return this.#retried(() => this.#http.json(method, path, options), method === 'GET');
  }

  /**
   * Starts the service and tries once more when nobody listened. A socket that broke within a call may have
   * carried it out, so then only a read is repeated.
   */
  async #retried<T>(call: () => Promise<T>, isRead = false): Promise<T> {
    try {
      return await call();
    } catch (error) {
      const refused = error instanceof EngineHttpError && !error.connected;
      const broken = error instanceof EngineHttpError && error.status === undefined && isRead;
      if (!refused && !broken) throw error;
      await this.#service.ensure();
      return call();
    }
  }
}

function allow404(error: unknown): undefined {
  if (error instanceof EngineHttpError && error.status === 404) return undefined;
  throw error;
}

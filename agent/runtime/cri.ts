/**
 * The Runtime on containerd (1.6 and newer) and, by the same protocol, CRI-O: runtime.v1 over gRPC. The engine is the
 * system's; we neither start nor configure it but for one file, the pod network, in the folder that it reads. Promises: no
 * process is started for a call; at most CALLS_PARALLEL calls at once; what is known about a pod is in its
 * labels, so an agent without memory finds everything again.
 */
import { rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { CriEngine } from './cri/engine.ts';
import { criEvents, type Owner } from './cri/events.ts';
import { execute } from './cri/exec.ts';
import { GrpcSocket } from './cri/grpc.ts';
import { criImages, imageStatus, pullImage } from './cri/images.ts';
import type { ImageSettings } from './cri/import.ts';
import { LogKeeper } from './cri/log-keeper.ts';
import { isWithin, networkReady, prefixOf, writeNetwork } from './cri/network.ts';
import { importImage } from './cri/own-images.ts';
import { CRI, type Method } from './cri/proto.ts';
import { readContainer, readSandbox, readStatus, type StatusFacts } from './cri/read.ts';
import { CriRemains } from './cri/remains.ts';
import {
  type CriPlace,
  containerConfig,
  podLogDir,
  sandboxConfig,
  sandboxConfigAgain,
} from './cri/spec.ts';
import { allowNotFound, criStats } from './cri/stats.ts';
import { criAttach, criExec, type Dial, dialTcp, type Streaming } from './cri/streaming.ts';
import type { Decoded, Encodable, MessageTable } from './cri/wire.ts';
import type { ImageStore } from './image-store.ts';
import { Limiter } from './limiter.ts';
import { readLogFile } from './log-file.ts';
import { PodFiles, podHosts } from './pod-files.ts';
import { gatewayOf } from './podman-network.ts';
import type { ProcessStats } from './process-stats.ts';
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

export interface CriRuntimeOptions {
  readonly socketPath: string;
  /** Logs of containers. */
  readonly logDir: string;
  /** On a tmpfs: hosts files of pods. */
  readonly runDir: string;
  /** A container's log file is started anew at this size; default 10 MiB. */
  readonly logBytesMax?: number;
  /** How often log files are looked at; default 10 s. */
  readonly logLookMs?: number;
  /** How long a call waits for an engine that is being restarted; default 10 s. */
  readonly connectMs?: number;
  /** Where the engine's loopback is; default: here. */
  readonly dial?: Dial;
  readonly log?: Logger;
}

const CALLS_PARALLEL = 8;
const CALLS_WAITING_MAX = 1024;
const LOG_BYTES_MAX = 10 * 1024 * 1024;
const LOG_LOOK_MS = 10_000;
const MANAGED = { filter: { labels: { [LABELS.managed]: 'true' } } };
/** A sandbox is a network, a process and mounts: a slow card needs its time. */
const SANDBOX_MS_MAX = 240_000;
const ENDED_LOOK_MS = 500;
/** containerd may write the last lines of a log a moment after it has told the end. */
const LAST_LINES_MS = 200;

type Entry = Pick<Sandbox, 'podUid'> & { readonly logPath?: string };

export class CriRuntime implements Runtime {
  readonly name = 'cri';
  readonly podFolders: readonly string[];
  readonly #options: CriRuntimeOptions;
  readonly #grpc: GrpcSocket;
  readonly #limiter = new Limiter({ parallel: CALLS_PARALLEL, queueMax: CALLS_WAITING_MAX });
  readonly #hosts: PodFiles;
  readonly #logs: LogKeeper;
  readonly #stats: ProcessStats;
  readonly #remains: CriRemains;
  readonly #engine: CriEngine;
  readonly images: ImageStore;
  readonly #streaming: Streaming;
  /** Length of the pod network's prefix; known once ensureNetwork was called. */
  #prefix: number | undefined;
  readonly #sandboxes = new Map<string, Sandbox>();
  readonly #containers = new Map<string, Entry>();
  /** Log files of those that ran when they were listed last. */
  #running = new Map<string, string>();
  /** What their status told: of the running their start, of the ended everything. It changes no more. */
  readonly #facts = new Map<string, { readonly state: Container['state']; facts: StatusFacts }>();
  /** Addresses of sandboxes that are being made. */
  readonly #taken = new Map<string, string>();

  constructor(options: CriRuntimeOptions) {
    this.#options = options;
    this.#grpc = new GrpcSocket(options.socketPath, options.connectMs);
    this.#engine = new CriEngine(this.#grpc, options.log);
    this.images = criImages(this.#grpc, () => this.#engine.setup);
    this.#streaming = { grpc: this.#grpc, dial: options.dial ?? dialTcp };
    const hosts = `${options.runDir}/hosts`;
    this.#hosts = new PodFiles(hosts);
    this.#remains = new CriRemains(this.#grpc, options.runDir);
    this.podFolders = [hosts, options.logDir];
    this.#logs = new LogKeeper({
      bytesMax: options.logBytesMax ?? LOG_BYTES_MAX,
      lookMs: options.logLookMs ?? LOG_LOOK_MS,
      files: () => this.#running,
      reopen: (id) => this.#grpc.call(CRI.reopenContainerLog, { containerId: id }),
      log: options.log,
    });
    this.#stats = criStats((method, request) => this.#call(method, request, true));
  }

  /** Which engine it is, as Kubernetes names it: "containerd" or "cri-o". */
  get engine(): string {
    return this.#engine.name;
  }

  async start(): Promise<void> {
    await this.#engine.start();
    this.#logs.start();
  }

  /** Why pods cannot be run with this engine, changing nothing; undefined when they can. */
  problem(): Promise<string | undefined> {
    return this.#engine.problem();
  }

  async stop(): Promise<void> {
    await this.#logs.stop();
    this.#grpc.close();
  }

  version(): Promise<string> {
    return this.#engine.version();
  }

  async ensureNetwork(podCidr: string): Promise<void> {
    gatewayOf(podCidr);
    const stranger = (await this.listSandboxes()).find(
      ({ ip, ready }) => ready && ip !== undefined && !isWithin(ip, podCidr),
    );
    if (stranger !== undefined) {
      throw new RuntimeError(
        `the pod network shall be ${podCidr}, but the pod ${stranger.podNamespace}/` +
          `${stranger.podName} has the address ${stranger.ip}: remove such pods first`,
      );
    }
    await writeNetwork(this.#engine.cniConfDir);
    await networkReady(this.#grpc);
    this.#prefix = prefixOf(podCidr);
  }

  async listSandboxes(): Promise<Sandbox[]> {
    const { items } = await this.#call(CRI.listPodSandbox, MANAGED, true);
    const sandboxes = items.map(readSandbox).filter((one) => one !== undefined);
    this.#sandboxes.clear();
    for (const sandbox of sandboxes) this.#sandboxes.set(sandbox.id, sandbox);
    void this.#remains.listed([...this.#sandboxes.keys(), ...this.#containers.keys()]);
    return sandboxes;
  }

  async listContainers(): Promise<Container[]> {
    const { containers: entries } = await this.#call(CRI.listContainers, MANAGED, true);
    const containers = entries.map(readContainer).filter((one) => one !== undefined);
    const there = new Set(containers.map(({ id }) => id));
    for (const id of this.#facts.keys()) if (!there.has(id)) this.#facts.delete(id);
    for (const id of this.#containers.keys()) if (!there.has(id)) this.#containers.delete(id);
    const listed = await Promise.all(containers.map((container) => this.#withStatus(container)));
    this.#running = new Map();
    for (const { id, state } of listed) {
      const path = this.#containers.get(id)?.logPath;
      if (state === 'running' && path !== undefined) this.#running.set(id, path);
    }
    return listed;
  }

  async runSandbox(spec: SandboxSpec): Promise<Sandbox> {
    const sandboxes = await this.listSandboxes();
    // What a crash left half-made goes first; its name would still be taken.
    for (const { id, podUid } of sandboxes) {
      if (podUid === spec.podUid) await this.removeSandbox(id);
    }
    const ip = spec.hostNetwork ? undefined : spec.ip;
    if (ip !== undefined) this.#take(ip, spec, sandboxes);
    try {
      return await this.#runSandbox(spec, ip);
    } finally {
      if (ip !== undefined) this.#taken.delete(ip);
    }
  }

  /** CNI's `static` plugin keeps no list of who has which address, so we look ourselves. */
  #take(ip: string, spec: SandboxSpec, sandboxes: readonly Sandbox[]): void {
    const other = sandboxes.find(
      (one) => one.ip === ip && one.ready && one.podUid !== spec.podUid,
    )?.podUid;
    const holder = other ?? this.#taken.get(ip);
    if (holder !== undefined) {
      throw new RuntimeError(`the address ${ip} is taken by the pod with the uid ${holder}`);
    }
    this.#taken.set(ip, spec.podUid);
  }

  async #runSandbox(spec: SandboxSpec, ip: string | undefined): Promise<Sandbox> {
    if (ip !== undefined && this.#prefix === undefined) {
      throw new RuntimeError('the pod network was not made yet: ensureNetwork comes first');
    }
    await this.#hosts.write(spec.podUid, await podHosts(spec));
    const config = sandboxConfig(spec, this.#prefix ?? 0, this.#place());
    const { podSandboxId: id } = await this.#limiter.run(() =>
      this.#grpc.call(CRI.runPodSandbox, { config }, { timeoutMs: SANDBOX_MS_MAX }),
    );
    const { podUid, podName, podNamespace } = spec;
    const sandbox: Sandbox = { id, podUid, podName, podNamespace, ip, ready: true };
    this.#sandboxes.set(id, sandbox);
    return sandbox;
  }

  async removeSandbox(id: string): Promise<void> {
    const podUid = (await this.#sandboxById(id))?.podUid;
    const request = { podSandboxId: id };
    await this.#limiter.run(async () => {
      const options = { timeoutMs: SANDBOX_MS_MAX };
      await this.#grpc.call(CRI.stopPodSandbox, request, options).catch(allowNotFound);
      const { containers } = await this.#grpc.call(CRI.listContainers, { filter: request });
      await this.#remains.removed([...containers.map((one) => one.id), id], () =>
        this.#grpc.call(CRI.removePodSandbox, request, options).catch(allowNotFound),
      );
    });
    this.#sandboxes.delete(id);
    if (podUid === undefined) return;
    await this.#hosts.remove(podUid);
    await rm(podLogDir(this.#options.logDir, podUid), { recursive: true, force: true });
  }

  async createContainer(sandboxId: string, spec: ContainerSpec): Promise<string> {
    const sandbox = await this.#sandboxById(sandboxId);
    if (sandbox === undefined) throw new RuntimeError(`the pod sandbox ${sandboxId} is gone`);
    const place = this.#place();
    const hostsPath = this.#hosts.find(sandbox.podUid);
    const { containerId } = await this.#call(CRI.createContainer, {
      podSandboxId: sandboxId,
      config: containerConfig(spec, { ...place, sandbox, hostsPath }),
      sandboxConfig: sandboxConfigAgain(sandbox, spec, place),
    });
    this.#containers.set(containerId, { podUid: sandbox.podUid });
    return containerId;
  }

  async startContainer(id: string): Promise<void> {
    await this.#remains.start(id, () => this.#call(CRI.startContainer, { containerId: id }));
  }

  async stopContainer(id: string, graceSeconds: number): Promise<void> {
    const timeout = Math.max(0, Math.ceil(graceSeconds));
    // Not through the limiter: it may wait for as long as the grace period.
    await this.#grpc
      .call(CRI.stopContainer, { containerId: id, timeout }, { timeoutMs: (timeout + 60) * 1000 })
      .catch(allowNotFound);
  }

  async removeContainer(id: string): Promise<void> {
    const path = (await this.#status(id).catch(allowNotFound))?.logPath;
    await this.#remains.removed([id], () =>
      this.#call(CRI.removeContainer, { containerId: id }).catch(allowNotFound),
    );
    this.#facts.delete(id);
    this.#running.delete(id);
    if (path === undefined || path === '') return;
    for (const file of [path, `${path}.1`]) await rm(file, { force: true });
  }

  imageStatus(image: string): Promise<ImageStatus | undefined> {
    return this.#limiter.run(() => imageStatus(this.#grpc, image));
  }

  pullImage(image: string, signal: AbortSignal, login?: RegistryLogin): Promise<ImageStatus> {
    const { rootDir } = this.#engine.setup;
    return pullImage({ grpc: this.#grpc, rootDir }, image, signal, login);
  }

  /** Makes an image of this board from a tar archive of its file system; returns its id. containerd only. */
  importImage(reference: string, tar: Uint8Array, settings: ImageSettings = {}): Promise<string> {
    return importImage(this.#grpc, { reference, tar, settings }, this.#engine.setup.rootDir);
  }

  async *logs(id: string, options: LogOptions, signal: AbortSignal): AsyncIterable<Uint8Array> {
    const { logPath = '' } = (await this.#status(id)) ?? {};
    if (logPath === '') throw new RuntimeError(`there is no log file for the container ${id}`);
    const over = new AbortController();
    const ended = options.follow
      ? this.#ended(id, AbortSignal.any([signal, over.signal]))
      : Promise.resolve();
    try {
      yield* readLogFile(logPath, options, ended, signal);
    } finally {
      over.abort();
    }
  }

  execute(id: string, command: readonly string[], options: ExecuteOptions): Promise<ExecuteResult> {
    // Not through the limiter: it may take as long as it likes.
    return execute(this.#grpc, id, command, options);
  }

  exec(id: string, options: ExecOptions): Promise<ExecSession> {
    return criExec(this.#streaming, id, options);
  }

  attach(id: string, options: StreamOptions): Promise<ExecSession> {
    return criAttach(this.#streaming, id, options);
  }

  stats(ids: readonly string[]): Promise<ContainerStats[]> {
    return this.#stats.read(ids);
  }

  events(signal: AbortSignal): AsyncIterable<RuntimeEvent> {
    return criEvents(this.#grpc, (id) => this.#ownerOf(id), signal);
  }

  #call<Q extends MessageTable, A extends MessageTable>(
    method: Method<Q, A>,
    request: Encodable<Q>,
    isRead = false,
  ): Promise<Decoded<A>> {
    return this.#limiter.run(() => this.#grpc.call(method, request, { isRead }));
  }

  #place(): CriPlace {
    const { cgroupParent, seccomp } = this.#engine;
    return { logDir: this.#options.logDir, cgroupParent, seccomp };
  }

  async #withStatus(container: Container): Promise<Container> {
    const { id, state, podUid } = container;
    let known = this.#facts.get(id);
    if (known === undefined || known.state !== state || state === 'created') {
      const status = await this.#status(id).catch(allowNotFound);
      if (status === undefined) return container;
      known = { state, facts: readStatus(status) };
      this.#facts.set(id, known);
      this.#containers.set(id, { podUid, logPath: status.logPath });
    }
    return { ...container, ...known.facts };
  }

  async #status(id: string) {
    return (await this.#call(CRI.containerStatus, { containerId: id }, true)).status;
  }

  async #sandboxById(id: string): Promise<Sandbox | undefined> {
    return (
      this.#sandboxes.get(id) ?? (await this.listSandboxes()).find((sandbox) => sandbox.id === id)
    );
  }

  async #ownerOf(id: string): Promise<Owner | undefined> {
    const known = this.#containers.get(id);
    if (known !== undefined) return { podUid: known.podUid, isSandbox: false };
    const sandbox = this.#sandboxes.get(id);
    if (sandbox !== undefined) return { podUid: sandbox.podUid, isSandbox: true };
    const status = await this.#status(id).catch(allowNotFound);
    const podUid = status?.labels[LABELS.podUid];
    if (podUid === undefined) return undefined;
    this.#containers.set(id, { podUid });
    return { podUid, isSandbox: false };
  }

  /** Resolves when the container runs no more: CRI has no call that waits. */
  async #ended(id: string, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const status = await this.#status(id).catch(allowNotFound);
      const isOver = status === undefined || readStatus(status).exitCode !== undefined;
      const pauseMs = isOver ? LAST_LINES_MS : ENDED_LOOK_MS;
      await delay(pauseMs, undefined, { signal }).catch(() => undefined);
      if (isOver) return;
    }
  }
}

/**
 * What the agent needs from a container engine, and nothing more. Few dumb verbs; every decision is made
 * above (agent/plan). Each implementation passes the same suite, test/agent/runtime.contract.ts.
 *
 * The model is CRI's (https://github.com/kubernetes/cri-api): a pod sandbox holds the shared network and
 * IPC namespaces and the pod's IP; containers live in a sandbox. All that a restarted agent must know to adopt
 * a pod is stored with the engine as labels, so that an agent that lost its own disk still finds its pods.
 */
import type { ImageStore } from './image-store.ts';

/** Labels that every sandbox and container of ours carries. */
export const LABELS = {
  managed: 'pier.local/managed',
  podUid: 'pier.local/pod-uid',
  podName: 'pier.local/pod-name',
  podNamespace: 'pier.local/pod-namespace',
  containerName: 'pier.local/container-name',
  /** How often this container of the pod was started before this one, as a decimal. */
  attempt: 'pier.local/attempt',
  /** Hash of the container's spec, to see that it has to be made anew. */
  specHash: 'pier.local/spec-hash',
} as const;

export interface SandboxSpec {
  readonly podUid: string;
  readonly podName: string;
  readonly podNamespace: string;
  /** The pod's IP on the board's bridge; absent for hostNetwork. */
  readonly ip?: string;
  readonly hostname: string;
  /** With subdomain and cluster domain; for the pod's own hosts file. */
  readonly fullName?: string;
  readonly hostNetwork: boolean;
  /** Whose processes its containers see: each other's, or the board's; absent: each its own. */
  readonly processes?: 'pod' | 'board';
  /** Its containers see the board's semaphores, queues and shared memory instead of the pod's own. */
  readonly boardIpc?: boolean;
  readonly dns: {
    readonly servers: readonly string[];
    readonly searches: readonly string[];
    readonly options: readonly string[];
  };
  readonly hostAliases: ReadonlyArray<{
    readonly ip: string;
    readonly hostnames: readonly string[];
  }>;
}

export interface Sandbox {
  readonly id: string;
  readonly podUid: string;
  readonly podName: string;
  readonly podNamespace: string;
  readonly ip: string | undefined;
  readonly ready: boolean;
}

export interface ContainerSpec {
  readonly name: string;
  readonly attempt: number;
  readonly specHash: string;
  readonly image: string;
  /** Replaces the image's entrypoint when not empty. */
  readonly command: readonly string[];
  /** Replaces the image's command when not empty. */
  readonly args: readonly string[];
  readonly workingDir?: string;
  readonly env: ReadonlyArray<{ readonly name: string; readonly value: string }>;
  readonly mounts: ReadonlyArray<{
    readonly hostPath: string;
    readonly containerPath: string;
    readonly readOnly: boolean;
  }>;
  /** Device files of the board, to be read and written by whoever the file's mode lets. Absent: none. */
  readonly devices?: ReadonlyArray<{
    readonly hostPath: string;
    readonly containerPath: string;
  }>;
  readonly resources: {
    /** From requests.cpu; 1000 is one core. */
    readonly cpuRequestMillis?: number;
    readonly cpuLimitMillis?: number;
    readonly memoryLimitBytes?: number;
  };
  readonly security: {
    readonly runAsUser?: number;
    readonly runAsGroup?: number;
    readonly privileged?: boolean;
    readonly readOnlyRootFilesystem?: boolean;
    readonly addCapabilities?: readonly string[];
    readonly dropCapabilities?: readonly string[];
    readonly noNewPrivileges?: boolean;
    /** Groups that its processes have besides their own. */
    readonly supplementalGroups?: readonly number[];
    /** Absent: the engine's default profile. */
    readonly seccomp?: 'unconfined';
  };
  /** As its sandbox has it, or those of one container of the sandbox, which runs, by id. */
  readonly processes?: SandboxSpec['processes'] | { readonly of: string };
  /** As its sandbox has it. */
  readonly boardIpc?: boolean;
  readonly stdin: boolean;
  readonly tty: boolean;
}

export interface Container {
  readonly id: string;
  readonly podUid: string;
  readonly name: string;
  readonly attempt: number;
  readonly specHash: string;
  readonly image: string;
  readonly imageId: string;
  readonly state: 'created' | 'running' | 'exited';
  /** Wall clock, for display. */
  readonly startedAtMs?: number;
  readonly finishedAtMs?: number;
  readonly exitCode?: number;
  readonly oomKilled?: boolean;
  /** Its termination message; engines know nothing of it, the agent fills it in. */
  readonly message?: string;
}

export interface ImageStatus {
  readonly id: string;
  /** As its Dockerfile says it: "1000", "nobody", "1000:100"; empty or absent: root. */
  readonly user?: string;
  /** Of its programs, as its maker wrote it, such as "arm64"; empty when the engine does not tell. */
  readonly architecture: string;
  readonly repoDigests: readonly string[];
}

/** Shown to the registry of an image. Never part of a message or a log. */
export interface RegistryLogin {
  readonly username: string;
  readonly password: string;
}

export interface LogOptions {
  readonly follow: boolean;
  readonly timestamps: boolean;
  /** Only the last so many lines. */
  readonly tailLines?: number;
  /** Wall clock, in ms since 1970. */
  readonly sinceMs?: number;
}

/** What a client wants of a process: which of its streams, and whether they are a terminal. */
export interface StreamOptions {
  readonly stdin: boolean;
  readonly stdout: boolean;
  /** False with a terminal, which has one output only. */
  readonly stderr: boolean;
  readonly tty: boolean;
}

export interface ExecOptions extends StreamOptions {
  readonly command: readonly string[];
}

/** A running process' streams, as exec and attach give them. Somebody must read the output, or it stops. */
export interface ExecSession {
  /**
   * In the order that the process wrote, read only as fast as it is taken: a process whose output nobody takes
   * waits. Ends when the process does (exec) or the container (attach), or with `close`. For one reader.
   */
  readonly output: AsyncIterable<{
    readonly stream: 'stdout' | 'stderr';
    readonly data: Uint8Array;
  }>;
  /** To the standard input; resolves when more may be written. Rejects when the process reads no more. */
  write(data: Uint8Array): Promise<void>;
  /** The standard input has ended; output goes on. With a terminal, nothing happens: it has no such end. */
  endInput(): void;
  /** Of the terminal. No error without one, or when the process has ended. */
  resize(size: { readonly columns: number; readonly rows: number }): Promise<void>;
  /** Once the output has ended; undefined for attach. Throws RuntimeError when it cannot be found out. */
  exitCode(): Promise<number | undefined>;
  /**
   * The client is gone: lets go of the process. An exec with a terminal gets SIGHUP, as when a terminal is
   * closed; what runs without one sees the end of its input. A container that was attached to runs on.
   */
  close(): void;
}

export interface ContainerStats {
  readonly containerId: string;
  /** Total CPU time used since the start. */
  readonly cpuNanos: number;
  /** Working set: what the kernel could not drop without swapping. */
  readonly memoryBytes: number;
}

export interface ExecuteOptions {
  /** The command is killed after so long. */
  readonly timeoutMs: number;
  /** Of stdout and stderr together; what comes after is dropped. */
  readonly outputBytesMax: number;
}

export interface ExecuteResult {
  /** Undefined: it was killed because its time was over. */
  readonly exitCode: number | undefined;
  /** stdout and stderr in the order written. Over CRI stderr comes last, and one that was killed told nothing. */
  readonly output: string;
}

export interface RuntimeEvent {
  readonly type: 'started' | 'exited' | 'removed';
  readonly containerId: string;
  readonly podUid: string | undefined;
}

/** An image could not be had; `message` holds the engine's own words. */
export class ImagePullError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ImagePullError';
  }
}

/** The engine refused or failed; `message` holds its own words. */
export class RuntimeError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RuntimeError';
  }
}

/** The engine gives the pod's address to somebody else, or believes to: the pod needs another one. */
export class AddressTakenError extends RuntimeError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'AddressTakenError';
  }
}

export interface Runtime {
  readonly name: 'podman' | 'cri' | 'docker' | 'fake';
  /** As Kubernetes names the engine where that is another name, as "containerd". */
  readonly engine?: string;
  /** Directories in which it keeps an entry for each pod, named by uid, until the pod's sandbox is removed. */
  readonly podFolders: readonly string[];
  /** Connects (and starts the engine's service where needed). Throws RuntimeError that says what to do. */
  start(): Promise<void>;
  /** Lets go of the engine; running pods stay. */
  stop(): Promise<void>;
  version(): Promise<string>;
  /** Makes the board's pod network: bridge and subnet. Idempotent; throws when the subnet differs and pods use it. */
  ensureNetwork(podCidr: string): Promise<void>;
  listSandboxes(): Promise<Sandbox[]>;
  listContainers(): Promise<Container[]>;
  runSandbox(spec: SandboxSpec): Promise<Sandbox>;
  /** Stops what runs in it and removes it; no error when it is gone already. */
  removeSandbox(id: string): Promise<void>;
  createContainer(sandboxId: string, spec: ContainerSpec): Promise<string>;
  startContainer(id: string): Promise<void>;
  /** SIGTERM, then SIGKILL after `graceSeconds`. No error when it is not running. */
  stopContainer(id: string, graceSeconds: number): Promise<void>;
  removeContainer(id: string): Promise<void>;
  readonly images: ImageStore;
  imageStatus(image: string): Promise<ImageStatus | undefined>;
  /** Throws ImagePullError. Without a login the registry is asked without a name. */
  pullImage(image: string, signal: AbortSignal, login?: RegistryLogin): Promise<ImageStatus>;
  /** Bytes of stdout and stderr in the order written, lines whole. Ends at the container's end, or on abort. */
  logs(id: string, options: LogOptions, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /**
   * Runs a command in a running container to its end, as its user and with its environment. Throws RuntimeError
   * when the container does not run or the program cannot be started.
   */
  execute(id: string, command: readonly string[], options: ExecuteOptions): Promise<ExecuteResult>;
  /**
   * Runs a command in a running container, for a person or a program at the other end of `ExecSession`. Not
   * found or not executable: exit code 127 or 126 with words on stderr, or a RuntimeError, as the engine has it.
   * Throws RuntimeError when the container does not run.
   */
  exec(id: string, options: ExecOptions): Promise<ExecSession>;
  /**
   * Joins the streams of a running container's own process, from now on. `tty` must be as the container was made.
   * Throws RuntimeError when it is not there.
   */
  attach(id: string, options: StreamOptions): Promise<ExecSession>;
  /** Of these containers; one that does not run is left out. Lists nothing: called with every heartbeat. */
  stats(ids: readonly string[]): Promise<ContainerStats[]>;
  /** What happens to our containers, from now on, until abort; the caller lists again after a gap. */
  events(signal: AbortSignal): AsyncIterable<RuntimeEvent>;
}

/**
 * All pods of the board: one worker each, started from what is desired and from what the engine already has.
 *
 * Promises
 * - Adoption: pods are known by the labels the engine keeps. A restarted agent touches no container whose spec is
 *   unchanged.
 * - Absence never kills: a pod that is not desired goes only if a complete manifest of the own cluster
 *   is held (`DesiredView.complete`) that leaves it out.
 * - Idle costs nothing: no forks, no disk writes, one listing of the engine a minute.
 */
import type { Logger } from 'pino';
import type { Clock } from '../../protocol/clock.ts';
import { fullImageName } from '../../protocol/image-name.ts';
import type { DeviceRoots } from '../host/devices.ts';
import { readDiskSpace } from '../host/metrics.ts';
import type { BackoffLimits } from '../plan/backoff.ts';
import { allContainers, type BoardPod, podKey, stopGraceSeconds } from '../plan/board-pod.ts';
import type { ImagesInUse } from '../plan/image-garbage.ts';
import type { PlanLimits } from '../plan/memory.ts';
import type { PodDirectories } from '../plan/volume-plan.ts';
import type { Container, Runtime, Sandbox } from '../runtime/runtime.ts';
import type { DesiredView } from '../state/desired-state.ts';
import type { PodRecords } from '../state/pod-records.ts';
import type { PullNotes } from '../state/pull-notes.ts';
import type { RunNotes } from '../state/run-notes.ts';
import { BoardDevices } from './board-devices.ts';
import { type EngineView, EngineWatch } from './engine-watch.ts';
import { ImageCollector, type ImageCollectorLimits } from './image-collector.ts';
import { ImagePuller } from './image-puller.ts';
import { NetworkMounts, type NetworkMountsOptions } from './network-mounts.ts';
import { PodFolders } from './pod-folders.ts';
import type { PodEvent } from './pod-steps.ts';
import { type BoardFacts, type PodStatusReport, PodWorker, type WorkerHost } from './pod-worker.ts';
import { PressureRelief } from './pressure-relief.ts';
import { SafePulls } from './safe-pulls.ts';
import { Semaphore } from './semaphore.ts';
import { diskUsage, VolumeWatch } from './volume-watch.ts';

export interface PodLimits extends PlanLimits {
  readonly parallelPulls: number;
  readonly parallelEngineCalls: number;
  readonly relistMs: number;
  /** How often limited volumes are measured. */
  readonly volumeLookMs: number;
  readonly images: ImageCollectorLimits;
  readonly engineRetry: BackoffLimits;
}

export interface PodManagerOptions {
  readonly runtime: Runtime;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: PodLimits;
  readonly records: PodRecords;
  readonly notes: RunNotes;
  readonly pullNotes: PullNotes;
  readonly desired: () => DesiredView;
  readonly facts: () => BoardFacts;
  /** Of the board, as Kubernetes names it, and what it runs by an emulator. */
  readonly architecture: string;
  readonly emulated: () => Promise<readonly string[]>;
  readonly directories: (uid: string) => PodDirectories;
  readonly networkMounts: NetworkMountsOptions;
  /** After the engine has made the pod network. */
  readonly networkMade: () => Promise<void>;
  readonly report: (report: PodStatusReport) => void;
  readonly emit: (event: PodEvent) => void;
  /** Where the board's devices are looked for. */
  readonly deviceRoots: DeviceRoots;
  readonly pinnedImages: readonly string[];
  /** An event of the board. */
  readonly emitNode: (reason: string, message: string) => void;
}

interface Observed {
  readonly sandboxes: Sandbox[];
  readonly containers: Container[];
}

export class PodManager {
  readonly #options: PodManagerOptions;
  readonly #watch: EngineWatch;
  readonly #volumes: VolumeWatch;
  readonly #images: ImageCollector;
  readonly #networkMounts: NetworkMounts;
  readonly devices: BoardDevices;
  /** Acts on each measurement of the board. */
  readonly relief: PressureRelief;
  readonly #folders: PodFolders;
  readonly #host: WorkerHost;
  readonly #workers = new Map<string, PodWorker>();
  /** Pods this agent found in its state or in the engine when it was started. */
  readonly #ranBefore = new Set<string>();
  readonly #kept = new Set<string>();
  #observed: ReadonlyMap<string, Observed> | undefined;
  #configsDigest = '';
  #network: { readonly podCidr: string; readonly made: Promise<void> } | undefined;

  constructor(options: PodManagerOptions) {
    this.#options = options;
    const { runtime, clock, log, limits } = options;
    this.#networkMounts = new NetworkMounts(options.networkMounts);
    this.#watch = new EngineWatch({
      runtime,
      clock,
      log,
      relistMs: limits.relistMs,
      retry: limits.engineRetry,
      beforeList: () => this.#tokens(),
      onList: (view, tokens) => this.#listed(view, tokens),
      onEvent: ({ type, containerId, podUid }) => {
        const worker = podUid === undefined ? undefined : this.#workers.get(podUid);
        return worker === undefined || worker.isNews(type, containerId);
      },
    });
    this.#volumes = new VolumeWatch({
      clock,
      log,
      lookMs: limits.volumeLookMs,
      pods: () => this.#workers.values(),
      directories: options.directories,
    });
    this.#images = new ImageCollector({
      images: runtime.images,
      clock,
      log,
      limits: limits.images,
      diskSpace: readDiskSpace,
      inUse: () => this.#imagesInUse(),
      onFull: (message) => options.emitNode('FreeDiskSpaceFailed', message),
    });
    this.devices = new BoardDevices({
      roots: options.deviceRoots,
      log,
      records: options.records,
      pod: (uid) => this.#workers.get(uid),
      emit: options.emit,
      wallMs: () => clock.wallMs(),
    });
    this.relief = new PressureRelief({
      clock,
      log,
      pods: () => this.#workers.values(),
      diskUse: (uid) => diskUsage(options.directories(uid).data, Number.POSITIVE_INFINITY),
      removeUnusedImages: () => this.#images.removeUnused(),
    });
    const { directories } = options;
    const mounts = this.#networkMounts;
    this.#folders = new PodFolders({ directories, ofRuntime: runtime.podFolders, mounts, log });
    this.#host = {
      runtime,
      clock,
      log,
      limits,
      images: new ImagePuller({
        ...options,
        pulls: new SafePulls(options),
        parallelMax: limits.parallelPulls,
      }),
      engineSlots: new Semaphore(limits.parallelEngineCalls),
      records: options.records,
      notes: options.notes,
      devices: this.devices,
      facts: options.facts,
      configs: () => options.desired().configs,
      directories: options.directories,
      networkMounts: this.#networkMounts,
      assignIp: (uid, startTimeMs) => this.#assignIp(uid, startTimeMs),
      report: options.report,
      emit: options.emit,
      requestList: () => this.#watch.requestList(),
      cleanUp: (uid) => this.#cleanUp(uid),
    };
  }

  /** Why the container engine cannot be used; undefined while it answers. */
  get engineProblem(): string | undefined {
    return this.#watch.problem;
  }

  /** Full names of images that this board refused because they are not built for it. */
  foreignImages(): string[] {
    return this.#host.images.foreignImages();
  }

  /** Begins; pods are adopted as soon as the engine answers. */
  start(): void {
    const { pods } = this.#options.desired();
    for (const uid of pods.keys()) this.#ranBefore.add(uid);
    this.#watch.start();
    this.#volumes.start();
    this.#images.start();
  }

  /** Lets go of the pods; they run on. */
  async stop(): Promise<void> {
    this.#volumes.stop();
    this.#images.stop();
    for (const worker of this.#workers.values()) worker.stop();
    await this.#watch.stop();
  }

  /** What is desired has changed. */
  desiredChanged(): void {
    const { configsDigest } = this.#options.desired();
    const configsChanged = configsDigest !== this.#configsDigest;
    this.#reconcile();
    if (!configsChanged) return;
    for (const worker of this.#workers.values()) worker.configsChanged();
  }

  /** Reports every pod again: the master may have missed something. */
  reportAll(): void {
    for (const worker of this.#workers.values()) worker.reportAgain();
  }

  /** The pods there are, for logs and measurements. */
  workers(): Iterable<PodWorker> {
    return this.#workers.values();
  }

  /** Where the claims of the pods lie, also of pods that are ending. */
  claimedPaths(): ReadonlySet<string> {
    const { pods } = this.#options.desired();
    const live = [...this.#workers.values()].filter(({ gone }) => !gone).map(({ pod }) => pod);
    const claims = [...live, ...pods.values()].flatMap((pod) => Object.values(pod.claims ?? {}));
    return new Set(claims.flatMap((claim) => ('path' in claim ? [claim.path] : [])));
  }

  #imagesInUse(): ImagesInUse {
    const workers = [...this.#workers.values()];
    const containers = workers.flatMap((worker) => worker.containers);
    const { pods } = this.#options.desired();
    const specs = [...workers.map(({ pod }) => pod), ...pods.values()].flatMap(({ spec }) =>
      allContainers(spec),
    );
    const names = [...this.#options.pinnedImages, ...specs.map(({ image = '' }) => image)];
    return {
      ids: new Set(containers.map(({ imageId }) => imageId)),
      names: new Set(names.map(fullImageName)),
    };
  }

  #tokens(): Map<string, number> {
    const tokens = new Map<string, number>();
    for (const [uid, worker] of this.#workers) tokens.set(uid, worker.observationToken());
    return tokens;
  }

  #listed(view: EngineView, tokens: ReadonlyMap<string, number>): void {
    const observed = groupByPod(view);
    const { records, clock } = this.#options;
    if (this.#observed === undefined) {
      for (const uid of observed.keys()) this.#ranBefore.add(uid);
      this.#options.log.info({ pods: observed.size }, 'container engine listed');
    }
    this.#observed = observed;
    const known = [...this.#workers.values()].flatMap(({ containers }) => containers);
    const seen = new Set([...view.containers, ...known].map(({ id }) => id));
    this.#options.notes.prune((id) => seen.has(id));
    for (const [uid, { sandboxes }] of observed) {
      const ip = sandboxes.find(({ ready }) => ready)?.ip;
      if (ip !== undefined && ip !== '') records.note(uid, ip, clock.wallMs());
    }
    for (const [uid, worker] of this.#workers) {
      const token = tokens.get(uid);
      const { sandboxes, containers } = observed.get(uid) ?? NOTHING;
      // A worker that came after the listing began is observed by the next one.
      if (token === undefined) this.#watch.requestList();
      else worker.observe(token, sandboxes, containers);
    }
    this.#reconcile();
  }

  #reconcile(): void {
    const view = this.#options.desired();
    this.#configsDigest = view.configsDigest;
    // Nothing is decided before the engine was seen once.
    if (this.#observed === undefined) return;
    for (const pod of view.pods.values()) {
      const going = pod.meta.deletionTimestamp !== undefined;
      this.#worker(pod).setDesired(pod, going ? stopGraceSeconds(pod) : undefined);
    }
    for (const [uid, worker] of this.#workers) {
      if (view.pods.has(uid) || view.lostPods.has(uid) || !view.complete) continue;
      if (worker.gone) this.#workers.delete(uid);
      else worker.setDesired(worker.pod, stopGraceSeconds(worker.pod));
    }
    this.#reconcileStrangers(view, this.#observed);
    if (!view.complete) return;
    const isKnown = (uid: string) =>
      view.pods.has(uid) || this.#workers.has(uid) || view.lostPods.has(uid);
    this.#options.records.prune(isKnown);
    void this.#folders.removeStrays((uid) => isKnown(uid) || this.#options.desired().pods.has(uid));
  }

  /** Pods of ours that the engine has and nobody here knows. */
  #reconcileStrangers(view: DesiredView, observed: ReadonlyMap<string, Observed>): void {
    for (const [uid, found] of observed) {
      if (this.#workers.has(uid)) continue;
      const pod = strangerPod(uid, found);
      if (view.complete && !view.lostPods.has(uid)) {
        this.#options.log.info({ pod: podKey(pod), uid }, 'pod is not desired any more');
        this.#worker(pod).setDesired(pod, stopGraceSeconds(pod));
      } else if (!this.#kept.has(uid)) {
        this.#kept.add(uid);
        this.#options.log.warn(
          { pod: podKey(pod), uid },
          'pod found whose spec is not known; it is left as it is until the master says more',
        );
      }
    }
  }

  #worker(pod: BoardPod): PodWorker {
    const known = this.#workers.get(pod.uid);
    if (known !== undefined) return known;
    const worker = new PodWorker(this.#host, pod, this.#ranBefore.has(pod.uid));
    this.#workers.set(pod.uid, worker);
    const { sandboxes, containers } = this.#observed?.get(pod.uid) ?? NOTHING;
    worker.observe(worker.observationToken(), sandboxes, containers);
    return worker;
  }

  async #assignIp(uid: string, startTimeMs: number): Promise<string | undefined> {
    const podCidr = this.#options.desired().node?.podCidr ?? '';
    if (podCidr === '') throw new Error('the master has not given this board pod addresses yet');
    if (this.#network?.podCidr !== podCidr) {
      const { runtime, networkMade } = this.#options;
      const made = runtime.ensureNetwork(podCidr).then(networkMade);
      this.#network = { podCidr, made };
    }
    try {
      await this.#network.made;
    } catch (error) {
      this.#network = undefined;
      throw error;
    }
    return this.#options.records.assignIp(uid, podCidr, startTimeMs);
  }

  async #cleanUp(uid: string): Promise<void> {
    this.#options.records.forget(uid);
    this.#options.notes.forgetPod(uid);
    await this.#folders.remove(uid);
  }
}

const NOTHING: Observed = { sandboxes: [], containers: [] };

function groupByPod({ sandboxes, containers }: EngineView): Map<string, Observed> {
  const pods = new Map<string, Observed>();
  const of = (uid: string): Observed => {
    const known = pods.get(uid) ?? { sandboxes: [], containers: [] };
    pods.set(uid, known);
    return known;
  };
  for (const sandbox of sandboxes) of(sandbox.podUid).sandboxes.push(sandbox);
  for (const container of containers) of(container.podUid).containers.push(container);
  return pods;
}

/** As much of a pod as its labels tell. */
function strangerPod(uid: string, { sandboxes, containers }: Observed): BoardPod {
  const [sandbox] = sandboxes;
  const name = sandbox?.podName ?? uid;
  const namespace = sandbox?.podNamespace ?? 'default';
  const names = [...new Set(containers.map((container) => container.name))];
  const spec = { containers: names.map((container) => ({ name: container })) };
  return { uid, namespace, name, meta: { uid, name, namespace }, spec };
}

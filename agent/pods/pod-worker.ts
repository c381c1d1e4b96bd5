/**
 * One pod of the board: holds what is known of it, asks the plan what to do, and has the steps carried out.
 *
 * Steps that touch the same container never overlap; making and removing the sandbox overlaps with nothing.
 * What the engine shows (`observe`) is taken in only if it was looked up after the last change made here, so
 * that an old listing can never make a container twice. Between triggers (desired state, engine, timer) a
 * worker does nothing at all.
 */
import type { Logger } from 'pino';
import type { Clock } from '../../protocol/clock.ts';
import type { PodStatus } from '../../protocol/kinds/types.ts';
import type { BoardPod } from '../plan/board-pod.ts';
import { allContainers, namesOfEphemeral, podKey } from '../plan/board-pod.ts';
import type { BoardResolver } from '../plan/container-spec.ts';
import type { ConfigLookup, PodFacts } from '../plan/environment.ts';
import type { PlanLimits } from '../plan/memory.ts';
import {
  DEADLINE_EXCEEDED,
  type PodVerdict,
  type PodView,
  planPod,
  podOutcome,
} from '../plan/pod-plan.ts';
import { podStatus } from '../plan/pod-status.ts';
import { type PodDirectories, planVolumes } from '../plan/volume-plan.ts';
import type { Container, Runtime, Sandbox } from '../runtime/runtime.ts';
import type { PodRecords } from '../state/pod-records.ts';
import type { RunNotes } from '../state/run-notes.ts';
import { backOffEvents } from './back-off-events.ts';
import type { BoardDevices } from './board-devices.ts';
import type { ImagePuller } from './image-puller.ts';
import type { NetworkMounts } from './network-mounts.ts';
import { PodBook } from './pod-book.ts';
import { findContainer, messageOf, type PodEvent, runStep } from './pod-steps.ts';
import { PodVolumes } from './pod-volumes.ts';
import { Prober } from './prober.ts';
import type { Semaphore } from './semaphore.ts';
import { isExclusive, type RunnableStep, stepKey } from './step-key.ts';
import { readTermination } from './termination.ts';

/** What the board tells its pods about itself. */
export interface BoardFacts extends Omit<PodFacts, 'podIp'> {
  readonly resolver: BoardResolver;
}

export interface PodStatusReport {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly status: PodStatus;
  /** Nothing of the pod is left on the board. */
  readonly gone: boolean;
}

export interface WorkerHost {
  readonly runtime: Runtime;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: PlanLimits;
  readonly images: ImagePuller;
  readonly engineSlots: Semaphore;
  readonly records: PodRecords;
  readonly notes: RunNotes;
  readonly devices: BoardDevices;
  readonly facts: () => BoardFacts;
  readonly configs: () => ConfigLookup;
  readonly directories: (uid: string) => PodDirectories;
  readonly networkMounts: NetworkMounts;
  /** Makes the pod network and gives out an address of it. */
  readonly assignIp: (uid: string, startTimeMs: number) => Promise<string | undefined>;
  readonly report: (report: PodStatusReport) => void;
  readonly emit: (event: PodEvent) => void;
  /** The engine has to be looked at again. */
  readonly requestList: () => void;
  /** Removes what the pod left on disk. */
  readonly cleanUp: (uid: string) => Promise<void>;
}

export class PodWorker {
  readonly #host: WorkerHost;
  readonly #ranBefore: boolean;
  readonly #startTimeMs: number;
  readonly #pulls = new AbortController();
  readonly #book: PodBook;
  readonly #prober: Prober;
  #pod: BoardPod;
  #graceSeconds: number | undefined;
  #verdict: PodVerdict | undefined;
  readonly #bornMs: number;
  /** Steps under way by what they touch. */
  readonly #inFlight = new Map<string, RunnableStep>();
  readonly #preStops = new Map<string, Promise<void>>();
  #mutations = 0;
  #mutating = 0;
  #scheduled = false;
  #stopped = false;
  #gone = false;
  #timer: NodeJS.Timeout | undefined;
  #status: PodStatus | undefined;
  #reported = '';
  readonly #volumes: PodVolumes;
  /** Containers whose termination message is being read: until then nothing is said of their end. */
  readonly #reading = new Set<string>();

  constructor(host: WorkerHost, pod: BoardPod, ranBefore: boolean) {
    this.#host = host;
    this.#pod = pod;
    this.#volumes = new PodVolumes(host.networkMounts);
    const { runtime, clock, notes, emit } = host;
    this.#prober = new Prober({ runtime, clock, notes, emit, onChange: () => this.#schedule() });
    this.#ranBefore = ranBefore;
    const record = host.records.get(pod.uid);
    this.#book = new PodBook(host.limits, host.clock, record?.made);
    this.#verdict = record?.verdict;
    const hasDeadline = pod.spec.activeDeadlineSeconds !== undefined;
    this.#bornMs = clock.monotonicMs() - (hasDeadline ? notes.podAgeMs(pod.uid) : 0);
    this.#startTimeMs = record?.startTimeMs ?? host.clock.wallMs();
  }

  get pod(): BoardPod {
    return this.#pod;
  }

  get gone(): boolean {
    return this.#gone;
  }

  get containers(): readonly Container[] {
    return this.#book.containers;
  }

  get status(): PodStatus | undefined {
    return this.#status;
  }

  /** `graceSeconds` is set when the pod has to go. There is no way back from that. */
  setDesired(pod: BoardPod, graceSeconds: number | undefined): void {
    const isNew = pod !== this.#pod;
    this.#pod = pod;
    // What a container could not be made for may be there now: a volume, say; its tokens and labels may be others.
    if (isNew && graceSeconds === undefined) this.configsChanged();
    const going = graceSeconds ?? this.#graceSeconds;
    if (going !== undefined && this.#graceSeconds === undefined) {
      this.#pulls.abort();
      this.#prober.stop();
      this.#book.startRemoval();
    }
    this.#graceSeconds = going;
    this.#schedule();
  }

  configsChanged(): void {
    this.#book.configsChanged();
    if (this.#book.containers.some(({ state }) => state === 'running')) this.#refreshVolumes();
    this.#schedule();
  }

  /** Taken before the engine is listed and given back to `observe`. */
  observationToken(): number {
    return this.#mutations;
  }

  observe(token: number, sandboxes: readonly Sandbox[], containers: readonly Container[]): void {
    if (token !== this.#mutations || this.#mutating > 0) {
      this.#host.requestList();
      return;
    }
    this.#book.observe(sandboxes, containers);
    this.#schedule();
  }

  /** Whether an event of the engine tells something that is not known here. */
  isNews(type: 'started' | 'exited' | 'removed', containerId: string): boolean {
    const known = this.#book.containers.find(({ id }) => id === containerId);
    if (type === 'removed') return known !== undefined;
    return known === undefined || known.state !== (type === 'started' ? 'running' : 'exited');
  }

  /** Says everything again, for a master that may have missed it. */
  reportAgain(): void {
    this.#reported = '';
    if (this.#gone) this.#report();
    else this.#schedule();
  }

  /** Ends the pod for good; nothing when it has ended, or has to go anyway. */
  evict(verdict: PodVerdict): void {
    if (this.#graceSeconds !== undefined || podOutcome(this.#view()) !== undefined) return;
    this.#end(verdict, 'Warning');
    this.#schedule();
  }

  /** Stops working; the pod runs on. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#prober.stop();
    this.#pulls.abort();
  }

  #schedule(): void {
    if (this.#scheduled || this.#stopped || this.#gone) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      if (!this.#stopped && !this.#gone) this.#work();
    });
  }

  #work(): void {
    this.#prober.update(
      this.#pod,
      this.#book.containers,
      this.#book.podIp ?? this.#host.facts().hostIp,
    );
    for (const ended of this.#book.unread) void this.#readMessage(ended);
    const made = namesOfEphemeral(this.#pod, this.#book.containers);
    this.#host.records.noteMade(this.#pod.uid, made, this.#startTimeMs);
    const deadlineAtMs = this.#checkDeadline();
    const view = this.#view();
    const plan = planPod(view);
    const wakeUps = [plan.wakeAtMs, deadlineAtMs].filter((atMs) => atMs !== undefined);
    for (const step of plan.steps) {
      if (step.type === 'gone') {
        if (this.#inFlight.size === 0) void this.#finish();
        continue;
      }
      const delay = this.#book.delayOf(stepKey(step));
      if (typeof delay === 'number') wakeUps.push(delay);
      else if (delay === undefined && this.#mayRun(step)) void this.#run(step);
    }
    this.#updateStatus(view);
    this.#wakeAt([...wakeUps, ...this.#book.statusChangesAtMs(view.nowMs)]);
  }

  #wakeAt(wakeUps: readonly number[]): void {
    clearTimeout(this.#timer);
    if (wakeUps.length === 0) return;
    const delayMs = Math.min(...wakeUps) - this.#host.clock.monotonicMs();
    this.#timer = setTimeout(() => this.#schedule(), Math.max(1, Math.ceil(delayMs)));
  }

  /** Ends the pod when its time is over; until then, when that is. */
  #checkDeadline(): number | undefined {
    const { activeDeadlineSeconds } = this.#pod.spec;
    if (activeDeadlineSeconds === undefined || this.#graceSeconds !== undefined) return undefined;
    if (podOutcome(this.#view()) !== undefined) return undefined;
    const deadlineAtMs = this.#bornMs + activeDeadlineSeconds * 1000;
    if (this.#host.clock.monotonicMs() < deadlineAtMs) return deadlineAtMs;
    this.#end(DEADLINE_EXCEEDED, 'Normal');
    return undefined;
  }

  #end(verdict: PodVerdict, type: PodEvent['type']): void {
    const { uid, namespace, name } = this.#pod;
    this.#verdict = verdict;
    this.#host.records.end(uid, verdict, this.#startTimeMs);
    const { reason, message } = verdict;
    this.#host.emit({ uid, namespace, name, container: undefined, reason, message, type });
  }

  #view(): PodView {
    return {
      pod: this.#pod,
      stopGraceSeconds: this.#graceSeconds,
      sandboxes: this.#book.sandboxes,
      containers: this.#book.containers,
      memory: this.#book.memory,
      health: this.#prober.health,
      verdict: this.#verdict,
      nowMs: this.#host.clock.monotonicMs(),
    };
  }

  #mayRun(step: RunnableStep): boolean {
    const key = stepKey(step);
    if (isExclusive(step)) return this.#inFlight.size === 0;
    for (const running of this.#inFlight.values()) if (isExclusive(running)) return false;
    if (step.type !== 'stopContainer') return !this.#inFlight.has(key);
    // A shorter grace period overtakes the stop that is under way.
    for (const running of this.#inFlight.values()) {
      const same = running.type === 'stopContainer' && running.id === step.id;
      if (same && running.graceSeconds <= step.graceSeconds) return false;
    }
    return true;
  }

  async #run(step: RunnableStep): Promise<void> {
    const host = this.#host;
    const uid = this.#pod.uid;
    const key = stepKey(step);
    const mutates = !['ensureImage', 'stopContainer', 'runPostStart'].includes(step.type);
    this.#inFlight.set(key, step);
    if (step.type === 'stopContainer' && (step.why === 'startup' || step.why === 'liveness')) {
      this.#book.failed(step.container, step.id);
    }
    if (mutates) this.#mutating++;
    this.#mutations++;
    const { resolver, ...facts } = host.facts();
    const outcome = await runStep(step, {
      runtime: host.runtime,
      clock: host.clock,
      images: host.images,
      engineSlots: host.engineSlots,
      pod: this.#pod,
      configs: host.configs(),
      facts,
      podIp: this.#book.podIp,
      resolver,
      directories: host.directories(uid),
      makeVolumes: (volumes) => this.#volumes.make(volumes),
      ranBefore: this.#ranBefore,
      assignIp: () => host.assignIp(uid, this.#startTimeMs),
      devices: () => host.devices.unitsOf(this.#pod),
      refuseIp: () => host.records.refuseIp(uid),
      signal: this.#pulls.signal,
      preStops: this.#preStops,
      emit: host.emit,
    });
    this.#inFlight.delete(key);
    if (mutates) this.#mutating--;
    this.#mutations++;
    if (outcome.type === 'failed') {
      const { message: reason } = outcome;
      host.log.warn({ pod: podKey(this.#pod), step: step.type, reason }, 'step failed');
    }
    if (outcome.type === 'hooked' && outcome.succeeded) {
      this.#prober.hooked(outcome.container, outcome.id);
    }
    if (this.#book.settle(key, outcome)) host.requestList();
    this.#schedule();
  }

  async #readMessage(ended: Container): Promise<void> {
    if (this.#reading.has(ended.id)) return;
    this.#reading.add(ended.id);
    const spec = findContainer(this.#pod, ended.name) ?? { name: ended.name };
    const directories = this.#host.directories(this.#pod.uid);
    const count = allContainers(this.#pod.spec).length;
    const whole = { spec, ended, directories, containers: count };
    const message = await readTermination(whole, this.#host.runtime);
    this.#reading.delete(ended.id);
    this.#book.messageRead(ended, message);
    this.#schedule();
  }

  #updateStatus(view: PodView): void {
    const { runtime, clock, facts, emit } = this.#host;
    const before = this.#status;
    this.#status = podStatus(view, {
      runtimeScheme: runtime.name === 'cri' ? 'containerd' : runtime.name,
      hostIp: facts().hostIp,
      startTimeMs: this.#startTimeMs,
      wallMs: clock.wallMs(),
      previous: before,
    });
    for (const event of backOffEvents(this.#pod, before, this.#status)) emit(event);
    if (this.#reading.size === 0) this.#report();
  }

  #report(): void {
    const status = this.#status;
    if (status === undefined) return;
    const text = `${this.#gone}${JSON.stringify(status)}`;
    if (text === this.#reported) return;
    this.#reported = text;
    const { uid, namespace, name } = this.#pod;
    this.#host.report({ uid, namespace, name, status, gone: this.#gone });
  }

  #refreshVolumes(): void {
    const { facts, configs, directories, emit } = this.#host;
    const { uid, namespace, name } = this.#pod;
    const podIp = this.#book.podIp ?? facts().hostIp;
    const plan = () =>
      planVolumes(this.#pod, {
        configs: configs(),
        facts: { ...facts(), podIp },
        directories: directories(uid),
      });
    this.#volumes.refresh(plan).catch((error: unknown) => {
      const event = { uid, namespace, name, container: undefined, message: messageOf(error) };
      emit({ ...event, type: 'Warning', reason: 'FailedMount' });
    });
  }

  async #finish(): Promise<void> {
    this.#gone = true;
    clearTimeout(this.#timer);
    try {
      await this.#volumes.settled();
      await this.#host.cleanUp(this.#pod.uid);
    } catch (error) {
      this.#host.log.warn({ pod: podKey(this.#pod), err: error }, 'pod left files behind');
    }
    if (!this.#stopped) this.#report();
  }
}

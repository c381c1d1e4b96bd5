/**
 * A pod on a simulated board: one container, its image says how it behaves. Images: `app:N` runs until it is stopped (or
 * crashes by chance), `bad:N` cannot be pulled, `job:SECONDS` ends by itself, `task:SECONDS` the same and fails at times.
 */
import type { ContainerState, Pod, PodStatus } from '../../../protocol/kinds/types.ts';
import type { Chance } from './chance.ts';

export interface Weather {
  /** Mean time between crashes of a container; 0: none. */
  crashEveryMs: number;
  /** Of the runs of a `task`. */
  failures: number;
}

/** What a pod needs of its board. */
export interface PodHost {
  readonly chance: Chance;
  readonly weather: Weather;
  /** Of the container engine: ends with the board's power. */
  engineAfter(delayMs: number, run: () => void): () => void;
  /** Of the agent: ends with its process. */
  agentAfter(delayMs: number, run: () => void): () => void;
  /** The board's own wall clock, RFC 3339. */
  timestamp(): string;
  /** Something changed that the master has to hear. */
  changed(pod: SimPod): void;
  /** Its container has been started. */
  started(pod: SimPod): void;
  /** Its running container is about to be stopped. */
  stopping(pod: SimPod): void;
}

type Phase = 'Pending' | 'Running' | 'Succeeded' | 'Failed';

const READY_CONDITIONS = ['Ready', 'ContainersReady'];
const EXIT_TERMINATED = 143;
const EXIT_KILLED = 137;

export class SimPod {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly ip: string;
  spec: Pod;
  phase: Phase = 'Pending';
  /** Its container runs. */
  isRunning = false;
  isReady = false;
  isStopping = false;
  /** Nothing is left of it but the word to the master. */
  isGone = false;
  #restarts = 0;
  #exitCode: number | undefined;
  #startedAt = '';
  readonly #startTime: string;
  readonly #transitions = new Map<string, { readonly status: string; readonly time: string }>();
  readonly #host: PodHost;
  /** What the agent is about to do, and what the container will do by itself. */
  #step: (() => void) | undefined;
  #fate: (() => void)[] = [];

  constructor(spec: Pod, ip: string, host: PodHost) {
    this.spec = spec;
    this.uid = spec.metadata?.uid ?? '';
    this.namespace = spec.metadata?.namespace ?? '';
    this.name = spec.metadata?.name ?? '';
    this.ip = ip;
    this.#host = host;
    this.#startTime = host.timestamp();
  }

  get hasEnded(): boolean {
    return this.phase === 'Succeeded' || this.phase === 'Failed';
  }

  get owner(): string {
    const owner = this.spec.metadata?.ownerReferences?.find(
      ({ controller }) => controller === true,
    );
    return owner?.kind ?? '';
  }

  /** The agent looks at the pod: does what is to be done next. Does nothing when that is under way. */
  drive(spec: Pod, shouldStop: boolean): void {
    this.spec = spec;
    if (shouldStop) this.#stop();
    else if (!this.isRunning && !this.hasEnded && this.#step === undefined) this.#begin();
  }

  /** The agent's process has ended: what it was about to do is forgotten. */
  forgetSteps(): void {
    this.#step?.();
    this.#step = undefined;
    this.isStopping = false;
  }

  /** The board lost its power: the container is gone, what the engine wrote about it stays. */
  losePower(): void {
    this.forgetSteps();
    this.#endFate();
    if (this.isRunning) this.#exited(EXIT_KILLED, true);
  }

  #begin(): void {
    const { chance } = this.#host;
    if (this.#image.startsWith('bad:')) return;
    const isFirst = this.#exitCode === undefined;
    const delayMs = isFirst ? chance.between(100, 3_000) : chance.between(500, 8_000);
    this.#step = this.#host.agentAfter(delayMs, () => {
      this.#step = undefined;
      if (!isFirst) this.#restarts += 1;
      this.#run();
    });
  }

  get #image(): string {
    return this.spec.spec?.containers?.[0]?.image ?? '';
  }

  #run(): void {
    const { chance, weather } = this.#host;
    this.isRunning = true;
    this.phase = 'Running';
    this.#startedAt = this.#host.timestamp();
    const [kind, seconds] = this.#image.split(':');
    const isApp = kind !== 'job' && kind !== 'task';
    this.isReady = chance.happens(0.5);
    if (!this.isReady) {
      this.#later(chance.between(200, 5_000), () => {
        this.isReady = true;
        this.#host.changed(this);
      });
    }
    if (!isApp) {
      const ranMs = Number(seconds) * 1_000 * chance.between(0.5, 1.5);
      const code = kind === 'task' && chance.happens(weather.failures) ? 1 : 0;
      this.#later(ranMs, () => this.#exited(code, false));
    } else if (weather.crashEveryMs > 0) {
      const livesMs = -Math.log(1 - chance.next()) * weather.crashEveryMs;
      this.#later(livesMs, () => {
        // The weather may have cleared up.
        if (weather.crashEveryMs > 0) this.#exited(1, false);
      });
    }
    this.#host.started(this);
    this.#host.changed(this);
  }

  #later(delayMs: number, run: () => void): void {
    this.#fate.push(this.#host.engineAfter(delayMs, run));
  }

  #endFate(): void {
    for (const cancel of this.#fate.splice(0)) cancel();
  }

  #exited(code: number, silently: boolean): void {
    this.#endFate();
    this.isRunning = false;
    this.isReady = false;
    this.#exitCode = code;
    const policy = this.spec.spec?.restartPolicy ?? 'Always';
    const isFinal = this.isStopping || policy === 'Never' || (policy === 'OnFailure' && code === 0);
    if (isFinal) this.phase = code === 0 ? 'Succeeded' : 'Failed';
    if (!silently) this.#host.changed(this);
  }

  #stop(): void {
    if (this.isStopping || this.isGone) return;
    this.#step?.();
    this.isStopping = true;
    if (this.isRunning) this.#host.stopping(this);
    const graceMs = (this.spec.metadata?.deletionGracePeriodSeconds ?? 30) * 1_000;
    const { chance } = this.#host;
    const delayMs = this.isRunning ? chance.between(50, Math.max(60, graceMs)) : 20;
    this.#step = this.#host.agentAfter(delayMs, () => {
      if (this.isRunning) this.#exited(EXIT_TERMINATED, false);
      this.#step = this.#host.agentAfter(chance.between(10, 200), () => {
        this.#step = undefined;
        this.isGone = true;
        this.#host.changed(this);
      });
    });
    this.#host.changed(this);
  }

  status(): PodStatus {
    const ready = this.isReady && !this.hasEnded;
    const reason = this.phase === 'Succeeded' ? 'PodCompleted' : 'ContainersNotReady';
    const conditions = ['Initialized', ...READY_CONDITIONS].map((type) => {
      const isTrue = type === 'Initialized' || ready;
      const status = isTrue ? 'True' : 'False';
      let known = this.#transitions.get(type);
      if (known?.status !== status) {
        known = { status, time: this.#host.timestamp() };
        this.#transitions.set(type, known);
      }
      return { type, status, lastTransitionTime: known.time, ...(isTrue ? {} : { reason }) };
    });
    return {
      phase: this.phase,
      conditions,
      startTime: this.#startTime,
      podIP: this.ip,
      podIPs: [{ ip: this.ip }],
      containerStatuses: [
        {
          name: this.spec.spec?.containers?.[0]?.name ?? '',
          image: this.#image,
          imageID: '',
          ready,
          started: this.isRunning,
          restartCount: this.#restarts,
          state: this.#state(),
        },
      ],
    };
  }

  #state(): ContainerState {
    if (this.isRunning) return { running: { startedAt: this.#startedAt } };
    if (this.#image.startsWith('bad:') && !this.isStopping) {
      return { waiting: { reason: 'ImagePullBackOff', message: 'no such image' } };
    }
    const exitCode = this.#exitCode;
    if (exitCode === undefined) return { waiting: { reason: 'ContainerCreating' } };
    if (!this.hasEnded && !this.isStopping) return { waiting: { reason: 'CrashLoopBackOff' } };
    return { terminated: { exitCode, reason: exitCode === 0 ? 'Completed' : 'Error' } };
  }
}

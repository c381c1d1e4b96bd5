/**
 * What a worker knows of its pod: what the engine showed, what steps changed since, what is remembered.
 * No I/O and no timers.
 */
import type { Clock } from '../../protocol/clock.ts';
import { type Backoff, growBackoff } from '../plan/backoff.ts';
import {
  forgetConfigFailures,
  memoryOf,
  noteFailed,
  noteFailure,
  noteImageReady,
  noteMessage,
  noteObserved,
  noteSandboxDone,
  noteSandboxFailed,
  noteStartFailed,
  type PlanLimits,
  type PodMemory,
} from '../plan/memory.ts';
import { PULL_ERROR_SHOWN_MS } from '../plan/pod-status.ts';
import type { Container, Sandbox } from '../runtime/runtime.ts';
import type { StepOutcome } from './pod-steps.ts';

export class PodBook {
  readonly #limits: PlanLimits;
  readonly #clock: Clock;
  #sandboxes: readonly Sandbox[] = [];
  #containers: readonly Container[] = [];
  #memory: PodMemory;
  /** Steps that are done, whose result only the next listing shows. */
  readonly #awaitingList = new Set<string>();
  readonly #retries = new Map<string, Backoff>();
  /** Of containers that have ended, by id. */
  readonly #messages = new Map<string, string>();

  /** `made`: the ephemeral containers that were made before. */
  constructor(limits: PlanLimits, clock: Clock, made: readonly string[] = []) {
    this.#limits = limits;
    this.#clock = clock;
    this.#memory = memoryOf(made);
  }

  get sandboxes(): readonly Sandbox[] {
    return this.#sandboxes;
  }

  get containers(): readonly Container[] {
    return this.#containers;
  }

  get memory(): PodMemory {
    return this.#memory;
  }

  get podIp(): string | undefined {
    return this.#sandboxes.find(({ ready }) => ready)?.ip;
  }

  observe(sandboxes: readonly Sandbox[], containers: readonly Container[]): void {
    this.#sandboxes = sandboxes;
    this.#containers = containers.map((container) => {
      const message = this.#messages.get(container.id);
      return message === undefined ? container : { ...container, message };
    });
    const ids = new Set(containers.map(({ id }) => id));
    for (const id of this.#messages.keys()) if (!ids.has(id)) this.#messages.delete(id);
    this.#awaitingList.clear();
    this.#note();
  }

  /** Containers that have ended, whose termination message was not read yet. */
  get unread(): Container[] {
    return this.#containers.filter(
      ({ state, message }) => state === 'exited' && message === undefined,
    );
  }

  /** The message of a container's end was read; empty when there is none. */
  messageRead({ id, name }: Container, message: string): void {
    this.#messages.set(id, message);
    this.#containers = this.#containers.map((one) => (one.id === id ? { ...one, message } : one));
    this.#memory = noteMessage(this.#memory, name, id, message);
  }

  /** The pod has to go: nothing that failed before may delay that. */
  startRemoval(): void {
    this.#memory = noteSandboxDone(this.#memory);
    this.#retries.clear();
  }

  /** A probe or a hook of the container has failed, and it is about to be ended for that. */
  failed(name: string, id: string): void {
    this.#memory = noteFailed(this.#memory, name, id);
  }

  configsChanged(): void {
    this.#memory = forgetConfigFailures(this.#memory);
  }

  /** When the step may run: now (undefined), after a time, or after the next listing. */
  delayOf(key: string): number | 'list' | undefined {
    if (this.#awaitingList.has(key)) return 'list';
    const retry = this.#retries.get(key);
    return retry !== undefined && this.#clock.monotonicMs() < retry.untilMs
      ? retry.untilMs
      : undefined;
  }

  /** When the words for a failed pull change that the status of `nowMs` told. */
  statusChangesAtMs(nowMs: number): number[] {
    return [...this.#memory.containers.values()]
      .flatMap(({ failure }) => (failure === undefined ? [] : [failure.atMs]))
      .map((atMs) => atMs + PULL_ERROR_SHOWN_MS)
      .filter((atMs) => atMs > nowMs);
  }

  /** Notes what came of a step; true if the engine has to be listed to know more. */
  settle(key: string, outcome: StepOutcome): boolean {
    const nowMs = this.#clock.monotonicMs();
    if (outcome.type === 'failed') {
      const retry = growBackoff(this.#retries.get(key), this.#limits.retry, nowMs);
      this.#retries.set(key, retry);
      return true;
    }
    this.#retries.delete(key);
    switch (outcome.type) {
      case 'imageReady':
        this.#memory = noteImageReady(this.#memory, outcome.container, outcome);
        return false;
      case 'containerFailed': {
        const wait = outcome.image === undefined ? this.#limits.retry : this.#limits.pull;
        this.#memory = noteFailure(this.#memory, outcome.container, outcome, wait, nowMs);
        return false;
      }
      case 'hooked':
        if (!outcome.succeeded) this.failed(outcome.container, outcome.id);
        return false;
      case 'stopped':
        this.#awaitingList.add(key);
        return true;
      case 'sandboxUp':
      case 'sandboxGone':
      case 'sandboxFailed':
        return this.#settleSandbox(outcome, nowMs);
      default:
        return this.#settleContainer(outcome, nowMs);
    }
  }

  #settleSandbox(
    outcome: Extract<StepOutcome, { type: 'sandboxUp' | 'sandboxGone' | 'sandboxFailed' }>,
    nowMs: number,
  ): boolean {
    if (outcome.type === 'sandboxFailed') {
      const { retry } = this.#limits;
      this.#memory = noteSandboxFailed(this.#memory, outcome.message, retry, nowMs);
      return true;
    }
    this.#memory = noteSandboxDone(this.#memory);
    if (outcome.type === 'sandboxUp') {
      this.#sandboxes = [...this.#sandboxes, outcome.sandbox];
      return false;
    }
    this.#sandboxes = this.#sandboxes.filter(({ id }) => id !== outcome.id);
    // The engine removed the containers with it; if it left one, the next listing shows it.
    if (this.#sandboxes.length === 0) this.#containers = [];
    return true;
  }

  #settleContainer(
    outcome: Extract<StepOutcome, { type: 'created' | 'started' | 'startFailed' | 'removed' }>,
    nowMs: number,
  ): boolean {
    switch (outcome.type) {
      case 'created':
        this.#containers = [...this.#containers, outcome.container];
        this.#note();
        return false;
      case 'started': {
        // Said at once; the listing that follows brings the engine's own time and the image's id.
        const now = { state: 'running', startedAtMs: this.#clock.wallMs() } as const;
        this.#containers = this.#containers.map((container) =>
          container.id === outcome.id ? { ...container, ...now } : container,
        );
        this.#note();
        return true;
      }
      case 'startFailed': {
        const failed = this.#containers.find(({ id }) => id === outcome.id);
        if (failed !== undefined) {
          const { message } = outcome;
          this.#memory = noteStartFailed(this.#memory, failed, message, this.#limits, nowMs);
        }
        return true;
      }
      case 'removed':
        this.#containers = this.#containers.filter(({ id }) => id !== outcome.id);
        return false;
      default: {
        const never: never = outcome;
        throw new Error(`unknown outcome ${String(never)}`);
      }
    }
  }

  #note(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#memory = noteObserved(this.#memory, this.#containers, this.#limits, nowMs);
  }
}

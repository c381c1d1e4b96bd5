/**
 * Starts the container engine and does not give up: after a boot it may take long, and an agent that ended
 * for that would take the services of the board with it. Meanwhile the master is told why the board is not ready.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { systemClock as clock } from '../protocol/clock.ts';
import { type Backoff, type BackoffLimits, growBackoff } from './plan/backoff.ts';
import { messageOf } from './pods/pod-steps.ts';
import type { Runtime } from './runtime/runtime.ts';

export class EngineStart {
  readonly runtime: Runtime;
  readonly #retry: BackoffLimits;
  readonly #log: Logger;
  readonly #abort = new AbortController();
  #problem: string | undefined = 'the container engine is being started';
  #version = 'unknown';

  constructor(runtime: Runtime, retry: BackoffLimits, log: Logger) {
    this.runtime = runtime;
    this.#retry = retry;
    this.#log = log;
  }

  /** Why the engine cannot be used yet; undefined once it was started. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** As Kubernetes writes it: "podman://4.3.1", "containerd://1.6.20". */
  get version(): string {
    return `${this.runtime.engine ?? this.runtime.name}://${this.#version}`;
  }

  /** Returns at once; `onStarted` is called when the engine answers. */
  start(onStarted: () => void): void {
    void this.#startUntilItWorks(onStarted);
  }

  /** A start under way ends by itself when the runtime is stopped. */
  stop(): void {
    this.#abort.abort();
  }

  async #startUntilItWorks(onStarted: () => void): Promise<void> {
    const { signal } = this.#abort;
    let backoff: Backoff | undefined;
    while (!signal.aborted) {
      try {
        await this.runtime.start();
        this.#version = await this.runtime.version();
        this.#problem = undefined;
        if (!signal.aborted) onStarted();
        return;
      } catch (error) {
        if (signal.aborted) return;
        this.#problem = messageOf(error);
        backoff = growBackoff(backoff, this.#retry, clock.monotonicMs());
        const retryMs = backoff.delayMs;
        this.#log.error({ reason: this.#problem, retryMs }, 'container engine does not start');
        await delay(retryMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }
}

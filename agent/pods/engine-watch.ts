/**
 * Looks at the container engine: a listing at the start, after every event and on request, never two at once,
 * and one a minute as a safety net. While nothing happens it costs one listing a minute and no fork.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Clock } from '../../protocol/clock.ts';
import { type Backoff, type BackoffLimits, growBackoff } from '../plan/backoff.ts';
import type { Container, Runtime, RuntimeEvent, Sandbox } from '../runtime/runtime.ts';
import { messageOf } from './pod-steps.ts';

export interface EngineView {
  readonly sandboxes: readonly Sandbox[];
  readonly containers: readonly Container[];
}

export interface EngineWatchOptions {
  readonly runtime: Runtime;
  readonly clock: Clock;
  readonly log: Logger;
  readonly relistMs: number;
  /** Waits after the engine failed. */
  readonly retry: BackoffLimits;
  /** Called before each listing; what it returns is given to `onList`. */
  readonly beforeList: () => ReadonlyMap<string, number>;
  readonly onList: (view: EngineView, tokens: ReadonlyMap<string, number>) => void;
  /** Returns whether the event is a reason to list. */
  readonly onEvent: (event: RuntimeEvent) => boolean;
}

/** Requests that come within so many milliseconds share a listing. */
const GATHER_MS = 5;
/** The kubelet's limit (maxWaitForContainerRuntime): an engine that stumbles once is not down, and its board stays Ready. */
const DOWN_AFTER_MS = 30_000;

export class EngineWatch {
  readonly #options: EngineWatchOptions;
  readonly #abort = new AbortController();
  #wanted = false;
  #running = false;
  #problem: string | undefined = 'the container engine has not been reached yet';
  /** Monotonic, of the first failure since the last listing that worked; from the start while there was none. */
  #failingSinceMs: number | undefined = Number.NEGATIVE_INFINITY;
  #failures: Backoff | undefined;
  #net: NodeJS.Timeout | undefined;
  #watching: Promise<void> = Promise.resolve();
  #listing: Promise<void> = Promise.resolve();

  constructor(options: EngineWatchOptions) {
    this.#options = options;
  }

  /** Why the engine cannot be used: it was never reached, or has failed for 30 s. Undefined while it can. */
  get problem(): string | undefined {
    if (this.#failingSinceMs === undefined) return undefined;
    const failingMs = this.#options.clock.monotonicMs() - this.#failingSinceMs;
    return failingMs >= DOWN_AFTER_MS ? this.#problem : undefined;
  }

  start(): void {
    this.#watching = this.#watch();
    this.requestList();
    this.#net = setInterval(() => this.requestList(), this.#options.relistMs);
  }

  async stop(): Promise<void> {
    clearInterval(this.#net);
    this.#abort.abort();
    await Promise.all([this.#watching, this.#listing]);
  }

  requestList(): void {
    this.#wanted = true;
    if (this.#running || this.#abort.signal.aborted) return;
    this.#running = true;
    this.#listing = this.#list();
  }

  async #list(): Promise<void> {
    const { clock } = this.#options;
    while (this.#wanted && !this.#abort.signal.aborted) {
      await this.#pause(GATHER_MS);
      this.#wanted = false;
      const startMs = clock.monotonicMs();
      await this.#listOnce();
      const tookMs = clock.monotonicMs() - startMs;
      // Never more than half of the time is spent on listing.
      if (this.#wanted) await this.#pause(Math.max(tookMs, this.#failures?.delayMs ?? 0));
    }
    this.#running = false;
  }

  async #listOnce(): Promise<void> {
    const { runtime, beforeList, onList, log, clock, retry } = this.#options;
    const tokens = beforeList();
    try {
      // Containers first: a container seen has its sandbox in the later listing, unless both are gone.
      const containers = await runtime.listContainers();
      const sandboxes = await runtime.listSandboxes();
      if (this.#abort.signal.aborted) return;
      if (this.#failures !== undefined) log.info('container engine answers again');
      this.#problem = undefined;
      this.#failures = undefined;
      this.#failingSinceMs = undefined;
      onList({ sandboxes, containers }, tokens);
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      const reason = messageOf(error);
      if (reason !== this.#problem) log.error({ reason }, 'container engine cannot be listed');
      this.#problem = reason;
      this.#failingSinceMs ??= clock.monotonicMs();
      this.#failures = growBackoff(this.#failures, retry, clock.monotonicMs());
      this.#wanted = true;
    }
  }

  async #watch(): Promise<void> {
    const { runtime, onEvent, log, clock, retry } = this.#options;
    const { signal } = this.#abort;
    let failures: Backoff | undefined;
    while (!signal.aborted) {
      const startMs = clock.monotonicMs();
      try {
        for await (const event of runtime.events(signal)) {
          if (onEvent(event)) this.requestList();
        }
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ reason: messageOf(error) }, 'event stream of the container engine broke');
      }
      if (signal.aborted) return;
      // A stream that held for long was healthy: start over with short waits.
      if (clock.monotonicMs() - startMs > retry.maxMs) failures = undefined;
      failures = growBackoff(failures, retry, clock.monotonicMs());
      await this.#pause(failures.delayMs);
      // Events may have been missed in between.
      this.requestList();
    }
  }

  async #pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#abort.signal }).catch(() => undefined);
  }
}

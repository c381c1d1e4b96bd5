/**
 * Drives one controller: informers -> queue -> reconcile -> actions. The only place where
 * controllers wait and retry.
 *
 * Promises:
 * - A key is never reconciled twice at the same time, and never on a cache that has not seen the
 *   writes of its previous reconciliation (so nothing is created twice).
 * - A failure (Conflict included) tries the key again with back-off; it is logged, never swallowed.
 * - `stop` lets the reconciliations under way end, and starts no new one.
 */
import type { Logger } from 'pino';
import { type Clock, rfc3339 } from '../../protocol/clock.ts';
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import { Distribution } from '../../protocol/prometheus.ts';
import { ApiError } from '../../protocol/status.ts';
import type { ApiClient, ResourceId } from '../api/client.ts';
import type { Change, Informer } from '../informer/informer.ts';
import { systemTimers, type Timers } from '../informer/timers.ts';
import type { Action, Now } from './actions.ts';
import type { EventRecorder } from './events.ts';
import { type Expectation, execute } from './execute.ts';
import { WorkQueue } from './workqueue.ts';

/** A kind whose changes concern a controller, and the keys that each change touches. */
export interface Watch {
  readonly id: ResourceId;
  whenSynced(): Promise<void>;
  subscribe(enqueue: (key: string) => void, onAdvance: () => void): () => void;
  isMet(expectation: Expectation): boolean;
}

export function watchOf<T extends KubeObject>(
  informer: Informer<T>,
  keysOf: (change: Change<T>) => readonly string[],
): Watch {
  return {
    id: informer.id,
    whenSynced: () => informer.whenSynced(),
    subscribe(enqueue, onAdvance) {
      const stops = [
        informer.onChange((change) => {
          for (const key of keysOf(change)) enqueue(key);
        }),
        informer.onAdvance(onAdvance),
      ];
      return () => {
        for (const stop of stops) stop();
      };
    },
    isMet(expectation) {
      if (expectation.type === 'revision') return informer.revision >= expectation.revision;
      const { namespace, name, uid } = expectation;
      return informer.get(namespace, name)?.metadata?.uid !== uid;
    },
  };
}

export interface Controller {
  readonly name: string;
  readonly watches: readonly Watch[];
  /** How many keys at a time; 1 where one key sees the work of another. */
  readonly workers: number;
  /**
   * Reads the caches and decides. `lastFailure` is the message of the previous attempt for this
   * key, when it failed. May ask the API for what no cache holds, but changes nothing itself.
   */
  reconcile(
    key: string,
    now: Now,
    lastFailure: string | undefined,
  ): readonly Action[] | Promise<readonly Action[]>;
}

interface RunnerOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventRecorder;
  readonly timers?: Timers;
}

/**
 * Own writes that a cache does not show after so many looks, each so long after the one before, are no longer waited
 * for; together five minutes, as Kubernetes' controllers wait (pkg/controller, ExpectationsTimeout). Looks and not time: a master
 * that stood still finds all time gone and its caches as they were before.
 */
const LOOKS_MAX = 30;
const LOOK_MS = 10_000;

interface Waiting {
  readonly expectations: readonly Expectation[];
  looksLeft: number;
  nextLookMs: number;
}

/** Seconds; client-go's workqueue has decades, too. */
const WORK_BOUNDS = [0.0001, 0.001, 0.01, 0.1, 1, 10];

/** What `/metrics` tells of a controller. */
export interface QueueFigures {
  readonly name: string;
  readonly depth: number;
  readonly adds: number;
  readonly retries: number;
  readonly seconds: Distribution;
}

export class Runner {
  readonly #controller: Controller;
  readonly #options: RunnerOptions;
  readonly #timers: Timers;
  readonly #queue = new WorkQueue();
  readonly #expected = new Map<string, Waiting>();
  readonly #blocked = new Set<string>();
  readonly #failures = new Map<string, string>();
  readonly #inFlight = new Set<Promise<void>>();
  readonly #seconds = new Distribution(WORK_BOUNDS);
  #unsubscribe: (() => void)[] = [];
  #cancelTimer: (() => void) | undefined;
  #stopped = false;

  constructor(controller: Controller, options: RunnerOptions) {
    this.#controller = controller;
    this.#options = options;
    this.#timers = options.timers ?? systemTimers;
  }

  /** Resolves when the caches are loaded and every existing key is queued. */
  async start(): Promise<void> {
    await Promise.all(this.#controller.watches.map((watch) => watch.whenSynced()));
    if (this.#stopped) return;
    this.#unsubscribe = this.#controller.watches.map((watch) =>
      watch.subscribe(
        (key) => {
          this.#queue.add(key);
          this.#wakeUp();
        },
        () => this.#unblock(),
      ),
    );
  }

  get figures(): QueueFigures {
    return { name: this.#controller.name, ...this.#queue.figures, seconds: this.#seconds };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#cancelTimer?.();
    await Promise.all(this.#inFlight);
  }

  /** A cache moved on: keys that waited for it may be looked at again. */
  #unblock(): void {
    if (this.#blocked.size === 0) return;
    for (const key of this.#blocked) {
      if (this.#isBlocked(key)) continue;
      this.#blocked.delete(key);
      this.#queue.add(key);
    }
    this.#wakeUp();
  }

  #isBlocked(key: string): boolean {
    const waiting = this.#expected.get(key);
    if (waiting === undefined) return false;
    const unmet = waiting.expectations.some((expectation) => !this.#isMet(expectation));
    const nowMs = this.#options.clock.monotonicMs();
    if (unmet && nowMs >= waiting.nextLookMs) {
      waiting.looksLeft -= 1;
      waiting.nextLookMs = nowMs + LOOK_MS;
    }
    if (unmet && waiting.looksLeft > 0) return true;
    if (unmet) {
      this.#options.log.warn({ key, part: this.#controller.name }, 'cache lags, going on');
    }
    this.#expected.delete(key);
    return false;
  }

  #isMet(expectation: Expectation): boolean {
    const { group, resource } = expectation.id;
    const watch = this.#controller.watches.find(
      ({ id }) => id.group === group && id.resource === resource,
    );
    return watch?.isMet(expectation) ?? true;
  }

  #wakeUp(): void {
    if (this.#stopped || this.#inFlight.size >= this.#controller.workers) return;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    const delayMs = this.#queue.nextInMs(this.#options.clock.monotonicMs());
    if (delayMs === undefined) return;
    this.#cancelTimer = this.#timers.after(delayMs, () => {
      this.#cancelTimer = undefined;
      this.#pump();
    });
  }

  #pump(): void {
    while (!this.#stopped && this.#inFlight.size < this.#controller.workers) {
      const nowMs = this.#options.clock.monotonicMs();
      const key = this.#queue.take(nowMs);
      if (key === undefined) break;
      if (this.#isBlocked(key)) {
        this.#blocked.add(key);
        this.#queue.done(key);
        this.#queue.addAfter(key, LOOK_MS, nowMs);
        continue;
      }
      this.#blocked.delete(key);
      const work = this.#handle(key).finally(() => {
        this.#inFlight.delete(work);
        this.#queue.done(key);
        this.#wakeUp();
      });
      this.#inFlight.add(work);
    }
    this.#wakeUp();
  }

  /** Never rejects. */
  async #handle(key: string): Promise<void> {
    const { clock } = this.#options;
    const startedMs = clock.monotonicMs();
    try {
      const now: Now = { monotonicMs: clock.monotonicMs(), timestamp: rfc3339(clock.wallMs()) };
      const actions = await this.#controller.reconcile(key, now, this.#failures.get(key));
      const outcome = await execute(this.#options, actions);
      if (outcome.expectations.length > 0) {
        const { expectations } = outcome;
        const nextLookMs = clock.monotonicMs() + LOOK_MS;
        this.#expected.set(key, { expectations, looksLeft: LOOKS_MAX, nextLookMs });
      }
      if (outcome.requeueAfterMs !== undefined) {
        this.#queue.addAfter(key, outcome.requeueAfterMs, clock.monotonicMs());
      }
      if (outcome.failure !== undefined) throw outcome.failure;
      this.#queue.succeed(key);
      this.#failures.delete(key);
    } catch (error) {
      this.#onFailure(key, error);
    }
    this.#seconds.observe((clock.monotonicMs() - startedMs) / 1000);
  }

  #onFailure(key: string, error: unknown): void {
    const { clock, log } = this.#options;
    const delayMs = this.#queue.fail(key, clock.monotonicMs());
    const reason = error instanceof ApiError ? error.reason : '';
    if (reason === 'Conflict' || reason === 'NotFound') {
      // Somebody was faster: the next look sees it.
      log.debug({ key, delayMs, reason, part: this.#controller.name }, 'changed meanwhile');
      return;
    }
    this.#failures.set(key, error instanceof Error ? error.message : String(error));
    log.warn({ err: error, key, delayMs, part: this.#controller.name }, 'could not reconcile');
  }
}

/**
 * Images for all pods of the board: each image is pulled once at a time, and only a few at once.
 */
import type { Clock } from '../../protocol/clock.ts';
import type { PullPolicy } from '../plan/pod-plan.ts';
import { ImagePullError, type RegistryLogin, type Runtime } from '../runtime/runtime.ts';
import { Semaphore } from './semaphore.ts';

export interface EnsureImage {
  readonly image: string;
  readonly policy: PullPolicy;
  /**
   * The pod has run on this board before: if the registry cannot be reached, the copy at hand will do even
   * with policy Always. A board needs nobody to boot.
   */
  readonly copyWillDo: boolean;
  /** Tried one after the other; none: without a name. */
  readonly logins: readonly RegistryLogin[];
  readonly signal: AbortSignal;
  readonly onPulling: () => void;
}

export type EnsuredImage =
  | { readonly type: 'present' }
  | { readonly type: 'pulled'; readonly tookMs: number; readonly waitedMs: number }
  | { readonly type: 'copy'; readonly reason: string };

/** The image is not on the board and must not be pulled. */
export class ImageNeverPullError extends Error {
  constructor(image: string) {
    super(`Container image "${image}" is not present with pull policy of Never`);
    this.name = 'ImageNeverPullError';
  }
}

interface Pull {
  readonly done: Promise<number>;
  readonly abort: AbortController;
  waiters: number;
}

export class ImagePuller {
  readonly #runtime: Runtime;
  readonly #clock: Clock;
  readonly #slots: Semaphore;
  readonly #pulls = new Map<string, Pull>();

  constructor(runtime: Runtime, clock: Clock, parallelMax: number) {
    this.#runtime = runtime;
    this.#clock = clock;
    this.#slots = new Semaphore(parallelMax);
  }

  /** Throws ImagePullError or ImageNeverPullError. */
  async ensure(wanted: EnsureImage): Promise<EnsuredImage> {
    const { image, policy } = wanted;
    if (policy !== 'Always') {
      if ((await this.#runtime.imageStatus(image)) !== undefined) return { type: 'present' };
      if (policy === 'Never') throw new ImageNeverPullError(image);
    }
    const startMs = this.#clock.monotonicMs();
    wanted.onPulling();
    try {
      const tookMs = await this.#pull(wanted);
      return { type: 'pulled', tookMs, waitedMs: this.#clock.monotonicMs() - startMs };
    } catch (error) {
      const usable = wanted.copyWillDo && !wanted.signal.aborted;
      if (!usable || (await this.#runtime.imageStatus(image)) === undefined) throw error;
      return { type: 'copy', reason: error instanceof Error ? error.message : String(error) };
    }
  }

  /** Joins a pull of the same image with the same logins that is under way; the last one to leave ends it. */
  async #pull({ image, logins, signal }: EnsureImage): Promise<number> {
    const key = JSON.stringify([image, logins]);
    let pull = this.#pulls.get(key);
    if (pull === undefined || pull.abort.signal.aborted) {
      const abort = new AbortController();
      const done = this.#slots.run(() => this.#pullNow(image, logins, abort.signal));
      const started: Pull = { done, abort, waiters: 0 };
      const forget = () => {
        if (this.#pulls.get(key) === started) this.#pulls.delete(key);
      };
      done.then(forget, forget);
      this.#pulls.set(key, started);
      pull = started;
    }
    pull.waiters++;
    try {
      return await unlessAborted(pull.done, signal, image);
    } finally {
      pull.waiters--;
      if (pull.waiters === 0) pull.abort.abort();
    }
  }

  async #pullNow(
    image: string,
    logins: readonly RegistryLogin[],
    signal: AbortSignal,
  ): Promise<number> {
    const startMs = this.#clock.monotonicMs();
    const refusals = new Set<string>();
    for (const login of logins.length === 0 ? [undefined] : logins) {
      if (signal.aborted) throw new ImagePullError(`pull of ${image} was given up`);
      try {
        await this.#runtime.pullImage(image, signal, login);
        return this.#clock.monotonicMs() - startMs;
      } catch (error) {
        if (!(error instanceof ImagePullError)) throw error;
        refusals.add(error.message);
      }
    }
    throw new ImagePullError([...refusals].join('; '));
  }
}

async function unlessAborted<T>(done: Promise<T>, signal: AbortSignal, image: string): Promise<T> {
  let onAbort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(new ImagePullError(`pull of ${image} was given up`));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([done, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

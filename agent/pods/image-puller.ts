/**
 * Images for all pods of the board: each image is pulled once at a time, and only a few at once. One that is not built for
 * the board's processor is refused, whether it was pulled or was there.
 */
import type { Clock } from '../../protocol/clock.ts';
import { fullImageName } from '../../protocol/image-name.ts';
import { foreignImageWords, runsOn, tellsOfArchitecture } from '../plan/image-architecture.ts';
import type { PullPolicy } from '../plan/pod-plan.ts';
import {
  ImagePullError,
  type ImageStatus,
  type RegistryLogin,
  type Runtime,
} from '../runtime/runtime.ts';
import type { SafePulls } from './safe-pulls.ts';
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

export type EnsuredImage = { readonly imageId: string } & (
  | { readonly type: 'present' }
  | { readonly type: 'pulled'; readonly tookMs: number; readonly waitedMs: number }
  | { readonly type: 'copy'; readonly reason: string }
);

interface Pulled {
  readonly imageId: string;
  readonly tookMs: number;
}

/** The image is not on the board and must not be pulled. */
export class ImageNeverPullError extends Error {
  constructor(image: string) {
    super(`Container image "${image}" is not present with pull policy of Never`);
    this.name = 'ImageNeverPullError';
  }
}

/** Its programs would only tell "exec format error". */
export class ForeignImageError extends ImagePullError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ForeignImageError';
  }
}

/** The master is told so long: a pod that still needs the image is tried again sooner, and its image may be built anew. */
const FOREIGN_MS = 600_000;
const FOREIGN_MAX = 64;

export interface ImagePullerOptions {
  readonly runtime: Pick<Runtime, 'imageStatus'>;
  readonly pulls: Pick<SafePulls, 'isSuspect' | 'pull'>;
  readonly clock: Clock;
  readonly parallelMax: number;
  /** Of the board, as Kubernetes names it. */
  readonly architecture: string;
  /** Architectures that the board runs by an emulator. */
  readonly emulated: () => Promise<readonly string[]>;
}

interface Pull {
  readonly done: Promise<Pulled>;
  readonly abort: AbortController;
  waiters: number;
}

export class ImagePuller {
  readonly #options: ImagePullerOptions;
  readonly #runtime: ImagePullerOptions['runtime'];
  readonly #clock: Clock;
  readonly #slots: Semaphore;
  /** By full name, when it was last refused. */
  readonly #foreign = new Map<string, number>();
  readonly #pulls = new Map<string, Pull>();

  constructor(options: ImagePullerOptions) {
    this.#options = options;
    this.#runtime = options.runtime;
    this.#clock = options.clock;
    this.#slots = new Semaphore(options.parallelMax);
  }

  /** Full names of the images that were refused not long ago because they are not built for this board. */
  foreignImages(): string[] {
    const nowMs = this.#clock.monotonicMs();
    for (const [image, refusedMs] of this.#foreign) {
      if (nowMs - refusedMs > FOREIGN_MS) this.#foreign.delete(image);
    }
    return [...this.#foreign.keys()].slice(-FOREIGN_MAX);
  }

  /** Throws ImagePullError, of which ForeignImageError is one, or ImageNeverPullError. */
  async ensure(wanted: EnsureImage): Promise<EnsuredImage> {
    const name = fullImageName(wanted.image);
    try {
      const ensured = await this.#ensure(wanted);
      this.#foreign.delete(name);
      return ensured;
    } catch (error) {
      if (error instanceof ForeignImageError) this.#foreign.set(name, this.#clock.monotonicMs());
      throw error;
    }
  }

  async #ensure(wanted: EnsureImage): Promise<EnsuredImage> {
    const { image, policy } = wanted;
    const isSuspect = policy !== 'Never' && this.#options.pulls.isSuspect(image);
    const mustPull = policy === 'Always' || isSuspect;
    const here = mustPull ? undefined : await this.#runtime.imageStatus(image);
    if (here !== undefined && (await this.#runsHere(here))) {
      return { type: 'present', imageId: here.id };
    }
    if (policy === 'Never') {
      throw here === undefined ? new ImageNeverPullError(image) : this.#foreignError(image, here);
    }
    const startMs = this.#clock.monotonicMs();
    wanted.onPulling();
    try {
      const pulled = await this.#pull(wanted);
      return { type: 'pulled', ...pulled, waitedMs: this.#clock.monotonicMs() - startMs };
    } catch (error) {
      if (wanted.signal.aborted) throw error;
      if (here !== undefined) throw this.#foreignError(image, here, { cause: error });
      const mayCopy = wanted.copyWillDo || (isSuspect && policy !== 'Always');
      const copy = mayCopy ? await this.#runtime.imageStatus(image) : undefined;
      if (copy === undefined || !(await this.#runsHere(copy))) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      return { type: 'copy', imageId: copy.id, reason };
    }
  }

  async #runsHere({ architecture: image }: ImageStatus): Promise<boolean> {
    const { architecture: board, emulated } = this.#options;
    return image === '' || runsOn(board, image) || runsOn(board, image, await emulated());
  }

  #foreignError(image: string, status?: ImageStatus, options?: ErrorOptions): ForeignImageError {
    const words = foreignImageWords(image, this.#options.architecture, status?.architecture);
    return new ForeignImageError(words, options);
  }

  /** Joins a pull of the same image with the same logins that is under way; the last one to leave ends it. */
  async #pull({ image, logins, signal }: EnsureImage): Promise<Pulled> {
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
  ): Promise<Pulled> {
    const startMs = this.#clock.monotonicMs();
    const refusals = new Set<string>();
    for (const login of logins.length === 0 ? [undefined] : logins) {
      if (signal.aborted) throw new ImagePullError(`pull of ${image} was given up`);
      try {
        const pulled = await this.#options.pulls.pull(image, signal, login);
        if (await this.#runsHere(pulled)) {
          return { imageId: pulled.id, tookMs: this.#clock.monotonicMs() - startMs };
        }
        throw this.#foreignError(image, pulled);
      } catch (error) {
        if (!(error instanceof ImagePullError) || error instanceof ForeignImageError) throw error;
        if (tellsOfArchitecture(error.message)) {
          throw this.#foreignError(image, undefined, { cause: error });
        }
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

/** Pulls of images that a power cut cannot leave half on the disk for good: see PullNotes. */
import type { Logger } from 'pino';
import { fullImageName } from '../../protocol/image-name.ts';
import type { ImageStatus, RegistryLogin, Runtime } from '../runtime/runtime.ts';
import type { PullNotes } from '../state/pull-notes.ts';

export interface SafePullsOptions {
  readonly runtime: Runtime;
  readonly pullNotes: PullNotes;
  readonly log: Logger;
}

export class SafePulls {
  readonly #options: SafePullsOptions;

  constructor(options: SafePullsOptions) {
    this.#options = options;
  }

  /** What the board holds of it may be empty. */
  isSuspect(image: string): boolean {
    return this.#options.pullNotes.isSuspect(fullImageName(image));
  }

  /** Throws ImagePullError. */
  async pull(image: string, signal: AbortSignal, login?: RegistryLogin): Promise<ImageStatus> {
    const { runtime, pullNotes, log } = this.#options;
    const name = fullImageName(image);
    await pullNotes.begin(name);
    let status = await runtime.pullImage(image, signal, login);
    // The engine took what it had for whole: only an image that was removed is fetched anew.
    if (pullNotes.isSuspect(name) && (await this.#isRemoved(name))) {
      log.warn({ image }, 'the power went while this image was pulled: it is fetched again');
      status = await runtime.pullImage(image, signal, login);
    }
    pullNotes.end(name);
    return status;
  }

  /** False when a container has it: then it is older than the pull that was cut off. */
  async #isRemoved(name: string): Promise<boolean> {
    const { runtime, log } = this.#options;
    const held = (await runtime.images.list()).find(({ tags, digests }) =>
      [...tags, ...digests].some((one) => fullImageName(one) === name),
    );
    if (held === undefined) return false;
    try {
      await runtime.images.remove(held);
      return true;
    } catch (error) {
      log.info({ err: error, image: name }, 'the image could not be removed; it is taken as it is');
      return false;
    }
  }
}

/** Removes images that nothing needs when their disk fills up. While there is room it costs one statfs(2) a look, and no call to the engine. */
import type { Logger } from 'pino';
import type { Clock } from '../../protocol/clock.ts';
import type { DiskSpace } from '../host/metrics.ts';
import {
  bytesToFree,
  garbageImages,
  type ImageGarbageLimits,
  type ImageHistory,
  type ImagesInUse,
} from '../plan/image-garbage.ts';
import type { ImageStore } from '../runtime/image-store.ts';

export interface ImageCollectorLimits extends ImageGarbageLimits {
  readonly lookMs: number;
}

export interface ImageCollectorOptions {
  readonly images: ImageStore;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: ImageCollectorLimits;
  readonly diskSpace: (folder: string) => Promise<DiskSpace>;
  readonly inUse: () => ImagesInUse;
  /** Told once, until there was room again. */
  readonly onFull: (message: string) => void;
}

export class ImageCollector {
  readonly #options: ImageCollectorOptions;
  readonly #history = new Map<string, ImageHistory>();
  #folder: string | undefined;
  #isFull = false;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: ImageCollectorOptions) {
    this.#options = options;
  }

  start(): void {
    if (!this.#stopped)
      this.#timer = setTimeout(() => void this.#tick(), this.#options.limits.lookMs);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #tick(): Promise<void> {
    try {
      await this.look();
    } catch (error) {
      this.#options.log.warn({ err: error }, 'images could not be looked at');
    }
    this.start();
  }

  /** Throws what the engine or the disk throws. */
  async look(): Promise<void> {
    const { images, clock, limits, diskSpace, inUse } = this.#options;
    const nowMs = clock.monotonicMs();
    const used = inUse();
    for (const id of used.ids)
      this.#history.set(id, { ...this.#seen(id, nowMs), lastUsedMs: nowMs });
    this.#folder ??= await images.folder();
    if (this.#folder === undefined) return;
    const bytes = bytesToFree(await diskSpace(this.#folder), limits);
    if (bytes === 0) this.#isFull = false;
    else this.#tell(bytes, await this.#free(bytes, used));
  }

  /** Whatever the disk says. Throws what the engine throws. */
  async removeUnused(): Promise<void> {
    await this.#free(Number.POSITIVE_INFINITY, this.#options.inUse());
  }

  /** Returns the sizes of the images that have gone. */
  async #free(bytes: number, inUse: ImagesInUse): Promise<number> {
    const { images, clock, limits } = this.#options;
    const nowMs = clock.monotonicMs();
    const held = await images.list();
    this.#remember(new Set(held.map(({ id }) => id)), nowMs);
    const historyOf = (id: string): ImageHistory => this.#seen(id, nowMs);
    const { ageMinMs } = limits;
    let freed = 0;
    for (const image of garbageImages(held, inUse, historyOf, { bytes, nowMs, ageMinMs })) {
      if (this.#stopped) break;
      if (await this.#removed(image)) freed += image.sizeBytes;
    }
    return freed;
  }

  #remember(held: ReadonlySet<string>, nowMs: number): void {
    for (const id of this.#history.keys()) if (!held.has(id)) this.#history.delete(id);
    for (const id of held) this.#history.set(id, this.#seen(id, nowMs));
  }

  #seen(id: string, nowMs: number): ImageHistory {
    return this.#history.get(id) ?? { firstSeenMs: nowMs };
  }

  async #removed(image: Parameters<ImageStore['remove']>[0]): Promise<boolean> {
    const { images, log } = this.#options;
    const { id, tags, sizeBytes } = image;
    try {
      await images.remove(image);
      log.info({ id, tags, sizeBytes }, 'image removed: its disk is nearly full');
      return true;
    } catch (error) {
      // Somebody else's container may use it.
      log.info({ err: error, id, tags }, 'image could not be removed');
      return false;
    }
  }

  /** The words are the kubelet's. */
  #tell(bytes: number, freed: number): void {
    const isShort = freed < bytes;
    if (isShort && !this.#isFull) {
      this.#options.onFull(
        `Failed to garbage collect required amount of images. Attempted to free ${bytes} bytes, but only found ${freed} bytes eligible to free.`,
      );
    }
    this.#isFull = isShort;
  }
}

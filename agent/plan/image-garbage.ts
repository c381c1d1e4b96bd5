/**
 * Which images may go when the disk that holds them fills up. The thresholds and the order are the kubelet's
 * (https://kubernetes.io/docs/concepts/architecture/garbage-collection/#containers-images): above the upper one, the image that was
 * used longest ago goes first, until the lower one would be reached. Unlike there, an image that no registry would give again is
 * kept, and so is one that a pod of this board names without running: a board must be able to start its pods by itself.
 */

import { fullImageName, isLocalImage } from '../../protocol/image-name.ts';
import type { DiskSpace } from '../host/metrics.ts';
import type { HeldImage } from '../runtime/image-store.ts';

export interface ImageGarbageLimits {
  /** Of the disk in use. */
  readonly highPercent: number;
  readonly lowPercent: number;
  /** An image that was first seen less than so long ago stays. */
  readonly ageMinMs: number;
}

/** 0 as long as the disk is below the upper threshold. */
export function bytesToFree(
  { totalBytes, availableBytes }: DiskSpace,
  { highPercent, lowPercent }: ImageGarbageLimits,
): number {
  const usedPercent = 100 - (availableBytes * 100) / totalBytes;
  if (totalBytes === 0 || usedPercent < highPercent) return 0;
  return Math.ceil((totalBytes * (100 - lowPercent)) / 100 - availableBytes);
}

/** Names and ids of images that must stay. */
export interface ImagesInUse {
  readonly ids: ReadonlySet<string>;
  /** As `fullImageName` gives them. */
  readonly names: ReadonlySet<string>;
}

/** What the board remembers of an image; monotonic time. */
export interface ImageHistory {
  readonly firstSeenMs: number;
  readonly lastUsedMs?: number;
}

/** The images to remove, in this order, so that about `bytes` become free; fewer where there are not enough. */
export function garbageImages(
  images: readonly HeldImage[],
  inUse: ImagesInUse,
  historyOf: (id: string) => ImageHistory,
  { bytes, nowMs, ageMinMs }: { bytes: number; nowMs: number; ageMinMs: number },
): HeldImage[] {
  const candidates = images
    .filter((image) => mayGo(image, inUse))
    .map((image) => ({ image, history: historyOf(image.id) }))
    .filter(({ history }) => nowMs - history.firstSeenMs >= ageMinMs)
    .sort((a, b) => order(a.history, b.history));
  const chosen: HeldImage[] = [];
  let found = 0;
  for (const { image } of candidates) {
    if (found >= bytes) break;
    chosen.push(image);
    found += image.sizeBytes;
  }
  return chosen;
}

function mayGo({ id, tags, digests, pinned }: HeldImage, inUse: ImagesInUse): boolean {
  const names = [...tags, ...digests];
  if (pinned || digests.length === 0 || names.some(isLocalImage)) return false;
  return !inUse.ids.has(id) && !names.some((name) => inUse.names.has(fullImageName(name)));
}

function order(a: ImageHistory, b: ImageHistory): number {
  const usedFirst = (a.lastUsedMs ?? 0) - (b.lastUsedMs ?? 0);
  return usedFirst !== 0 ? usedFirst : a.firstSeenMs - b.firstSeenMs;
}

/**
 * Measures emptyDir volumes that have a sizeLimit, and has their pods evicted when they are over it. It reads directories
 * and writes nothing; how often depends on how long it takes, so that a volume of many files does not keep the board busy.
 */
import { lstat, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import type { Logger } from 'pino';
import type { Clock } from '../../protocol/clock.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import { limitedVolumes, overLimit } from '../plan/empty-dir.ts';
import { EVICTED } from '../plan/pod-plan.ts';
import { type PodDirectories, volumePath } from '../plan/volume-plan.ts';
import type { PodWorker } from './pod-worker.ts';

/** A look takes at most this part of the time. */
const BUSY_PART = 0.05;
const BLOCK_BYTES = 512;

/** A pod of the board as far as its volumes are watched. */
type WatchedPod = Pick<PodWorker, 'pod' | 'containers' | 'status' | 'evict'>;

export interface VolumeWatchOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly lookMs: number;
  readonly pods: () => Iterable<WatchedPod>;
  readonly directories: (uid: string) => PodDirectories;
}

export class VolumeWatch {
  readonly #options: VolumeWatchOptions;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: VolumeWatchOptions) {
    this.#options = options;
  }

  start(): void {
    this.#wait(this.#options.lookMs);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #wait(ms: number): void {
    if (!this.#stopped) this.#timer = setTimeout(() => void this.#look(), ms);
  }

  async #look(): Promise<void> {
    const { clock, log, lookMs, pods } = this.#options;
    const startMs = clock.monotonicMs();
    for (const pod of [...pods()]) {
      if (this.#stopped) return;
      try {
        await this.#measure(pod);
      } catch (error) {
        log.warn({ err: error, pod: pod.pod.uid }, 'volumes of a pod could not be measured');
      }
    }
    this.#wait(Math.max(lookMs, (clock.monotonicMs() - startMs) / BUSY_PART));
  }

  async #measure(watched: WatchedPod): Promise<void> {
    const { pod, containers, status } = watched;
    const ended = hasEnded(status);
    for (const volume of limitedVolumes(pod)) {
      const target = volumePath(this.#options.directories(pod.uid).data, volume.name);
      if (ended && status?.reason === EVICTED) {
        // What it was evicted for goes at once, and not only with the pod.
        const isLeft = containers.every(({ state }) => state !== 'running');
        if (isLeft) await rm(target, { recursive: true, force: true });
      } else if (!ended && (await diskUsage(target, volume.limitBytes)) > volume.limitBytes) {
        watched.evict(overLimit(volume));
        return;
      }
    }
  }
}

/** Bytes on disk of a directory and all below it, a file with several names once; stops counting above `enough`. */
export async function diskUsage(directory: string, enough: number): Promise<number> {
  const seen = new Set<string>();
  const left = [directory];
  let bytes = 0;
  for (let next = left.pop(); next !== undefined && bytes <= enough; next = left.pop()) {
    // What is gone by the time it is looked at uses nothing.
    const found = await lstat(next).catch(absent);
    if (found === undefined) continue;
    const { nlink, dev, ino, blocks } = found;
    const isFolder = found.isDirectory();
    if (nlink > 1 && !isFolder) {
      const key = `${dev} ${ino}`;
      if (seen.has(key)) continue;
      seen.add(key);
    }
    bytes += blocks * BLOCK_BYTES;
    if (!isFolder) continue;
    for (const name of (await readdir(next).catch(absent)) ?? []) left.push(path.join(next, name));
  }
  return bytes;
}

function absent(error: unknown): undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
  throw error;
}

/**
 * The folders of the pods on the board, each named by its pod's uid, which is never given twice. A pod that goes takes its own
 * along. An agent that is killed after the engine has forgotten a pod, and before that, leaves them behind, and nothing but the
 * folders themselves tells of it: so each agent looks once for those of pods that nobody knows.
 */
import { readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Logger } from 'pino';
import { unmountMemory } from '../host/memory-mount.ts';
import type { PodDirectories } from '../plan/volume-plan.ts';
import type { NetworkMounts } from './network-mounts.ts';
import { messageOf } from './pod-steps.ts';

export interface PodFoldersOptions {
  readonly directories: (uid: string) => PodDirectories;
  /** Directories of the runtime with an entry for each pod. */
  readonly ofRuntime: readonly string[];
  readonly mounts: Pick<NetworkMounts, 'pods' | 'release'>;
  readonly log: Logger;
}

export class PodFolders {
  readonly #options: PodFoldersOptions;
  #looked = false;
  #looking = false;

  constructor(options: PodFoldersOptions) {
    this.#options = options;
  }

  /** What the pod left on disk and in memory. Throws when something stays; it is tried again by `removeStrays`. */
  async remove(uid: string): Promise<void> {
    const { data, run } = this.#options.directories(uid);
    try {
      await rm(data, { recursive: true, force: true });
      await unmountMemory(run);
      await rm(run, { recursive: true, force: true });
      // Left there when the engine broke while it removed the sandbox, and had none when it was asked again.
      for (const folder of this.#options.ofRuntime) {
        await rm(join(folder, uid), { recursive: true, force: true });
      }
      // Last, because a file server that does not answer may hold it up.
      await this.#options.mounts.release(uid);
    } catch (error) {
      this.#looked = false;
      throw error;
    }
  }

  /** The first time, and again after something could not be removed: whatever is of no pod that is known. */
  async removeStrays(isKnown: (uid: string) => boolean): Promise<void> {
    if (this.#looked || this.#looking) return;
    this.#looking = true;
    // Before the work: what cannot be removed meanwhile asks for another look.
    this.#looked = true;
    const { log } = this.#options;
    try {
      for (const uid of await this.#uids()) {
        if (isKnown(uid)) continue;
        log.info({ uid }, 'what a pod of an earlier agent left behind is removed');
        await this.remove(uid);
      }
    } catch (error) {
      this.#looked = false;
      log.warn({ reason: messageOf(error) }, 'what pods left behind could not be removed');
    } finally {
      this.#looking = false;
    }
  }

  async #uids(): Promise<Set<string>> {
    const { data, run } = this.#options.directories('uid');
    const folders = [dirname(data), dirname(run), ...this.#options.ofRuntime];
    const mounted = await this.#options.mounts.pods();
    return new Set([...(await Promise.all(folders.map(namesIn))).flat(), ...mounted]);
  }
}

async function namesIn(directory: string): Promise<string[]> {
  return readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
}

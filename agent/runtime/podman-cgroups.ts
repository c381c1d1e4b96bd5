/**
 * Control groups that podman leaves of pods which are gone: any of them when it is killed while it removes a pod, and those of
 * version 2 always where both versions are mixed. They hold nothing, but each is a folder in the kernel's memory until the next boot.
 *
 * Only pods that were ours are looked after: their ids are noted in a folder that a boot empties as it does the groups, because an agent that
 * was killed remembers nothing. Only with podman's own cgroup manager; what systemd made, systemd removes. Costs nothing while no pod goes.
 */
import { mkdir, readdir, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const ROOT = '/sys/fs/cgroup';
/** podman's folder for pods, in the one hierarchy of version 2 or in each of version 1. */
const PARENT = 'libpod_parent';
const POD_ID = /^[0-9a-f]{64}$/;
/** A process is still in it, or in a group below it. */
const IN_USE = new Set(['EBUSY', 'ENOTEMPTY']);

export class PodmanCgroups {
  readonly #notes: string;
  readonly #root: string;
  #noted: Set<string> | undefined;
  /** Without a pod at the last look. */
  #missing: ReadonlySet<string> = new Set();

  /** `notes` is the folder for the ids. */
  constructor(notes: string, root = ROOT) {
    this.#notes = notes;
    this.#root = root;
  }

  /** This pod is ours. Throws when the note cannot be written. */
  async note(podId: string): Promise<void> {
    const noted = await this.#read();
    if (noted.has(podId)) return;
    await mkdir(this.#notes, { recursive: true, mode: 0o700 });
    await writeFile(join(this.#notes, podId), '');
    noted.add(podId);
  }

  /** Whether it was noted, and something of it may still be there. */
  async isOurs(podId: string): Promise<boolean> {
    return (await this.#read()).has(podId);
  }

  /**
   * After a listing of our pods: takes away what those left that are in it no more. Not before the second listing
   * without them, for one that is just being made may be missing in the first. Never throws.
   */
  async look(listed: readonly string[]): Promise<void> {
    try {
      for (const podId of listed) await this.note(podId);
      const there = new Set(listed);
      const missing = [...(await this.#read())].filter((podId) => !there.has(podId));
      const before = this.#missing;
      this.#missing = new Set(missing);
      for (const podId of missing) if (before.has(podId)) await this.remove(podId);
    } catch {
      // The folder of notes cannot be written: the next listing tries again.
    }
  }

  /** The groups of a pod that podman has removed. What is in use stays, and is tried again after a listing. Never throws. */
  async remove(podId: string): Promise<void> {
    if (!POD_ID.test(podId)) return;
    const hierarchies = await readdir(this.#root).catch(() => []);
    let isInUse = false;
    for (const hierarchy of ['', ...hierarchies]) {
      const isFree = await removeGroup(join(this.#root, hierarchy, PARENT, podId));
      if (!isFree) isInUse = true;
    }
    if (isInUse) return;
    await rm(join(this.#notes, podId), { force: true }).catch(() => undefined);
    this.#noted?.delete(podId);
  }

  async #read(): Promise<Set<string>> {
    if (this.#noted !== undefined) return this.#noted;
    const names = await readdir(this.#notes).catch(() => []);
    // Another call may have been faster.
    this.#noted ??= new Set(names.filter((name) => POD_ID.test(name)));
    return this.#noted;
  }
}

/** With all below it; the kernel refuses to remove a group with a process. False when one stays for that. */
async function removeGroup(path: string): Promise<boolean> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => undefined);
  if (entries === undefined) return true;
  const below = entries.filter((entry) => entry.isDirectory());
  for (const { name } of below) await removeGroup(join(path, name));
  return rmdir(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => !IN_USE.has(error.code ?? ''),
  );
}

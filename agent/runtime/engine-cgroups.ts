/**
 * Control groups that an engine leaves of what is gone: when it is killed while it makes or removes something, and podman those of
 * version 2 always where both versions are mixed. They hold nothing, but each is a folder in the kernel's memory until the next boot.
 *
 * Only what was ours is looked after: ids are noted in a folder that a boot empties as it does the groups, because an agent that
 * was killed remembers nothing. Only with the engine's own cgroup manager; what systemd made, systemd removes. Costs nothing while nothing
 * goes.
 */
import { mkdir, readdir, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const ROOT = '/sys/fs/cgroup';
const ID = /^[0-9a-f]{64}$/;
/** A process is still in it, or in a group below it. */
const IN_USE = new Set(['EBUSY', 'ENOTEMPTY']);

export class EngineCgroups {
  readonly #notes: string;
  readonly #parent: string;
  readonly #root: string;
  #noted: Set<string> | undefined;
  /** Not listed at the last look. */
  #missing: ReadonlySet<string> = new Set();

  /** `notes` is the folder for the ids; `parent` the engine's group for them, in the one hierarchy of version 2 or in each of version 1. */
  constructor(notes: string, parent: string, root = ROOT) {
    this.#notes = notes;
    this.#parent = parent;
    this.#root = root;
  }

  /** These are ours. Throws when a note cannot be written. */
  async note(ids: readonly string[]): Promise<void> {
    const noted = await this.#read();
    const fresh = ids.filter((id) => ID.test(id) && !noted.has(id));
    if (fresh.length === 0) return;
    await mkdir(this.#notes, { recursive: true, mode: 0o700 });
    for (const id of fresh) {
      await writeFile(join(this.#notes, id), '');
      noted.add(id);
    }
  }

  /** Whether it was noted, and something of it may still be there. */
  async isOurs(id: string): Promise<boolean> {
    return (await this.#read()).has(id);
  }

  /**
   * After a listing of ours: takes away what those left that are in it no more. Not before the second listing
   * without them, for one that is just being made may be missing in the first. Never throws.
   */
  async look(listed: readonly string[]): Promise<void> {
    try {
      await this.note(listed);
      const there = new Set(listed);
      const missing = [...(await this.#read())].filter((id) => !there.has(id));
      const before = this.#missing;
      this.#missing = new Set(missing);
      for (const id of missing) if (before.has(id)) await this.remove(id);
    } catch {
      // The folder of notes cannot be written: the next listing tries again.
    }
  }

  /** The groups of what the engine has removed. What is in use stays, and is tried again after a listing. Never throws. */
  async remove(id: string): Promise<void> {
    if (!ID.test(id)) return;
    const hierarchies = await readdir(this.#root).catch(() => []);
    let isInUse = false;
    for (const hierarchy of ['', ...hierarchies]) {
      const isFree = await removeGroup(join(this.#root, hierarchy, this.#parent, id));
      if (!isFree) isInUse = true;
    }
    if (isInUse) return;
    await rm(join(this.#notes, id), { force: true }).catch(() => undefined);
    this.#noted?.delete(id);
  }

  async #read(): Promise<Set<string>> {
    if (this.#noted !== undefined) return this.#noted;
    const names = await readdir(this.#notes).catch(() => []);
    // Another call may have been faster.
    this.#noted ??= new Set(names.filter((name) => ID.test(name)));
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

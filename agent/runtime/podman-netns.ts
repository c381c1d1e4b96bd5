/**
 * Network namespaces that podman has made and forgotten: a service that is killed while it starts a pod leaves the namespace, its
 * mount and its cable, and nobody knows whose they were. Looked for after each start of a service only, until none is left; costs
 * nothing otherwise.
 *
 * One is removed only if no container of podman's, also of other people's, has it, no process is in it, and it was so for a while: podman
 * notes a namespace some time after it has made it.
 */
import { readdir, readlink, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { unmountMemory } from '../host/memory-mount.ts';
import { asArray, asObject, asText } from './json-read.ts';

/** podman's own; containerd's and people's are named otherwise. */
const NAME = /^netns-[0-9a-f-]{36}$/;
const FOLDER = '/run/netns';
const LOOK_MS_MIN = 30_000;
/** Less than the time between two listings, so that the second one removes what the first has seen. */
const STRAY_MS_MIN = 45_000;

type Get = (path: string, query: Readonly<Record<string, boolean>>) => Promise<unknown>;

export class PodmanNetns {
  readonly #get: Get;
  readonly #folder: string;
  readonly #nowMs: () => number;
  /** When a stray was first seen (monotonic). */
  #strays = new Map<string, number>();
  #lookedMs = Number.NEGATIVE_INFINITY;
  #cleanAt = -1;
  #looking = false;

  constructor(get: Get, { folder = FOLDER, nowMs = () => performance.now() } = {}) {
    this.#get = get;
    this.#folder = folder;
    this.#nowMs = nowMs;
  }

  /** `starts` counts how often a service was started. Never throws: what goes wrong is tried again with the next listing. */
  async look(starts: number): Promise<void> {
    const nowMs = this.#nowMs();
    if (this.#looking || this.#cleanAt === starts || nowMs - this.#lookedMs < LOOK_MS_MIN) return;
    this.#looking = true;
    this.#lookedMs = nowMs;
    try {
      const strays = await this.#find();
      const known = this.#strays;
      this.#strays = new Map(strays.map((name) => [name, known.get(name) ?? nowMs]));
      for (const [name, sinceMs] of this.#strays) {
        if (nowMs - sinceMs >= STRAY_MS_MIN) await removeNamespace(join(this.#folder, name));
      }
      if (strays.length === 0) this.#cleanAt = starts;
    } catch {
      // The engine or the namespace is just going: the next listing looks again.
    } finally {
      this.#looking = false;
    }
  }

  async #find(): Promise<string[]> {
    const names = (await readdir(this.#folder).catch(() => [])).filter((name) => NAME.test(name));
    if (names.length === 0) return [];
    const used = new Set<string>();
    for (const entry of asArray(await this.#get('/containers/json', { all: true }))) {
      const id = asText(asObject(entry).Id);
      const { NetworkSettings } = asObject(await this.#get(`/containers/${id}/json`, {}));
      used.add(asText(asObject(NetworkSettings).SandboxKey)?.split('/').at(-1) ?? '');
    }
    return names.filter((name) => !used.has(name));
  }
}

/** Unless a process is in it. */
async function removeNamespace(path: string): Promise<void> {
  const link = `net:[${(await stat(path)).ino}]`;
  for (const entry of await readdir('/proc')) {
    const place = /^\d/.test(entry) ? readlink(`/proc/${entry}/ns/net`) : undefined;
    if ((await place?.catch(() => undefined)) === link) return;
  }
  await unmountMemory(path);
  await rm(path, { force: true });
}

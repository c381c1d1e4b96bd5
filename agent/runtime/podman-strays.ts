/**
 * What podman has made and forgotten: a service that is killed in the middle of something leaves behind what it has not yet
 * noted, and nobody knows whose it was. Looked for after each start of a service only, for a minute and until nothing is left; costs nothing
 * otherwise.
 *
 * A thing is removed only if it was nobody's for a while: podman notes what it makes some time after it has made it.
 */

/** One kind of things that podman makes. */
export interface StrayKind {
  /** Names of those that belong to no container of podman's, also of other people's; unlike those of other kinds. */
  readonly find: () => Promise<readonly string[]>;
  readonly remove: (name: string) => Promise<unknown>;
}

/** Between two looks after the same start. */
const LOOK_MS_MIN = 15_000;
/** A start of a pod that takes longer than this, and loses its things therefore, fails and is done again. */
const STRAY_MS_MIN = 20_000;

/** After a start: a container that podman knows only half becomes a stray when it is removed. */
const WATCH_MS_MIN = 60_000;

/** Does a job once, later; it must not keep the process. */
type Later = (job: () => void, ms: number) => void;

export class PodmanStrays {
  readonly #kinds: readonly StrayKind[];
  readonly #nowMs: () => number;
  readonly #later: Later;
  /** When a stray was first seen (monotonic). */
  #strays: ReadonlyMap<string, number> = new Map();
  #lookedMs = Number.NEGATIVE_INFINITY;
  #lookedAt = -1;
  /** When it was looked for the first time after the last start (monotonic). */
  #sinceMs = Number.NEGATIVE_INFINITY;
  #cleanAt = -1;
  #looking = false;
  #isStopped = false;

  constructor(
    kinds: readonly StrayKind[],
    nowMs = () => performance.now(),
    later: Later = (job, ms) => setTimeout(job, ms).unref(),
  ) {
    this.#kinds = kinds;
    this.#nowMs = nowMs;
    this.#later = later;
  }

  /**
   * To be called with each listing; `starts` counts how often a service was started. Comes back by itself until it is done. Never
   * throws: what goes wrong is tried again.
   */
  async look(starts: number): Promise<void> {
    const nowMs = this.#nowMs();
    const isSoon = this.#lookedAt === starts && nowMs - this.#lookedMs < LOOK_MS_MIN;
    if (this.#isStopped || this.#looking || this.#cleanAt === starts || isSoon) return;
    this.#looking = true;
    if (this.#lookedAt !== starts) this.#sinceMs = nowMs;
    this.#lookedAt = starts;
    this.#lookedMs = nowMs;
    try {
      const known = this.#strays;
      const found: Array<readonly [string, StrayKind]> = [];
      for (const kind of this.#kinds) {
        for (const name of await kind.find()) found.push([name, kind]);
      }
      const strays = new Map(found.map(([name]) => [name, known.get(name) ?? nowMs]));
      this.#strays = strays;
      for (const [name, kind] of found) {
        if (nowMs - (strays.get(name) ?? nowMs) >= STRAY_MS_MIN) await kind.remove(name);
      }
      if (found.length === 0 && nowMs - this.#sinceMs >= WATCH_MS_MIN) this.#cleanAt = starts;
    } catch {
      // The engine or a stray is just going.
    } finally {
      this.#looking = false;
    }
    if (this.#cleanAt !== starts) this.#later(() => void this.look(starts), STRAY_MS_MIN);
  }

  /** Nothing is looked for any more. */
  stop(): void {
    this.#isStopped = true;
  }
}

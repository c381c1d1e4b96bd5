/**
 * What podman has made and forgotten: a service that is killed in the middle of something leaves behind what it has not yet
 * noted, and nobody knows whose it was. Looked for after each start of a service only, until nothing is left; costs nothing otherwise.
 *
 * A thing is removed only if it was nobody's for a while: podman notes what it makes some time after it has made it.
 */

/** One kind of things that podman makes. */
export interface StrayKind {
  /** Names of those that belong to no container of podman's, also of other people's; unlike those of other kinds. */
  readonly find: () => Promise<readonly string[]>;
  readonly remove: (name: string) => Promise<unknown>;
}

const LOOK_MS_MIN = 30_000;
/** Less than the time between two listings, so that the second one removes what the first has seen. */
const STRAY_MS_MIN = 45_000;

export class PodmanStrays {
  readonly #kinds: readonly StrayKind[];
  readonly #nowMs: () => number;
  /** When a stray was first seen (monotonic). */
  #strays: ReadonlyMap<string, number> = new Map();
  #lookedMs = Number.NEGATIVE_INFINITY;
  #cleanAt = -1;
  #looking = false;

  constructor(kinds: readonly StrayKind[], nowMs = () => performance.now()) {
    this.#kinds = kinds;
    this.#nowMs = nowMs;
  }

  /** `starts` counts how often a service was started. Never throws: what goes wrong is tried again with the next listing. */
  async look(starts: number): Promise<void> {
    const nowMs = this.#nowMs();
    if (this.#looking || this.#cleanAt === starts || nowMs - this.#lookedMs < LOOK_MS_MIN) return;
    this.#looking = true;
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
      if (found.length === 0) this.#cleanAt = starts;
    } catch {
      // The engine or a stray is just going: the next listing looks again.
    } finally {
      this.#looking = false;
    }
  }
}

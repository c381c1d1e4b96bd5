/**
 * Which backend a client was led to last, for services with sessionAffinity ClientIP. Pure: the time is passed in.
 *
 * Kubernetes: a client stays with its backend as long as it comes again within the timeout of the service. Bounded: the
 * client that has not come for the longest time is forgotten first, and what is forgotten falls back to a hash of
 * its address, so that it most likely meets the same backend, on any board and after a restart.
 */
export class AffinityTable {
  readonly #entriesMax: number;
  /** In the order of the last use. */
  readonly #entries = new Map<string, { readonly backend: string; readonly untilMs: number }>();

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The backend's key; undefined for a client that is new or has been away too long. */
  get(client: string, nowMs: number): string | undefined {
    const entry = this.#entries.get(client);
    if (entry === undefined) return undefined;
    if (nowMs < entry.untilMs) return entry.backend;
    this.#entries.delete(client);
    return undefined;
  }

  /** The client was led to this backend now. */
  set(client: string, backend: string, untilMs: number): void {
    this.#entries.delete(client);
    this.#entries.set(client, { backend, untilMs });
    if (this.#entries.size <= this.#entriesMax) return;
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined) this.#entries.delete(oldest);
  }
}

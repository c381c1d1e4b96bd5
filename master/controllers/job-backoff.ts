/**
 * How long a Job waits after failures in a row: 10 s, 20 s, ... 10 min, from the last one on; a success starts over.
 * Source: Kubernetes' documentation of Jobs, "Pod backoff failure policy". Kept in memory only: after a restart of the
 * master the wait begins anew, it is never shorter.
 */
const FIRST_MS = 10_000;
const LONGEST_MS = 600_000;

interface Entry {
  readonly succeeded: number;
  readonly failed: number;
  readonly inARow: number;
  readonly lastFailureMs: number;
}

export class JobBackoff {
  readonly #entries = new Map<string, Entry>();

  /** Monotonic time before which the Job of this uid makes no new pod; in the past when it has no failures. */
  retryAtMs(
    uid: string,
    { succeeded, failed }: { readonly succeeded: number; readonly failed: number },
    nowMs: number,
  ): number {
    const known = this.#entries.get(uid);
    const added = failed - (known?.failed ?? 0);
    const base = known === undefined || succeeded > known.succeeded ? 0 : known.inARow;
    const inARow = base + Math.max(0, added);
    const lastFailureMs = added > 0 ? nowMs : (known?.lastFailureMs ?? nowMs);
    this.#entries.set(uid, { succeeded, failed, inARow, lastFailureMs });
    if (inARow === 0) return nowMs;
    return lastFailureMs + Math.min(LONGEST_MS, FIRST_MS * 2 ** (inARow - 1));
  }

  forget(uid: string): void {
    this.#entries.delete(uid);
  }
}

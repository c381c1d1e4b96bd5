/**
 * One manifest and the payloads it names: what is held, what has come in and waits for the rest. In memory
 * and without I/O; DesiredState keeps it on disk.
 *
 * Messages may be lost, doubled, late and in any order. A payload that no manifest names yet is kept for a
 * while (bounded); the newest manifest that is not complete yet waits for its payloads.
 */
import { judgeManifest, type Verdict } from './accept.ts';
import type { Order } from './state-file.ts';

export interface LedgerManifest<M> extends Order {
  readonly clusterId: string;
  readonly node: string | undefined;
  /** Digest by key. */
  readonly items: ReadonlyMap<string, string>;
  readonly message: M;
}

export interface Item<P> {
  readonly digest: string;
  readonly payload: P;
}

export interface LedgerOptions {
  readonly clusterId: string;
  readonly node: string;
  /** Payloads kept that no manifest names yet. */
  readonly waitingPayloadsMax: number;
}

export type Outcome = Verdict | { readonly type: 'filled' };

export class Ledger<M, P> {
  readonly #options: LedgerOptions;
  #manifest: LedgerManifest<M> | undefined;
  /** The order below which nothing is obeyed; outlives a lost manifest. */
  #order: Order | undefined;
  #items = new Map<string, Item<P>>();
  #offered: LedgerManifest<M> | undefined;
  readonly #waiting = new Map<string, Item<P>>();

  constructor(options: LedgerOptions) {
    this.#options = options;
  }

  get manifest(): LedgerManifest<M> | undefined {
    return this.#manifest;
  }

  get items(): ReadonlyMap<string, Item<P>> {
    return this.#items;
  }

  /** The manifest is held together with every payload that it names. */
  get complete(): boolean {
    return this.#manifest !== undefined && this.#missing(this.#manifest) === 0;
  }

  /** What came from the disk: the manifest may be lost, and payloads too. */
  restore(
    manifest: LedgerManifest<M> | undefined,
    items: ReadonlyMap<string, Item<P>>,
    order: Order | undefined,
  ): void {
    this.#manifest = manifest;
    this.#items = new Map(items);
    this.#order = order;
  }

  offerManifest(manifest: LedgerManifest<M>): Verdict {
    const verdict = this.#judge(manifest);
    if (verdict.type === 'accept') this.#accept(manifest);
    else if (verdict.type === 'wait' && this.#isNewerOffer(manifest)) this.#offered = manifest;
    return verdict;
  }

  offerPayload(key: string, digest: string, payload: P): Outcome {
    const item = { digest, payload };
    if (this.#items.get(key)?.digest === digest) {
      // It may hold newer tokens, which are no part of the digest.
      this.#items.set(key, item);
      return { type: 'same' };
    }
    if (this.#manifest?.items.get(key) === digest) {
      this.#items.set(key, item);
      return { type: 'filled' };
    }
    this.#waiting.delete(key);
    this.#waiting.set(key, item);
    const offered = this.#offered;
    const limit = this.#options.waitingPayloadsMax + (offered?.items.size ?? 0);
    for (const [oldest, { digest: old }] of this.#waiting) {
      if (this.#waiting.size <= limit) break;
      if (offered?.items.get(oldest) !== old) this.#waiting.delete(oldest);
    }
    if (offered === undefined) return { type: 'wait', missing: 0 };
    const verdict = this.#judge(offered);
    if (verdict.type === 'accept') this.#accept(offered);
    return verdict;
  }

  #judge(manifest: LedgerManifest<M>): Verdict {
    return judgeManifest({
      clusterId: this.#options.clusterId,
      node: this.#options.node,
      held: this.#order === undefined ? undefined : { order: this.#order, complete: this.complete },
      incoming: manifest,
      missing: this.#missing(manifest),
    });
  }

  #missing(manifest: LedgerManifest<M>): number {
    let missing = 0;
    for (const [key, digest] of manifest.items) {
      if (this.#find(key, digest) === undefined) missing++;
    }
    return missing;
  }

  #find(key: string, digest: string): Item<P> | undefined {
    const held = this.#items.get(key);
    if (held?.digest === digest) return held;
    const waiting = this.#waiting.get(key);
    return waiting?.digest === digest ? waiting : undefined;
  }

  #isNewerOffer(manifest: LedgerManifest<M>): boolean {
    const offered = this.#offered;
    if (offered === undefined) return true;
    return (
      manifest.epoch > offered.epoch ||
      (manifest.epoch === offered.epoch && manifest.revision >= offered.revision)
    );
  }

  #accept(manifest: LedgerManifest<M>): void {
    const items = new Map<string, Item<P>>();
    for (const [key, digest] of manifest.items) {
      const item = this.#find(key, digest);
      if (item !== undefined) items.set(key, item);
      if (this.#waiting.get(key)?.digest === digest) this.#waiting.delete(key);
    }
    this.#manifest = manifest;
    this.#order = { epoch: manifest.epoch, revision: manifest.revision };
    this.#items = items;
    if (this.#offered !== undefined && !this.#isNewer(this.#offered)) this.#offered = undefined;
  }

  #isNewer(manifest: LedgerManifest<M>): boolean {
    const order = this.#order;
    if (order === undefined) return true;
    return (
      manifest.epoch > order.epoch ||
      (manifest.epoch === order.epoch && manifest.revision > order.revision)
    );
  }
}

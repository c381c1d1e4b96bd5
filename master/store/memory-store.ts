/**
 * The same store without a disk, for what need not outlive the process (events, leases). It starts at
 * a revision that no former life can have reached, so that a reader who comes back with an old
 * revision is told "compacted" and lists again, and never waits for a future that is not its own.
 */
import { Draft } from './draft.ts';
import { type HistoryLimits, Mvcc } from './mvcc.ts';
import type {
  RangeRequest,
  RangeResult,
  Store,
  StoreWatch,
  TxnRequest,
  TxnResult,
  WatchRequest,
} from './store.ts';
import { StoreClosedError } from './store.ts';
import { DEFAULT_WATCH_BUFFER_EVENTS, WatchHub } from './watch-hub.ts';

export interface MemoryStoreOptions {
  /** The revision it starts at: `memoryFirstRevision(durable.starts)`. */
  readonly firstRevision?: number;
  readonly history?: HistoryLimits;
  readonly watchBufferEvents?: number;
}

/** Smaller than on disk, because renewed leases fill it in any case: 16 minutes of those of 100 boards. */
const MEMORY_HISTORY: HistoryLimits = { eventsMax: 10_000, bytesMax: 8 * 1024 * 1024 };
const REVISIONS_PER_LIFE = 1_000_000_000;

/** A start revision above all earlier lives; good for a billion writes a life, nine million lives. */
export function memoryFirstRevision(starts: number): number {
  return starts * REVISIONS_PER_LIFE;
}

export function openMemoryStore(options: MemoryStoreOptions = {}): Store {
  return new MemoryStore(options);
}

class MemoryStore implements Store {
  readonly #mvcc: Mvcc;
  readonly #hub: WatchHub;
  #closed = false;

  constructor(options: MemoryStoreOptions) {
    this.#mvcc = new Mvcc(options.history ?? MEMORY_HISTORY, options.firstRevision ?? 0);
    this.#hub = new WatchHub(this.#mvcc, options.watchBufferEvents ?? DEFAULT_WATCH_BUFFER_EVENTS);
  }

  get revision(): number {
    return this.#mvcc.revision;
  }

  get compactedRevision(): number {
    return this.#mvcc.compactedRevision;
  }

  async range(request: RangeRequest): Promise<RangeResult> {
    this.#checkOpen();
    return this.#mvcc.range(request);
  }

  async txn(request: TxnRequest): Promise<TxnResult> {
    this.#checkOpen();
    const draft = new Draft(this.#mvcc);
    const result = draft.decide(request);
    for (const transaction of draft.transactions) this.#mvcc.apply(transaction);
    this.#hub.publish(draft.transactions);
    return result;
  }

  watch(request: WatchRequest): StoreWatch {
    this.#checkOpen();
    return this.#hub.open(request);
  }

  async compact(revision: number): Promise<void> {
    this.#checkOpen();
    this.#mvcc.compact(revision);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#hub.close();
  }

  #checkOpen(): void {
    if (this.#closed) throw new StoreClosedError();
  }
}

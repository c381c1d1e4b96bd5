/**
 * Watches over one Mvcc. Watches of the same range form a group, which filters each commit once for
 * all of them. A reader that keeps up gets commits from a small bounded buffer; one that does not is
 * put on the history window and catches up from there a buffer at a time. When the window has moved past
 * it, it is cut off with CompactedError. So a slow reader costs no memory beyond the buffer.
 */
import { inRange, type Mvcc, type Transaction } from './mvcc.ts';
import type { KeyRange, StoreEvent, StoreWatch, WatchBatch, WatchRequest } from './store.ts';
import { CompactedError } from './store.ts';

/** Events a watch holds for its reader before it falls back to the history window. */
export const DEFAULT_WATCH_BUFFER_EVENTS = 1024;

interface Group {
  readonly name: string;
  readonly range: KeyRange;
  readonly watches: Set<Watch>;
}

export class WatchHub {
  readonly #mvcc: Mvcc;
  readonly #bufferEvents: number;
  readonly #groups = new Map<string, Group>();

  constructor(mvcc: Mvcc, bufferEvents: number = DEFAULT_WATCH_BUFFER_EVENTS) {
    this.#mvcc = mvcc;
    this.#bufferEvents = bufferEvents;
  }

  open(request: WatchRequest): StoreWatch {
    const name = `${request.start}\n${request.end === undefined ? '' : `>${request.end}`}`;
    let group = this.#groups.get(name);
    if (group === undefined) {
      const { start, end } = request;
      const range = end === undefined ? { start } : { start, end };
      group = { name, range, watches: new Set() };
      this.#groups.set(name, group);
    }
    const start = request.startRevision || this.#mvcc.revision + 1;
    const watch = new Watch(this.#mvcc, group, start, this.#bufferEvents, (gone) => {
      gone.group.watches.delete(gone);
      if (gone.group.watches.size === 0) this.#groups.delete(gone.group.name);
    });
    group.watches.add(watch);
    return watch;
  }

  /** Tells the watches about transactions that the Mvcc has just applied, oldest first. */
  publish(transactions: readonly Transaction[]): void {
    const revision = transactions.at(-1)?.revision;
    if (revision === undefined) return;
    for (const group of this.#groups.values()) {
      const events = filter(transactions, group.range);
      if (events.length === 0) continue;
      const batch = { events, revision };
      for (const watch of group.watches) watch.push(batch);
    }
  }

  /** Ends every watch. */
  close(): void {
    for (const group of this.#groups.values()) for (const watch of group.watches) watch.close();
  }
}

class Watch implements StoreWatch {
  readonly group: Group;
  readonly #mvcc: Mvcc;
  readonly #bufferEvents: number;
  readonly #remove: (watch: Watch) => void;
  #buffer: WatchBatch[] = [];
  #bufferedEvents = 0;
  /** When set, the buffer ends before this revision and the rest must come from history. */
  #catchUpFrom: number | undefined;
  /** Nothing below this is delivered (a watch may start in the future). */
  readonly #start: number;
  #progressWanted = false;
  #closed = false;
  #failed: CompactedError | undefined;
  #waiting:
    | { resolve(result: IteratorResult<WatchBatch>): void; reject(error: Error): void }
    | undefined;

  constructor(
    mvcc: Mvcc,
    group: Group,
    start: number,
    bufferEvents: number,
    remove: (watch: Watch) => void,
  ) {
    this.#mvcc = mvcc;
    this.group = group;
    this.#start = start;
    this.#bufferEvents = bufferEvents;
    this.#remove = remove;
    if (start <= mvcc.revision) this.#catchUpFrom = start;
  }

  requestProgress(): void {
    this.#progressWanted = true;
    this.#wake();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#buffer = [];
    this.#remove(this);
    this.#waiting?.resolve({ done: true, value: undefined });
    this.#waiting = undefined;
  }

  [Symbol.asyncIterator](): AsyncIterator<WatchBatch> {
    return {
      next: () => this.#next(),
      return: () => {
        this.close();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  /** Takes a batch of the group; all watches of the group share the array. */
  push(batch: WatchBatch): void {
    if (this.#catchUpFrom !== undefined || this.#closed) return;
    const first = batch.events[0]?.kv.modRevision ?? 0;
    let own = batch;
    if (first < this.#start) {
      const events = batch.events.filter((event) => event.kv.modRevision >= this.#start);
      if (events.length === 0) return;
      own = { events, revision: batch.revision };
    }
    if (this.#waiting !== undefined) {
      const { resolve } = this.#waiting;
      this.#waiting = undefined;
      resolve({ done: false, value: own });
      return;
    }
    const full = this.#bufferedEvents + own.events.length > this.#bufferEvents;
    if (full && this.#buffer.length > 0) {
      this.#catchUpFrom = own.events[0]?.kv.modRevision ?? first;
      return;
    }
    this.#buffer.push(own);
    this.#bufferedEvents += own.events.length;
  }

  #next(): Promise<IteratorResult<WatchBatch>> {
    if (this.#waiting !== undefined) {
      return Promise.reject(new TypeError('a store watch has one reader: next() was called twice'));
    }
    if (this.#failed !== undefined) return Promise.reject(this.#failed);
    let batch: WatchBatch | undefined;
    try {
      batch = this.#take();
    } catch (error) {
      if (!(error instanceof CompactedError)) return Promise.reject(error);
      this.#failed = error;
      this.close();
      return Promise.reject(error);
    }
    if (batch !== undefined) return Promise.resolve({ done: false, value: batch });
    if (this.#closed) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  #wake(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    this.#waiting = undefined;
    this.#next().then(waiting.resolve, waiting.reject);
  }

  #take(): WatchBatch | undefined {
    if (this.#closed) return undefined;
    const buffered = this.#buffer.shift();
    if (buffered !== undefined) {
      this.#bufferedEvents -= buffered.events.length;
      return buffered;
    }
    if (this.#catchUpFrom !== undefined) {
      const batch = this.#catchUp(this.#catchUpFrom);
      if (batch !== undefined) return batch;
    }
    if (!this.#progressWanted) return undefined;
    this.#progressWanted = false;
    return { events: [], revision: this.#mvcc.revision };
  }

  /** Delivers about a buffer's worth of history; goes live again when it reaches the present. */
  #catchUp(from: number): WatchBatch | undefined {
    const mvcc = this.#mvcc;
    if (from < mvcc.historyStart) throw new CompactedError(mvcc.compactedRevision);
    const events: StoreEvent[] = [];
    let revision = from - 1;
    while (revision < mvcc.revision && events.length < this.#bufferEvents) {
      revision++;
      const transaction = mvcc.transactionAt(revision);
      if (transaction !== undefined) events.push(...filter([transaction], this.group.range));
    }
    this.#catchUpFrom = revision >= mvcc.revision ? undefined : revision + 1;
    return events.length > 0 ? { events, revision } : undefined;
  }
}

function filter(transactions: readonly Transaction[], range: KeyRange): StoreEvent[] {
  const events: StoreEvent[] = [];
  for (const transaction of transactions) {
    for (const event of transaction.events) if (inRange(event.kv.key, range)) events.push(event);
  }
  return events;
}

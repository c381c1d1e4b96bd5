/**
 * What the store remembers, without any I/O: the current state of every key and a bounded window of
 * past transactions. The window serves reads at an older revision (today's state with the later
 * changes undone) and watches that start in the past. When it outgrows its bounds the oldest
 * transactions are forgotten, which is an automatic compaction.
 *
 * Every revision in the window is one transaction, so a revision is a position. Only durable
 * transactions come here; what is being written lives in a `Draft` (draft.ts).
 */
import { KeyIndex } from './key-index.ts';
import {
  CompactedError,
  FutureRevisionError,
  type KeyRange,
  type KeyValue,
  type RangeRequest,
  type RangeResult,
  type StoreEvent,
} from './store.ts';

/** One committed change set: all events share the revision. */
export interface Transaction {
  readonly revision: number;
  readonly events: readonly StoreEvent[];
}

/** The window is cut when it holds more events or more bytes of keys and values than this. */
export interface HistoryLimits {
  readonly eventsMax: number;
  readonly bytesMax: number;
}

export const DEFAULT_HISTORY: HistoryLimits = { eventsMax: 20_000, bytesMax: 32 * 1024 * 1024 };

/** Differences to the index: the value a key has instead, undefined for a key that is not there. */
export type Overlay = ReadonlyMap<string, KeyValue | undefined>;

/** Rough memory of an event beside its value: key, objects, array slots. */
const EVENT_OVERHEAD_BYTES = 200;

export class Mvcc {
  readonly index = new KeyIndex();
  readonly #limits: HistoryLimits;
  /** `#history[#head]` is the transaction of revision `#firstRevision`; before the head are holes. */
  readonly #history: (Transaction | undefined)[] = [];
  #head = 0;
  #firstRevision: number;
  #events = 0;
  #bytes = 0;
  #revision: number;
  #compactedRevision: number;
  #liveBytes = 0;

  /** Starts empty, or at a revision whose past is unknown (`revision` itself can be read). */
  constructor(limits: HistoryLimits = DEFAULT_HISTORY, revision = 0) {
    this.#limits = limits;
    this.#revision = revision;
    this.#compactedRevision = revision;
    this.#firstRevision = revision + 1;
  }

  get revision(): number {
    return this.#revision;
  }

  get compactedRevision(): number {
    return this.#compactedRevision;
  }

  /** The oldest revision whose events are still known: the lowest start of a watch. */
  get historyStart(): number {
    return this.#firstRevision;
  }

  /** Keys and values of the current state, in bytes. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** What the history window holds now. */
  get historySize(): { readonly events: number; readonly bytes: number } {
    return { events: this.#events, bytes: this.#bytes };
  }

  /** Puts a key of a snapshot in place, without history. */
  load(kv: KeyValue): void {
    this.index.set(kv);
    this.#liveBytes += kv.key.length + kv.value.length;
  }

  /** Makes a durable transaction visible. Its revision must be the next one. */
  apply(transaction: Transaction): void {
    if (transaction.revision !== this.#revision + 1) {
      throw new Error(`revision ${transaction.revision} cannot follow ${this.#revision}`);
    }
    for (const event of transaction.events) {
      const { kv, previous } = event;
      if (previous !== undefined) this.#liveBytes -= kv.key.length + previous.value.length;
      if (event.type === 'put') {
        this.index.set(kv);
        this.#liveBytes += kv.key.length + kv.value.length;
      } else {
        this.index.delete(kv.key);
      }
      this.#bytes += eventBytes(event);
    }
    this.#revision = transaction.revision;
    this.#history.push(transaction);
    this.#events += transaction.events.length;
    while (this.#events > this.#limits.eventsMax || this.#bytes > this.#limits.bytesMax) {
      if (this.#firstRevision > this.#revision) break;
      this.#forgetOldest();
      this.#compactedRevision = this.#firstRevision - 1;
    }
  }

  /** Forgets what came before `revision`; that revision's own events stay, as in etcd. */
  compact(revision: number): void {
    if (revision > this.#revision) throw new FutureRevisionError(revision, this.#revision);
    if (revision <= this.#compactedRevision) return;
    while (this.#firstRevision < revision) this.#forgetOldest();
    this.#compactedRevision = revision;
  }

  /** The transaction of a revision in the window. */
  transactionAt(revision: number): Transaction | undefined {
    return revision < this.#firstRevision
      ? undefined
      : this.#history[this.#head + revision - this.#firstRevision];
  }

  /** Reads `[start, end)` now or in the past. Throws CompactedError or FutureRevisionError. */
  range(request: RangeRequest): RangeResult {
    const at = request.revision ?? 0;
    if (at > this.#revision) throw new FutureRevisionError(at, this.#revision);
    const overlay = at === 0 || at === this.#revision ? undefined : this.undoTo(at, request);
    return this.rangeWith(request, overlay, this.#revision);
  }

  /** What must be put in place of today's values to see the state as of `revision`. */
  undoTo(revision: number, range: KeyRange): Overlay {
    if (revision < this.#compactedRevision) throw new CompactedError(this.#compactedRevision);
    const undo = new Map<string, KeyValue | undefined>();
    for (let at = revision + 1; at <= this.#revision; at++) {
      collectUndo(this.transactionAt(at), range, undo);
    }
    return undo;
  }

  /** Reads the current state with an overlay on top. */
  rangeWith(request: RangeRequest, overlay: Overlay | undefined, revision: number): RangeResult {
    const { start, limit } = request;
    if (request.end === undefined) {
      const kv = overlay?.has(start) ? overlay.get(start) : this.index.get(start);
      return { kvs: kv ? [kv] : [], count: kv ? 1 : 0, more: false, revision };
    }
    const end = request.end === '' ? undefined : request.end;
    const max = limit === undefined || limit <= 0 ? Number.POSITIVE_INFINITY : limit;
    const changed = overlay === undefined ? [] : keysWithin(overlay, request);
    let kvs = this.index.collect(start, end, max + changed.length);
    let count = kvs.length < max ? kvs.length : this.index.count(start, end);
    if (overlay !== undefined && changed.length > 0) {
      count = this.index.count(start, end);
      for (const key of changed) {
        count += (overlay.get(key) ? 1 : 0) - (this.index.get(key) ? 1 : 0);
      }
      kvs = merge(kvs, changed, overlay);
    }
    if (kvs.length > max) kvs.length = max;
    return { kvs, count, more: count > kvs.length, revision };
  }

  #forgetOldest(): void {
    const oldest = this.#history[this.#head];
    this.#history[this.#head] = undefined;
    this.#head++;
    this.#firstRevision++;
    this.#events -= oldest?.events.length ?? 0;
    for (const event of oldest?.events ?? []) this.#bytes -= eventBytes(event);
    if (this.#head > 1024 && this.#head * 2 > this.#history.length) {
      this.#history.splice(0, this.#head);
      this.#head = 0;
    }
  }
}

/** True when `key` lies in `[start, end)`; an empty end stands for "to the last key". */
export function inRange(key: string, range: KeyRange): boolean {
  if (range.end === undefined) return key === range.start;
  return key >= range.start && (key < range.end || range.end === '');
}

/** Notes what each key in the range was before this transaction, unless an older one said so. */
export function collectUndo(
  transaction: Transaction | undefined,
  range: KeyRange,
  undo: Map<string, KeyValue | undefined>,
): void {
  for (const event of transaction?.events ?? []) {
    const { key } = event.kv;
    if (inRange(key, range) && !undo.has(key)) undo.set(key, event.previous);
  }
}

function eventBytes(event: StoreEvent): number {
  const previousBytes = event.type === 'delete' ? (event.previous?.value.length ?? 0) : 0;
  return EVENT_OVERHEAD_BYTES + event.kv.key.length + event.kv.value.length + previousBytes;
}

function keysWithin(overlay: Overlay, range: KeyRange): string[] {
  const keys: string[] = [];
  for (const key of overlay.keys()) if (inRange(key, range)) keys.push(key);
  return keys.sort((a, b) => (a < b ? -1 : 1));
}

/** Two ordered lists into one; where both have a key, the overlay has the word. */
function merge(kvs: readonly KeyValue[], changed: readonly string[], overlay: Overlay): KeyValue[] {
  const merged: KeyValue[] = [];
  let at = 0;
  for (const kv of kvs) {
    for (let key = changed[at]; key !== undefined && key < kv.key; key = changed[++at]) {
      const other = overlay.get(key);
      if (other !== undefined) merged.push(other);
    }
    if (changed[at] === kv.key) {
      const other = overlay.get(kv.key);
      if (other !== undefined) merged.push(other);
      at++;
    } else {
      merged.push(kv);
    }
  }
  for (; at < changed.length; at++) {
    const other = overlay.get(changed[at] as string);
    if (other !== undefined) merged.push(other);
  }
  return merged;
}

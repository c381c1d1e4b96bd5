/**
 * Decides transactions that are not durable yet. A draft sees the durable state plus what was decided
 * in it before, so that the transactions of one group commit follow each other; nobody else sees it.
 * When the disk took the whole draft its transactions are applied, otherwise it is thrown away: there
 * is nothing to roll back.
 */

import { collectUndo, type Mvcc, type Transaction } from './mvcc.ts';
import type {
  Compare,
  KeyRange,
  KeyValue,
  Operation,
  OperationResult,
  RangeRequest,
  RangeResult,
  StoreEvent,
  TxnRequest,
  TxnResult,
} from './store.ts';
import { CompactedError, FutureRevisionError } from './store.ts';

/** Longest key, in characters. Kubernetes names need less than 600. */
export const KEY_LENGTH_MAX = 4096;
/** Most keys and values one transaction may write, in bytes. */
export const TXN_BYTES_MAX = 32 * 1024 * 1024;

const NO_BYTES = new Uint8Array(0);
const ASCII_KEY = /^[\x20-\x7e]+$/;

type State = Map<string, KeyValue | undefined>;

export class Draft {
  readonly transactions: Transaction[] = [];
  readonly #mvcc: Mvcc;
  readonly #changes: State = new Map();
  #compactedRevision: number;
  #revision: number;

  constructor(mvcc: Mvcc) {
    this.#mvcc = mvcc;
    this.#revision = mvcc.revision;
    this.#compactedRevision = mvcc.compactedRevision;
  }

  /** The revision after the transactions decided so far. */
  get revision(): number {
    return this.#revision;
  }

  /** Notes a compaction that becomes durable with this draft; false when it changes nothing. */
  compact(revision: number): boolean {
    if (revision > this.#revision) throw new FutureRevisionError(revision, this.#revision);
    if (revision <= this.#compactedRevision) return false;
    this.#compactedRevision = revision;
    return true;
  }

  /** Decides one transaction. When it throws, nothing of it remains. */
  decide(request: TxnRequest): TxnResult {
    const succeeded = request.compare.every((compare) => holds(compare, this.#get(compare.key)));
    const operations = succeeded ? request.success : (request.failure ?? []);
    const step = new Step(this, this.#revision + 1);
    const results = operations.map((operation) => step.run(operation));
    if (step.events.length > 0) {
      this.#revision++;
      this.transactions.push({ revision: this.#revision, events: step.events });
      for (const [key, kv] of step.changes) this.#changes.set(key, kv);
    }
    return { succeeded, revision: this.#revision, results };
  }

  /** The value of a key as this draft sees it, below the changes of the running transaction. */
  read(key: string): KeyValue | undefined {
    return this.#get(key);
  }

  range(request: RangeRequest, own: State): RangeResult {
    const at = request.revision ?? 0;
    if (at > this.#revision) throw new FutureRevisionError(at, this.#revision);
    if (at !== 0 && at < this.#compactedRevision) throw new CompactedError(this.#compactedRevision);
    if (at === 0 || at === this.#revision) {
      // In a transaction a read sees the writes before it; asked for a revision it sees that one.
      const overlay =
        at === 0 && own.size > 0 ? new Map([...this.#changes, ...own]) : this.#changes;
      return this.#mvcc.rangeWith(request, overlay, this.#revision);
    }
    if (at >= this.#mvcc.revision) {
      const overlay = new Map(this.#changes);
      const undo: State = new Map();
      for (const t of this.transactions) if (t.revision > at) collectUndo(t, request, undo);
      for (const [key, kv] of undo) overlay.set(key, kv);
      return this.#mvcc.rangeWith(request, overlay, this.#revision);
    }
    return this.#mvcc.rangeWith(request, this.#mvcc.undoTo(at, request), this.#revision);
  }

  #get(key: string): KeyValue | undefined {
    if (this.#changes.size > 0 && this.#changes.has(key)) return this.#changes.get(key);
    return this.#mvcc.index.get(key);
  }
}

/** One transaction while it is being decided. */
class Step {
  readonly events: StoreEvent[] = [];
  readonly changes: State = new Map();
  readonly #draft: Draft;
  readonly #revision: number;
  #bytes = 0;

  constructor(draft: Draft, revision: number) {
    this.#draft = draft;
    this.#revision = revision;
  }

  run(operation: Operation): OperationResult {
    switch (operation.type) {
      case 'put':
        return this.#put(operation.key, operation.value);
      case 'delete':
        return this.#delete(operation);
      case 'range':
        return { type: 'range', range: this.#draft.range(operation, this.changes) };
      default:
        throw new TypeError(`unknown operation ${String(operation satisfies never)}`);
    }
  }

  #put(key: string, value: Uint8Array): OperationResult {
    if (key.length > KEY_LENGTH_MAX || !ASCII_KEY.test(key)) {
      throw new TypeError(
        `the store key ${JSON.stringify(key.slice(0, 80))} must be 1 to ${KEY_LENGTH_MAX} printable ASCII characters`,
      );
    }
    const previous = this.#draft.read(key);
    this.#claim(key, value.length);
    if (previous !== undefined && sameBytes(previous.value, value)) {
      return { type: 'put', kv: previous, unchanged: true };
    }
    const kv: KeyValue = {
      key,
      value: ownMemory(value),
      createRevision: previous?.createRevision ?? this.#revision,
      modRevision: this.#revision,
      version: (previous?.version ?? 0) + 1,
    };
    this.changes.set(key, kv);
    this.events.push(previous ? { type: 'put', kv, previous } : { type: 'put', kv });
    return { type: 'put', kv, unchanged: false };
  }

  #delete(range: KeyRange): OperationResult {
    const deleted = this.#draft.range({ start: range.start, ...endOf(range) }, this.changes).kvs;
    for (const previous of deleted) {
      const { key } = previous;
      this.#claim(key, 0);
      this.changes.set(key, undefined);
      const kv = {
        key,
        value: NO_BYTES,
        createRevision: 0,
        modRevision: this.#revision,
        version: 0,
      };
      this.events.push({ type: 'delete', kv, previous });
    }
    return { type: 'delete', deleted };
  }

  /** As in etcd, a transaction changes a key at most once: its events have one order only. */
  #claim(key: string, valueBytes: number): void {
    if (this.changes.has(key)) throw new TypeError(`a transaction changes "${key}" twice`);
    this.#bytes += key.length + valueBytes;
    if (this.#bytes > TXN_BYTES_MAX) {
      throw new RangeError(`a transaction writes more than ${TXN_BYTES_MAX} bytes`);
    }
  }
}

function endOf(range: KeyRange): { end: string } | object {
  return range.end === undefined ? {} : { end: range.end };
}

function holds(compare: Compare, kv: KeyValue | undefined): boolean {
  if (compare.target === 'value') {
    const same = kv !== undefined && sameBytes(kv.value, compare.value);
    // etcd: comparing the value of a missing key fails, whatever the operator.
    return kv !== undefined && same === (compare.op === '=');
  }
  const actual = kv === undefined ? 0 : numberOf(kv, compare.target);
  switch (compare.op) {
    case '=':
      return actual === compare.value;
    case '!=':
      return actual !== compare.value;
    case '<':
      return actual < compare.value;
    case '>':
      return actual > compare.value;
    default:
      throw new TypeError(`unknown comparison ${String(compare satisfies never)}`);
  }
}

function numberOf(kv: KeyValue, target: 'mod' | 'create' | 'version'): number {
  if (target === 'mod') return kv.modRevision;
  return target === 'create' ? kv.createRevision : kv.version;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

/** A slice of a larger buffer (a request body, Node's pool) would keep all of it in memory. */
function ownMemory(value: Uint8Array): Uint8Array {
  return value.length === value.buffer.byteLength ? value : new Uint8Array(value);
}

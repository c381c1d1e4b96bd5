/**
 * The contract between the API layer and whatever remembers its objects, shaped after etcd v3
 * (https://etcd.io/docs/v3.5/learning/api/), so that an etcd cluster can stand behind it one day.
 *
 * What every implementation promises:
 * - One global revision. Each successful transaction that changes something takes the next one; a
 *   transaction that changes nothing takes none. A revision is never reused, also not after a crash.
 * - `txn` resolves after the change is durable. Reads never return what is not durable yet.
 * - A watch sees every change from its start revision on, in order, once; all events of one transaction
 *   arrive in one batch. History below the compacted revision is gone: `CompactedError`.
 * - Keys are ASCII strings ordered by code unit (which is byte order); values are opaque bytes that
 *   nobody may change after handing them over.
 */
export interface KeyValue {
  readonly key: string;
  readonly value: Uint8Array;
  /** Revision of the transaction that created this life of the key. */
  readonly createRevision: number;
  /** Revision of the last change. */
  readonly modRevision: number;
  /** 1 at creation, plus one per change. */
  readonly version: number;
}

/** `[start, end)`; with no `end` exactly one key. `prefixEnd` makes the end of a prefix. */
export interface KeyRange {
  readonly start: string;
  readonly end?: string;
}

export interface RangeRequest extends KeyRange {
  /** At most so many keys; 0 or absent means all. */
  readonly limit?: number;
  /** Read the state as of this revision; absent or 0 means the current one. */
  readonly revision?: number;
}

export interface RangeResult {
  readonly kvs: readonly KeyValue[];
  /** How many keys the whole range holds at that revision, limit or not. */
  readonly count: number;
  readonly more: boolean;
  /** The store's current revision (not the one asked for). */
  readonly revision: number;
}

/** True when the key's value as of now relates to the operand; a missing key has revision and version 0. */
export type Compare =
  | {
      readonly key: string;
      readonly target: 'mod' | 'create' | 'version';
      readonly op: '=' | '!=' | '<' | '>';
      readonly value: number;
    }
  | {
      readonly key: string;
      readonly target: 'value';
      readonly op: '=' | '!=';
      readonly value: Uint8Array;
    };

export type Operation =
  | { readonly type: 'put'; readonly key: string; readonly value: Uint8Array }
  | ({ readonly type: 'delete' } & KeyRange)
  | ({ readonly type: 'range' } & RangeRequest);

export type OperationResult =
  /** `unchanged` is true when the same bytes were there already: no record, no revision. */
  | { readonly type: 'put'; readonly kv: KeyValue; readonly unchanged: boolean }
  | { readonly type: 'delete'; readonly deleted: readonly KeyValue[] }
  | { readonly type: 'range'; readonly range: RangeResult };

export interface TxnRequest {
  readonly compare: readonly Compare[];
  readonly success: readonly Operation[];
  readonly failure?: readonly Operation[];
}

export interface TxnResult {
  readonly succeeded: boolean;
  readonly revision: number;
  readonly results: readonly OperationResult[];
}

export interface StoreEvent {
  readonly type: 'put' | 'delete';
  /** For a delete: the key, an empty value, and modRevision = the revision of the delete. */
  readonly kv: KeyValue;
  /** The state before, when there was one. */
  readonly previous?: KeyValue;
}

export interface WatchRequest extends KeyRange {
  /** First revision to deliver; absent means the one after the current. */
  readonly startRevision?: number;
}

/** All events of one or more whole transactions, in order; or, with no events, a progress notice. */
export interface WatchBatch {
  readonly events: readonly StoreEvent[];
  /** Everything up to this revision has been delivered to this watch. */
  readonly revision: number;
}

/**
 * Iterate to receive. The iterator throws `CompactedError` when the reader fell behind the bounded
 * buffer and its place in history has been compacted, and ends after `close`.
 */
export interface StoreWatch extends AsyncIterable<WatchBatch> {
  /** Ask for an (event-less) batch with the current revision, after all that is pending. */
  requestProgress(): void;
  close(): void;
}

export interface Store {
  /** The last durable revision. */
  readonly revision: number;
  /** Reads below this throw `CompactedError`. */
  readonly compactedRevision: number;
  range(request: RangeRequest): Promise<RangeResult>;
  txn(request: TxnRequest): Promise<TxnResult>;
  watch(request: WatchRequest): StoreWatch;
  /** Forget history below `revision`; the current state stays. */
  compact(revision: number): Promise<void>;
  close(): Promise<void>;
}

/** The end of the range of all keys that start with `prefix`. */
export function prefixEnd(prefix: string): string {
  const last = prefix.charCodeAt(prefix.length - 1);
  return prefix.slice(0, -1) + String.fromCharCode(last + 1);
}

export class CompactedError extends Error {
  readonly compactedRevision: number;
  constructor(compactedRevision: number) {
    super(`the requested revision has been compacted; history starts at ${compactedRevision}`);
    this.name = 'CompactedError';
    this.compactedRevision = compactedRevision;
  }
}

export class FutureRevisionError extends Error {
  constructor(asked: number, current: number) {
    super(`revision ${asked} is in the future; the store is at ${current}`);
    this.name = 'FutureRevisionError';
  }
}

/** The disk is full: nothing was written, try again when there is room. */
export class NoSpaceError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'NoSpaceError';
  }
}

/** The directory cannot be served; `message` names file, offset and the command that helps. */
export class StoreDamagedError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StoreDamagedError';
  }
}

/** The store has been closed; nothing more can be asked of it. */
export class StoreClosedError extends Error {
  constructor() {
    super('the store is closed');
    this.name = 'StoreClosedError';
  }
}

/** More writes wait than the store is willing to hold: try again shortly. */
export class StoreBusyError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'StoreBusyError';
  }
}

/**
 * The disk failed in a way that leaves it uncertain what is stored (a failed sync). Nothing is
 * acknowledged any more; the process must open the store anew, which recovers from the disk.
 */
export class StoreFailedError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StoreFailedError';
  }
}

/** A store with an identity that outlives the process. */
export interface DurableStore extends Store {
  /** A random UUID, made with the data directory. */
  readonly clusterId: string;
  /** 1 at first; one more after every restore or repair, so that boards can tell the lives apart. */
  readonly epoch: number;
  /** How many times this store has been opened, this time included. Durable before `open` returns. */
  readonly starts: number;
}

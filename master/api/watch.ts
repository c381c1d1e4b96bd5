/**
 * Watching: the changes of one selection of objects from a revision on, as stored bytes.
 *
 * Promises: every change after the start once and in order; an object that stops matching the selectors is a
 * DELETED, one that starts matching an ADDED; a DELETED shows the last matching state with the revision of the
 * change. Falling behind the store's history throws `Expired` (410). Memory per watch is one batch of the store.
 */
import { expired } from '../../protocol/status.ts';
import { CompactedError, FutureRevisionError, type StoreEvent } from '../store/store.ts';
import type { Core } from './core.ts';
import { listObjects } from './list.ts';
import type { Selection } from './selection.ts';
import { fromStore } from './store-errors.ts';
import { type Stored, storedOf } from './stored.ts';

export type StoredEvent =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly stored: Stored }
  | { readonly type: 'BOOKMARK'; readonly revision: number; readonly initialEventsEnd: boolean };

export interface WatchStart {
  /** Deliver what comes after this revision. Absent: begin with the current state as ADDED events. */
  readonly after?: number;
  /** After the current state: a bookmark that says that it was all (WatchList). */
  readonly markInitialEnd: boolean;
  /** Every so many milliseconds a bookmark; 0: none. */
  readonly bookmarkMs: number;
  readonly signal: AbortSignal;
}

/** Initial state is handed on in batches of about so many stored bytes: a batch is what a watch keeps while its client does not read. */
const INITIAL_BATCH_BYTES = 32 * 1024;

export async function* watchObjects(
  core: Core,
  selection: Selection,
  start: WatchStart,
): AsyncGenerator<StoredEvent[], void, undefined> {
  const store = core.storage.storeOf(selection.resource);
  const after = start.after ?? (yield* currentState(core, selection, start));
  // A revision of another life of the store (a restored backup, events after a restart): list again.
  if (after > store.revision) throw expired();
  if (start.signal.aborted) return;
  yield* follow(core, selection, { ...start, after });
}

/** The list is let go with this generator; what follows may live for an hour. Returns the revision of the list. */
async function* currentState(
  core: Core,
  selection: Selection,
  { signal, markInitialEnd }: WatchStart,
): AsyncGenerator<StoredEvent[], number, undefined> {
  const { items, revision } = await listObjects(core, selection);
  let batch: StoredEvent[] = [];
  let bytes = 0;
  for (const stored of items) {
    if (signal.aborted) return revision;
    batch.push({ type: 'ADDED', stored });
    bytes += stored.value.byteLength;
    if (bytes < INITIAL_BATCH_BYTES) continue;
    yield batch;
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield batch;
  if (markInitialEnd) yield [{ type: 'BOOKMARK', revision, initialEventsEnd: true }];
  return revision;
}

async function* follow(
  core: Core,
  selection: Selection,
  start: WatchStart & { readonly after: number },
): AsyncGenerator<StoredEvent[], void, undefined> {
  const { signal, bookmarkMs } = start;
  const store = core.storage.storeOf(selection.resource);
  let seen = start.after;
  const watch = openWatch(() =>
    store.watch({ ...selection.range, startRevision: start.after + 1 }),
  );
  const close = (): void => watch.close();
  signal.addEventListener('abort', close, { once: true });
  const mark = (): void => {
    watch.requestProgress();
    cancelMark = core.timers.after(bookmarkMs, mark);
  };
  let cancelMark = bookmarkMs > 0 ? core.timers.after(bookmarkMs, mark) : () => {};
  try {
    for await (const batch of watch) {
      const events: StoredEvent[] = [];
      for (const event of batch.events) {
        const seenBySelection = classify(core, selection, event);
        if (seenBySelection !== undefined) events.push(seenBySelection);
      }
      const progress = batch.events.length === 0 && batch.revision >= seen;
      seen = Math.max(seen, batch.revision);
      if (progress) events.push({ type: 'BOOKMARK', revision: seen, initialEventsEnd: false });
      if (events.length > 0) yield events;
    }
  } catch (error) {
    throw asExpired(error);
  } finally {
    cancelMark();
    signal.removeEventListener('abort', close);
    watch.close();
  }
}

function openWatch<T>(open: () => T): T {
  try {
    return open();
  } catch (error) {
    throw asExpired(error);
  }
}

function asExpired(error: unknown): unknown {
  if (error instanceof CompactedError) return expired(error.message);
  if (error instanceof FutureRevisionError) return expired(error.message);
  return fromStore(error);
}

/** How this change looks through the selection; undefined when it is not seen at all. */
function classify(core: Core, selection: Selection, event: StoreEvent): StoredEvent | undefined {
  const { resource } = selection;
  const { kv, previous } = event;
  const last = previous === undefined ? undefined : storedOf(resource, previous);
  const before = last !== undefined && matches(core, selection, last) ? last : undefined;
  const after = event.type === 'put' ? storedOf(resource, kv) : undefined;
  if (after !== undefined && matches(core, selection, after)) {
    return { type: before === undefined ? 'ADDED' : 'MODIFIED', stored: after };
  }
  if (before === undefined) return undefined;
  return { type: 'DELETED', stored: { ...before, key: kv.key, revision: kv.modRevision } };
}

function matches(core: Core, selection: Selection, stored: Stored): boolean {
  return selection.all || selection.matches(core.storage.parsed(stored));
}

/**
 * Holds a store against a plain in-memory model for random commands, watches included (fast-check).
 * Errors are told by name, so that a store loaded a second time (mutants) can be held as well.
 */
import fc from 'fast-check';
import type {
  KeyValue,
  Operation,
  Store,
  StoreEvent,
  StoreWatch,
  WatchBatch,
} from '../../master/store/store.ts';

/** Opens a store that is empty, with the limits given. */
export type OpenEmpty = (limits: { readonly watchBufferEvents: number }) => Promise<Store>;

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (kv: KeyValue | undefined) => new TextDecoder().decode(kv?.value);
const put = (key: string, value: string): Operation => ({ type: 'put', key, value: bytes(value) });
const remove = (start: string): Operation => ({ type: 'delete', start });
const everything = { start: '', end: '' };
const isCompacted = (error: unknown) => error instanceof Error && error.name === 'CompactedError';

/** One line per event: what, where, when, and what was there before. */
export const brief = (events: readonly StoreEvent[]) =>
  events.map((e) => `${e.type} ${e.kv.key}@${e.kv.modRevision} was ${text(e.previous)}`);

export const reader = (watch: StoreWatch) => watch[Symbol.asyncIterator]();

/** The next batch of a watch that has not ended. */
export async function nextBatch(iterator: AsyncIterator<WatchBatch>): Promise<WatchBatch> {
  const result = await iterator.next();
  if (result.done) throw new Error('the watch has ended');
  return result.value;
}

type Command =
  | { readonly type: 'txn'; readonly operations: readonly Operation[]; readonly together: boolean }
  | { readonly type: 'compact'; readonly back: number }
  | { readonly type: 'read'; readonly back: number; readonly limit: number; readonly from: number }
  | { readonly type: 'watch'; readonly back: number };

const keyArbitrary = fc.integer({ min: 0, max: 9 }).map((number) => `/k/${number}`);
const commandArbitrary: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('txn' as const),
      operations: fc.uniqueArray(
        fc.oneof(
          fc.tuple(keyArbitrary, fc.integer({ min: 0, max: 3 })).map(([k, v]) => put(k, `${v}`)),
          keyArbitrary.map((key) => remove(key)),
        ),
        { selector: (op) => (op.type === 'put' ? op.key : op.start), minLength: 1, maxLength: 4 },
      ),
      together: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('compact' as const), back: fc.nat(6) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('read' as const),
      back: fc.nat(12),
      limit: fc.nat(5),
      from: fc.nat(9),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('watch' as const),
      // -1: from the next revision on.
      back: fc.integer({ min: -1, max: 8 }),
    }),
  },
);

/** The states after each revision and the events of each, kept in full. */
class PlainModel {
  readonly states: ReadonlyMap<string, string>[] = [new Map()];
  readonly events: string[][] = [[]];
  compacted = 0;

  apply(operations: readonly Operation[]): void {
    const state = new Map(this.states.at(-1));
    const events: string[] = [];
    const revision = this.states.length;
    for (const operation of operations) {
      const key = operation.type === 'put' ? operation.key : operation.start;
      const before = state.get(key);
      if (operation.type === 'put') {
        const value = new TextDecoder().decode(operation.value);
        if (before === value) continue;
        state.set(key, value);
      } else if (!state.delete(key)) {
        continue;
      }
      events.push(`${operation.type} ${key}@${revision} was ${before ?? ''}`);
    }
    if (events.length === 0) return;
    this.states.push(state);
    this.events.push(events);
  }
}

/** Throws fast-check's report of the smallest sequence that shows a difference. */
export async function holdAgainstModel(
  open: OpenEmpty,
  numRuns: number,
  seed: number,
): Promise<void> {
  const commands = fc.array(commandArbitrary, { minLength: 1, maxLength: 40 });
  const property = fc.asyncProperty(commands, async (list) => {
    const store = await open({ watchBufferEvents: 3 });
    const model = new PlainModel();
    const watches: { readonly start: number; readonly watch: StoreWatch }[] = [];
    const running: Promise<unknown>[] = [];
    for (const command of list) {
      if (command.type === 'txn') {
        model.apply(command.operations);
        const expected = model.states.length - 1;
        const done = store.txn({ compare: [], success: command.operations }).then((result) => {
          if (result.revision !== expected)
            throw new Error(`${result.revision} is not ${expected}`);
        });
        running.push(done);
        if (command.together) continue;
      }
      await Promise.all(running.splice(0));
      await check(store, model, watches, command);
    }
    await Promise.all(running);
    for (const { start, watch } of watches) await checkWatch(model, start, watch);
    await store.close();
  });
  await fc.assert(property, { numRuns, seed });
}

async function check(
  store: Store,
  model: PlainModel,
  watches: { readonly start: number; readonly watch: StoreWatch }[],
  command: Command,
): Promise<void> {
  const revision = Math.max(0, model.states.length - 1 - ('back' in command ? command.back : 0));
  if (command.type === 'compact') {
    await store.compact(revision);
    model.compacted = Math.max(model.compacted, revision);
  } else if (command.type === 'watch' && revision >= Math.max(1, model.compacted)) {
    watches.push({
      start: revision,
      watch: store.watch({ ...everything, startRevision: revision }),
    });
  } else if (command.type === 'read' && revision > 0) {
    const { limit, from } = command;
    const reading = store.range({ start: `/k/${from}`, end: '/l', limit, revision });
    if (revision < model.compacted) {
      const error = await reading.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      if (!isCompacted(error)) throw new Error(`read ${revision}: ${String(error)}`);
      return;
    }
    const { kvs, count } = await reading;
    const all = [...(model.states[revision] ?? [])].sort().filter(([key]) => key >= `/k/${from}`);
    const expected = limit === 0 ? all : all.slice(0, limit);
    const seen = kvs.map((kv) => [kv.key, text(kv)]);
    if (JSON.stringify(seen) !== JSON.stringify(expected) || count !== all.length) {
      throw new Error(`read at ${revision}: ${JSON.stringify(seen)}`);
    }
  }
}

async function checkWatch(model: PlainModel, start: number, watch: StoreWatch): Promise<void> {
  const expected = model.events.slice(start).flat();
  const seen: string[] = [];
  const events = reader(watch);
  try {
    watch.requestProgress();
    for (;;) {
      const batch = await nextBatch(events);
      seen.push(...brief(batch.events));
      if (batch.events.length === 0 || seen.length > expected.length) break;
    }
  } catch (error) {
    // Only a watch that had fallen behind the compaction may be cut off, and only between events.
    if (!isCompacted(error) || model.compacted <= start) throw error;
    expected.length = seen.length;
  }
  if (seen.join() !== expected.join()) throw new Error(`watch from ${start}: ${seen.join()}`);
}

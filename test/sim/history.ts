/**
 * What clients of the API did and saw, and whether one store that does one thing after the other can explain it
 * (linearizability). Pure; the runs that make histories are in history-run.ts.
 *
 * The log that a watch delivered gives every change its place: its revision. With the order of the writes known, a greedy walk
 * is exact: each operation takes the earliest place at which its answer is right, not before anything that had ended when it
 * began. If some order explains the history, this one does; so the check costs one pass and not a search.
 */

/** A change as a watch delivers it. `tag` names the write that made the value; no two writes share one. */
export interface Change {
  readonly type: 'put' | 'delete';
  readonly key: string;
  readonly tag: string;
  readonly revision: number;
}

export interface Version {
  readonly tag: string;
  readonly revision: number;
}

/** Milliseconds of one monotonic clock. `endMs` is missing where no answer came. */
interface Span {
  readonly client: string;
  readonly startMs: number;
  readonly endMs?: number;
}

/** `base`: the write holds only for this version of the key, 0: only when there is none; undefined: whatever is there. */
export type Call =
  | (Span & { readonly type: 'get'; readonly key: string; readonly seen: Version | undefined })
  | (Span & {
      readonly type: 'list';
      readonly revision: number;
      readonly seen: ReadonlyMap<string, Version>;
    })
  | (Span & {
      readonly type: 'put';
      readonly key: string;
      readonly tag: string;
      readonly base: number | undefined;
      readonly outcome: { readonly revision: number } | 'refused' | 'unknown';
    })
  | (Span & {
      readonly type: 'delete';
      readonly key: string;
      readonly base: number;
      readonly outcome: 'done' | 'refused' | 'unknown';
    });

export interface History {
  readonly calls: readonly Call[];
  /** What each watch delivered, from `after` (exclusive) up to and including `upTo`. */
  readonly watches: readonly {
    readonly name: string;
    readonly after: number;
    readonly upTo: number;
    readonly changes: readonly Change[];
  }[];
}

interface State extends Version {
  readonly present: boolean;
}

/** The changes of every key, by revision. */
class Log {
  readonly #keys = new Map<string, State[]>();

  constructor(changes: readonly Change[]) {
    for (const { key, tag, revision, type } of changes) {
      const states = this.#keys.get(key) ?? [{ present: false, tag: '', revision: 0 }];
      states.push({ present: type === 'put', tag, revision });
      this.#keys.set(key, states);
    }
  }

  get keys(): Iterable<string> {
    return this.#keys.keys();
  }

  at(key: string, revision: number): State {
    const states = this.#keys.get(key) ?? [];
    return states.findLast((state) => state.revision <= revision) ?? NOTHING;
  }

  /** The earliest place from `low` on at which the key's state is right; undefined if there is none. */
  firstPlace(key: string, low: number, right: (state: State) => boolean): number | undefined {
    if (right(this.at(key, low))) return low;
    const later = this.#keys.get(key) ?? [];
    return later.find((state) => state.revision > low && right(state))?.revision;
  }
}

const NOTHING: State = { present: false, tag: '', revision: 0 };

/** What is wrong with the history, one sentence each; empty when it is linearizable and every watch exact. */
export function faultsOf(history: History): string[] {
  const faults: string[] = [];
  const changes = mergeWatches(history, faults);
  const log = new Log(changes);
  const byTag = new Map(changes.filter(({ type }) => type === 'put').map((c) => [c.tag, c]));
  const deleted = new Map<string, Change>();
  for (const change of changes) {
    if (change.type !== 'delete') continue;
    const before = log.at(change.key, change.revision - 1);
    if (!before.present) faults.push(`${change.key} is deleted twice, at ${change.revision}`);
    deleted.set(`${change.key}@${before.revision}`, change);
  }
  const tags = new Set(history.calls.map((call) => (call.type === 'put' ? call.tag : '')));
  for (const { tag, key, revision } of byTag.values()) {
    if (!tags.has(tag)) faults.push(`${key} holds ${tag} at ${revision}, which nobody wrote`);
  }
  const deletions = new Set<string>();
  for (const call of history.calls) {
    if (call.type !== 'delete' || call.outcome !== 'done') continue;
    const name = `${call.key}@${call.base}`;
    if (deletions.has(name)) faults.push(`two clients were told that they deleted ${name}`);
    deletions.add(name);
  }
  walk(history.calls, (call, low) => placeOf(call, low, { log, byTag, deleted }), faults);
  return faults;
}

/** One log of all watches; they must agree wherever they overlap, and go upwards without a repetition. */
function mergeWatches({ watches }: History, faults: string[]): Change[] {
  const all = new Map<string, Change>();
  const nameOf = ({ type, key, tag, revision }: Change) => `${type} ${key} ${tag} @${revision}`;
  for (const { name, changes } of watches) {
    let last = 0;
    for (const change of changes) {
      if (change.revision <= last) {
        faults.push(`${name} delivers ${nameOf(change)} after revision ${last}`);
      }
      last = change.revision;
      all.set(nameOf(change), change);
    }
  }
  const merged = [...all.values()].sort((a, b) => a.revision - b.revision);
  for (const [at, change] of merged.entries()) {
    if (merged[at + 1]?.revision === change.revision) {
      faults.push(`revision ${change.revision} is two changes: ${nameOf(change)} and another`);
    }
  }
  for (const { name, after, upTo, changes } of watches) {
    const seen = new Set(changes.map(nameOf));
    for (const change of merged) {
      const due = change.revision > after && change.revision <= upTo;
      if (due && !seen.has(nameOf(change))) faults.push(`${name} misses ${nameOf(change)}`);
    }
  }
  return merged;
}

interface Known {
  readonly log: Log;
  readonly byTag: ReadonlyMap<string, Change>;
  /** By key and the version that was deleted. */
  readonly deleted: ReadonlyMap<string, Change>;
}

/**
 * Where the call took place, given that it was after `low`. A string says what cannot be; undefined: the call may not have
 * happened at all.
 */
function placeOf(call: Call, low: number, known: Known): number | string | undefined {
  switch (call.type) {
    case 'get': {
      const { key, seen } = call;
      const place = known.log.firstPlace(key, low, (state) =>
        seen === undefined ? !state.present : state.present && sameVersion(state, seen),
      );
      return place ?? `${key} was ${shown(seen)}, which it is at no place after ${low}`;
    }
    case 'list':
      return placeOfList(call, low, known.log);
    case 'put':
      return placeOfPut(call, low, known);
    case 'delete':
      return placeOfDelete(call, low, known);
    default:
      throw new TypeError(`unknown call ${String(call satisfies never)}`);
  }
}

function placeOfList(
  call: Extract<Call, { type: 'list' }>,
  low: number,
  log: Log,
): number | string {
  const { revision, seen } = call;
  if (revision < low) return `a list of revision ${revision}, after ${low} was seen`;
  for (const key of new Set([...log.keys, ...seen.keys()])) {
    const state = log.at(key, revision);
    const item = seen.get(key);
    const same = item === undefined ? !state.present : state.present && sameVersion(state, item);
    if (!same) return `a list of revision ${revision} has ${key} as ${shown(item)}`;
  }
  return revision;
}

function placeOfPut(
  call: Extract<Call, { type: 'put' }>,
  low: number,
  { log, byTag }: Known,
): number | string | undefined {
  const { key, tag, base, outcome } = call;
  const change = byTag.get(tag);
  if (outcome === 'refused') {
    if (change !== undefined) return `${tag} was refused, and is there at ${change.revision}`;
    const place = log.firstPlace(key, low, (state) => !allows(base, state));
    return place ?? `${tag} was refused, which is right at no place after ${low}`;
  }
  if (change === undefined) {
    return outcome === 'unknown' ? undefined : `${tag} was acknowledged and no watch has it`;
  }
  const { revision } = change;
  if (outcome !== 'unknown' && outcome.revision !== revision) {
    return `${tag} was acknowledged as ${outcome.revision} and is ${revision}`;
  }
  if (revision <= low) return `${tag} is ${revision}, after ${low} was seen`;
  const before = log.at(key, revision - 1);
  return allows(base, before) ? revision : `${tag} at ${revision} replaced ${shown(before)}`;
}

function placeOfDelete(
  call: Extract<Call, { type: 'delete' }>,
  low: number,
  { log, deleted }: Known,
): number | string | undefined {
  const { key, base, outcome } = call;
  const change = deleted.get(`${key}@${base}`);
  if (outcome === 'refused') {
    const place = log.firstPlace(key, low, (state) => !allows(base, state));
    return place ?? `a deletion of ${key} at ${base} was refused, right at no place after ${low}`;
  }
  if (change !== undefined) {
    return change.revision > low ? change.revision : `${key} is deleted before ${low} was seen`;
  }
  return outcome === 'unknown' ? undefined : `${key} at ${base} was deleted and no watch has it`;
}

function allows(base: number | undefined, state: State): boolean {
  if (base === undefined) return state.present;
  return base === (state.present ? state.revision : 0);
}

/** Goes through starts and ends in the order of time; what has ended is the lower limit of what starts later. */
function walk(
  calls: readonly Call[],
  place: (call: Call, low: number) => number | string | undefined,
  faults: string[],
): void {
  const moments = calls.flatMap((call) => [
    { call, ms: call.startMs, isEnd: false },
    ...(call.endMs === undefined ? [] : [{ call, ms: call.endMs, isEnd: true }]),
  ]);
  // Of one moment the starts first: then the two calls overlap, which excuses more.
  moments.sort((a, b) => a.ms - b.ms || Number(a.isEnd) - Number(b.isEnd));
  const lows = new Map<Call, number>();
  let seen = 0;
  for (const { call, isEnd } of moments) {
    if (!isEnd) {
      lows.set(call, seen);
      if (call.endMs === undefined) judge(call, seen);
    } else {
      seen = Math.max(seen, judge(call, lows.get(call) ?? 0));
    }
  }

  function judge(call: Call, low: number): number {
    const found = place(call, low);
    if (typeof found !== 'string') return found ?? low;
    faults.push(`${call.client}, ${call.type}: ${found}`);
    return low;
  }
}

function sameVersion(a: Version, b: Version): boolean {
  return a.revision === b.revision && a.tag === b.tag;
}

function shown(version: Version | undefined): string {
  return version === undefined ? 'absent' : `${version.tag}@${version.revision}`;
}

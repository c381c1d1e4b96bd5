/**
 * What one client that lists and watches has been told, in the order in which it was told, and what of it contradicts what it
 * knew. Whether anything is missing shows only beside what others saw: `segments` are watches for faultsOf (history.ts).
 */
import type { Change, History, Version } from './history.ts';
import type { Listed } from './history-clients.ts';

interface Segment {
  readonly name: string;
  /** The revision of the list. */
  readonly after: number;
  upTo: number;
  readonly changes: Change[];
}

export class ObjectLog {
  readonly name: string;
  /** One for each list: what was watched after it. */
  readonly #segments: Segment[] = [];
  readonly faults: string[] = [];
  #objects = new Map<string, Version>();

  constructor(name: string) {
    this.name = name;
  }

  get segments(): History['watches'] {
    return this.#segments;
  }

  /** The newest it knows; undefined before the first list. */
  get revision(): number | undefined {
    return this.#segments.at(-1)?.upTo;
  }

  /** What the list of `after` and the events since then make. */
  get objects(): ReadonlyMap<string, Version> {
    return this.#objects;
  }

  listed({ revision, seen }: Listed): void {
    const before = this.revision ?? 0;
    if (revision < before) this.#fault(`a list of ${revision} after ${before} was seen`);
    this.#objects = new Map(seen);
    const name = `${this.name}, list ${this.#segments.length}`;
    this.#segments.push({ name, after: revision, upTo: revision, changes: [] });
  }

  /** An event: its type must fit what is known of the object, and its revision be newer than everything before it. */
  changed(type: 'ADDED' | 'MODIFIED' | 'DELETED', change: Change): void {
    const { key, tag, revision } = change;
    const segment = this.#segments.at(-1);
    if (segment === undefined) throw new Error(`${this.name}: an event before the first list`);
    const isKnown = this.#objects.has(key);
    if (isKnown === (type === 'ADDED')) {
      this.#fault(`${type} ${key}@${revision}, which was ${isKnown ? '' : 'not '}there`);
    }
    if (revision <= segment.upTo) this.#fault(`${type} ${key}@${revision} after ${segment.upTo}`);
    if (type === 'DELETED') this.#objects.delete(key);
    else this.#objects.set(key, { tag, revision });
    segment.changes.push(change);
    segment.upTo = revision;
  }

  /** A bookmark: everything up to here has been delivered. */
  reached(revision: number): void {
    const segment = this.#segments.at(-1);
    if (segment === undefined) throw new Error(`${this.name}: a bookmark before the first list`);
    if (revision < segment.upTo) this.#fault(`a bookmark of ${revision} after ${segment.upTo}`);
    segment.upTo = revision;
  }

  #fault(what: string): void {
    this.faults.push(`${this.name}: ${what}`);
  }
}

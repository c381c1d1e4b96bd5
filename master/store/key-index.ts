/**
 * Ordered keys in memory: a list of sorted chunks, so that an insertion moves at most one chunk and
 * the short list of chunks, also with a million keys. Order is by code unit, as `<` on strings.
 */
import type { KeyValue } from './store.ts';

const CHUNK_KEYS_MAX = 512;

interface Chunk {
  readonly keys: string[];
  readonly kvs: KeyValue[];
}

/** First position in a sorted list whose string is not below `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] as string) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

export class KeyIndex {
  readonly #chunks: Chunk[] = [];
  /** The first key of each chunk. A chunk is never empty. */
  readonly #firsts: string[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(key: string): KeyValue | undefined {
    const chunk = this.#chunks[this.#chunkFor(key)];
    if (chunk === undefined) return undefined;
    const at = lowerBound(chunk.keys, key);
    return chunk.keys[at] === key ? chunk.kvs[at] : undefined;
  }

  set(kv: KeyValue): void {
    const number = Math.max(0, this.#chunkFor(kv.key));
    const chunk = this.#chunks[number];
    if (chunk === undefined) {
      this.#chunks.push({ keys: [kv.key], kvs: [kv] });
      this.#firsts.push(kv.key);
      this.#size = 1;
      return;
    }
    const at = lowerBound(chunk.keys, kv.key);
    if (chunk.keys[at] === kv.key) {
      chunk.kvs[at] = kv;
      return;
    }
    chunk.keys.splice(at, 0, kv.key);
    chunk.kvs.splice(at, 0, kv);
    this.#size++;
    if (at === 0) this.#firsts[number] = kv.key;
    if (chunk.keys.length > CHUNK_KEYS_MAX) this.#split(number, chunk, at);
  }

  delete(key: string): boolean {
    const number = this.#chunkFor(key);
    const chunk = this.#chunks[number];
    if (chunk === undefined) return false;
    const at = lowerBound(chunk.keys, key);
    if (chunk.keys[at] !== key) return false;
    chunk.keys.splice(at, 1);
    chunk.kvs.splice(at, 1);
    this.#size--;
    const first = chunk.keys[0];
    if (first === undefined) {
      this.#chunks.splice(number, 1);
      this.#firsts.splice(number, 1);
    } else {
      this.#firsts[number] = first;
      if (chunk.keys.length < CHUNK_KEYS_MAX / 4) this.#mergeWithNext(number, chunk);
    }
    return true;
  }

  /** The first `limit` entries of `[start, end)` in order; no `end` means to the last key. */
  collect(start: string, end: string | undefined, limit = Number.POSITIVE_INFINITY): KeyValue[] {
    const found: KeyValue[] = [];
    let number = Math.max(0, this.#chunkFor(start));
    for (let first = true; number < this.#chunks.length; number++, first = false) {
      const chunk = this.#chunks[number] as Chunk;
      const from = first ? lowerBound(chunk.keys, start) : 0;
      const to = this.#endWithin(number, chunk, end);
      for (let at = from; at < to; at++) {
        if (found.length >= limit) return found;
        found.push(chunk.kvs[at] as KeyValue);
      }
      if (to < chunk.keys.length) break;
    }
    return found;
  }

  /** How many keys are in `[start, end)`; the cost is by chunks, not by keys. */
  count(start: string, end: string | undefined): number {
    let total = 0;
    let number = Math.max(0, this.#chunkFor(start));
    for (let first = true; number < this.#chunks.length; number++, first = false) {
      const chunk = this.#chunks[number] as Chunk;
      const to = this.#endWithin(number, chunk, end);
      total += Math.max(0, to - (first ? lowerBound(chunk.keys, start) : 0));
      if (to < chunk.keys.length) break;
    }
    return total;
  }

  /** The chunk that holds `key` if any does; -1 when the key is before all others. */
  #chunkFor(key: string): number {
    const at = lowerBound(this.#firsts, key);
    return this.#firsts[at] === key ? at : at - 1;
  }

  #endWithin(number: number, chunk: Chunk, end: string | undefined): number {
    if (end === undefined) return chunk.keys.length;
    const next = this.#firsts[number + 1];
    if (next !== undefined && next <= end) return chunk.keys.length;
    return lowerBound(chunk.keys, end);
  }

  #split(number: number, chunk: Chunk, insertedAt: number): void {
    // Keys that arrive in order would leave half-full chunks behind; split near the end for them.
    const atEnd = insertedAt === chunk.keys.length - 1;
    const half = atEnd ? chunk.keys.length - 16 : chunk.keys.length >>> 1;
    const right = { keys: chunk.keys.splice(half), kvs: chunk.kvs.splice(half) };
    this.#chunks.splice(number + 1, 0, right);
    this.#firsts.splice(number + 1, 0, right.keys[0] as string);
  }

  #mergeWithNext(number: number, chunk: Chunk): void {
    const next = this.#chunks[number + 1];
    if (next === undefined || chunk.keys.length + next.keys.length > CHUNK_KEYS_MAX / 2) return;
    chunk.keys.push(...next.keys);
    chunk.kvs.push(...next.kvs);
    this.#chunks.splice(number + 1, 1);
    this.#firsts.splice(number + 1, 1);
  }
}

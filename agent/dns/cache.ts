/**
 * Answers of the board's resolvers, as long as they hold and, when nobody answers, a while longer. Pure: the
 * monotonic time is passed in.
 *
 * RFC 2181 (an answer holds as long as its shortest record), RFC 2308 (names that are not there: the SOA says how
 * long), RFC 8767 (what has expired is served when the resolvers are down). Bounded by entries and by bytes; the one
 * that was not asked for the longest time goes first.
 */
import { type Message, RCODE, type ResourceRecord, TYPE } from './message.ts';

export interface CacheLimits {
  readonly entriesMax: number;
  readonly bytesMax: number;
  /** No answer is taken for fresh longer than this, whatever its TTL. */
  readonly ttlMaxSeconds: number;
  /** The same for names that are not there (RFC 2308 advises one to three hours). */
  readonly negativeTtlMaxSeconds: number;
  /** How long what has expired is kept (RFC 8767 advises one to three days). */
  readonly staleSeconds: number;
}

/** RFC 8767, section 5.2: what is served stale is to be asked again soon. */
export const STALE_TTL_SECONDS = 30;

interface Entry {
  readonly message: Message;
  readonly bytes: number;
  readonly storedMs: number;
  readonly freshUntilMs: number;
}

export interface Cached {
  /** With TTLs as they are now. */
  readonly message: Message;
  readonly fresh: boolean;
}

export class DnsCache {
  readonly #limits: CacheLimits;
  /** In the order of the last use. */
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;

  constructor(limits: CacheLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(key: string, nowMs: number): Cached | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    if (nowMs >= entry.freshUntilMs + this.#limits.staleSeconds * 1000) {
      this.#bytes -= entry.bytes;
      return undefined;
    }
    this.#entries.set(key, entry);
    const fresh = nowMs < entry.freshUntilMs;
    const agedSeconds = Math.floor((nowMs - entry.storedMs) / 1000);
    const aged = (one: ResourceRecord): ResourceRecord => ({
      ...one,
      ttl: fresh ? Math.max(1, one.ttl - agedSeconds) : STALE_TTL_SECONDS,
    });
    const { message } = entry;
    return {
      fresh,
      message: {
        ...message,
        answers: message.answers.map(aged),
        authorities: message.authorities.map(aged),
        additionals: message.additionals.map(aged),
      },
    };
  }

  /** What may not be kept is left out. `bytes` is the size of the message. */
  put(key: string, message: Message, bytes: number, nowMs: number): void {
    const seconds = secondsToKeep(message, this.#limits);
    if (seconds <= 0 || bytes > this.#limits.bytesMax) return;
    const known = this.#entries.get(key);
    if (known !== undefined) this.#bytes -= known.bytes;
    this.#entries.delete(key);
    const freshUntilMs = nowMs + seconds * 1000;
    this.#entries.set(key, { message, bytes, storedMs: nowMs, freshUntilMs });
    this.#bytes += bytes;
    const { entriesMax, bytesMax } = this.#limits;
    for (const [oldest, entry] of this.#entries) {
      if (this.#entries.size <= entriesMax && this.#bytes <= bytesMax) break;
      this.#entries.delete(oldest);
      this.#bytes -= entry.bytes;
    }
  }
}

/** Seconds that an answer is fresh; 0 for what may not be kept at all. */
export function secondsToKeep(message: Message, limits: CacheLimits): number {
  const { rcode, truncated, answers, authorities } = message;
  if (truncated || (rcode !== RCODE.NoError && rcode !== RCODE.NxDomain)) return 0;
  const [{ type } = { type: 0 }] = message.questions;
  // An alias alone, without what was asked for at its end, says that this is not there.
  const positive = answers.some((one) => one.type !== TYPE.CNAME || type === TYPE.CNAME);
  const shortest = (list: readonly ResourceRecord[], most: number) =>
    Math.min(most, ...list.map(({ ttl }) => ttl));
  if (positive && rcode === RCODE.NoError) return shortest(answers, limits.ttlMaxSeconds);
  const soa = authorities.find((one) => one.type === TYPE.SOA);
  const numbers = soa?.data.at(-1);
  if (soa === undefined || !(numbers instanceof Uint8Array) || numbers.length < 20) return 0;
  const minimum = Buffer.from(numbers).readUInt32BE(16);
  return shortest([soa, ...answers], Math.min(minimum, limits.negativeTtlMaxSeconds));
}

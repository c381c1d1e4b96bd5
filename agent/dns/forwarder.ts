/**
 * Names outside of the cluster: from the cache, or from the board's resolvers, once for all who ask at the same time.
 *
 * RFC 8767: when the resolvers do not answer in time, what has expired is served. While they are known to be down it
 * is served at once. How much is asked of them at a time is bounded; beyond that clients are told to try later.
 */
import type { Clock } from '../../protocol/clock.ts';
import { type CacheLimits, DnsCache } from './cache.ts';
import { type Message, type Question, RCODE } from './message.ts';
import { nameKey } from './name.ts';
import { type Answer, EMPTY } from './reply.ts';

export interface UpstreamQuestion extends Question {
  readonly dnssecOk: boolean;
  readonly checkingDisabled: boolean;
}

export interface UpstreamAnswer {
  readonly message: Message;
  /** Size of the message. */
  readonly bytes: number;
}

/** Asks the board's resolvers. Rejects when none of them answers. */
export type Exchange = (question: UpstreamQuestion) => Promise<UpstreamAnswer>;

export interface ForwarderLimits {
  readonly cache: CacheLimits;
  /** Questions under way. */
  readonly pendingMax: number;
  /** RFC 8767, section 5: a client should not wait longer while there is something stale. */
  readonly staleAfterMs: number;
  /** After a failure: so long what has expired is served without asking. */
  readonly downMs: number;
}

export interface ForwarderOptions {
  readonly clock: Clock;
  readonly limits: ForwarderLimits;
  readonly exchange: Exchange;
  /** Calls back after so many milliseconds; returns what calls it off. */
  readonly after: (delayMs: number, callback: () => void) => () => void;
  /** No resolver answers any more; called once while it is so. */
  readonly onDown: (reason: string) => void;
}

const FAILED: Answer = { ...EMPTY, rcode: RCODE.ServFail };

export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #cache: DnsCache;
  readonly #pending = new Map<string, Promise<Answer>>();
  #downUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: ForwarderOptions) {
    this.#options = options;
    this.#cache = new DnsCache(options.limits.cache);
  }

  /** Never rejects: what cannot be known is SERVFAIL. At once when the answer is in the cache. */
  ask(question: UpstreamQuestion): Answer | Promise<Answer> {
    const { clock, limits, after } = this.#options;
    const key = keyOf(question);
    const cached = this.#cache.get(key, clock.monotonicMs());
    if (cached?.fresh === true) return answerOf(cached.message);
    const stale = cached === undefined ? undefined : answerOf(cached.message);
    if (stale !== undefined && clock.monotonicMs() < this.#downUntilMs) return stale;
    const asked = this.#pending.get(key) ?? this.#start(key, question);
    if (stale === undefined) return asked;
    return new Promise((resolve) => {
      const cancel = after(limits.staleAfterMs, () => resolve(stale));
      void asked.then((answer) => {
        cancel();
        resolve(answer.rcode === RCODE.ServFail ? stale : answer);
      });
    });
  }

  #start(key: string, question: UpstreamQuestion): Promise<Answer> {
    if (this.#pending.size >= this.#options.limits.pendingMax) return Promise.resolve(FAILED);
    const asked = this.#ask(key, question).finally(() => this.#pending.delete(key));
    this.#pending.set(key, asked);
    return asked;
  }

  async #ask(key: string, question: UpstreamQuestion): Promise<Answer> {
    const { clock, exchange, limits, onDown } = this.#options;
    try {
      const { message, bytes } = await exchange(question);
      this.#downUntilMs = Number.NEGATIVE_INFINITY;
      this.#cache.put(key, message, bytes, clock.monotonicMs());
      return answerOf(message);
    } catch (error) {
      const nowMs = clock.monotonicMs();
      if (nowMs >= this.#downUntilMs)
        onDown(error instanceof Error ? error.message : String(error));
      this.#downUntilMs = nowMs + limits.downMs;
      return FAILED;
    }
  }
}

function keyOf({
  name,
  type,
  class: classOf,
  dnssecOk,
  checkingDisabled,
}: UpstreamQuestion): string {
  return `${type} ${classOf} ${dnssecOk ? 1 : 0}${checkingDisabled ? 1 : 0} ${nameKey(name)}`;
}

function answerOf(message: Message): Answer {
  const { rcode, authenticData, answers, authorities, additionals } = message;
  return { rcode, authoritative: false, authenticData, answers, authorities, additionals };
}

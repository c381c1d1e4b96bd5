/**
 * From the bytes of a query to the bytes of the reply, without sockets. Replies that hold are kept as bytes, so that a
 * name that is asked for again and again costs a look-up and a copy.
 */
import type { Clock } from '../../protocol/clock.ts';
import { buildMessage, RCODE } from './message.ts';
import { readQuery, refusal, replyTo, udpRoom } from './reply.ts';
import type { Resolved, Resolver } from './resolver.ts';

export interface ResponderLimits {
  /** Replies kept as bytes. */
  readonly repliesMax: number;
  /** How long a reply of a resolver is repeated byte by byte: TTLs count in seconds. */
  readonly repeatMs: number;
}

export interface ResponderOptions {
  readonly clock: Clock;
  readonly limits: ResponderLimits;
  readonly resolver: Resolver;
  readonly mayAsk: (ip: string) => boolean;
}

/** Called once per query; undefined: nothing is to be sent. */
export type Send = (reply: Buffer | undefined) => void;

interface Reply {
  readonly bytes: Buffer;
  readonly untilMs: number;
}

/** Only queries up to this size are worth a place among the replies that are kept. */
const KEY_OCTETS_MAX = 512;
const REFUSAL_OCTETS_MAX = 512;
const ID_OCTETS = 2;

export class Responder {
  readonly #options: ResponderOptions;
  /** By the bytes of the query without its id. */
  readonly #replies = new Map<string, Reply>();
  /** Rises with every change of the zone: what was looked up before is not kept after. */
  #age = 0;

  constructor(options: ResponderOptions) {
    this.#options = options;
  }

  /** The services have changed: what was said of them is void. */
  zoneChanged(): void {
    this.#age++;
    this.#replies.clear();
  }

  /** `octetsMax` is the room over TCP; over UDP the query says it. Never throws. */
  answer(bytes: Buffer, client: string, octetsMax: number | undefined, send: Send): void {
    const { mayAsk, clock, resolver } = this.#options;
    if (!mayAsk(client)) {
      const refused = refusal(bytes);
      send(refused && buildMessage(refused, REFUSAL_OCTETS_MAX));
      return;
    }
    const key = (octetsMax === undefined ? 'u' : 't') + bytes.toString('latin1', ID_OCTETS);
    const known = this.#replies.get(key);
    if (known !== undefined && clock.monotonicMs() < known.untilMs) {
      send(withId(known.bytes, bytes));
      return;
    }
    const query = readQuery(bytes);
    if (query.type === 'ignore') {
      send(undefined);
      return;
    }
    if (query.type === 'refuse') {
      send(buildMessage(query.reply, octetsMax ?? REFUSAL_OCTETS_MAX));
      return;
    }
    const { message, question } = query;
    const age = this.#age;
    const finish = (resolved: Resolved): void => {
      const reply = buildMessage(replyTo(message, resolved.answer), octetsMax ?? udpRoom(message));
      if (age === this.#age && bytes.length <= KEY_OCTETS_MAX) this.#keep(key, reply, resolved);
      send(reply);
    };
    const resolved = resolver.resolve(question, message);
    if (resolved instanceof Promise) void resolved.then(finish);
    else finish(resolved);
  }

  #keep(key: string, bytes: Buffer, { answer, fromZone }: Resolved): void {
    const { clock, limits } = this.#options;
    // Several addresses are given in turn, so such a reply is made anew; a failure may be over at once.
    if (answer.answers.length > 1 || answer.rcode === RCODE.ServFail) return;
    const untilMs = fromZone ? Number.POSITIVE_INFINITY : clock.monotonicMs() + limits.repeatMs;
    if (this.#replies.size >= limits.repliesMax) this.#replies.clear();
    this.#replies.set(key, { bytes, untilMs });
  }
}

/** A copy of `reply` for the query `bytes`. */
function withId(reply: Buffer, bytes: Buffer): Buffer {
  const copy = Buffer.from(reply);
  copy[0] = bytes[0] ?? 0;
  copy[1] = bytes[1] ?? 0;
  return copy;
}

/**
 * A question to its answer: the cluster's names from the service table, all others through the forwarder, and aliases
 * followed to their end, because small resolvers (musl, busybox) do not follow them.
 */
import type { ClusterZone } from './cluster-zone.ts';
import type { Forwarder } from './forwarder.ts';
import { type Message, type Question, RCODE, type ResourceRecord, TYPE } from './message.ts';
import { type Answer, EMPTY } from './reply.ts';

/** A chain of aliases is not followed further; also where it leads in a circle. */
const ALIASES_MAX = 8;

export interface Resolved {
  readonly answer: Answer;
  /** Holds as long as the zone does. */
  readonly fromZone: boolean;
}

export class Resolver {
  readonly #zone: () => ClusterZone;
  readonly #forwarder: Forwarder;
  readonly #random: () => number;

  constructor(zone: () => ClusterZone, forwarder: Forwarder, random: () => number) {
    this.#zone = zone;
    this.#forwarder = forwarder;
    this.#random = random;
  }

  /** At once where nobody has to be asked. Never rejects. */
  resolve(question: Question, query: Message): Resolved | Promise<Resolved> {
    return this.#follow(question, query, []);
  }

  #follow(
    question: Question,
    query: Message,
    aliases: readonly ResourceRecord[],
  ): Resolved | Promise<Resolved> {
    const zone = this.#zone();
    const found = zone.answer(question.name, question.type);
    if (found === undefined) return this.#forward(question, query, aliases);
    switch (found.type) {
      case 'missing': {
        const rcode = RCODE.NxDomain;
        const authorities = [zone.authority()];
        return own({ ...EMPTY, rcode, answers: aliases, authorities });
      }
      case 'alias': {
        const answers = [...aliases, found.record];
        const followed = question.type !== TYPE.CNAME && question.type !== TYPE.ANY;
        if (!followed) return own({ ...EMPTY, answers });
        if (answers.length > ALIASES_MAX) return own({ ...EMPTY, rcode: RCODE.ServFail });
        return this.#follow({ ...question, name: found.target }, query, answers);
      }
      case 'records': {
        const answers = [...aliases, ...this.#turned(found.answers)];
        const authorities = found.answers.length === 0 ? [zone.authority()] : [];
        return own({ ...EMPTY, answers, authorities, additionals: found.additionals });
      }
      default:
        return found satisfies never;
    }
  }

  /** Most clients take the first address: each is the first one equally often. */
  #turned(records: readonly ResourceRecord[]): readonly ResourceRecord[] {
    if (records.length < 2) return records;
    const first = Math.floor(this.#random() * records.length);
    return [...records.slice(first), ...records.slice(0, first)];
  }

  #forward(
    question: Question,
    query: Message,
    aliases: readonly ResourceRecord[],
  ): Resolved | Promise<Resolved> {
    const { checkingDisabled, edns } = query;
    const dnssecOk = edns?.dnssecOk === true;
    const finish = (answer: Answer): Resolved => {
      // What the alias of a signed name leads to was not checked as a whole.
      const joined =
        aliases.length === 0
          ? answer
          : { ...answer, authenticData: false, answers: [...aliases, ...answer.answers] };
      return { answer: joined, fromZone: false };
    };
    const asked = this.#forwarder.ask({ ...question, checkingDisabled, dnssecOk });
    return asked instanceof Promise ? asked.then(finish) : finish(asked);
  }
}

function own(answer: Answer): Resolved {
  return { answer: { ...answer, authoritative: true }, fromZone: true };
}

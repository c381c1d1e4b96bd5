/** A LAN of mDNS responders in virtual time: every message goes through bytes to everybody, its sender included. */
import { Claims } from '../../../agent/dns/mdns/claims.ts';
import type { LanName } from '../../../agent/dns/mdns/lan-names.ts';
import { MDNS_PORT, type Outgoing, type Peer } from '../../../agent/dns/mdns/packets.ts';
import { buildMessage, type Message, parseMessage, TYPE } from '../../../agent/dns/message.ts';
import { nameText } from '../../../agent/dns/name.ts';

interface Heard {
  readonly atMs: number;
  readonly from: string;
  readonly to: Peer | undefined;
  readonly message: Message;
}

export class SimLan {
  nowMs = 0;
  readonly heard: Heard[] = [];
  readonly #boards = new Map<string, Claims>();
  /** Answers all that is said, like another machine. */
  stranger: ((heard: Heard) => Message | undefined) | undefined;
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
  }

  board(ip: string, names: readonly LanName[], ours: readonly string[]): Claims {
    const claims = this.#boards.get(ip) ?? new Claims(this.#random);
    this.#boards.set(ip, claims);
    this.#send(ip, claims.update(names, new Set(ours), this.nowMs));
    return claims;
  }

  pullPlug(ip: string): void {
    this.#boards.delete(ip);
  }

  /** Runs for so long. What was heard meanwhile. */
  run(forMs: number): Heard[] {
    const endMs = this.nowMs + forMs;
    const from = this.heard.length;
    for (let turns = 0; turns < 100_000; turns++) {
      let nextMs = endMs;
      for (const claims of this.#boards.values()) nextMs = Math.min(nextMs, claims.nextMs);
      this.nowMs = Math.max(this.nowMs, nextMs);
      for (const [ip, claims] of this.#boards) this.#send(ip, claims.due(this.nowMs));
      if (nextMs >= endMs) return this.heard.slice(from);
    }
    throw new Error('it never rests');
  }

  /** From a machine that is no board. */
  say(message: Message, from: Peer = { ip: '10.0.0.99', port: MDNS_PORT }): void {
    this.#deliver({ atMs: this.nowMs, from: from.ip, to: undefined, message }, from);
  }

  #send(ip: string, list: readonly Outgoing[]): void {
    for (const { to, message } of list) {
      const heard = {
        atMs: this.nowMs,
        from: ip,
        to,
        message: parseMessage(buildMessage(message)),
      };
      this.heard.push(heard);
      if (to === undefined) this.#deliver(heard, { ip, port: MDNS_PORT });
    }
  }

  #deliver(heard: Heard, from: Peer): void {
    const message = parseMessage(buildMessage(heard.message));
    for (const claims of this.#boards.values()) claims.receive(message, from, this.nowMs);
    const reply = this.stranger?.(heard);
    if (reply !== undefined && from.ip !== '10.0.0.99') this.say(reply);
  }
}

/** "A app.local. 10.0.0.1 60", with "!" where the cache-flush bit is set. */
export function wordsOf({ message }: Pick<Heard, 'message'>): string[] {
  const list = [...message.answers, ...message.additionals];
  return list.map(({ name, type, class: classOf, ttl, data }) => {
    const kind = type === TYPE.A ? 'A' : type === TYPE.NSEC ? 'NSEC' : String(type);
    const [first] = data;
    const value = type === TYPE.A && first instanceof Uint8Array ? ` ${first.join('.')}` : '';
    return `${kind}${(classOf & 0x8000) === 0 ? '' : '!'} ${nameText(name)}${value} ${ttl}`;
  });
}

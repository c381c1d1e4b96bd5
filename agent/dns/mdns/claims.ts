/**
 * The responder of RFC 6762 without its socket: names and what is heard in, what is to be sent out. Pure but for its own state; time and chance
 * are passed in.
 *
 * A name is probed for three times, then announced twice, then answered for. Who answers for it with the cache-flush bit
 * says that it is his alone: then we are silent, tell who it is, and ask again each minute. Boards of the cluster know each other by
 * their addresses, and never contend.
 */

import type { ServiceProblem } from '../../proxy/service-table.ts';
import { type Message, type ResourceRecord, TYPE } from '../message.ts';
import { nameKey } from '../name.ts';
import type { LanName } from './lan-names.ts';
import {
  addressIn,
  addressRecords,
  answers,
  compareClaims,
  goodbyes,
  hasTopBit,
  isInternet,
  legacyAnswer,
  MDNS_PORT,
  type Outgoing,
  type Peer,
  probes,
  type Said,
  TTL_SECONDS,
} from './packets.ts';

const PROBES = 3;
const PROBE_MS = 250;
const ANNOUNCEMENTS = 2;
const ANNOUNCE_MS = 1_000;
/** Who lost against another one that probed at the same time waits (section 8.2). */
const DEFER_MS = 1_000;
/** A name that somebody has is asked for again after so long. */
const LOST_MS = 60_000;
/** Section 6: no record oftener than once a second, but to defend it; several answer, so each waits for chance. */
const AGAIN_MS = 1_000;
const DEFEND_AGAIN_MS = 250;
const DELAY_MS = { least: 20, spread: 100 };
/** Section 7.2: more known answers follow. */
const TRUNCATED_MS = { least: 400, spread: 100 };
const WAITING_MAX = 64;
const KNOWN_MAX = 1_024;
/** Answers to single askers under way; with their delay some hundred a second. */
const UNICASTS_MAX = 64;
/** A board that has just come is not known by its address yet. */
const STRANGER_MS = 5_000;
const STRANGERS_MAX = 8;

interface Claim {
  of: LanName;
  phase: 'probing' | 'announcing' | 'held' | 'lost';
  /** Probes or announcements that were sent. */
  sent: number;
  dueMs: number;
  lastMulticastMs: number;
  reply: { dueMs: number; addresses: boolean; nothingElse: boolean } | undefined;
  /** Who has it instead of us. */
  holder: string | undefined;
  /** Addresses that are no board's, and when first heard. */
  readonly strangers: Map<string, number>;
  /** Who answers as well, so that clients may come to either. */
  shared: string | undefined;
}

interface Waiting {
  readonly query: Message;
  readonly from: Peer;
  readonly known: ResourceRecord[];
  readonly dueMs: number;
}

export class Claims {
  readonly #random: () => number;
  readonly #claims = new Map<string, Claim>();
  readonly #waiting = new Map<string, Waiting>();
  #unicasts: { readonly dueMs: number; readonly outgoing: Outgoing }[] = [];
  #ours: ReadonlySet<string> = new Set();

  constructor(random: () => number) {
    this.#random = random;
  }

  /** `ours`: addresses of the cluster's boards. What is returned is to be sent at once. */
  update(names: readonly LanName[], ours: ReadonlySet<string>, nowMs: number): Outgoing[] {
    this.#ours = new Set([...ours, ...names.flatMap(({ addresses }) => addresses)]);
    const left: LanName[] = [];
    const wanted = new Set(names.map(({ text }) => text));
    for (const [text, claim] of this.#claims) {
      if (wanted.has(text)) continue;
      if (answersFor(claim)) left.push(claim.of);
      this.#claims.delete(text);
    }
    for (const one of names) {
      const claim = this.#claims.get(one.text);
      if (claim !== undefined && claim.of.addresses.join() === one.addresses.join()) {
        claim.of = one;
        continue;
      }
      if (claim !== undefined && answersFor(claim)) left.push(claim.of);
      this.#claims.set(one.text, this.#fresh(one, nowMs));
    }
    return goodbyes(left);
  }

  /** The LAN is another one: everything from the start. */
  restart(nowMs: number): void {
    for (const [text, { of }] of this.#claims) this.#claims.set(text, this.#fresh(of, nowMs));
    this.#waiting.clear();
    this.#unicasts = [];
  }

  /** What goes with this board, when its agent stops. Addresses that other boards answer with as well stay. */
  goodbyes(): Outgoing[] {
    const claims = [...this.#claims.values()];
    return goodbyes(claims.filter((one) => answersFor(one) && one.of.isOwn).map(({ of }) => of));
  }

  get problems(): ServiceProblem[] {
    return [...this.#claims.values()].flatMap(({ of, holder, shared }) => {
      const message = holder ?? shared;
      if (message === undefined) return [];
      return of.owners.map((service) => ({ service, reason: 'NameConflict' as const, message }));
    });
  }

  /** When `due` has something next; Infinity while there is nothing. */
  get nextMs(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { dueMs, reply } of this.#claims.values()) {
      next = Math.min(next, dueMs, reply?.dueMs ?? next);
    }
    for (const { dueMs } of this.#waiting.values()) next = Math.min(next, dueMs);
    for (const { dueMs } of this.#unicasts) next = Math.min(next, dueMs);
    return next;
  }

  /** A message from the LAN, our own included. */
  receive(message: Message, from: Peer, nowMs: number): void {
    if (message.opcode !== 0 || message.rcode !== 0) return;
    if (message.response) {
      // Section 6: else anybody off the link could speak.
      if (from.port === MDNS_PORT) this.#hear(message, from, nowMs);
      return;
    }
    const key = `${from.ip}:${from.port}`;
    const waiting = this.#waiting.get(key);
    if (message.questions.length === 0) {
      waiting?.known.push(...message.answers.slice(0, KNOWN_MAX - waiting.known.length));
      return;
    }
    this.#compareProbes(message, nowMs);
    const known = message.answers.slice(0, KNOWN_MAX);
    const mayWait = from.port === MDNS_PORT && waiting === undefined;
    if (message.truncated && mayWait && this.#waiting.size < WAITING_MAX) {
      const dueMs = nowMs + this.#chance(TRUNCATED_MS);
      this.#waiting.set(key, { query: message, from, known, dueMs });
    } else {
      this.#answer(message, known, from, nowMs);
    }
  }

  /** What is to be sent now. */
  due(nowMs: number): Outgoing[] {
    for (const [key, { query, known, from, dueMs }] of this.#waiting) {
      if (dueMs > nowMs) continue;
      this.#waiting.delete(key);
      this.#answer(query, known, from, nowMs);
    }
    const probing: LanName[] = [];
    const said: Said[] = [];
    for (const claim of this.#claims.values()) {
      if (claim.dueMs <= nowMs) this.#step(claim, nowMs, probing, said);
      const { reply } = claim;
      if (reply === undefined || reply.dueMs > nowMs) continue;
      claim.reply = undefined;
      claim.lastMulticastMs = nowMs;
      said.push({ of: claim.of, ...reply });
    }
    const single = this.#unicasts.filter(({ dueMs }) => dueMs <= nowMs);
    this.#unicasts = this.#unicasts.filter(({ dueMs }) => dueMs > nowMs);
    return [...probes(probing), ...answers(said), ...single.map(({ outgoing }) => outgoing)];
  }

  #step(claim: Claim, nowMs: number, probing: LanName[], said: Said[]): void {
    if (claim.phase === 'lost') begin(claim);
    if (claim.phase === 'probing' && claim.sent < PROBES) {
      probing.push(claim.of);
      claim.sent += 1;
      claim.dueMs = nowMs + PROBE_MS;
      return;
    }
    if (claim.phase === 'probing') {
      claim.phase = 'announcing';
      claim.sent = 0;
      claim.holder = undefined;
    }
    said.push({ of: claim.of, addresses: true, nothingElse: false });
    claim.sent += 1;
    claim.lastMulticastMs = nowMs;
    claim.reply = undefined;
    const isLast = claim.sent >= ANNOUNCEMENTS;
    if (isLast) claim.phase = 'held';
    claim.dueMs = isLast ? Number.POSITIVE_INFINITY : nowMs + ANNOUNCE_MS;
  }

  #answer(query: Message, known: readonly ResourceRecord[], from: Peer, nowMs: number): void {
    const single: Said[] = [];
    for (const [claim, asked] of this.#asked(query)) {
      const rivals = recordsOf(query.authorities, claim);
      // Another board of the cluster: what it would say is no other thing.
      if (rivals.length > 0 && rivals.every((one) => this.#isOurs(one))) continue;
      const said = withoutKnown({ of: claim.of, ...asked }, known);
      if (!said.addresses && !said.nothingElse) continue;
      const isFresh = nowMs - claim.lastMulticastMs < (TTL_SECONDS * 1000) / 4;
      if (from.port !== MDNS_PORT || (asked.single && isFresh)) single.push(said);
      else this.#reply(claim, said, rivals.length > 0, nowMs);
    }
    if (single.length === 0 || this.#unicasts.length >= UNICASTS_MAX) return;
    const all =
      from.port === MDNS_PORT ? answers(single, from) : [legacyAnswer(query, single, from)];
    const dueMs = nowMs + this.#chance(DELAY_MS);
    this.#unicasts.push(...all.map((outgoing) => ({ dueMs, outgoing })));
  }

  /** The claims that are asked for and answered for, and what of them. */
  #asked(query: Message) {
    const asked = new Map<Claim, { addresses: boolean; nothingElse: boolean; single: boolean }>();
    for (const question of query.questions) {
      const claim = this.#claims.get(nameKey(question.name));
      if (claim === undefined || !answersFor(claim) || !isInternet(question)) continue;
      const isAddress = question.type === TYPE.A || question.type === TYPE.ANY;
      const before = asked.get(claim) ?? { addresses: false, nothingElse: false, single: true };
      asked.set(claim, {
        addresses: before.addresses || isAddress,
        nothingElse: before.nothingElse || !isAddress,
        single: before.single && hasTopBit(question),
      });
    }
    return asked;
  }

  #reply(claim: Claim, said: Said, defend: boolean, nowMs: number): void {
    const earliest = claim.lastMulticastMs + (defend ? DEFEND_AGAIN_MS : AGAIN_MS);
    const dueMs = Math.max(earliest, nowMs + (defend ? 0 : this.#chance(DELAY_MS)));
    const { reply } = claim;
    claim.reply = {
      dueMs: Math.min(dueMs, reply?.dueMs ?? dueMs),
      addresses: said.addresses || reply?.addresses === true,
      nothingElse: said.nothingElse || reply?.nothingElse === true,
    };
  }

  /** Somebody else probes for a name while we do (section 8.2). */
  #compareProbes(query: Message, nowMs: number): void {
    if (query.authorities.length === 0) return;
    for (const claim of this.#claims.values()) {
      if (claim.phase !== 'probing') continue;
      const rivals = recordsOf(query.authorities, claim);
      if (rivals.every((one) => this.#isOurs(one))) continue;
      if (compareClaims(addressRecords(claim.of), rivals) >= 0) continue;
      claim.sent = 0;
      claim.dueMs = nowMs + DEFER_MS;
    }
  }

  /** What others say of names that are ours. */
  #hear(message: Message, from: Peer, nowMs: number): void {
    const spoken = [...message.answers, ...message.additionals].filter(({ ttl }) => ttl > 0);
    const names = new Set(spoken.map(({ name }) => nameKey(name)));
    for (const text of names) {
      const claim = this.#claims.get(text);
      if (claim === undefined || claim.phase === 'lost') continue;
      const records = recordsOf(spoken, claim);
      const unique = records.filter(hasTopBit);
      const same = (one: ResourceRecord) => claim.of.addresses.includes(addressIn(one) ?? '');
      // The same data is no conflict (section 9): the name of this very board, say, which avahi answers for.
      const rivals =
        claim.phase === 'probing' ? unique : unique.filter(({ type }) => type === TYPE.A);
      if (rivals.length > 0 && !rivals.some(same)) {
        this.#contested(claim, from, records, nowMs);
        continue;
      }
      this.#suppress(claim, records);
      this.#noteStrangers(claim, records, from, nowMs);
    }
  }

  #contested(claim: Claim, from: Peer, records: readonly ResourceRecord[], nowMs: number): void {
    if (claim.phase !== 'probing') {
      // Section 9: perhaps he did not hear us; once more from the start.
      begin(claim);
      claim.dueMs = nowMs;
      return;
    }
    claim.phase = 'lost';
    claim.dueMs = nowMs + LOST_MS;
    const addresses = records.flatMap((one) => addressIn(one) ?? []);
    const where = addresses.length === 0 ? '' : ` and leads to ${addresses.slice(0, 4).join(', ')}`;
    claim.holder =
      `${claim.of.text} is held by ${from.ip} on the LAN${where}, so it is not announced: ` +
      'choose another name, or rename that machine';
  }

  /** Section 7.4: another board has just said all that we were about to say. */
  #suppress({ of, reply, ...claim }: Claim, records: readonly ResourceRecord[]): void {
    if (reply?.addresses !== true || claim.phase === 'probing') return;
    const left = withoutKnown({ of, ...reply }, records, TTL_SECONDS);
    reply.addresses = left.addresses;
    if (!left.addresses && !reply.nothingElse) reply.dueMs = Number.POSITIVE_INFINITY;
  }

  /** Somebody shares a name with us who is no board: another cluster, or a program that does not know that it should not. */
  #noteStrangers(
    claim: Claim,
    records: readonly ResourceRecord[],
    from: Peer,
    nowMs: number,
  ): void {
    for (const record of records) {
      const ip = addressIn(record);
      if (ip === undefined || this.#ours.has(ip)) continue;
      const since = claim.strangers.get(ip);
      if (since === undefined && claim.strangers.size < STRANGERS_MAX)
        claim.strangers.set(ip, nowMs);
      if (since === undefined || nowMs - since < STRANGER_MS) continue;
      claim.shared ??=
        `${claim.of.text} is also answered for by ${from.ip} on the LAN and leads to ${ip}, which is no board: ` +
        'clients may come there; choose another name, or rename that machine';
    }
  }

  #isOurs(record: ResourceRecord): boolean {
    return this.#ours.has(addressIn(record) ?? '');
  }

  #fresh(of: LanName, nowMs: number): Claim {
    return {
      of,
      phase: 'probing',
      sent: 0,
      // Section 8.1: boards that start together do not ask together.
      dueMs: nowMs + this.#random() * PROBE_MS,
      lastMulticastMs: Number.NEGATIVE_INFINITY,
      reply: undefined,
      holder: undefined,
      strangers: new Map(),
      shared: undefined,
    };
  }

  #chance({ least, spread }: { readonly least: number; readonly spread: number }): number {
    return least + this.#random() * spread;
  }
}

function begin(claim: Claim): void {
  claim.phase = 'probing';
  claim.sent = 0;
  claim.reply = undefined;
}

function answersFor({ phase }: Claim): boolean {
  return phase === 'announcing' || phase === 'held';
}

/** Records of the claim's name; what only says that there are no others is no claim to it. */
function recordsOf(records: readonly ResourceRecord[], { of }: Claim): ResourceRecord[] {
  return records.filter(({ name, type }) => type !== TYPE.NSEC && nameKey(name) === of.text);
}

/** Section 7.1: what the asker has, for half of its time at least, is not said again. */
function withoutKnown(
  said: Said,
  known: readonly ResourceRecord[],
  ttlLeast = TTL_SECONDS / 2,
): Said {
  const has = known.filter(({ name, ttl }) => ttl >= ttlLeast && nameKey(name) === said.of.text);
  const addresses = new Set(has.flatMap((one) => addressIn(one) ?? []));
  const hasNothingElse = has.some(({ type }) => type === TYPE.NSEC);
  return {
    of: said.of,
    addresses: said.addresses && !said.of.addresses.every((ip) => addresses.has(ip)),
    nothingElse: said.nothingElse && !hasNothingElse,
  };
}

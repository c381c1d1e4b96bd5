/**
 * Multicast DNS on the wire (RFC 6762): the records of a name, and what questions and answers of others say about it. Pure.
 *
 * Addresses are given without the cache-flush bit, because several boards answer for one name: what one says must not make
 * a phone forget the others. Only the NSEC record, which is the same from all of them, carries it.
 */
import { CLASS_IN, type Message, type Question, type ResourceRecord, TYPE } from '../message.ts';
import { type Name, nameKey } from '../name.ts';
import type { LanName } from './lan-names.ts';

export const MDNS_GROUP = '224.0.0.251';
export const MDNS_PORT = 5353;
/**
 * RFC 6762 (section 10) recommends 120 s for records of hosts. Half of it: for so long at most a phone may try a board
 * that has lost its power.
 */
export const TTL_SECONDS = 60;
/** RFC 6762, section 6.7. */
const LEGACY_TTL_SECONDS = 10;
/** In a question: answer me alone. In a record: forget what you had. */
const TOP_BIT = 0x8000;
const CLASS_ANY = 255;

export interface Peer {
  readonly ip: string;
  readonly port: number;
}

export interface Outgoing {
  /** Undefined: to everybody. */
  readonly to: Peer | undefined;
  readonly message: Message;
}

/** What is said of one name: its addresses, that there is nothing else, or both. */
export interface Said {
  readonly of: LanName;
  readonly addresses: boolean;
  readonly nothingElse: boolean;
}

const EMPTY: Message = {
  id: 0,
  response: true,
  opcode: 0,
  authoritative: true,
  truncated: false,
  recursionDesired: false,
  recursionAvailable: false,
  authenticData: false,
  checkingDisabled: false,
  rcode: 0,
  questions: [],
  answers: [],
  authorities: [],
  additionals: [],
  edns: undefined,
};
/** Names in one message: a few hundred octets, and with the longest names there are still no more than 9,000. */
const NAMES_PER_MESSAGE = 8;

/** Asks whether somebody has the names, and says what we would say of them (section 8.1). */
export function probes(names: readonly LanName[]): Outgoing[] {
  return chunks(names).map((part) => ({
    to: undefined,
    message: {
      ...EMPTY,
      response: false,
      authoritative: false,
      // Answers by multicast: others on this board have port 5353, too, and an answer to one goes to any of them.
      questions: part.map(({ name }) => ({ name, type: TYPE.ANY, class: CLASS_IN })),
      authorities: part.flatMap((one) => addressRecords(one)),
    },
  }));
}

export function answers(said: readonly Said[], to?: Peer): Outgoing[] {
  return chunks(said).map((part) => ({
    to,
    message: {
      ...EMPTY,
      answers: part.flatMap((one) => [
        ...(one.addresses ? addressRecords(one.of) : []),
        ...(one.nothingElse ? [nothingElse(one.of)] : []),
      ]),
      // Section 6.1 and 6.2: what will be asked next.
      additionals: part.flatMap((one) => [
        ...(one.addresses ? [] : addressRecords(one.of)),
        ...(one.nothingElse ? [] : [nothingElse(one.of)]),
      ]),
    },
  }));
}

/** For a resolver that knows DNS only (section 6.7). */
export function legacyAnswer(query: Message, said: readonly Said[], to: Peer): Outgoing {
  const plain = (record: ResourceRecord) => ({
    ...record,
    class: CLASS_IN,
    ttl: LEGACY_TTL_SECONDS,
  });
  const asked = new Set(said.map(({ of }) => of.text));
  const list = said
    .slice(0, NAMES_PER_MESSAGE)
    .flatMap((one) => [
      ...(one.addresses ? addressRecords(one.of) : []),
      ...(one.nothingElse ? [nothingElse(one.of)] : []),
    ]);
  return {
    to,
    message: {
      ...EMPTY,
      id: query.id,
      recursionDesired: query.recursionDesired,
      questions: query.questions
        .filter(({ name }) => asked.has(nameKey(name)))
        .slice(0, NAMES_PER_MESSAGE)
        .map((question) => ({ ...question, class: question.class & ~TOP_BIT })),
      answers: list.map(plain),
    },
  };
}

/** Others forget these addresses (section 10.1). */
export function goodbyes(names: readonly LanName[]): Outgoing[] {
  return chunks(names).map((part) => ({
    to: undefined,
    message: {
      ...EMPTY,
      answers: part.flatMap((one) => addressRecords(one)).map((record) => ({ ...record, ttl: 0 })),
    },
  }));
}

export function addressRecords({ name, addresses }: LanName): ResourceRecord[] {
  return addresses.map((ip) => ({
    name,
    type: TYPE.A,
    class: CLASS_IN,
    ttl: TTL_SECONDS,
    data: [Uint8Array.from(ip.split('.').map(Number))],
  }));
}

/** "Of this name there are A records, and no others" (section 6.1): a phone does not wait for an IPv6 address. */
function nothingElse({ name }: LanName): ResourceRecord {
  const window0 = Uint8Array.from([0, 1, 0x80 >> TYPE.A]);
  const data: (Name | Uint8Array)[] = [name, window0];
  return { name, type: TYPE.NSEC, class: CLASS_IN | TOP_BIT, ttl: TTL_SECONDS, data };
}

/** Whether it is about the Internet class, the top bit aside. */
export function isInternet({ class: classOf }: Question): boolean {
  const plain = classOf & ~TOP_BIT;
  return plain === CLASS_IN || plain === CLASS_ANY;
}

/** The top bit: of a question, that the answer may come to the asker alone; of a record, that it is the only one. */
export function hasTopBit({ class: classOf }: { readonly class: number }): boolean {
  return (classOf & TOP_BIT) !== 0;
}

/** The address of an A record; undefined for others and for malformed ones. */
export function addressIn({ type, data }: ResourceRecord): string | undefined {
  const [bytes] = data;
  const isAddress = type === TYPE.A && data.length === 1 && bytes instanceof Uint8Array;
  return isAddress && bytes.length === 4 ? bytes.join('.') : undefined;
}

/**
 * Which of two that probe for a name at once wins (section 8.2): positive for `a`. Records are compared in order: class, type,
 * data; more records win over their beginning.
 */
export function compareClaims(a: readonly ResourceRecord[], b: readonly ResourceRecord[]): number {
  const [keysA, keysB] = [
    a.map(claimKey).sort(Buffer.compare),
    b.map(claimKey).sort(Buffer.compare),
  ];
  for (const [index, key] of keysA.entries()) {
    const other = keysB[index];
    const order = other === undefined ? 1 : Buffer.compare(key, other);
    if (order !== 0) return order;
  }
  return keysA.length - keysB.length;
}

function claimKey({ class: classOf, type, data }: ResourceRecord): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16BE(classOf & ~TOP_BIT, 0);
  head.writeUInt16BE(type, 2);
  // Names uncompressed; both sides say A records as a rule.
  const parts = data.map((part) =>
    part instanceof Uint8Array
      ? part
      : Buffer.concat(
          part.map((label) => Buffer.from(String.fromCharCode(label.length) + label, 'latin1')),
        ),
  );
  return Buffer.concat([head, ...parts]);
}

function chunks<T>(list: readonly T[]): T[][] {
  const parts: T[][] = [];
  for (let at = 0; at < list.length; at += NAMES_PER_MESSAGE) {
    parts.push(list.slice(at, at + NAMES_PER_MESSAGE));
  }
  return parts;
}

/**
 * DNS messages: from bytes and to bytes. Pure. RFC 1035 (format, compression), RFC 2782 (SRV), RFC 6891 (EDNS0).
 *
 * Promises: any bytes give a message or a DnsFormatError, in time linear in their number; compression pointers
 * only lead backwards, and what names may unpack to is bounded. What was parsed and is built again means the
 * same. Record types that are not known are carried as bytes (RFC 3597); options of EDNS0 are dropped.
 */
import { DnsFormatError, NAME_OCTETS_MAX, type Name, NameReader, NameWriter } from './name.ts';

export const TYPE = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  DNAME: 39,
  OPT: 41,
  NSEC: 47,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
} as const;

export const CLASS_IN = 1;

export const RCODE = {
  NoError: 0,
  FormErr: 1,
  ServFail: 2,
  NxDomain: 3,
  NotImp: 4,
  Refused: 5,
  BadVers: 16,
} as const;

export interface Question {
  readonly name: Name;
  readonly type: number;
  readonly class: number;
}

/** Names inside the data stand apart from the bytes around them, so that they survive another compression. */
export type RecordData = readonly (Uint8Array | Name)[];

export interface ResourceRecord {
  readonly name: Name;
  readonly type: number;
  readonly class: number;
  /** Seconds. */
  readonly ttl: number;
  readonly data: RecordData;
}

/** The OPT record of RFC 6891, without its options. */
export interface Edns {
  /** Largest UDP payload that the sender takes. */
  readonly udpSize: number;
  readonly version: number;
  readonly dnssecOk: boolean;
}

export interface Message {
  readonly id: number;
  readonly response: boolean;
  readonly opcode: number;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly recursionDesired: boolean;
  readonly recursionAvailable: boolean;
  readonly authenticData: boolean;
  readonly checkingDisabled: boolean;
  /** With the upper bits of EDNS0. */
  readonly rcode: number;
  readonly questions: readonly Question[];
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  /** Without OPT. */
  readonly additionals: readonly ResourceRecord[];
  readonly edns: Edns | undefined;
}

const HEADER_OCTETS = 12;
const OPT_OCTETS = 11;
export const MESSAGE_OCTETS_MAX = 65_535;
const TTL_MAX = 0x7fffffff;

/**
 * Where names stand in the data of a type, as octets before the names, how many names, and octets after. RFC 1035
 * lets the first five be compressed; SRV and DNAME were compressed by some, so both are read that way.
 */
const NAMES_IN_DATA: ReadonlyMap<number, readonly [before: number, names: number]> = new Map([
  [TYPE.NS, [0, 1]],
  [TYPE.CNAME, [0, 1]],
  [TYPE.PTR, [0, 1]],
  [TYPE.DNAME, [0, 1]],
  [TYPE.MX, [2, 1]],
  [TYPE.SRV, [6, 1]],
  [TYPE.SOA, [0, 2]],
  // RFC 6762 (section 18.14) lets multicast DNS compress it.
  [TYPE.NSEC, [0, 1]],
]);
/** RFC 2782, RFC 6672 and RFC 4034: no compression in these when they are written. */
const WRITTEN_PLAIN: ReadonlySet<number> = new Set([TYPE.SRV, TYPE.DNAME, TYPE.NSEC]);

/** Throws DnsFormatError. Bytes after the last record are an error too: nothing is guessed. */
export function parseMessage(bytes: Uint8Array): Message {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (buffer.length < HEADER_OCTETS) throw new DnsFormatError('the header is cut off');
  if (buffer.length > MESSAGE_OCTETS_MAX) throw new DnsFormatError('the message is too long');
  const flags = buffer.readUInt16BE(2);
  const reader = new MessageReader(buffer);
  const questions = reader.questions(buffer.readUInt16BE(4));
  const answers = reader.records(buffer.readUInt16BE(6));
  const authorities = reader.records(buffer.readUInt16BE(8));
  const additionals = reader.records(buffer.readUInt16BE(10));
  reader.end();
  const { edns } = reader;
  return {
    id: buffer.readUInt16BE(0),
    response: (flags & 0x8000) !== 0,
    opcode: (flags >> 11) & 0xf,
    authoritative: (flags & 0x0400) !== 0,
    truncated: (flags & 0x0200) !== 0,
    recursionDesired: (flags & 0x0100) !== 0,
    recursionAvailable: (flags & 0x0080) !== 0,
    authenticData: (flags & 0x0020) !== 0,
    checkingDisabled: (flags & 0x0010) !== 0,
    rcode: (flags & 0xf) | reader.rcodeHigh,
    questions,
    answers,
    authorities,
    additionals,
    edns,
  };
}

class MessageReader {
  edns: Edns | undefined;
  rcodeHigh = 0;
  readonly #buffer: Buffer;
  readonly #names: NameReader;
  #at = HEADER_OCTETS;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
    this.#names = new NameReader(buffer);
  }

  questions(count: number): Question[] {
    const list: Question[] = [];
    for (let index = 0; index < count; index++) {
      const name = this.#name();
      list.push({ name, type: this.#uint16(), class: this.#uint16() });
    }
    return list;
  }

  records(count: number): ResourceRecord[] {
    const list: ResourceRecord[] = [];
    for (let index = 0; index < count; index++) {
      const name = this.#name();
      const type = this.#uint16();
      const classOf = this.#uint16();
      const ttl = this.#uint16() * 65_536 + this.#uint16();
      const length = this.#uint16();
      const end = this.#at + length;
      if (end > this.#buffer.length) throw new DnsFormatError('a record is cut off');
      if (type === TYPE.OPT) {
        this.#option(name, classOf, ttl);
        this.#at = end;
        continue;
      }
      const data = this.#data(type, end);
      // RFC 2181, section 8: a TTL with the highest bit set means zero.
      list.push({ name, type, class: classOf, ttl: ttl > TTL_MAX ? 0 : ttl, data });
    }
    return list;
  }

  end(): void {
    const left = this.#buffer.length - this.#at;
    if (left > 0) throw new DnsFormatError(`${left} octets follow the last record`);
  }

  #option(name: Name, udpSize: number, ttl: number): void {
    if (this.edns !== undefined) throw new DnsFormatError('there are two OPT records');
    if (name.length > 0) throw new DnsFormatError('the OPT record has a name');
    this.rcodeHigh = (ttl >>> 24) << 4;
    this.edns = { udpSize, version: (ttl >>> 16) & 0xff, dnssecOk: (ttl & 0x8000) !== 0 };
  }

  #data(type: number, end: number): RecordData {
    const [before, count] = NAMES_IN_DATA.get(type) ?? [0, 0];
    // An empty record (RFC 2136 has them) has no names either.
    if (count === 0 || this.#at === end) return this.#bytes(end);
    const parts: (Uint8Array | Name)[] = [];
    if (before > 0) parts.push(...this.#bytes(Math.min(this.#at + before, end)));
    for (let index = 0; index < count; index++) parts.push(this.#name());
    if (this.#at > end) throw new DnsFormatError('a name goes beyond its record');
    if (this.#at < end) parts.push(...this.#bytes(end));
    return parts;
  }

  #bytes(end: number): Uint8Array[] {
    // A copy: a record that is cached must not keep the whole message.
    const bytes = new Uint8Array(this.#buffer.subarray(this.#at, end));
    this.#at = end;
    return bytes.length === 0 ? [] : [bytes];
  }

  #name(): Name {
    const { name, next } = this.#names.read(this.#at);
    this.#at = next;
    return name;
  }

  #uint16(): number {
    if (this.#at + 2 > this.#buffer.length) throw new DnsFormatError('a record is cut off');
    const value = this.#buffer.readUInt16BE(this.#at);
    this.#at += 2;
    return value;
  }
}

/** Written into and copied out of, again and again: building is synchronous. */
const scratch = Buffer.allocUnsafeSlow(MESSAGE_OCTETS_MAX);

/**
 * At most `octetsMax` bytes: what does not fit is left out whole. Answers and authorities that are missing are
 * told by the truncation bit, so that the client asks again over TCP; additional records are only an extra.
 */
export function buildMessage(message: Message, octetsMax = MESSAGE_OCTETS_MAX): Buffer {
  const { questions, answers, authorities, additionals, edns } = message;
  const room = Math.min(octetsMax, MESSAGE_OCTETS_MAX) - (edns === undefined ? 0 : OPT_OCTETS);
  const writer = new MessageWriter(room);
  let fits = true;
  const written = (list: readonly ResourceRecord[]): number => {
    let count = 0;
    while (fits && count < list.length) {
      const record = list[count];
      if (record === undefined || !writer.record(record)) fits = false;
      else count++;
    }
    return count;
  };
  const questionCount = questions.filter((question) => writer.question(question)).length;
  fits = questionCount === questions.length;
  const counts = [questionCount, written(answers), written(authorities)];
  const truncated = message.truncated || !fits;
  counts.push(written(additionals) + (edns === undefined ? 0 : 1));
  if (edns !== undefined) writer.option(edns, message.rcode);
  scratch.writeUInt16BE(message.id, 0);
  scratch.writeUInt16BE(flagsOf(message, truncated), 2);
  for (const [index, count] of counts.entries()) scratch.writeUInt16BE(count, 4 + index * 2);
  return Buffer.from(scratch.subarray(0, writer.at));
}

function flagsOf(message: Message, truncated: boolean): number {
  return (
    (message.response ? 0x8000 : 0) |
    ((message.opcode & 0xf) << 11) |
    (message.authoritative ? 0x0400 : 0) |
    (truncated ? 0x0200 : 0) |
    (message.recursionDesired ? 0x0100 : 0) |
    (message.recursionAvailable ? 0x0080 : 0) |
    (message.authenticData ? 0x0020 : 0) |
    (message.checkingDisabled ? 0x0010 : 0) |
    (message.rcode & 0xf)
  );
}

class MessageWriter {
  at = HEADER_OCTETS;
  readonly #end: number;
  readonly #names = new NameWriter(scratch);

  constructor(end: number) {
    this.#end = end;
  }

  question({ name, type, class: classOf }: Question): boolean {
    return this.#whole(NAME_OCTETS_MAX + 4, () => {
      this.at = this.#names.write(name, this.at, true);
      this.#uint16(type);
      this.#uint16(classOf);
    });
  }

  record({ name, type, class: classOf, ttl, data }: ResourceRecord): boolean {
    const octets = data.reduce(
      (sum, part) => sum + (part instanceof Uint8Array ? part.length : NAME_OCTETS_MAX),
      NAME_OCTETS_MAX + 10,
    );
    return this.#whole(octets, () => {
      this.at = this.#names.write(name, this.at, true);
      this.#uint16(type);
      this.#uint16(classOf);
      this.at = scratch.writeUInt32BE(ttl >>> 0, this.at);
      const lengthAt = this.at;
      this.at += 2;
      for (const part of data) {
        if (part instanceof Uint8Array) {
          scratch.set(part, this.at);
          this.at += part.length;
        } else {
          this.at = this.#names.write(part, this.at, !WRITTEN_PLAIN.has(type));
        }
      }
      scratch.writeUInt16BE(this.at - lengthAt - 2, lengthAt);
    });
  }

  /** Its room was set aside. */
  option({ udpSize, version, dnssecOk }: Edns, rcode: number): void {
    scratch[this.at] = 0;
    this.at += 1;
    this.#uint16(TYPE.OPT);
    this.#uint16(udpSize);
    const bits = ((rcode >> 4) << 24) | (version << 16) | (dnssecOk ? 0x8000 : 0);
    this.at = scratch.writeUInt32BE(bits >>> 0, this.at);
    this.#uint16(0);
  }

  /** `octetsMost` is what it may take uncompressed; written for real only where even that has room. */
  #whole(octetsMost: number, write: () => void): boolean {
    const before = this.at;
    if (before + octetsMost > scratch.length) return false;
    write();
    if (this.at <= this.#end) return true;
    this.at = before;
    this.#names.forgetFrom(before);
    return false;
  }

  #uint16(value: number): void {
    this.at = scratch.writeUInt16BE(value & 0xffff, this.at);
  }
}

/**
 * From a query's bytes to what is asked, and from an answer to the message that goes back. Pure.
 */
import {
  CLASS_IN,
  type Edns,
  type Message,
  parseMessage,
  type Question,
  RCODE,
  type ResourceRecord,
  TYPE,
} from './message.ts';
import { DnsFormatError } from './name.ts';

/** What is known about a question. */
export interface Answer {
  readonly rcode: number;
  readonly authoritative: boolean;
  readonly authenticData: boolean;
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  readonly additionals: readonly ResourceRecord[];
}

export type Query =
  /** Nothing that may be answered: replying to a reply would let two servers talk for ever. */
  | { readonly type: 'ignore' }
  | { readonly type: 'refuse'; readonly reply: Message }
  | { readonly type: 'ask'; readonly message: Message; readonly question: Question };

/** What we take over UDP; RFC 9715 advises not to rely on fragments. */
const OWN_UDP_SIZE = 1232;
/** RFC 1035: without EDNS0. */
const PLAIN_UDP_SIZE = 512;
/** Pods and board share the memory of one machine: nothing is fragmented on the way. */
const UDP_SIZE_MAX = 4096;
const CLASS_ANY = 255;

export const EMPTY: Answer = {
  rcode: RCODE.NoError,
  authoritative: false,
  authenticData: false,
  answers: [],
  authorities: [],
  additionals: [],
};

export function readQuery(bytes: Uint8Array): Query {
  const header = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (header.length < 12 || (header.readUInt8(2) & 0x80) !== 0) return { type: 'ignore' };
  let message: Message;
  try {
    message = parseMessage(bytes);
  } catch (error) {
    if (!(error instanceof DnsFormatError)) throw error;
    const opcode = (header.readUInt8(2) >> 3) & 0xf;
    const reply = emptyReply({ id: header.readUInt16BE(0), opcode, rcode: RCODE.FormErr });
    return { type: 'refuse', reply };
  }
  const refuse = (rcode: number): Query => ({
    type: 'refuse',
    reply: replyTo(message, { ...EMPTY, rcode }),
  });
  // RFC 6891, section 6.1.3: before anything else is looked at.
  if (message.edns !== undefined && message.edns.version > 0) return refuse(RCODE.BadVers);
  if (message.opcode !== 0) return refuse(RCODE.NotImp);
  const [question] = message.questions;
  if (question === undefined || message.questions.length > 1) return refuse(RCODE.FormErr);
  if (question.class !== CLASS_IN && question.class !== CLASS_ANY) return refuse(RCODE.Refused);
  if (question.type === TYPE.AXFR || question.type === TYPE.IXFR) return refuse(RCODE.Refused);
  if (question.type === TYPE.OPT) return refuse(RCODE.FormErr);
  return { type: 'ask', message, question };
}

export function replyTo(query: Message, answer: Answer): Message {
  return {
    ...query,
    ...answer,
    response: true,
    truncated: false,
    recursionAvailable: true,
    edns: ednsReply(query.edns),
  };
}

/** For who may not ask at all, as far as the header can be read. */
export function refusal(bytes: Uint8Array): Message | undefined {
  const query = readQuery(bytes);
  if (query.type === 'ignore') return undefined;
  if (query.type === 'refuse') return query.reply;
  return replyTo(query.message, { ...EMPTY, rcode: RCODE.Refused });
}

/** Octets that a reply over UDP may have. */
export function udpRoom(query: Message): number {
  if (query.edns === undefined) return PLAIN_UDP_SIZE;
  return Math.min(UDP_SIZE_MAX, Math.max(PLAIN_UDP_SIZE, query.edns.udpSize));
}

function ednsReply(asked: Edns | undefined): Edns | undefined {
  if (asked === undefined) return undefined;
  return { udpSize: OWN_UDP_SIZE, version: 0, dnssecOk: asked.dnssecOk };
}

function emptyReply(head: { id: number; opcode: number; rcode: number }): Message {
  return {
    ...EMPTY,
    ...head,
    response: true,
    truncated: false,
    recursionDesired: false,
    recursionAvailable: true,
    checkingDisabled: false,
    questions: [],
    edns: undefined,
  };
}

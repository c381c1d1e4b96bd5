/**
 * Asks the board's resolvers, over UDP and, where an answer was cut, over TCP.
 *
 * Each question has a random id and a socket, so a random port, of its own, and only the answer to it from the address
 * that was asked is taken (RFC 5452). The resolver that answered last is asked first.
 */
import dgram from 'node:dgram';
import net from 'node:net';
import type { UpstreamAnswer, UpstreamQuestion } from './forwarder.ts';
import { buildMessage, type Message, parseMessage, RCODE } from './message.ts';
import { nameKey } from './name.ts';
import { EMPTY } from './reply.ts';

export interface UpstreamServer {
  readonly ip: string;
  readonly port: number;
}

export interface UpstreamLimits {
  /** For one try with one resolver. */
  readonly attemptMs: number;
  /** For a question, whatever is tried. Stub resolvers give up after five seconds. */
  readonly totalMs: number;
  readonly rounds: number;
}

export interface UpstreamOptions {
  /** As they are now; never this server itself. */
  readonly servers: () => Promise<readonly UpstreamServer[]>;
  readonly limits: UpstreamLimits;
  /** 0 to 65535, not to be guessed. */
  readonly randomId: () => number;
}

/** No resolver gave an answer. */
export class UpstreamError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UpstreamError';
  }
}

/** What we take over UDP (RFC 9715). */
const UDP_SIZE = 1232;

export class Upstream {
  readonly #options: UpstreamOptions;
  #lastGood = '';

  constructor(options: UpstreamOptions) {
    this.#options = options;
  }

  /** Throws UpstreamError when no resolver answers, or when there is none. */
  async exchange(question: UpstreamQuestion): Promise<UpstreamAnswer> {
    const { limits } = this.#options;
    const all = await this.#options.servers();
    // The last good one to the front, the others in their order.
    const servers = [...all].sort((a, b) => this.#rank(a) - this.#rank(b));
    if (servers.length === 0) throw new UpstreamError('the board has no resolver to ask');
    const deadline = AbortSignal.timeout(limits.totalMs);
    let failure: UpstreamAnswer | undefined;
    let reason = '';
    for (let attempt = 0; attempt < limits.rounds * servers.length; attempt++) {
      const server = servers[attempt % servers.length];
      if (server === undefined || deadline.aborted) break;
      try {
        const answer = await this.#attempt(server, question, deadline);
        const { rcode } = answer.message;
        // It cannot or will not tell: another one may.
        if (rcode === RCODE.ServFail || rcode === RCODE.Refused) {
          failure = answer;
          if (attempt >= servers.length - 1) break;
          continue;
        }
        this.#lastGood = keyOf(server);
        return answer;
      } catch (error) {
        reason = error instanceof Error ? error.message : String(error);
      }
    }
    if (failure !== undefined) return failure;
    throw new UpstreamError(`no resolver of the board answered (the last said: ${reason})`);
  }

  #rank(server: UpstreamServer): number {
    return keyOf(server) === this.#lastGood ? 0 : 1;
  }

  async #attempt(
    server: UpstreamServer,
    question: UpstreamQuestion,
    deadline: AbortSignal,
  ): Promise<UpstreamAnswer> {
    const { limits, randomId } = this.#options;
    const signal = AbortSignal.any([deadline, AbortSignal.timeout(limits.attemptMs)]);
    let query = queryFor(question, randomId(), true);
    let answer = await overUdp(server, query, signal);
    if (answer.message.rcode === RCODE.FormErr) {
      // RFC 6891, section 6.2.2: it knows no EDNS0.
      query = queryFor(question, randomId(), false);
      answer = await overUdp(server, query, signal);
    }
    return answer.message.truncated ? overTcp(server, query, signal) : answer;
  }
}

function keyOf({ ip, port }: UpstreamServer): string {
  return `${ip} ${port}`;
}

function queryFor(question: UpstreamQuestion, id: number, edns: boolean): Message {
  const { name, type, class: classOf, dnssecOk, checkingDisabled } = question;
  return {
    ...EMPTY,
    id,
    response: false,
    opcode: 0,
    truncated: false,
    recursionDesired: true,
    recursionAvailable: false,
    // RFC 6840, section 5.7: the answer may say whether it was checked.
    authenticData: dnssecOk,
    checkingDisabled,
    questions: [{ name, type, class: classOf }],
    edns: edns ? { udpSize: UDP_SIZE, version: 0, dnssecOk } : undefined,
  };
}

function overUdp(
  server: UpstreamServer,
  query: Message,
  signal: AbortSignal,
): Promise<UpstreamAnswer> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new UpstreamError(`${server.ip} did not answer in time`));
    const socket = dgram.createSocket(server.ip.includes(':') ? 'udp6' : 'udp4');
    const end = () => {
      signal.removeEventListener('abort', late);
      socket.close();
    };
    const fail = (error: Error) => {
      end();
      reject(error);
    };
    const late = () => fail(new UpstreamError(`${server.ip} did not answer in time`));
    signal.addEventListener('abort', late);
    socket.on('error', fail);
    socket.on('message', (bytes) => {
      const message = answerTo(query, bytes);
      // Anybody may send something: only the answer counts.
      if (message === undefined) return;
      end();
      resolve({ message, bytes: bytes.length });
    });
    // Connected: the kernel takes nothing from other addresses, and tells when nobody listens.
    socket.connect(server.port, server.ip, () => socket.send(buildMessage(query)));
  });
}

function overTcp(
  server: UpstreamServer,
  query: Message,
  signal: AbortSignal,
): Promise<UpstreamAnswer> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: server.ip, port: server.port, signal });
    const body = buildMessage(query);
    const length = Buffer.alloc(2);
    length.writeUInt16BE(body.length);
    socket.write(Buffer.concat([length, body]));
    let received: Buffer = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
      const bytes = received.subarray(2, 2 + received.readUInt16BE(0));
      const message = answerTo(query, bytes);
      socket.destroy();
      if (message === undefined) reject(new UpstreamError(`${server.ip} sent no answer`));
      else resolve({ message, bytes: bytes.length });
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new UpstreamError(`${server.ip} closed the connection`)));
  });
}

/** The message if it is the answer to our question (RFC 5452, section 4). */
function answerTo(query: Message, bytes: Uint8Array): Message | undefined {
  let message: Message;
  try {
    message = parseMessage(bytes);
  } catch {
    return undefined;
  }
  if (!message.response || message.id !== query.id || message.opcode !== 0) return undefined;
  const [asked] = query.questions;
  const [echoed] = message.questions;
  // Some leave the question out when they could not read it.
  if (echoed === undefined) return message.rcode === RCODE.FormErr ? message : undefined;
  const same =
    asked !== undefined &&
    asked.type === echoed.type &&
    asked.class === echoed.class &&
    nameKey(asked.name) === nameKey(echoed.name);
  return same ? message : undefined;
}

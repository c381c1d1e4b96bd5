/**
 * The grpc action: grpc.health.v1.Health/Check over cleartext HTTP/2
 * (github.com/grpc/grpc/blob/master/doc/health-checking.md). Both messages have one field, so they are written and
 * read here byte by byte: the request is `service` (field 1, text), the response `status` (field 1, enum).
 */
import type http2 from 'node:http2';
import { loadHttp2 } from '../network/lazy-http2.ts';
import { dialWords } from './http-probe.ts';
import type { ProbeResult } from './probe-result.ts';

const PATH = '/grpc.health.v1.Health/Check';
const STATUS_NAMES = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'];
const SERVING = 1;
/** gRPC status codes (grpc.github.io/grpc/core/md_doc_statuscodes.html). */
const OK = 0;
const UNIMPLEMENTED = 12;
const ANSWER_BYTES_MAX = 64 * 1024;

export interface GrpcTarget {
  readonly host: string;
  readonly port: number;
  readonly service: string;
}

/** Never rejects. */
export async function probeGrpc(target: GrpcTarget, timeoutMs: number): Promise<ProbeResult> {
  const { host, port, service } = target;
  const session = loadHttp2().connect(`http://${host.includes(':') ? `[${host}]` : host}:${port}`);
  let timer: NodeJS.Timeout | undefined;
  try {
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error('context deadline exceeded')), timeoutMs);
    });
    return verdict(target, await Promise.race([check(session, service), late]));
  } catch (error) {
    const seconds = timeoutMs / 1000;
    // A stream that was cancelled names what befell its connection.
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const why = dialWords(cause, { hostname: host, port });
    const output = `timeout: failed to connect service "${host}:${port}" within ${seconds}s: ${why}`;
    return { answer: 'failure', output };
  } finally {
    clearTimeout(timer);
    session.destroy();
  }
}

interface Answer {
  readonly code: number;
  readonly message: string;
  readonly body: Buffer;
}

function check(session: http2.ClientHttp2Session, service: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    session.on('error', reject);
    const stream = session.request({
      ':method': 'POST',
      ':path': PATH,
      'content-type': 'application/grpc',
      'user-agent': 'kube-probe/1.34',
      te: 'trailers',
    });
    let headers: http2.IncomingHttpHeaders = {};
    let bytes = 0;
    const parts: Buffer[] = [];
    // An error without a message comes as headers alone, one after it as trailers.
    stream.on('response', (received) => {
      headers = received;
    });
    stream.on('trailers', (received) => {
      headers = { ...headers, ...received };
    });
    stream.on('data', (part: Buffer) => {
      bytes += part.length;
      if (bytes <= ANSWER_BYTES_MAX) parts.push(part);
    });
    stream.on('error', reject);
    stream.once('close', () => reject(new Error('the connection was closed without an answer')));
    stream.once('end', () => {
      const status = headers['grpc-status'];
      if (status === undefined) {
        reject(
          new Error(`unexpected HTTP status code received from server: ${headers[':status']}`),
        );
        return;
      }
      const message = decodeURIComponent(String(headers['grpc-message'] ?? ''));
      resolve({ code: Number(status), message, body: Buffer.concat(parts) });
    });
    stream.end(requestFrame(service));
  });
}

function verdict({ service }: GrpcTarget, { code, message, body }: Answer): ProbeResult {
  if (code === UNIMPLEMENTED) {
    const output = `error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ${message}`;
    return { answer: 'failure', output };
  }
  if (code !== OK) {
    const about = service === '' ? '' : ` of service "${service}"`;
    const output = `error: health rpc${about} failed with grpc status ${code}: ${message}`;
    return { answer: 'failure', output };
  }
  const status = responseStatus(body);
  if (status === SERVING) return { answer: 'success', output: '' };
  const name = STATUS_NAMES[status] ?? String(status);
  return { answer: 'failure', output: `service unhealthy (responded with "${name}")` };
}

/** One byte "not compressed", four bytes length, then the message. */
function requestFrame(service: string): Buffer {
  const text = Buffer.from(service, 'utf8');
  const message =
    text.length === 0 ? text : Buffer.concat([Buffer.from([0x0a]), varint(text.length), text]);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** Field 1 as a varint (tag 0x08); a message without it means the enum's zero. */
function responseStatus(frame: Buffer): number {
  const message = frame.subarray(5);
  return message[0] === 0x08 ? (message[1] ?? 0) : 0;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}

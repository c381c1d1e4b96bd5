/**
 * Writing answers: Status errors, single objects, lists. Lists go out in chunks with back-pressure, spliced from stored
 * bytes; no object of a plain list is ever parsed or encoded.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { stringify } from 'yaml';
import {
  encodeProtobuf,
  encodeProtobufList,
  isEncodable,
} from '../../protocol/kinds/protobuf-encode.ts';
import { ApiError, type Status } from '../../protocol/status.ts';
import type { User } from './client.ts';
import type { StoredList } from './list.ts';
import { type AnswerForm, type AnswerFormat, negotiate } from './negotiate.ts';
import { asBuffer, PROTOBUF_TYPE, protobufMessage, protobufObject } from './protobuf.ts';
import type { Resource } from './resources.ts';
import { writeParts } from './send-buffers.ts';
import { fromStore } from './store-errors.ts';
import { encodeObject, itemHead, type Stored, tailOf } from './stored.ts';

/** One request on its way through the server. */
export interface ApiRequest {
  readonly message: IncomingMessage;
  readonly response: ServerResponse;
  readonly user: User;
  readonly query: URLSearchParams;
  /** Sent as Warning headers with the answer. */
  readonly warnings: string[];
}

const CHUNK_BYTES = 64 * 1024;
const WARNINGS_MAX = 32;
const WARNING_LENGTH_MAX = 256;

/** Announces the answer: status code, content type and the warnings that were collected. */
export function writeHead(
  request: ApiRequest,
  code: number,
  type: string,
  more: Record<string, string | number> = {},
): void {
  const { response, warnings } = request;
  if (warnings.length > 0) response.setHeader('Warning', warningHeaders(warnings));
  response.writeHead(code, {
    'Content-Type': type,
    'Cache-Control': 'no-cache, private',
    ...more,
  });
}

/** RFC 7234: `299 - "text"`; only printable ASCII, quotes and backslashes escaped, not without end. */
function warningHeaders(warnings: readonly string[]): string[] {
  return [...new Set(warnings)].slice(0, WARNINGS_MAX).map((text) => {
    const plain = text.replace(/[^\x20-\x7e]/g, '?').slice(0, WARNING_LENGTH_MAX);
    return `299 - "${plain.replace(/["\\]/g, (c) => `\\${c}`)}"`;
  });
}

/** For ETags and addresses of documents, as Kubernetes hashes them. */
export function contentHash(content: string | Uint8Array): string {
  return createHash('sha512').update(content).digest('hex').toUpperCase();
}

/** Does the client have the answer with this ETag already (If-None-Match, RFC 9110 13.1.2)? */
export function isNotModified(request: ApiRequest, etag: string): boolean {
  const known = request.message.headers['if-none-match'] ?? '';
  return known.split(',').some((one) => ['*', etag].includes(one.trim().replace(/^W\//, '')));
}

export function sendBytes(request: ApiRequest, code: number, type: string, body: Buffer): void {
  writeHead(request, code, type, { 'Content-Length': body.byteLength });
  request.response.end(body);
}

export function sendText(request: ApiRequest, code: number, text: string): void {
  sendBytes(request, code, 'text/plain; charset=utf-8', Buffer.from(text));
}

/** Any value that is no stored object. */
export function sendJson(
  request: ApiRequest,
  code: number,
  value: unknown,
  type = 'application/json',
): void {
  sendBytes(request, code, type, Buffer.from(`${JSON.stringify(value)}\n`));
}

/** A value in the form that the client asked for; for answers without Table. */
export function sendValue(request: ApiRequest, code: number, value: unknown): void {
  sendAs(request, code, value, formatFor(request, value));
}

function formatFor(request: ApiRequest, value: unknown): AnswerFormat {
  const offers = { transforms: false, protobuf: isEncodable(value) };
  return negotiate(request.message.headers.accept, offers).format;
}

function sendAs(request: ApiRequest, code: number, value: unknown, format: AnswerFormat): void {
  if (format === 'protobuf' && isEncodable(value)) {
    const bytes = encodeProtobuf(value.apiVersion, value.kind, value);
    sendBytes(request, code, PROTOBUF_TYPE, asBuffer(bytes));
  } else if (format === 'yaml') {
    sendBytes(request, code, 'application/yaml', Buffer.from(stringify(value)));
  } else {
    sendJson(request, code, value);
  }
}

export function sendObject(
  request: ApiRequest,
  code: number,
  stored: Stored,
  form: AnswerForm,
): void {
  if (form.format === 'protobuf') {
    sendBytes(request, code, PROTOBUF_TYPE, asBuffer(protobufObject(stored)));
    return;
  }
  const body = encodeObject(stored);
  if (form.format === 'json') sendBytes(request, code, 'application/json', body);
  else sendYaml(request, code, body);
}

export function sendYaml(request: ApiRequest, code: number, json: Buffer): void {
  const value: unknown = JSON.parse(json.toString('utf8'));
  sendBytes(request, code, 'application/yaml', Buffer.from(stringify(value)));
}

/** 200 as Kubernetes answers a delete that is done. */
export function successStatus(resource: Resource, name: string, uid: string): Status {
  const { group, plural } = resource.module;
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    details: { name, ...(group === '' ? {} : { group }), kind: plural, uid },
  };
}

/** Any error as its Status. What is no `ApiError` is ours to fix: 500, without the details that the log has. */
export function sendError(request: ApiRequest, error: unknown): void {
  const { response } = request;
  if (response.headersSent) {
    // The status line is out: only breaking the connection tells the client that the answer is not whole.
    response.destroy();
    return;
  }
  const known = asApiError(error);
  const retry = known.details?.retryAfterSeconds;
  if (retry !== undefined) response.setHeader('Retry-After', String(retry));
  // The rest of a body that was not read would be taken for the next request.
  if (!request.message.complete) response.setHeader('Connection', 'close');
  const status = known.toStatus();
  sendAs(request, known.code, status, errorFormat(request, status));
}

/** What the client asked for; JSON when the error is that we cannot write that. */
function errorFormat(request: ApiRequest, status: Status): AnswerFormat {
  try {
    return formatFor(request, status);
  } catch {
    return 'json';
  }
}

export function asApiError(error: unknown): ApiError {
  const known = fromStore(error);
  if (known instanceof ApiError) return known;
  return new ApiError(
    500,
    'InternalError',
    'Internal error occurred: see the log of the master',
    { causes: [{ message: 'see the log of the master' }] },
    { cause: error },
  );
}

/** `PodList`: items without kind and apiVersion, as Kubernetes has them. */
export async function sendList(
  request: ApiRequest,
  resource: Resource,
  list: StoredList,
): Promise<void> {
  const out = new ChunkedAnswer(request, 'application/json');
  const { kind } = resource.module;
  out.text(
    `{"kind":"${kind}List","apiVersion":"${resource.apiVersion}",` +
      `"metadata":${JSON.stringify(listMeta(list))},"items":[`,
  );
  let first = true;
  for (const stored of list.items) {
    out.text(first ? itemHead(stored.revision) : `,${itemHead(stored.revision)}`);
    out.bytes(tailOf(stored.value));
    first = false;
    if (out.isFull && !(await out.flush())) return;
  }
  out.text(']}\n');
  await out.end();
}

/** The same as protobuf: the items are encoded first, because its length stands before a message. */
export async function sendProtobufList(
  request: ApiRequest,
  resource: Resource,
  list: StoredList,
): Promise<void> {
  const { apiVersion, module } = resource;
  const head = { apiVersion, kind: `${module.kind}List`, metadata: listMeta(list) };
  await sendParts(request, encodeProtobufList(head, list.items.map(protobufMessage)));
}

export async function sendParts(
  request: ApiRequest,
  parts: Iterable<Uint8Array>,
  type = PROTOBUF_TYPE,
): Promise<void> {
  const out = new ChunkedAnswer(request, type);
  for (const part of parts) {
    out.bytes(part);
    if (out.isFull && !(await out.flush())) return;
  }
  await out.end();
}

export function listMeta(list: StoredList): Record<string, unknown> {
  return {
    resourceVersion: String(list.revision),
    ...(list.continueToken === undefined ? {} : { continue: list.continueToken }),
    ...(list.remaining === undefined ? {} : { remainingItemCount: list.remaining }),
  };
}

/** Collects parts into chunks of 64 KiB; an answer that fits into one goes out with its length. */
export class ChunkedAnswer {
  readonly #request: ApiRequest;
  readonly #type: string;
  readonly #code: number;
  #parts: Uint8Array[] = [];
  #size = 0;
  #started = false;

  constructor(request: ApiRequest, type: string, code = 200) {
    this.#request = request;
    this.#type = type;
    this.#code = code;
  }

  get isFull(): boolean {
    return this.#size >= CHUNK_BYTES;
  }

  text(text: string): void {
    this.bytes(Buffer.from(text));
  }

  bytes(bytes: Uint8Array): void {
    this.#parts.push(bytes);
    this.#size += bytes.byteLength;
  }

  /** Hands the parts to the socket and waits until it takes more; false when the client is gone. */
  async flush(): Promise<boolean> {
    const { response } = this.#request;
    if (!this.#started) writeHead(this.#request, this.#code, this.#type);
    this.#started = true;
    const parts = this.#parts;
    this.#parts = [];
    this.#size = 0;
    if (response.destroyed) return false;
    if (parts.length === 0 || writeParts(response, parts)) return true;
    return drained(response);
  }

  async end(): Promise<void> {
    if (!this.#started) {
      sendBytes(this.#request, this.#code, this.#type, Buffer.concat(this.#parts));
      return;
    }
    if (await this.flush()) this.#request.response.end();
  }
}

/** Waits until the socket takes more; false when it is gone. `timeoutMs`: gone after that, too. */
export async function drained(response: ServerResponse, timeoutMs = 60_000): Promise<boolean> {
  if (response.destroyed) return false;
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), timeoutMs);
  timer.unref();
  const closed = (): void => abort.abort();
  response.once('close', closed);
  try {
    await once(response, 'drain', { signal: abort.signal });
    return true;
  } catch {
    // Closed or too slow: either way nobody reads this answer any more.
    response.destroy();
    return false;
  } finally {
    clearTimeout(timer);
    response.off('close', closed);
  }
}

/**
 * Request bodies: at most 3 MiB, read whole, parsed by their content type. YAML is read with bounded aliases and depth, so
 * that a small text cannot become a large value.
 */
import type { IncomingMessage } from 'node:http';
import { isMap, isScalar, isSeq, parseAllDocuments } from 'yaml';
import { isDeeperThan, parseJsonStrict } from '../../protocol/kinds/json.ts';
import { ApiError, badRequest } from '../../protocol/status.ts';

export const BODY_BYTES_MAX = 3 * 1024 * 1024;
const YAML_ALIASES_MAX = 100;
const YAML_DEPTH_MAX = 128;
const DOUBLED_KEYS_MAX = 100;

export interface ParsedBody {
  readonly value: unknown;
  readonly duplicateFields: readonly string[];
}

/** The media type of the body without parameters; empty when the client sent none. */
export function contentType(request: IncomingMessage): string {
  const header = request.headers['content-type'] ?? '';
  return (header.split(';')[0] ?? '').trim().toLowerCase();
}

/**
 * Throws 413 when the body is larger than allowed; the rest of it is not read. By events: the asynchronous iterator of a stream
 * costs more than all the rest of reading a small body.
 */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const announced = Number(request.headers['content-length'] ?? 0);
  if (announced > BODY_BYTES_MAX) throw bodyTooLarge();
  // Nothing would tell us any more.
  if (request.destroyed) throw clientGone();
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const take = (chunk: Buffer): void => {
      bytes += chunk.byteLength;
      if (bytes <= BODY_BYTES_MAX) {
        chunks.push(chunk);
        return;
      }
      // The connection must outlive a body that is too large, or nobody could tell the client.
      request.off('data', take).pause();
      reject(bodyTooLarge());
    };
    request.on('data', take);
    request.once('end', () => resolve(joined(chunks)));
    request.once('error', reject);
    request.once('close', () => {
      if (!request.readableEnded) reject(clientGone());
    });
  });
}

function clientGone(): Error {
  return new Error('the client went away before its request was whole');
}

function joined(chunks: readonly Buffer[]): Buffer {
  const [first] = chunks;
  return chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks);
}

function bodyTooLarge(): ApiError {
  return new ApiError(
    413,
    'RequestEntityTooLarge',
    `Request entity too large: limit is ${BODY_BYTES_MAX}`,
  );
}

export function parseJsonBody(body: Buffer): ParsedBody {
  return parseJsonStrict(body.toString('utf8'));
}

export function parseYamlBody(body: Buffer): ParsedBody {
  // Doubled keys are left to us: JSON and YAML then report them alike.
  const documents = parseAllDocuments(body.toString('utf8'), { uniqueKeys: false, merge: false });
  const [document, ...more] = 'empty' in documents ? [] : documents;
  if (document === undefined) throw badRequest('the body is empty');
  if (more.length > 0) throw badRequest('the body holds more than one YAML document');
  const [first] = document.errors;
  if (first !== undefined) throw badRequest(`the body is no valid YAML: ${first.message}`);
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: YAML_ALIASES_MAX });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw badRequest(`the body is no acceptable YAML: ${why}`);
  }
  if (isDeeperThan(value, YAML_DEPTH_MAX)) {
    throw badRequest(`the body is nested more than ${YAML_DEPTH_MAX} levels deep`);
  }
  return { value, duplicateFields: doubledKeys(document.contents, '') };
}

/** Paths of keys that stand twice in one map, as parseJsonStrict names them. What an alias repeats is no second key. */
function doubledKeys(node: unknown, path: string, depth = 0): string[] {
  // What a later key of the same name hides may be nested without end.
  if (depth > YAML_DEPTH_MAX) return [];
  if (isSeq(node)) {
    return node.items.flatMap((item, i) => doubledKeys(item, `${path}[${i}]`, depth + 1));
  }
  if (!isMap(node)) return [];
  const seen = new Set<string>();
  const found: string[] = [];
  for (const { key, value } of node.items) {
    const name = isScalar(key) ? String(key.value) : String(key);
    const at = path === '' ? name : `${path}.${name}`;
    if (seen.has(name)) found.push(at);
    seen.add(name);
    found.push(...doubledKeys(value, at, depth + 1));
  }
  return found.slice(0, DOUBLED_KEYS_MAX);
}

/** 415 in Kubernetes' words. */
export function unsupportedMediaType(accepted: readonly string[]): ApiError {
  return new ApiError(
    415,
    'UnsupportedMediaType',
    'the body of the request was in an unknown format - accepted media types include: ' +
      accepted.join(', '),
  );
}

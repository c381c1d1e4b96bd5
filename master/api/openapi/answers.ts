/**
 * Answers GET /openapi/v3, its documents, and /openapi/v2. Documents go out as they are kept; who cannot read gzip gets
 * them unpacked on the way.
 */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { type ApiRequest, contentHash, isNotModified, sendBytes } from '../answers.ts';
import { acceptsEncoding, negotiate, notAcceptable } from '../negotiate.ts';
import { noSuchResource } from '../resources.ts';
import { legacyDocument } from './legacy.ts';
import type { OpenApiSource } from './source.ts';

const ROOT = '/openapi/v3';
/** One year; where a cache reads this it needs no Expires, which a board's clock could not say. */
const IMMUTABLE = 'public, immutable, max-age=31536000';

/** Throws `ApiError` 404 for a path that is no document, 406 for a client that takes no JSON. */
export async function sendOpenApi(
  request: ApiRequest,
  path: string,
  source: OpenApiSource,
): Promise<void> {
  const { accept } = request.message.headers;
  if (path === '/openapi/v2') {
    const { type, body } = legacyDocument(accept ?? '');
    sendBytes(request, 200, type, body);
    return;
  }
  if (negotiate(accept, { transforms: false, protobuf: false }).format !== 'json')
    throw notAcceptable();
  if (path === ROOT) await sendIndex(request, source);
  else await sendDocument(request, path.slice(ROOT.length + 1), source);
}

/** Where the documents are, each with the hash of its content. */
async function sendIndex(request: ApiRequest, source: OpenApiSource): Promise<void> {
  const paths = Object.fromEntries(
    [...(await source.hashes())].map(([place, hash]) => [
      place,
      { serverRelativeURL: addressOf(place, hash) },
    ]),
  );
  const body = Buffer.from(JSON.stringify({ paths }));
  const etag = `"${contentHash(body)}"`;
  request.response.setHeader('ETag', etag);
  if (isNotModified(request, etag)) request.response.writeHead(304).end();
  else sendBytes(request, 200, 'application/json', body);
}

async function sendDocument(
  request: ApiRequest,
  place: string,
  source: OpenApiSource,
): Promise<void> {
  const { message, response, query } = request;
  const hash = (await source.hashes()).get(place);
  if (hash === undefined) throw noSuchResource();
  const asked = query.get('hash') ?? '';
  if (asked !== '' && asked !== hash) {
    // Of another version of this server: under that address nothing else may be kept.
    response.writeHead(301, { Location: addressOf(place, hash), 'Content-Length': 0 }).end();
    return;
  }
  const headers = {
    ETag: `"${hash}"`,
    Vary: 'Accept, Accept-Encoding',
    // An address with the hash of its content never changes.
    'Cache-Control': asked === '' ? 'no-cache, private' : IMMUTABLE,
  };
  if (isNotModified(request, headers.ETag)) {
    response.writeHead(304, headers).end();
    return;
  }
  const gzip = await source.read(place);
  if (acceptsEncoding(message.headers['accept-encoding'], 'gzip')) {
    const length = { 'Content-Encoding': 'gzip', 'Content-Length': gzip.byteLength };
    response.writeHead(200, { ...headers, 'Content-Type': 'application/json', ...length });
    response.end(gzip);
    return;
  }
  response.writeHead(200, { ...headers, 'Content-Type': 'application/json' });
  await pipeline(Readable.from([gzip]), createGunzip(), response);
}

function addressOf(place: string, hash: string): string {
  return `${ROOT}/${place}?hash=${hash}`;
}

/**
 * Header blocks of SPDY/3.1 (draft 3, section 2.6.10): a count, then names and values with lengths of 32 bits, compressed
 * with zlib and a dictionary; one zlib stream per direction and connection, a sync flush per block.
 *
 * What we send is not compressed: zlib's "stored" blocks are valid for every reader, need no state beyond "is it the
 * first", and no memory for a deflater per connection. Our headers are a few bytes.
 */
import { createInflate, type Inflate } from 'node:zlib';

const WORDS = [
  ...['options', 'head', 'post', 'put', 'delete', 'trace', 'accept', 'accept-charset'],
  ...['accept-encoding', 'accept-language', 'accept-ranges', 'age', 'allow', 'authorization'],
  ...['cache-control', 'connection', 'content-base', 'content-encoding', 'content-language'],
  ...['content-length', 'content-location', 'content-md5', 'content-range', 'content-type'],
  ...['date', 'etag', 'expect', 'expires', 'from', 'host', 'if-match', 'if-modified-since'],
  ...['if-none-match', 'if-range', 'if-unmodified-since', 'last-modified', 'location'],
  ...['max-forwards', 'pragma', 'proxy-authenticate', 'proxy-authorization', 'range', 'referer'],
  ...['retry-after', 'server', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'user-agent'],
  ...['vary', 'via', 'warning', 'www-authenticate', 'method', 'get', 'status', '200 OK'],
  ...['version', 'HTTP/1.1', 'url', 'public', 'set-cookie', 'keep-alive', 'origin'],
];
const TAIL =
  '100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505' +
  '203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request' +
  '401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented' +
  '503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, ' +
  'Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,' +
  'application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=' +
  'gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.';

/** The draft's dictionary: words with their lengths, then a text. */
export const SPDY_DICTIONARY = Buffer.concat([...WORDS.map(lengthPrefixed), Buffer.from(TAIL)]);
/** RFC 1950: deflate with a window of 32 KiB and a dictionary, and the dictionary's Adler-32. */
const ZLIB_HEAD = Buffer.from([0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2]);
/** An empty stored block: Go's reader hands out nothing before it has seen one. */
const SYNC_FLUSH = Buffer.from([0, 0, 0, 0xff, 0xff]);

const BLOCK_BYTES_MAX = 64 * 1024;
const PAIRS_MAX = 64;

export type SpdyHeaders = ReadonlyMap<string, string>;

/** The peer does not speak SPDY/3.1 as it should; the connection cannot go on. */
export class SpdyError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SpdyError';
  }
}

function lengthPrefixed(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  const head = Buffer.alloc(4);
  head.writeUInt32BE(bytes.length);
  return Buffer.concat([head, bytes]);
}

/** Plain block; names must be in lower case. */
export function encodeHeaders(headers: SpdyHeaders): Buffer {
  const count = Buffer.alloc(4);
  count.writeUInt32BE(headers.size);
  const pairs = [...headers].flatMap(([name, value]) => [
    lengthPrefixed(name),
    lengthPrefixed(value),
  ]);
  return Buffer.concat([count, ...pairs]);
}

/** Of a plain block. Throws SpdyError. */
export function decodeHeaders(block: Buffer): SpdyHeaders {
  let at = 0;
  const number = (): number => {
    if (at + 4 > block.length) throw new SpdyError('a header block ends too early');
    at += 4;
    return block.readUInt32BE(at - 4);
  };
  const text = (): string => {
    const length = number();
    if (at + length > block.length) throw new SpdyError('a header block ends too early');
    at += length;
    return block.toString('latin1', at - length, at);
  };
  const count = number();
  if (count > PAIRS_MAX) throw new SpdyError(`more than ${PAIRS_MAX} headers`);
  const headers = new Map<string, string>();
  for (let index = 0; index < count; index += 1) headers.set(text().toLowerCase(), text());
  return headers;
}

/** One direction's sender. */
export class HeaderPacker {
  #isFirst = true;

  pack(headers: SpdyHeaders): Buffer {
    const block = encodeHeaders(headers);
    if (block.length > 0xffff) throw new SpdyError('a header block is too long to be sent');
    const stored = Buffer.alloc(5);
    stored.writeUInt16LE(block.length, 1);
    stored.writeUInt16LE(~block.length & 0xffff, 3);
    const head = this.#isFirst ? [ZLIB_HEAD] : [];
    this.#isFirst = false;
    return Buffer.concat([...head, stored, block, SYNC_FLUSH]);
  }
}

/** One direction's receiver. Blocks must be unpacked one after the other. */
export class HeaderUnpacker {
  readonly #inflate: Inflate = createInflate({ dictionary: SPDY_DICTIONARY });
  #parts: Buffer[] = [];
  #bytes = 0;
  #failure: SpdyError | undefined;
  #fail: (error: SpdyError) => void = () => undefined;

  constructor() {
    this.#inflate.on('error', (cause) => this.#broken('headers are not compressed as SPDY', cause));
    this.#inflate.on('end', () => this.#broken('the headers ended before the connection'));
    this.#inflate.on('readable', () => this.#take());
  }

  /** Throws SpdyError. */
  async unpack(block: Uint8Array): Promise<SpdyHeaders> {
    await new Promise<void>((resolve, reject) => {
      this.#fail = reject;
      if (this.#failure !== undefined) reject(this.#failure);
      else this.#inflate.write(block, (error) => (error ? undefined : resolve()));
    });
    // What was written is inflated by now, but may not have been announced yet.
    this.#take();
    const plain = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#bytes = 0;
    return decodeHeaders(plain);
  }

  close(): void {
    this.#inflate.destroy();
    this.#broken('the connection was closed');
  }

  #take(): void {
    for (;;) {
      const part: Buffer | null = this.#inflate.read();
      if (part === null) return;
      this.#bytes += part.length;
      if (this.#bytes > BLOCK_BYTES_MAX) {
        this.#inflate.destroy();
        this.#broken(`a header block is over ${BLOCK_BYTES_MAX} bytes`);
        return;
      }
      this.#parts.push(part);
    }
  }

  #broken(message: string, cause?: unknown): void {
    this.#failure ??= new SpdyError(message, { cause });
    this.#fail(this.#failure);
  }
}

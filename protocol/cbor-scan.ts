/**
 * Looks over CBOR (RFC 8949) before a decoder may touch it, and refuses what our messages never hold, so
 * that no hostile payload costs more time or memory than its own length.
 *
 * Allowed: integers up to 2^53-1, byte and text strings, arrays, maps with text keys, false, true, null, finite
 * floats. Refused: tags (a bignum takes cbor-x quadratic time, other tags become classes), indefinite
 * lengths, `undefined` and other simple values, non-finite numbers, doubled keys, the key `__proto__`,
 * nesting deeper than 64, more than 131,072 items, lengths beyond the end, bytes behind the end.
 */
const DEPTH_MAX = 64;
const ITEMS_MAX = 131_072;

/** The bytes are not CBOR as we speak it; `message` says what is wrong and at which byte. */
export class CborError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'CborError';
  }
}

/** Throws CborError unless `bytes` is exactly one allowed item. */
export function scanCbor(bytes: Uint8Array): void {
  const scanner = new Scanner(bytes);
  scanner.item(0);
  if (scanner.position !== bytes.length) {
    throw new CborError(`${bytes.length - scanner.position} bytes follow the message's end`);
  }
}

class Scanner {
  position = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #text = new TextDecoder('utf-8', { fatal: true });
  #items = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  item(depth: number): void {
    if (depth > DEPTH_MAX) throw this.#error(`nested deeper than ${DEPTH_MAX}`);
    this.#items += 1;
    if (this.#items > ITEMS_MAX) throw this.#error(`more than ${ITEMS_MAX} items`);
    const initial = this.#byte();
    const major = initial >> 5;
    const additional = initial & 0x1f;
    switch (major) {
      case 0:
      case 1:
        this.#argument(additional);
        return;
      case 2:
      case 3:
        this.#skip(this.#argument(additional));
        return;
      case 4:
        this.#array(this.#argument(additional), depth);
        return;
      case 5:
        this.#map(this.#argument(additional), depth);
        return;
      case 6:
        throw this.#error('a tag is not allowed');
      default:
        this.#simple(additional);
    }
  }

  #array(length: number, depth: number): void {
    if (length > this.#left()) throw this.#error('an array longer than the message');
    for (let index = 0; index < length; index += 1) this.item(depth + 1);
  }

  #map(length: number, depth: number): void {
    if (length > this.#left()) throw this.#error('a map larger than the message');
    const keys = new Set<string>();
    for (let index = 0; index < length; index += 1) {
      const key = this.#key();
      if (keys.has(key)) throw this.#error(`the key "${key}" twice in one map`);
      keys.add(key);
      this.item(depth + 1);
    }
  }

  #key(): string {
    const initial = this.#byte();
    if (initial >> 5 !== 3) throw this.#error('a key of a map that is no text');
    const length = this.#argument(initial & 0x1f);
    const start = this.position;
    this.#skip(length);
    const key = this.#decodeText(this.#bytes.subarray(start, this.position));
    if (key === '__proto__') throw this.#error('the key "__proto__" is not allowed');
    return key;
  }

  #decodeText(bytes: Uint8Array): string {
    try {
      return this.#text.decode(bytes);
    } catch (cause) {
      throw new CborError(`a key at byte ${this.position} is not UTF-8 (${String(cause)})`);
    }
  }

  #simple(additional: number): void {
    switch (additional) {
      case 20: // false
      case 21: // true
      case 22: // null
        return;
      case 25:
        this.#need(2);
        if ((this.#view.getUint16(this.position) & 0x7c00) === 0x7c00) {
          throw this.#error('a number that is not finite');
        }
        this.position += 2;
        return;
      case 26:
        this.#need(4);
        this.#finite(this.#view.getFloat32(this.position));
        this.position += 4;
        return;
      case 27:
        this.#need(8);
        this.#finite(this.#view.getFloat64(this.position));
        this.position += 8;
        return;
      default:
        throw this.#error(`simple value ${additional} is not allowed`);
    }
  }

  #finite(value: number): void {
    if (!Number.isFinite(value)) throw this.#error('a number that is not finite');
  }

  /** The number behind an initial byte (RFC 8949, section 3). */
  #argument(additional: number): number {
    if (additional < 24) return additional;
    if (additional === 24) return this.#byte();
    if (additional === 25) {
      this.#need(2);
      this.position += 2;
      return this.#view.getUint16(this.position - 2);
    }
    if (additional === 26) {
      this.#need(4);
      this.position += 4;
      return this.#view.getUint32(this.position - 4);
    }
    if (additional === 27) {
      this.#need(8);
      const value =
        this.#view.getUint32(this.position) * 2 ** 32 + this.#view.getUint32(this.position + 4);
      if (value > Number.MAX_SAFE_INTEGER) throw this.#error('an integer beyond 2^53-1');
      this.position += 8;
      return value;
    }
    throw this.#error('indefinite lengths and reserved forms are not allowed');
  }

  #byte(): number {
    const value = this.#bytes[this.position];
    if (value === undefined) throw this.#error('the message ends too early');
    this.position += 1;
    return value;
  }

  #skip(length: number): void {
    this.#need(length);
    this.position += length;
  }

  #need(length: number): void {
    if (length > this.#left()) throw this.#error('the message ends too early');
  }

  #left(): number {
    return this.#bytes.length - this.position;
  }

  #error(what: string): CborError {
    return new CborError(`${what} (at byte ${this.position})`);
  }
}

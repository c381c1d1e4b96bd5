/**
 * Datagrams on a stream of bytes, as RFC 9297 (capsules) and RFC 9298 (UDP over HTTP) have them. Pure.
 *
 *   type      variable-length integer, 0 for a datagram; capsules of other types are passed over
 *   length    variable-length integer, of all that follows
 *   context   variable-length integer, 0 for UDP; datagrams of other contexts are passed over
 *   payload   the rest
 *
 * A variable-length integer (RFC 9000, 16) has its length, 1, 2, 4 or 8 octets, in its first two bits.
 */

/** What no UDP datagram over IPv4 exceeds. */
const PAYLOAD_BYTES_MAX = 65_527;
const CONTEXT_BYTES_MAX = 8;
const DATAGRAM = 0;
const UDP_PAYLOAD = 0;

/** The other side does not speak as it should. */
export class CapsuleError extends Error {}

/** Throws RangeError for more than a UDP datagram can hold. */
export function datagramCapsule(payload: Uint8Array): Buffer {
  if (payload.length > PAYLOAD_BYTES_MAX) throw new RangeError('no datagram is as long as that');
  const length = payload.length + 1;
  // Four octets for all: 0x80 in the first says so.
  const head = Buffer.from([DATAGRAM, 0x80, length >> 16, (length >> 8) & 0xff, length & 0xff]);
  return Buffer.concat([head, Buffer.from([UDP_PAYLOAD]), payload]);
}

/** Finds the datagrams in what arrives, however it is cut. Holds at most one that is not whole. */
export class CapsuleReader {
  #rest: Buffer = Buffer.alloc(0);
  /** Of a capsule that is passed over. */
  #skip = 0;

  /** The payloads that are whole now. Throws CapsuleError; then nothing more can be read. */
  read(chunk: Buffer): Buffer[] {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const found: Buffer[] = [];
    for (;;) {
      const skipped = Math.min(this.#skip, bytes.length);
      this.#skip -= skipped;
      bytes = bytes.subarray(skipped);
      const type = integerAt(bytes, 0);
      const length = type && integerAt(bytes, type.end);
      if (type === undefined || length === undefined) break;
      if (type.value !== DATAGRAM) {
        this.#skip = length.end + length.value;
        continue;
      }
      if (length.value > PAYLOAD_BYTES_MAX + CONTEXT_BYTES_MAX) {
        throw new CapsuleError(`a datagram of ${length.value} octets is longer than UDP has them`);
      }
      const end = length.end + length.value;
      if (bytes.length < end) break;
      const context = integerAt(bytes.subarray(0, end), length.end);
      if (context === undefined) throw new CapsuleError('a datagram is shorter than its context');
      if (context.value === UDP_PAYLOAD) found.push(bytes.subarray(context.end, end));
      bytes = bytes.subarray(end);
    }
    this.#rest = bytes;
    return found;
  }
}

/** Undefined when it is not whole. Values from 2^53 on are not exact, and all too large for anything here. */
function integerAt(bytes: Buffer, at: number): { value: number; end: number } | undefined {
  const first = bytes[at];
  if (first === undefined) return undefined;
  const end = at + 2 ** (first >> 6);
  if (bytes.length < end) return undefined;
  let value = first & 0x3f;
  for (let index = at + 1; index < end; index++) value = value * 256 + (bytes[index] ?? 0);
  return { value, end };
}

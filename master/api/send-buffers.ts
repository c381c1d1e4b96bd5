/**
 * Sends many small parts as one chunk, through buffers that are used again once the socket has taken them. A new buffer for
 * each chunk floats until V8 collects: a hundred clients that list everything at once made the master a hundred MiB larger
 * for good, because malloc gives little of that back.
 */
import type { Writable } from 'node:stream';

/** A chunk of a list (64 KiB) with its last object, if that is of usual size. */
const BUFFER_BYTES = 72 * 1024;
const FREE_MAX = 32;
const free: Buffer[] = [];

/** Returns what `write` says: false when the client is to be waited for. */
export function writeParts(to: Writable, parts: readonly Uint8Array[]): boolean {
  const [only] = parts;
  if (only !== undefined && parts.length === 1) return to.write(only);
  const size = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
  if (size > BUFFER_BYTES) return to.write(Buffer.concat(parts, size));
  const buffer = free.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES);
  let at = 0;
  for (const part of parts) {
    buffer.set(part, at);
    at += part.byteLength;
  }
  return to.write(buffer.subarray(0, at), (error) => {
    // After an error the socket may still be reading it.
    if (!error && free.length < FREE_MAX) free.push(buffer);
  });
}

/**
 * A tar archive (POSIX ustar) of a few small files in memory: enough to hand an image to an engine.
 * Files, folders and symbolic links; paths up to 100 bytes; owner root, time 1970, so the same input always gives
 * the same bytes.
 */

export interface TarEntry {
  /** Relative, as in `bin/sh`; a folder ends in `/`. */
  readonly path: string;
  /** Permission bits, as in 0o755. */
  readonly mode: number;
  /** Empty for a folder. */
  readonly content?: Uint8Array;
  /** Makes it a symbolic link to this path instead; up to 100 bytes. */
  readonly linkTo?: string;
}

const BLOCK_BYTES = 512;

/** The archive, ended by two empty blocks. Throws RangeError when a path does not fit. */
export function tarArchive(entries: readonly TarEntry[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const entry of entries) {
    const content = entry.content ?? new Uint8Array(0);
    parts.push(header(entry, content.length), content);
    const rest = content.length % BLOCK_BYTES;
    if (rest > 0) parts.push(new Uint8Array(BLOCK_BYTES - rest));
  }
  parts.push(new Uint8Array(2 * BLOCK_BYTES));
  return Buffer.concat(parts);
}

function header(entry: TarEntry, size: number): Uint8Array {
  const block = Buffer.alloc(BLOCK_BYTES);
  for (const path of [entry.path, entry.linkTo ?? '']) {
    if (Buffer.byteLength(path) > 100) {
      throw new RangeError(`tar: the path "${path}" is longer than 100 bytes`);
    }
  }
  const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, '0');
  block.write(entry.path, 0);
  block.write(octal(entry.mode, 7), 100);
  block.write(octal(0, 7), 108);
  block.write(octal(0, 7), 116);
  block.write(octal(size, 11), 124);
  block.write(octal(0, 11), 136);
  // The checksum is computed with its own field full of spaces.
  block.write('        ', 148);
  const type = entry.linkTo !== undefined ? '2' : entry.path.endsWith('/') ? '5' : '0';
  block.write(type, 156);
  block.write(entry.linkTo ?? '', 157);
  block.write('ustar\u000000', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 6)}\u0000 `, 148, 'latin1');
  return block;
}

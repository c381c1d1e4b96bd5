/**
 * Small files that survive a pulled plug: checksummed, replaced as a whole, set aside when damaged.
 *
 * Layout of a file (big endian):
 *   bytes 0..3    "PIER"
 *   byte  4       format version, 1
 *   bytes 5..7    zero
 *   bytes 8..15   epoch of the manifest the content came with, 0 if none
 *   bytes 16..23  revision of that manifest, 0 if none
 *   bytes 24..55  SHA-256 of bytes 0..23 and the body
 *   bytes 56..    body: CBOR
 *
 * A write goes to a temporary file, is synced, renamed over the old one, and the directory is synced: after a
 * power cut there is the old content or the new one. A damaged file is renamed to `NAME.damaged`, for a
 * person to look at; the caller goes on without it.
 */
import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';

const MAGIC = Buffer.from('PIER');
const FORMAT = 1;
const HEADER_BYTES = 56;
const HASHED_HEADER_BYTES = 24;
const TEMPORARY = '.tmp';
const DAMAGED = '.damaged';

export interface Order {
  readonly epoch: number;
  readonly revision: number;
}

export interface StateContent {
  readonly order: Order;
  readonly body: Uint8Array;
}

/** The bytes of a file are not what was once written. */
export class DamagedFileError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'DamagedFileError';
  }
}

export function encodeStateFile({ order, body }: StateContent): Uint8Array {
  const file = Buffer.alloc(HEADER_BYTES + body.length);
  MAGIC.copy(file, 0);
  file[4] = FORMAT;
  file.writeBigUInt64BE(BigInt(order.epoch), 8);
  file.writeBigUInt64BE(BigInt(order.revision), 16);
  file.set(body, HEADER_BYTES);
  checksum(file).copy(file, HASHED_HEADER_BYTES);
  return file;
}

/** Throws DamagedFileError. */
export function decodeStateFile(bytes: Uint8Array): StateContent {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (file.length < HEADER_BYTES) throw new DamagedFileError(`cut off at ${file.length} bytes`);
  if (!file.subarray(0, 4).equals(MAGIC)) throw new DamagedFileError('not a state file of Pier');
  if (file[4] !== FORMAT) throw new DamagedFileError(`of format ${file[4]}, not ${FORMAT}`);
  if (!checksum(file).equals(file.subarray(HASHED_HEADER_BYTES, HEADER_BYTES))) {
    throw new DamagedFileError('its checksum does not fit its content');
  }
  const order = {
    epoch: Number(file.readBigUInt64BE(8)),
    revision: Number(file.readBigUInt64BE(16)),
  };
  return { order, body: new Uint8Array(file.subarray(HEADER_BYTES)) };
}

function checksum(file: Buffer): Buffer {
  return createHash('sha256')
    .update(file.subarray(0, HASHED_HEADER_BYTES))
    .update(file.subarray(HEADER_BYTES))
    .digest();
}

/** A directory of such files. One process and one writer at a time; the caller serialises. */
export class StateDirectory {
  readonly #directory: string;
  readonly #onDamage: (file: string, error: Error) => void;

  constructor(directory: string, onDamage: (file: string, error: Error) => void) {
    this.#directory = directory;
    this.#onDamage = onDamage;
  }

  /** Every good file by name. Damaged ones are set aside, leftovers of a cut write removed. */
  async readAll(): Promise<Map<string, StateContent>> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const contents = new Map<string, StateContent>();
    for (const name of (await readdir(this.#directory)).sort()) {
      if (name.endsWith(DAMAGED)) continue;
      if (name.endsWith(TEMPORARY)) {
        await rm(this.#path(name), { force: true });
        continue;
      }
      try {
        contents.set(name, decodeStateFile(await readFile(this.#path(name))));
      } catch (error) {
        await this.setAside(name, error instanceof Error ? error : new Error(String(error)));
      }
    }
    return contents;
  }

  /** For a file whose bytes are whole and whose meaning is not. */
  async setAside(name: string, error: Error): Promise<void> {
    this.#onDamage(this.#path(name), error);
    try {
      await rename(this.#path(name), this.#path(`${name}${DAMAGED}`));
    } catch (cause) {
      // A disk that refuses even this must not keep the pods from starting.
      this.#onDamage(this.#path(name), cause instanceof Error ? cause : new Error(String(cause)));
    }
  }

  /** Durable when it returns, all of them; each alone is old or new after a crash. */
  async write(files: ReadonlyMap<string, StateContent>): Promise<void> {
    if (files.size === 0) return;
    await Promise.all(
      [...files].map(([name, content]) => this.#replace(name, encodeStateFile(content))),
    );
    await this.#sync();
  }

  async remove(names: readonly string[]): Promise<void> {
    await Promise.all(names.map((name) => rm(this.#path(name), { force: true })));
  }

  async #replace(name: string, bytes: Uint8Array): Promise<void> {
    const temporary = this.#path(`${name}${TEMPORARY}`);
    const handle = await open(temporary, 'w', 0o600);
    try {
      await handle.writeFile(bytes);
      await handle.datasync();
    } finally {
      await handle.close();
    }
    await rename(temporary, this.#path(name));
  }

  async #sync(): Promise<void> {
    const handle = await open(this.#directory, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  #path(name: string): string {
    return path.join(this.#directory, name);
  }
}

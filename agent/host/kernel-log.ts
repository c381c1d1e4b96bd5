/**
 * Which containers the kernel took a process from for lack of memory, from its own log. For an engine that does not
 * tell: a container's cgroup, which counts them, is gone before the end is heard of. Read when somebody asks, from where
 * the last reading ended; nobody is woken by it.
 */
import { constants, type FileHandle, open } from 'node:fs/promises';

/** Kernel 5.0 and newer: one line per kill, with the victim's cgroup, the last part of whose path holds the container's id. */
const VICTIM = /oom-kill:.*\btask_memcg=[^,]*([0-9a-f]{64})/;
const IDS_MAX = 1000;
/** The longest record that /dev/kmsg gives; with a smaller buffer it refuses to. */
const RECORD_BYTES_MAX = 8192;
const FILE = '/dev/kmsg';

/** The container of a record of the kernel's log that tells of such a kill. */
export function oomVictim(record: string): string | undefined {
  return VICTIM.exec(record)?.[1];
}

export class KernelLog {
  #file: FileHandle | undefined;
  #isUnreadable = false;
  readonly #victims = new Set<string>();
  #reading: Promise<void> = Promise.resolve();

  /** False as well when the log cannot be read, or has gone on too far since. Never rejects. */
  async tookFrom(containerId: string): Promise<boolean> {
    this.#reading = this.#reading.then(() => this.#read());
    await this.#reading;
    return this.#victims.has(containerId);
  }

  async close(): Promise<void> {
    await this.#reading;
    await this.#file?.close();
    this.#file = undefined;
  }

  async #read(): Promise<void> {
    if (this.#isUnreadable) return;
    try {
      this.#file ??= await open(FILE, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch {
      this.#isUnreadable = true;
      return;
    }
    const buffer = Buffer.alloc(RECORD_BYTES_MAX);
    for (;;) {
      const record = await nextRecord(this.#file, buffer);
      if (record === undefined) return;
      const victim = oomVictim(record);
      if (victim !== undefined) this.#note(victim);
    }
  }

  #note(victim: string): void {
    this.#victims.add(victim);
    const [oldest] = this.#victims;
    if (this.#victims.size > IDS_MAX && oldest !== undefined) this.#victims.delete(oldest);
  }
}

/** Undefined when there is no more for now. */
async function nextRecord(file: FileHandle, buffer: Buffer): Promise<string | undefined> {
  try {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
    return bytesRead === 0 ? undefined : buffer.toString('utf8', 0, bytesRead);
  } catch (error) {
    // Records were overwritten before they were read: the next call goes on with the oldest that there is.
    if (error instanceof Error && 'code' in error && error.code === 'EPIPE') return '';
    return undefined;
  }
}

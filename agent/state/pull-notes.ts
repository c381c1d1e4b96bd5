/**
 * Which pulls of images have begun and not ended, on the board's disk. An engine lists layers before the disk has their files; when the
 * power goes in between, the image is there after the boot and its programs are empty. A pull that had not ended in an
 * earlier boot is therefore not to be trusted. Two small writes a pull, beside the layers themselves.
 */
import { decodeCbor, encodeCbor } from '../../protocol/codec.ts';
import type { StateDirectory } from './state-file.ts';

const FILE = 'pulls';
const NO_ORDER = { epoch: 0, revision: 0 } as const;

export class PullNotes {
  readonly #directory: StateDirectory;
  readonly #onWriteError: (error: unknown) => void;
  #bootId = '';
  /** By full name of the image: the boot in which its pull began. */
  #pulls = new Map<string, string>();
  #writing: Promise<void> = Promise.resolve();

  /** `onWriteError`: a full or read-only card must not keep images from being pulled. */
  constructor(directory: StateDirectory, onWriteError: (error: unknown) => void) {
    this.#directory = directory;
    this.#onWriteError = onWriteError;
  }

  /** `bootId`: of this boot, as the kernel tells it (random(4), boot_id). */
  async load(bootId: string): Promise<void> {
    this.#bootId = bootId;
    const content = (await this.#directory.readAll()).get(FILE);
    if (content === undefined) return;
    try {
      this.#pulls = readPulls(decodeCbor(content.body));
    } catch (error) {
      const reason = error instanceof Error ? error : new Error(String(error));
      await this.#directory.setAside(FILE, reason);
    }
  }

  /** Its pull was under way when the power went. */
  isSuspect(name: string): boolean {
    const begun = this.#pulls.get(name);
    return begun !== undefined && begun !== this.#bootId;
  }

  /** Durable when it resolves. A suspect image stays one. */
  async begin(name: string): Promise<void> {
    if (!this.#pulls.has(name)) {
      this.#pulls.set(name, this.#bootId);
      this.#save();
    }
    await this.#writing;
  }

  /** The disk has the image. */
  end(name: string): void {
    if (this.#pulls.delete(name)) this.#save();
  }

  /** Waits for what is being written. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  #save(): void {
    this.#writing = this.#writing.then(async () => {
      const body = encodeCbor({ pulls: Object.fromEntries(this.#pulls) });
      await this.#directory
        .write(new Map([[FILE, { order: NO_ORDER, body }]]))
        .catch(this.#onWriteError);
    });
  }
}

function readPulls(value: unknown): Map<string, string> {
  const pulls = typeof value === 'object' && value !== null && 'pulls' in value && value.pulls;
  if (typeof pulls !== 'object' || pulls === null) throw new Error('it holds no pulls');
  return new Map(
    Object.entries(pulls).map(([name, bootId]): [string, string] => [name, String(bootId)]),
  );
}

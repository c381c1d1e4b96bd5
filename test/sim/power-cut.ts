/**
 * What a writer (power-writer.ts) has said to have stored, and whether a directory that its power cut left holds it: every
 * acknowledged write, nothing that was never written, and exactly the state of its revision.
 */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { nodeDisk } from '../../master/store/disk.ts';
import { recover } from '../../master/store/recovery.ts';
import { seededRandom } from './disk.ts';
import { digest, type Found, Life, Model } from './store-harness.ts';

/** A disk of this size is enough for the writer, and quickly copied. */
export const IMAGE_BYTES = 32 * 1024 * 1024;

/** Collects what a writer says on a stream that may hold other words, too (the console of a machine). */
export class Acknowledged {
  revision = 0;
  starts = 0;
  words = '';
  readonly #closed: Promise<void>;
  #rest = '';
  #hasEnded = false;

  constructor(child: ChildProcess) {
    child.stdout?.on('data', (chunk: Buffer) => this.#take(chunk.toString('latin1')));
    child.stderr?.on('data', (chunk: Buffer) => this.#note(chunk.toString('latin1')));
    this.#closed = new Promise((resolve) => {
      child.once('close', () => {
        this.#hasEnded = true;
        resolve();
      });
    });
  }

  get closed(): Promise<void> {
    return this.#closed;
  }

  /** Waits until the revision is above `revision`; throws when the writer ends or `ms` have passed. */
  async above(revision: number, ms: number): Promise<void> {
    const deadline = performance.now() + ms;
    while (this.revision <= revision) {
      if (this.#hasEnded) throw new Error(`the writer has ended: ${this.words}`);
      if (performance.now() > deadline) throw new Error(`no write for ${ms} ms: ${this.words}`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    // A line that the cut left unfinished says nothing.
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const [, what, number] = /^([AS]) (\d+)\r?$/.exec(line) ?? [];
      if (what === 'A') this.revision = Number(number);
      else if (what === 'S') this.starts = Number(number);
      else this.#note(`${line}\n`);
    }
  }

  #note(text: string): void {
    this.words = (this.words + text).slice(-4000);
  }
}

/** The truth of one life of a writer. `from`: what it found when it began. */
export class Truth {
  readonly #life: Life;
  readonly #seed: number;

  constructor(seed: number, from?: Found) {
    this.#seed = seed;
    const before = new Array<string>((from?.revision ?? 0) + 1).fill('');
    const model = from === undefined ? new Model() : new Model(before, from.state);
    if (from !== undefined) model.digests[from.revision] = digest(from.state);
    this.#life = new Life(model, seededRandom(seed));
  }

  /** Throws with what is wrong. Returns what the directory holds. */
  async check(directory: string, acknowledged: { revision: number; starts: number }) {
    const found = await readBack(directory);
    const fail = (what: string) => {
      throw new Error(`${what} (seed ${this.#seed})`);
    };
    if (found.revision < acknowledged.revision) {
      fail(`${found.revision} is there, ${acknowledged.revision} was acknowledged`);
    }
    if (found.starts < acknowledged.starts) fail(`start ${acknowledged.starts} is forgotten`);
    const model = this.#life.model;
    while (model.revision < found.revision) await this.#life.run(pretended(model), 1);
    if (model.digests[found.revision] !== digest(found.state)) {
      fail(`revision ${found.revision} is not what was written`);
    }
    return found;
  }
}

/** A store that takes everything and keeps nothing: it lets a Life write its model. */
function pretended(model: Model) {
  return {
    revision: 0,
    starts: 0,
    txn: async () => ({ succeeded: true, revision: model.revision, results: [] }),
    compact: async () => undefined,
  };
}

/** What a store that starts in the directory would serve. Changes nothing. */
export async function readBack(directory: string): Promise<Found> {
  const recovered = await recover(nodeDisk, directory);
  if (recovered === undefined) return { revision: 0, starts: 0, state: new Map(), warnings: [] };
  const { mvcc, starts, warnings } = recovered;
  const state = mvcc.index.collect('', undefined).map((kv) => {
    const { value, createRevision: create, modRevision: mod, version } = kv;
    return [kv.key, { value, create, mod, version }] as const;
  });
  return { revision: mvcc.revision, starts, state: new Map(state), warnings };
}

export function makeExt4(image: string): void {
  execFileSync('truncate', ['-s', String(IMAGE_BYTES), image]);
  // LazyFS keeps blocks of this size, and a smaller one of ext4 would tear its neighbours.
  execFileSync('mke2fs', ['-q', '-F', '-t', 'ext4', '-b', '4096', image]);
}

/** Mounts an image (replaying its journal) for as long as `work` takes. */
export async function withImage<T>(
  image: string,
  folder: string,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  mkdirSync(folder, { recursive: true });
  const loop = attach(image);
  try {
    execFileSync('mount', ['-t', 'ext4', loop, folder]);
    try {
      return await work(folder);
    } finally {
      execFileSync('umount', [folder]);
    }
  } finally {
    execFileSync('losetup', ['-d', loop]);
  }
}

/** A device of its own: `mount -o loop` would use that of an earlier mount again, with what it remembers of the old content. */
function attach(image: string): string {
  return execFileSync('losetup', ['--find', '--show', image], { encoding: 'utf8' }).trim();
}

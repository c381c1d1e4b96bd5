/**
 * Removes the directories of persistent volumes that nobody wants any more, when the master says so by name.
 *
 * Promises: only directories that are this agent's own, each directly in its volumes directory; none that a pod of the board
 * still has (it is looked at again later, as is what could not be removed); what is gone already counts as removed, so that the order may
 * come again after a power cut or a lost answer.
 */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { Logger } from 'pino';
import type { DesiredView } from '../state/desired-state.ts';

type Directory = DesiredView['removeVolumes'][number];

export interface VolumeRemoverOptions {
  /** Below it are the directories of this agent's volumes. */
  readonly directory: string;
  readonly log: Logger;
  readonly wanted: () => readonly Directory[];
  /** Paths that pods of the board have mounted, or are about to. */
  readonly pathsInUse: () => ReadonlySet<string>;
  /** `problem` is undefined when nothing of the volume is left. */
  readonly report: (name: string, problem: string | undefined) => void;
  /** What a pod still has, or what could not be removed, is looked at again after so long. */
  readonly retryMs: number;
}

export class VolumeRemover {
  readonly #options: VolumeRemoverOptions;
  /** Problems by volume, each told once. */
  readonly #told = new Map<string, string>();
  #work: Promise<void> = Promise.resolve();
  #retry: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: VolumeRemoverOptions) {
    this.#options = options;
  }

  /** Call when what is wanted may have changed, and after each connection: the master may have missed the answer. */
  look(): void {
    if (this.#stopped) return;
    clearTimeout(this.#retry);
    this.#work = this.#work.then(() => this.#removeAll());
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#retry);
    await this.#work;
  }

  async #removeAll(): Promise<void> {
    const { wanted, pathsInUse, report, retryMs } = this.#options;
    let left = 0;
    for (const directory of wanted()) {
      if (this.#stopped) return;
      const isUsed = pathsInUse().has(directory.path);
      const problem = isUsed ? undefined : await this.#remove(directory);
      if (isUsed || problem !== undefined) left += 1;
      if (isUsed || (problem !== undefined && this.#told.get(directory.name) === problem)) continue;
      if (problem === undefined) this.#told.delete(directory.name);
      else this.#told.set(directory.name, problem);
      report(directory.name, problem);
    }
    if (left === 0 || this.#stopped) return;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.look(), retryMs).unref();
  }

  async #remove({ name, path: target }: Directory): Promise<string | undefined> {
    const { directory, log } = this.#options;
    // A name with `..` or `/` in it leads elsewhere.
    const isOwn = target === path.join(directory, name) && path.dirname(target) === directory;
    if (!isOwn) {
      return `${target} is not one of the directories that this board's agent made`;
    }
    try {
      await rm(target, { recursive: true, force: true });
      log.info({ volume: name }, 'the directory of a volume was removed');
      return undefined;
    } catch (error) {
      log.debug({ volume: name, err: error }, 'the directory of a volume could not be removed');
      return error instanceof Error ? error.message : String(error);
    }
  }
}

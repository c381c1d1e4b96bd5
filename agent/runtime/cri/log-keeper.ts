/**
 * Keeps containers' log files small: CRI leaves that to its client. A file over the limit is set aside as `.1`
 * (the one before is dropped) and the engine is told to open a new one. Ten seconds between two looks, as the
 * kubelet's; a look costs one stat per running container and writes nothing.
 */
import { rename, stat } from 'node:fs/promises';
import type { Logger } from 'pino';

export interface LogKeeperOptions {
  readonly bytesMax: number;
  readonly lookMs: number;
  /** Running containers and their log files. */
  readonly files: () => ReadonlyMap<string, string>;
  /** Tells the engine to open the container's log file anew. */
  readonly reopen: (id: string) => Promise<unknown>;
  readonly log: Logger | undefined;
}

export class LogKeeper {
  readonly #options: LogKeeperOptions;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  constructor(options: LogKeeperOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#look(), this.#options.lookMs);
    this.#timer.unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  #look(): void {
    this.#looking ??= this.#lookOnce().finally(() => {
      this.#looking = undefined;
    });
  }

  async #lookOnce(): Promise<void> {
    for (const [id, path] of this.#options.files()) {
      try {
        const { size } = await stat(path);
        if (size > this.#options.bytesMax) await this.#rotate(id, path);
      } catch (error) {
        // Most often the container has just gone with its log.
        this.#options.log?.debug({ path, err: error }, 'log file could not be looked at');
      }
    }
  }

  async #rotate(id: string, path: string): Promise<void> {
    const aside = `${path}.1`;
    await rename(path, aside);
    try {
      await this.#options.reopen(id);
    } catch (error) {
      // Back under its name: the engine goes on writing to it, and the next look tries again.
      await rename(aside, path);
      throw error;
    }
  }
}

/**
 * Bounded concurrency: at most `parallel` tasks run, the others wait in order of arrival. The queue is
 * bounded too; a full queue refuses at once, because whoever adds to it is not waiting for its results.
 */
import { RuntimeError } from './runtime.ts';

export interface LimiterOptions {
  readonly parallel: number;
  readonly queueMax: number;
}

export class Limiter {
  readonly #parallel: number;
  readonly #queueMax: number;
  readonly #waiting: Array<() => void> = [];
  #running = 0;

  constructor(options: LimiterOptions) {
    this.#parallel = options.parallel;
    this.#queueMax = options.queueMax;
  }

  /** Runs the task when its turn comes. Throws RuntimeError when the queue is full. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#parallel) {
      if (this.#waiting.length >= this.#queueMax) {
        throw new RuntimeError(
          `too many calls to the container engine are waiting (${this.#queueMax}); try again later`,
        );
      }
      // The one who wakes us hands its place over, so nobody can slip in between.
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#running += 1;
    }
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }
}

/**
 * At most so many at once, the rest in line. The line is as long as there are callers, and each caller
 * (a pod's worker) waits only once per container, so it is bounded by the pods of the board.
 */
export class Semaphore {
  readonly #line: Array<() => void> = [];
  #free: number;

  constructor(size: number) {
    this.#free = size;
  }

  async run<T>(job: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#line.push(resolve));
    try {
      return await job();
    } finally {
      const next = this.#line.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}

/** The log of one container of the fake runtime: the last LINES_MAX lines, and those who follow. */
import type { LogOptions } from './runtime.ts';

interface Line {
  readonly atMs: number;
  readonly text: string;
}

const LINES_MAX = 10_000;

export class FakeLog {
  readonly #lines: Line[] = [];
  /** How many lines were dropped at the front. */
  #dropped = 0;
  #isOver = false;
  readonly #waiting = new Set<() => void>();

  write(_stream: 'stdout' | 'stderr', text: string, atMs: number): void {
    this.#lines.push({ atMs, text });
    if (this.#lines.length > LINES_MAX) {
      this.#lines.shift();
      this.#dropped += 1;
    }
    this.#wakeAll();
  }

  /** Whoever follows gets the rest and then the end. */
  end(): void {
    this.#isOver = true;
    this.#wakeAll();
  }

  async *read(options: LogOptions, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const { tailLines, sinceMs } = options;
    const all = this.#dropped + this.#lines.length;
    let next = tailLines === undefined ? this.#dropped : Math.max(this.#dropped, all - tailLines);
    for (;;) {
      const line = this.#lines[next - this.#dropped];
      if (signal.aborted) return;
      if (line !== undefined) {
        next += 1;
        if (sinceMs !== undefined && line.atMs < sinceMs) continue;
        yield Buffer.from(format(line, options));
      } else if (options.follow && !this.#isOver) await this.#change(signal);
      else return;
    }
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener('abort', wake);
    });
  }

  #wakeAll(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}

function format(line: Line, options: LogOptions): string {
  const time = options.timestamps ? `${new Date(line.atMs).toISOString()} ` : '';
  return `${time}${line.text}\n`;
}

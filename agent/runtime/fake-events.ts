/** The events of the fake runtime: each reader gets what happens from now on, in order. */
import { RuntimeError, type RuntimeEvent } from './runtime.ts';

/** Events a slow reader may leave waiting; then it is cut off and has to list again. */
const EVENTS_WAITING_MAX = 10_000;

export class FakeEvents {
  readonly #listeners = new Set<(event: RuntimeEvent) => void>();

  tell(event: RuntimeEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  async *read(signal: AbortSignal): AsyncIterable<RuntimeEvent> {
    const waiting: RuntimeEvent[] = [];
    let wake = (): void => undefined;
    const listener = (event: RuntimeEvent): void => {
      waiting.push(event);
      wake();
    };
    const onAbort = (): void => wake();
    this.#listeners.add(listener);
    signal.addEventListener('abort', onAbort);
    try {
      while (!signal.aborted) {
        if (waiting.length > EVENTS_WAITING_MAX) {
          throw new RuntimeError('events were read too slowly; list everything again');
        }
        const event = waiting.shift();
        if (event !== undefined) yield event;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      this.#listeners.delete(listener);
      signal.removeEventListener('abort', onAbort);
    }
  }
}

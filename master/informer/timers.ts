/**
 * Waiting as an argument. Whatever waits inside the master's loops asks a `Timers`, so that a test
 * or a simulation can hold time in its hand. Promises: a callback runs at most once and never after
 * its cancel.
 */
export interface Timers {
  /** Runs `callback` after `delayMs`; the returned function cancels it. */
  after(delayMs: number, callback: () => void): () => void;
}

/** Real timers. They keep the process alive: whoever starts one cancels it in `stop`. */
export const systemTimers: Timers = {
  after(delayMs, callback) {
    const handle = setTimeout(callback, delayMs);
    return () => clearTimeout(handle);
  },
};

/** Resolves after `delayMs`, or at once when `signal` aborts; never rejects. */
export function pause(timers: Timers, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const finish = (): void => {
      cancel();
      signal.removeEventListener('abort', finish);
      resolve();
    };
    const cancel = timers.after(delayMs, finish);
    signal.addEventListener('abort', finish, { once: true });
  });
}

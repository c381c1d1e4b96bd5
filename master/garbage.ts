/** Node has no call for it; these are V8's own flag and the function that it brings (https://v8.dev/docs, `--expose-gc`). */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const LOOK_MS = 10_000;
/** Of the time of the event loop. */
const IDLE_MAX = 0.1;
/** Less is not worth the pause. */
const GROWTH_MIN = 1.25;

/**
 * Collects once, for after a start: opening the store read whole files, and V8 would keep their memory until it collects
 * by itself, which an idle process puts off for hours. Takes tens of milliseconds.
 */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  setFlagsFromString('--no-expose-gc');
  if (typeof collect !== 'function') return;
  collect();
  // Only the second time V8 gives back the pages that the first one has emptied.
  collect();
}

/**
 * From now on collects when a busy time is over, and when nothing is going on and the process has grown since the last time:
 * after a hundred clients have listed all pods, V8 would keep what was sent to them until the next burst. Returns what ends it.
 */
export function collectWhenIdle(): () => void {
  let collectedBytes = heldBytes();
  let wasBusy = false;
  let since = performance.eventLoopUtilization();
  const look = (): void => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, since);
    since = now;
    const isBusy = utilization > IDLE_MAX;
    const isDue = wasBusy || heldBytes() >= collectedBytes * GROWTH_MIN;
    wasBusy = isBusy;
    if (isBusy || !isDue) return;
    collectGarbage();
    collectedBytes = heldBytes();
  };
  const timer = setInterval(look, LOOK_MS);
  return () => clearInterval(timer);
}

/** V8's heap and the buffers beside it; the rest of the process is none of its business. */
function heldBytes(): number {
  const { heapTotal, external } = process.memoryUsage();
  return heapTotal + external;
}

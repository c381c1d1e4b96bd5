/**
 * Gives memory back when a burst is over. V8 puts that off while little is allocated, and what starting thirty pods has made it
 * reserve would stay for as long as the agent idles. Node has no call for it; these are V8's own flags and the function that
 * one of them brings (https://v8.dev/docs).
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const LOOK_MS = 10_000;
/** Of a core. Not of the event loop's time: on a board that others keep busy, waiting for the CPU would count as work. */
const IDLE_MAX = 0.05;
/** Less is not worth the pause, some tens of milliseconds in which nobody is served. */
const GROWTH_MIN = 1.1;
const LOOKS_BETWEEN = 2;

/** From now on collects when little is going on and V8 has reserved more than after the last time; every half minute at most. */
export function collectWhenIdle(): void {
  let collectedBytes = 0;
  let looks = LOOKS_BETWEEN;
  let cpu = process.cpuUsage();
  let sinceMs = performance.now();
  const look = (): void => {
    looks += 1;
    const { user, system } = process.cpuUsage(cpu);
    const nowMs = performance.now();
    const isIdle = (user + system) / 1000 < (nowMs - sinceMs) * IDLE_MAX;
    const isDue = looks > LOOKS_BETWEEN && reservedBytes() >= collectedBytes * GROWTH_MIN;
    if (isIdle && isDue) {
      collect();
      collectedBytes = reservedBytes();
      looks = 0;
    }
    // After it: what collecting costs is no work.
    cpu = process.cpuUsage();
    sinceMs = performance.now();
  };
  setInterval(look, LOOK_MS);
}

/** Moves what is left together, so that whole pages become free. */
function collect(): void {
  setFlagsFromString('--expose-gc');
  setFlagsFromString('--compact-on-every-full-gc');
  const gc: unknown = runInNewContext('gc');
  setFlagsFromString('--no-expose-gc');
  if (typeof gc === 'function') {
    gc();
    // Only the second time V8 gives back the pages that the first one has emptied.
    gc();
  }
  setFlagsFromString('--no-compact-on-every-full-gc');
}

function reservedBytes(): number {
  const { heapTotal, external } = process.memoryUsage();
  return heapTotal + external;
}

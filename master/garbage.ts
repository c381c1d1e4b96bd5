/** Node has no call for it; these are V8's own flag and the function that it brings (https://v8.dev/docs, `--expose-gc`). */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * Collects once, for after a start: opening the store read whole files, and V8 would keep their memory until it collects
 * by itself, which an idle process puts off for hours. Takes tens of milliseconds.
 */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  setFlagsFromString('--no-expose-gc');
  if (typeof collect === 'function') collect();
}

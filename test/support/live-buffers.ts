/** Memory of buffers that are held. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** What is held, not what waits for the collector: how long that takes differs between releases of Node. */
export function liveBufferBytes(): number {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  return process.memoryUsage().arrayBuffers;
}

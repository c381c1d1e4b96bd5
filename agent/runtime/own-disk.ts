/** Images and this board's disk: what engines leave to us. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ImagePullError, type ImageStatus } from './runtime.ts';

const run = promisify(execFile);
const SYNC_MS_MAX = 600_000;

/** containerd 1.x says a layer is there before the disk has it, and after a power cut it is empty (syncfs(2)). */
export async function syncFileSystem(folder: string): Promise<void> {
  await run('sync', ['-f', folder], { timeout: SYNC_MS_MAX });
}

/** Throws ImagePullError when it is not there: no registry has such images. `how` is the engine's command. */
export function localImage(
  image: string,
  status: ImageStatus | undefined,
  how: string,
): ImageStatus {
  if (status !== undefined) return status;
  throw new ImagePullError(
    `the image ${image} is not on this board, and "localhost/" images are in no registry; ` +
      `import it there, as with "${how}"`,
  );
}

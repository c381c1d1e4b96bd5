/** Processors that the kernel can emulate, by programs registered for it (binfmt_misc). */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { emulatedArchitectures } from '../plan/image-architecture.ts';

const FOLDER = '/proc/sys/fs/binfmt_misc';

/** Read anew each time: people register emulators at any time. Empty when nothing is registered. */
export async function readEmulated(folder = FOLDER): Promise<string[]> {
  try {
    const names = (await readdir(folder)).filter((name) => name.startsWith('qemu-'));
    const texts = names.map(
      async (name) => [name, await readFile(join(folder, name), 'utf8')] as const,
    );
    return emulatedArchitectures(new Map(await Promise.all(texts)));
  } catch {
    // Not mounted, or gone while we looked: no emulator that could be counted on.
    return [];
  }
}

/**
 * One agent per data directory. A name in the kernel's abstract socket space is held for the life of the process:
 * it cannot be left behind by a crash, and it needs no file.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { realpath } from 'node:fs/promises';
import net from 'node:net';

/** Returns what lets go of it. Throws when another agent holds the directory. */
export async function holdDataDir(dataDir: string): Promise<() => void> {
  const real = await realpath(dataDir);
  const name = createHash('sha256').update(real).digest('hex').slice(0, 32);
  const server = net.createServer((socket) => socket.destroy());
  server.listen(`\0pier-agent-${name}`);
  try {
    await once(server, 'listening');
  } catch (cause) {
    throw new Error(
      `another agent runs with ${dataDir}: stop it first (systemctl stop pier-agent), or give ` +
        'this one a directory of its own with --data',
      { cause },
    );
  }
  server.unref();
  return () => server.close();
}

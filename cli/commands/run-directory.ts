/** What an agent keeps of its pods in its directory on a tmpfs, for `pier down`. */
import { execFile } from 'node:child_process';
import { readdir, readFile, realpath, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { mountPoints } from '../../protocol/mount-info.ts';

const run = promisify(execFile);
/** A server that does not answer may hold up umount(8). */
const UMOUNT_MS = 30_000;
/** Where file systems of servers and volumes in memory are mounted (agent/agent.ts). */
const WITH_MOUNTS = ['mounts', 'pods'];
const OWN = /^(mounts|pods|hosts|resolv|(containers\.json|tokens\.cbor)(\.new)?)$/;

/**
 * Unmounts what pods had mounted, then removes what is Pier's. Of the mounts nothing is looked at, which would wait for a server
 * that is gone, and nothing is removed: when one stays, so does everything. Throws an Error that names it.
 */
export async function removeRunDirectory(directory: string): Promise<void> {
  const root = await realpath(directory).catch(absent);
  if (root === undefined) return;
  const mounted = async () => {
    const table = await readFile('/proc/self/mountinfo', 'utf8');
    return WITH_MOUNTS.flatMap((name) => mountPoints(table, join(root, name)));
  };
  // The one mounted last first: it may lie on another.
  for (const path of (await mounted()).reverse()) {
    await run('umount', ['-l', '-c', '-i', path], { timeout: UMOUNT_MS });
  }
  const [left] = await mounted();
  if (left !== undefined) throw new Error(`${left} is still mounted: umount -l ${left}`);
  for (const name of await readdir(root)) {
    if (OWN.test(name)) await rm(join(root, name), { recursive: true, force: true });
  }
  // Stays when others have files in it, or when it is a mount of its own.
  await rmdir(root).catch(() => undefined);
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT') return undefined;
  throw error;
}

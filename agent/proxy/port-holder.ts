/**
 * Who listens on a port of this board, as far as /proc tells. Only asked when a port is taken.
 */
import { readdir, readFile, readlink } from 'node:fs/promises';

export type Transport = 'TCP' | 'UDP';

/** States of /proc/net/tcp: a socket that listens; for UDP one that is connected to nobody. */
const WAITING: Record<Transport, string> = { TCP: '0A', UDP: '07' };

/** "nginx (pid 812)", or undefined when it cannot be known. */
export async function portHolder(
  port: number,
  transport: Transport = 'TCP',
): Promise<string | undefined> {
  const inodes = new Set<string>();
  const name = transport.toLowerCase();
  for (const file of [`/proc/net/${name}`, `/proc/net/${name}6`]) {
    const table = await readFile(file, 'utf8').catch(() => '');
    for (const inode of listeningInodes(table, port, transport)) inodes.add(inode);
  }
  if (inodes.size === 0) return undefined;
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    if (!(await holdsSocket(pid, inodes))) continue;
    const command = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => 'a process');
    return `${command.trim()} (pid ${pid})`;
  }
  return undefined;
}

/** Socket inodes of the listeners on `port`, from the text of /proc/net/tcp. Pure. */
export function listeningInodes(
  table: string,
  port: number,
  transport: Transport = 'TCP',
): string[] {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  const inodes: string[] = [];
  for (const line of table.split('\n')) {
    const fields = line.trim().split(/\s+/);
    const [, local, , state] = fields;
    const inode = fields[9];
    if (
      state === WAITING[transport] &&
      local?.endsWith(`:${wanted}`) === true &&
      inode !== undefined
    ) {
      inodes.push(inode);
    }
  }
  return inodes;
}

async function holdsSocket(pid: string, inodes: ReadonlySet<string>): Promise<boolean> {
  // A process may end or be another user's while it is looked at: then it is not the one to name.
  const files = await readdir(`/proc/${pid}/fd`).catch(() => []);
  for (const file of files) {
    const target = await readlink(`/proc/${pid}/fd/${file}`).catch(() => '');
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
    if (inode !== undefined && inodes.has(inode)) return true;
  }
  return false;
}

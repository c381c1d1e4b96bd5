/**
 * One process per data directory, by a Unix socket that listens in it.
 *
 * Why a socket: Node has no flock. A file with a process id goes stale with a crash and means nothing
 * in another container's pid namespace; an abstract socket is invisible from another network
 * namespace. A socket in the file system is seen by everyone who sees the directory, and the kernel
 * stops answering for it when its process dies, so a left-over name is recognised by the refusal.
 *
 * How two that start at once cannot both win: each first publishes its own `lock-<random>` (it listens
 * under another name and renames, so that a published socket always answers) and only then looks for
 * others. Whoever looks second sees the first. Both may see each other; then both are refused.
 */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import { type DiskLock, errorCode } from './disk.ts';

/** Another process has the store open. */
export class StoreLockedError extends Error {
  constructor(directory: string, holder: string) {
    super(
      `the store in ${directory} is in use by ${holder}; stop it first, or give this one another data directory`,
    );
    this.name = 'StoreLockedError';
  }
}

const PREFIX = 'lock-';
/** A frozen holder still accepts connections (the kernel does), it only does not say who it is. */
const ANSWER_TIMEOUT_MS = 300;

/** Takes the directory for this process until `release`. Throws StoreLockedError. */
export async function lockDirectory(directory: string): Promise<DiskLock> {
  const name = `${PREFIX}${randomBytes(8).toString('hex')}`;
  // A socket's path is at most 107 bytes long; through the descriptor it is always short.
  const handle = await fs.promises.open(directory, 'r');
  const near = `/proc/self/fd/${handle.fd}`;
  const server = net.createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.end(`process ${process.pid}`);
  });
  const release = async () => {
    await new Promise((resolve) => server.close(resolve));
    await fs.promises.rm(`${directory}/${name}`, { force: true });
    await handle.close();
  };
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ path: `${near}/new-${name}` }, resolve);
    });
    server.unref();
    await fs.promises.chmod(`${directory}/new-${name}`, 0o600);
    await publish(directory, name);
    const names = await fs.promises.readdir(directory);
    for (const other of names.filter((found) => found.startsWith(PREFIX) && found !== name)) {
      const holder = await askHolder(`${near}/${other}`);
      if (holder !== undefined) throw new StoreLockedError(directory, holder);
      await fs.promises.rm(`${directory}/${other}`, { force: true });
    }
    // Left by a process that died between its two steps.
    for (const other of names.filter((found) => found.startsWith(`new-${PREFIX}`))) {
      await fs.promises.rm(`${directory}/${other}`, { force: true });
    }
  } catch (error) {
    await release();
    throw error;
  }
  return { release };
}

async function publish(directory: string, name: string): Promise<void> {
  try {
    await fs.promises.rename(`${directory}/new-${name}`, `${directory}/${name}`);
  } catch (error) {
    // The process that got the lock meanwhile has tidied up our unpublished socket.
    if (errorCode(error) !== 'ENOENT') throw error;
    throw new StoreLockedError(directory, 'another process');
  }
}

/** Who listens on a socket; undefined when nobody does (its process is gone). */
function askHolder(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = net.connect({ path });
    const done = (holder: string | undefined) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(holder);
    };
    const unknown = 'another process';
    const timer = setTimeout(() => done(unknown), ANSWER_TIMEOUT_MS);
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      answer = (answer + text).slice(0, 40);
    });
    socket.on('end', () => done(answer || unknown));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const nobody = error.code === 'ECONNREFUSED' || error.code === 'ENOENT';
      done(nobody ? undefined : unknown);
    });
  });
}

/**
 * Makes a pod's volumes on the board as planned (plan/volume-plan.ts).
 *
 * A volume of files is swapped as a whole: the files lie in a directory of their own, `..data` is a symbolic
 * link to it, and each name in the volume is a link through `..data`. Renaming a new link over `..data` changes
 * all files at once; a reader never sees half of a change. (The layout is the one Kubernetes documents, and
 * programs that watch for changes of `..data` rely on it.)
 */
import { createHash } from 'node:crypto';
import {
  chmod,
  chown,
  lchown,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import path from 'node:path';
import { mountMemory } from '../host/memory-mount.ts';
import { type PlannedVolume, VolumeError, type VolumeFile } from '../plan/volume-plan.ts';
import type { NetworkMount } from './network-mounts.ts';

const DATA_LINK = '..data';

export type MountNetwork = (mount: NetworkMount) => Promise<void>;

/** Idempotent. Throws VolumeError that names the volume. */
export async function makeVolumes(
  volumes: ReadonlyMap<string, PlannedVolume>,
  mountNetwork: MountNetwork,
): Promise<void> {
  for (const [name, volume] of volumes) {
    await named(name, () => makeVolume(volume, mountNetwork));
  }
}

/** Only the volumes whose content may change while a pod runs. */
export async function refreshVolumes(volumes: ReadonlyMap<string, PlannedVolume>): Promise<void> {
  for (const [name, volume] of volumes) {
    if (volume.type !== 'files') continue;
    await named(name, () => swapFiles(volume.path, volume.files, volume.group));
  }
}

async function named(volume: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    throw new VolumeError(volume, error instanceof Error ? error.message : String(error));
  }
}

async function makeVolume(volume: PlannedVolume, mountNetwork: MountNetwork): Promise<void> {
  switch (volume.type) {
    case 'directory':
      if ((await mkdir(volume.path, { recursive: true })) !== undefined) {
        await openToPod(volume.path, volume.group);
      } else if (volume.persistent === true && volume.group !== undefined) {
        await giveToGroup(volume.path, volume.group);
      }
      return;
    case 'memory':
      if (await mountMemory(volume.path, volume.sizeBytes)) {
        await openToPod(volume.path, volume.group);
      }
      return;
    case 'hostPath':
      return checkHostPath(volume.path, volume.expect);
    case 'nfs':
      return mountNetwork(volume);
    case 'files':
      return swapFiles(volume.path, volume.files, volume.group);
    default: {
      const never: never = volume;
      throw new Error(`unknown volume ${String(never)}`);
    }
  }
}

/** Kubernetes: an emptyDir can be written by every user in the pod. */
async function openToPod(directory: string, group: number | undefined): Promise<void> {
  await chmod(directory, 0o777);
  if (group === undefined) return;
  await chown(directory, 0, group);
  // New files belong to the group as well.
  await chmod(directory, 0o2777);
}

/** Kubernetes, fsGroupChangePolicy OnRootMismatch: everything gets the group when the directory itself has another. */
async function giveToGroup(directory: string, group: number): Promise<void> {
  if ((await stat(directory)).gid === group) return;
  await giveContent(directory, group);
  // Last: after a power cut in between it begins anew.
  await chown(directory, (await stat(directory)).uid, group);
  await chmod(directory, 0o2777);
}

async function giveContent(directory: string, group: number): Promise<void> {
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const target = path.join(directory, entry.name);
    const { uid, mode } = await lstat(target);
    await lchown(target, uid, group);
    if (entry.isDirectory()) {
      await giveContent(target, group);
      await chmod(target, (mode & 0o7777) | 0o2770);
    } else if (entry.isFile()) {
      await chmod(target, (mode & 0o7777) | 0o660);
    }
  }
}

async function checkHostPath(target: string, expect: string): Promise<void> {
  if (expect === 'DirectoryOrCreate') {
    await mkdir(target, { recursive: true, mode: 0o755 });
  } else if (expect === 'FileOrCreate') {
    await writeFile(target, '', { flag: 'a', mode: 0o644 });
  }
  if (expect === '') return;
  const found = await stat(target).catch((cause: unknown) => {
    throw new Error(`hostPath type check failed: ${target} is not a ${expect}`, { cause });
  });
  const fits =
    (expect.startsWith('Directory') && found.isDirectory()) ||
    (expect.startsWith('File') && found.isFile()) ||
    (expect === 'Socket' && found.isSocket()) ||
    (expect === 'CharDevice' && found.isCharacterDevice()) ||
    (expect === 'BlockDevice' && found.isBlockDevice());
  if (!fits) throw new Error(`hostPath type check failed: ${target} is not a ${expect}`);
}

async function swapFiles(
  volume: string,
  files: readonly VolumeFile[],
  group: number | undefined,
): Promise<void> {
  await mkdir(volume, { recursive: true, mode: 0o755 });
  const payload = `..${contentHash(files, group)}`;
  const current = await readlink(path.join(volume, DATA_LINK)).catch(() => undefined);
  if (current === payload && (await holds(path.join(volume, payload), files))) return;
  await rm(path.join(volume, payload), { recursive: true, force: true });
  await mkdir(path.join(volume, payload), { mode: 0o755 });
  for (const { path: name, mode, content, user } of files) {
    const target = path.join(volume, payload, name);
    await mkdir(path.dirname(target), { recursive: true, mode: 0o755 });
    await writeFile(target, content);
    if (group !== undefined || user !== undefined) await chown(target, user ?? 0, group ?? 0);
    // Kubernetes: the group of the pod may read whatever the mode says.
    await chmod(target, group === undefined ? mode : mode | 0o440);
  }
  const temporary = path.join(volume, `${DATA_LINK}_tmp`);
  await rm(temporary, { force: true });
  await symlink(payload, temporary);
  await rename(temporary, path.join(volume, DATA_LINK));
  await linkNames(volume, new Set(files.map(({ path: name }) => name.split('/', 1)[0] ?? name)));
  if (current !== undefined && current !== payload) {
    await rm(path.join(volume, path.basename(current)), { recursive: true, force: true });
  }
}

/** Links for the names there are, none for the names that went. */
async function linkNames(volume: string, names: ReadonlySet<string>): Promise<void> {
  for (const entry of await readdir(volume)) {
    if (!entry.startsWith('..') && !names.has(entry)) {
      await rm(path.join(volume, entry), { recursive: true, force: true });
    }
  }
  for (const name of names) {
    const link = path.join(volume, name);
    const known = await lstat(link).catch(() => undefined);
    if (known === undefined) await symlink(path.join(DATA_LINK, name), link);
  }
}

/** A power cut may have left files empty, so their content is looked at and not only their names. */
async function holds(directory: string, files: readonly VolumeFile[]): Promise<boolean> {
  for (const { path: name, content } of files) {
    const found = await readFile(path.join(directory, name)).catch(() => undefined);
    if (found === undefined || !found.equals(content)) return false;
  }
  return true;
}

function contentHash(files: readonly VolumeFile[], group: number | undefined): string {
  const hash = createHash('sha256');
  if (group !== undefined) hash.update(`group ${group}\0`);
  for (const { path: name, mode, content, user } of files) {
    if (user !== undefined) hash.update(`user ${user}\0`);
    hash.update(`${name}\0${mode}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex').slice(0, 20);
}

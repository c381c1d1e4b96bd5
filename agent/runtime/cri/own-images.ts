/** Images that are made on the board: the pause image, so that no registry is needed, and whatever is imported. */
import { setTimeout as delay } from 'node:timers/promises';
import { fullImageName } from '../../../protocol/image-name.ts';
import { syncFileSystem } from '../own-disk.ts';
import { PAUSE_COMMAND, pauseArch, pauseImageTar } from '../pause-image.ts';
import { RuntimeError } from '../runtime.ts';
import type { GrpcSocket } from './grpc.ts';
import { imageStatus } from './images.ts';
import { type ImageSettings, importContent } from './import.ts';

export interface OwnImage {
  readonly reference: string;
  readonly tar: Uint8Array;
  readonly settings: ImageSettings;
}

const LISTED_MS_MAX = 20_000;

/** Returns when the engine lists it and the disk has it. Throws RuntimeError. */
export async function importImage(
  grpc: GrpcSocket,
  { reference, tar, settings }: OwnImage,
  rootDir: string | undefined,
): Promise<string> {
  const name = fullImageName(reference);
  const id = await importContent(grpc, name, tar, settings);
  // CRI learns of it by an event.
  const deadline = performance.now() + LISTED_MS_MAX;
  while ((await imageStatus(grpc, name))?.id !== id) {
    if (performance.now() > deadline) {
      throw new RuntimeError(`the image ${name} was imported, but the engine does not list it`);
    }
    await delay(20);
  }
  if (rootDir !== undefined) await syncFileSystem(rootDir);
  return id;
}

/**
 * Under the name that the engine is set to, so that its settings stay as they are. Returns whether it had to be
 * made: an image that is there, whoever brought it, serves as well.
 */
export async function ensurePauseImage(
  grpc: GrpcSocket,
  reference: string,
  rootDir: string | undefined,
): Promise<boolean> {
  if ((await imageStatus(grpc, reference)) !== undefined) return false;
  const arch = pauseArch(process.arch);
  if (arch === undefined) {
    throw new RuntimeError(`no pause program for the processor "${process.arch}"`);
  }
  const settings = { entrypoint: [PAUSE_COMMAND] };
  await importImage(grpc, { reference, tar: pauseImageTar(arch), settings }, rootDir);
  return true;
}

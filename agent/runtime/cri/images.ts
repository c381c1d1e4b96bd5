/** Images through CRI: state, pull, and what the board holds. */
import { fullImageName, isLocalImage } from '../../../protocol/image-name.ts';
import type { ImageStore } from '../image-store.ts';
import { asObject, asText } from '../json-read.ts';
import { localImage, syncFileSystem } from '../own-disk.ts';
import { ImagePullError, type ImageStatus, type RegistryLogin } from '../runtime.ts';
import type { GrpcSocket } from './grpc.ts';
import { CRI } from './proto.ts';
import { type EngineSetup, plainId } from './read.ts';

/** CRI tells no progress, so a pull takes as long as the caller allows; this is only to end somewhere. */
const PULL_MS_MAX = 6 * 3600_000;

/** Undefined when the image is not on the board. */
export async function imageStatus(
  grpc: GrpcSocket,
  image: string,
): Promise<ImageStatus | undefined> {
  const request = { image: { image: fullImageName(image) }, verbose: true };
  const { image: found, info } = await grpc.call(CRI.imageStatus, request, { isRead: true });
  if (found === undefined || found.id === '') return undefined;
  const { id, repoDigests } = found;
  return { id: plainId(id), repoDigests, architecture: architectureOf(info.info) };
}

/** From the image's configuration (OCI), which containerd and CRI-O tell in their verbose answers. */
function architectureOf(info: string | undefined): string {
  const { imageSpec } = asObject(info === undefined ? {} : JSON.parse(info));
  return asText(asObject(imageSpec).architecture) ?? '';
}

/** Throws ImagePullError with the engine's own words. `rootDir` is where the engine keeps images. */
export async function pullImage(
  { grpc, rootDir }: { readonly grpc: GrpcSocket; readonly rootDir: string | undefined },
  image: string,
  signal: AbortSignal,
  login: RegistryLogin | undefined,
): Promise<ImageStatus> {
  if (isLocalImage(image)) {
    return localImage(image, await imageStatus(grpc, image), 'ctr -n k8s.io images import');
  }
  try {
    const request = { image: { image: fullImageName(image) }, auth: login };
    await grpc.call(CRI.pullImage, request, { timeoutMs: PULL_MS_MAX, signal });
  } catch (cause) {
    const words = cause instanceof Error ? cause.message : String(cause);
    const why = signal.aborted ? 'the pull was given up' : words;
    throw new ImagePullError(`pull of ${image}: ${why}`, { cause });
  }
  const status = await imageStatus(grpc, image);
  if (status === undefined) {
    throw new ImagePullError(`pull of ${image}: the engine ended without the image`);
  }
  if (rootDir !== undefined) await syncFileSystem(rootDir);
  return status;
}

/** `remove` does not look at containers: CRI lets what runs keep its layers, but could not start it again. */
export function criImages(
  grpc: GrpcSocket,
  setup: () => Pick<EngineSetup, 'rootDir' | 'sandboxImage'>,
): ImageStore {
  return {
    folder: async () => setup().rootDir,
    list: async () => {
      const { images } = await grpc.call(CRI.listImages, {}, { isRead: true });
      return images.map(({ id, repoTags, repoDigests, size, pinned }) => ({
        id: plainId(id),
        tags: repoTags,
        digests: repoDigests,
        sizeBytes: size,
        // The image of sandboxes was imported here: no registry would give it again.
        pinned: pinned || repoTags.includes(setup().sandboxImage ?? ''),
      }));
    },
    remove: async ({ id }) => {
      await grpc.call(CRI.removeImage, { image: { image: id } });
    },
  };
}

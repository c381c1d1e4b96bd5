/**
 * Images through libpod: state, pull with progress lines, import. A pull that gets no manifest within a minute is
 * given up with the engine's last words, because podman alone would try an unreachable registry for many
 * minutes; once layers are copied it may take as long as the caller allows.
 */
import { existsSync } from 'node:fs';
import { fullImageName, isLocalImage } from '../../protocol/image-name.ts';
import { asArray, asObject, asText } from './json-read.ts';
import { syncFileSystem } from './own-disk.ts';
import { PAUSE_COMMAND, PAUSE_IMAGE, pauseArch, pauseImageTar } from './pause-image.ts';
import { answerLines, EngineHttpError, type PodmanHttp } from './podman-http.ts';
import { ImagePullError, type ImageStatus, type RegistryLogin, RuntimeError } from './runtime.ts';

const MANIFEST_MS_MAX = 60_000;
/** What podman prints as soon as it has the manifest. */
const MANIFEST_WORDS = /signatures|Copying blob|Copying config/i;

export interface PullOptions {
  readonly signal: AbortSignal;
  readonly login?: RegistryLogin | undefined;
  /** For the manifest. */
  readonly manifestMsMax?: number;
  /** Given the folder in which podman keeps images; default: syncfs(2) of its file system. */
  readonly sync?: (folder: string) => Promise<void>;
}

/** Undefined when the image is not on the board. */
export async function imageStatus(
  http: PodmanHttp,
  image: string,
): Promise<ImageStatus | undefined> {
  const name = isLocalImage(image) ? image : fullImageName(image);
  try {
    const answer = asObject(await http.json('GET', `/images/${encodeURIComponent(name)}/json`));
    const id = asText(answer.Id);
    if (id === undefined) throw new RuntimeError(`podman told no id for the image ${image}`);
    const repoDigests = asArray(answer.RepoDigests).filter((digest) => typeof digest === 'string');
    const user = asText(answer.User) ?? asText(asObject(answer.Config).User) ?? '';
    return { id, repoDigests, user, architecture: asText(answer.Architecture) ?? '' };
  } catch (error) {
    if (error instanceof EngineHttpError && error.status === 404) return undefined;
    throw error;
  }
}

/** Throws ImagePullError with the engine's own words. */
export async function pullImage(
  http: PodmanHttp,
  image: string,
  { signal, login, manifestMsMax = MANIFEST_MS_MAX, sync = syncFileSystem }: PullOptions,
): Promise<ImageStatus> {
  if (isLocalImage(image)) {
    const status = await imageStatus(http, image);
    if (status !== undefined) return status;
    throw new ImagePullError(
      `the image ${image} is not on this board, and "localhost/" images are in no registry; ` +
        'import it there, as with "podman import" or "podman build"',
    );
  }
  const progress = { words: '', failure: '', hasManifest: false };
  const tooLong = new AbortController();
  const timer = setTimeout(() => {
    if (!progress.hasManifest) tooLong.abort();
  }, manifestMsMax);
  try {
    const both = AbortSignal.any([signal, tooLong.signal]);
    await followPull(http, image, { signal: both, login }, progress);
  } catch (cause) {
    if (cause instanceof ImagePullError) throw cause;
    const why = tooLong.signal.aborted
      ? `no answer from the registry within ${Math.round(manifestMsMax / 1000)} s`
      : signal.aborted
        ? 'the pull was given up'
        : messageOf(cause);
    const last = progress.words === '' ? '' : ` (podman's last words: ${progress.words})`;
    throw new ImagePullError(`pull of ${image}: ${why}${last}`, { cause });
  } finally {
    clearTimeout(timer);
  }
  const status = await imageStatus(http, image);
  if (status === undefined) {
    throw new ImagePullError(`pull of ${image}: podman ended without the image: ${progress.words}`);
  }
  const folder = await imageFolder(http);
  if (folder !== undefined) await sync(folder);
  return status;
}

/** Undefined for a podman in another mount namespace, which keeps its images where we see nothing. */
export async function imageFolder(http: PodmanHttp): Promise<string | undefined> {
  const { graphRoot } = asObject(asObject(await http.json('GET', '/info')).store);
  const folder = asText(graphRoot);
  return folder !== undefined && existsSync(folder) ? folder : undefined;
}

async function followPull(
  http: PodmanHttp,
  image: string,
  { signal, login }: PullOptions,
  progress: { words: string; failure: string; hasManifest: boolean },
): Promise<void> {
  const answer = await http.stream('POST', '/images/pull', {
    query: { reference: fullImageName(image), policy: 'always' },
    login,
    signal,
  });
  for await (const line of answerLines(answer, signal)) {
    const report = asObject(JSON.parse(line));
    const words = asText(report.stream)?.trim() ?? '';
    if (words !== '') progress.words = words;
    if (MANIFEST_WORDS.test(words)) progress.hasManifest = true;
    const failure = asText(report.error);
    if (failure !== undefined) progress.failure = failure;
  }
  if (progress.failure !== '') throw new ImagePullError(progress.failure);
  if (signal.aborted) throw new RuntimeError('the pull was given up');
}

/** Makes an image from a tar archive of its file system. Returns its id. */
export async function importImage(
  http: PodmanHttp,
  reference: string,
  tar: Uint8Array,
  changes: readonly string[] = [],
): Promise<string> {
  const answer = await http.json('POST', '/images/import', {
    // libpod takes several changes as repeated keys; one is all we need.
    query: { reference, ...(changes[0] === undefined ? {} : { changes: changes[0] }) },
    bytes: tar,
  });
  const id = asText(asObject(answer).Id);
  if (id === undefined) throw new RuntimeError(`podman told no id for the import of ${reference}`);
  return id.replace(/^sha256:/, '');
}

/** Pods need it, and no registry has it. */
export async function ensurePauseImage(http: PodmanHttp): Promise<void> {
  if ((await imageStatus(http, PAUSE_IMAGE)) !== undefined) return;
  const arch = pauseArch(process.arch);
  if (arch === undefined) {
    throw new RuntimeError(`no pause program for the processor "${process.arch}"`);
  }
  const entrypoint = `ENTRYPOINT ["${PAUSE_COMMAND}"]`;
  await importImage(http, PAUSE_IMAGE, pauseImageTar(arch), [entrypoint]);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

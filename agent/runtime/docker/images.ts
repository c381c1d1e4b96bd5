/** Images through the Docker Engine: state, pull, import. */
import { fullImageName, isLocalImage } from '../../../protocol/image-name.ts';
import { asArray, asObject, asText } from '../json-read.ts';
import { localImage, syncFileSystem } from '../own-disk.ts';
import { answerLines, type CallOptions, EngineHttpError, type PodmanHttp } from '../podman-http.ts';
import { ImagePullError, type ImageStatus, type RegistryLogin, RuntimeError } from '../runtime.ts';
import { plainId } from './read.ts';

const IMPORT_MS_MAX = 600_000;

/** Undefined when the image is not on the board. */
export async function imageStatus(
  http: PodmanHttp,
  image: string,
): Promise<ImageStatus | undefined> {
  try {
    const answer = asObject(await http.json('GET', `/images/${fullImageName(image)}/json`));
    const id = asText(answer.Id);
    if (id === undefined) throw new RuntimeError(`docker told no id for the image ${image}`);
    const repoDigests = asArray(answer.RepoDigests).filter((digest) => typeof digest === 'string');
    return { id: plainId(id), repoDigests, architecture: asText(answer.Architecture) ?? '' };
  } catch (error) {
    if (error instanceof EngineHttpError && error.status === 404) return undefined;
    throw error;
  }
}

/** Throws ImagePullError with the engine's own words. `rootDir` is where the engine keeps images. */
export async function pullImage(
  { http, rootDir }: { readonly http: PodmanHttp; readonly rootDir: string | undefined },
  image: string,
  signal: AbortSignal,
  login: RegistryLogin | undefined,
): Promise<ImageStatus> {
  if (isLocalImage(image)) return localImage(image, await imageStatus(http, image), 'docker load');
  try {
    await follow(http, { query: { fromImage: fullImageName(image) }, login }, signal);
  } catch (cause) {
    const words = cause instanceof Error ? cause.message : String(cause);
    const why = signal.aborted ? 'the pull was given up' : words;
    throw new ImagePullError(`pull of ${image}: ${why}`, { cause });
  }
  const status = await imageStatus(http, image);
  if (status === undefined) {
    throw new ImagePullError(`pull of ${image}: docker ended without the image`);
  }
  if (rootDir !== undefined) await syncFileSystem(rootDir);
  return status;
}

/** Makes an image from a tar archive of its file system. Returns its id. */
export async function importImage(
  http: PodmanHttp,
  reference: string,
  tar: Uint8Array,
  entrypoint?: readonly string[],
): Promise<string> {
  const name = fullImageName(reference);
  const colon = name.lastIndexOf(':');
  const changes = entrypoint === undefined ? undefined : `ENTRYPOINT ${JSON.stringify(entrypoint)}`;
  const query = { fromSrc: '-', repo: name.slice(0, colon), tag: name.slice(colon + 1), changes };
  await follow(http, { query, bytes: tar }, AbortSignal.timeout(IMPORT_MS_MAX));
  const status = await imageStatus(http, name);
  if (status === undefined) throw new RuntimeError(`docker took ${name}, but does not list it`);
  return status.id;
}

/** `POST /images/create` answers 200 at once and tells failures within the stream. */
async function follow(http: PodmanHttp, options: CallOptions, signal: AbortSignal): Promise<void> {
  const answer = await http.stream('POST', '/images/create', { ...options, signal });
  for await (const line of answerLines(answer, signal)) {
    const failure = asText(asObject(JSON.parse(line)).error);
    if (failure !== undefined) throw new RuntimeError(failure);
  }
  if (signal.aborted) throw new RuntimeError('it was given up');
}

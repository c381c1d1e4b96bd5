/** From CRI's answers to our types. Pure. What is not ours (no labels) is left out. */
import { asObject, asText, type JsonObject } from '../json-read.ts';
import { type Container, LABELS, type Sandbox } from '../runtime.ts';
import {
  CONTAINER_STATE,
  type ContainerEntry,
  type ContainerStatus,
  type PodSandbox,
  SANDBOX_READY,
} from './proto.ts';
import { IMAGE_ANNOTATION, IP_LABEL } from './spec.ts';
import type { Decoded } from './wire.ts';

export function readSandbox(entry: Decoded<typeof PodSandbox>): Sandbox | undefined {
  const { labels } = entry;
  const podUid = labels[LABELS.podUid];
  if (podUid === undefined) return undefined;
  return {
    id: entry.id,
    podUid,
    podName: labels[LABELS.podName] ?? '',
    podNamespace: labels[LABELS.podNamespace] ?? '',
    ip: labels[IP_LABEL],
    ready: entry.state === SANDBOX_READY,
  };
}

export function readContainer(entry: Decoded<typeof ContainerEntry>): Container | undefined {
  const { labels } = entry;
  const podUid = labels[LABELS.podUid];
  const name = labels[LABELS.containerName];
  if (podUid === undefined || name === undefined) return undefined;
  return {
    id: entry.id,
    podUid,
    name,
    attempt: Number(labels[LABELS.attempt] ?? '0'),
    specHash: labels[LABELS.specHash] ?? '',
    image: entry.annotations[IMAGE_ANNOTATION] ?? entry.image?.image ?? '',
    imageId: plainId(entry.imageRef),
    state: stateOf(entry.state),
  };
}

/** A container whose task the engine has lost (CONTAINER_UNKNOWN) runs no more. */
function stateOf(state: number): Container['state'] {
  if (state === CONTAINER_STATE.created) return 'created';
  return state === CONTAINER_STATE.running ? 'running' : 'exited';
}

export type StatusFacts = Pick<
  Container,
  'startedAtMs' | 'finishedAtMs' | 'exitCode' | 'oomKilled'
>;

/** What only ContainerStatus tells. */
export function readStatus(status: Decoded<typeof ContainerStatus>): StatusFacts {
  const isOver = stateOf(status.state) === 'exited';
  return {
    ...(status.startedAt <= 0 ? {} : { startedAtMs: millis(status.startedAt) }),
    ...(status.finishedAt <= 0 || !isOver ? {} : { finishedAtMs: millis(status.finishedAt) }),
    ...(isOver ? { exitCode: status.exitCode, oomKilled: status.reason === 'OOMKilled' } : {}),
  };
}

function millis(nanos: number): number {
  return Math.floor(nanos / 1_000_000);
}

/** Without the name of the algorithm: `sha256:...` or `registry/image@sha256:...`. */
export function plainId(reference: string): string {
  return reference.replace(/^.*sha256:/, '');
}

/** What the engine's `Status` tells about itself when asked for more; empty where it is another engine. */
export interface EngineSetup {
  /** The image it takes for sandboxes. */
  readonly sandboxImage: string | undefined;
  readonly cniConfDir: string | undefined;
  readonly cniBinDir: string | undefined;
  /** Where it keeps images. */
  readonly rootDir: string | undefined;
  readonly systemdCgroup: boolean;
}

/** `info` is the map of a verbose StatusResponse. */
export function readSetup(info: Readonly<Record<string, string>>): EngineSetup {
  const config = parsed(info.config);
  const cni = asObject(config.cni);
  const { runtimes, defaultRuntimeName } = asObject(config.containerd);
  const runtime = asObject(asObject(runtimes)[asText(defaultRuntimeName) ?? 'runc']);
  const binDirs = Array.isArray(cni.binDirs) ? cni.binDirs : [cni.binDir];
  return {
    sandboxImage: notEmpty(config.sandboxImage),
    cniConfDir: notEmpty(cni.confDir),
    cniBinDir: notEmpty(binDirs[0]),
    rootDir: notEmpty(config.containerdRootDir),
    systemdCgroup: asObject(runtime.options).SystemdCgroup === true,
  };
}

/** Process id of a container's first process, from the info of a verbose ContainerStatus. */
export function readPid(info: Readonly<Record<string, string>>): number | undefined {
  const { pid } = parsed(info.info);
  return typeof pid === 'number' && pid > 0 ? pid : undefined;
}

function parsed(text: string | undefined): JsonObject {
  try {
    return asObject(JSON.parse(text ?? '{}'));
  } catch {
    // Another engine's words: as if it had told nothing.
    return {};
  }
}

function notEmpty(value: unknown): string | undefined {
  const text = asText(value);
  return text === '' ? undefined : text;
}

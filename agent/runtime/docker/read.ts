/** From the Docker Engine's answers to our types. Pure. What is not ours (no labels) is left out. */
import { asNumber, asObject, asText, textEntries } from '../json-read.ts';
import type { LogEntry } from '../log-file.ts';
import { IP_LABEL } from '../podman-spec.ts';
import { type Container, type ContainerStats, LABELS, type Sandbox } from '../runtime.ts';
import { IMAGE_LABEL } from './spec.ts';

/** One entry of `GET /containers/json` that is a pause container. */
export function readSandbox(value: unknown): Sandbox | undefined {
  const entry = asObject(value);
  const labels = textEntries(entry.Labels);
  const id = asText(entry.Id);
  const podUid = labels[LABELS.podUid];
  if (id === undefined || podUid === undefined || LABELS.containerName in labels) return undefined;
  return {
    id,
    podUid,
    podName: labels[LABELS.podName] ?? '',
    podNamespace: labels[LABELS.podNamespace] ?? '',
    ip: labels[IP_LABEL],
    ready: entry.State === 'running',
  };
}

/** One entry of `GET /containers/json`; times and exit code are told by an inspection alone. */
export function readContainer(value: unknown): Container | undefined {
  const entry = asObject(value);
  const labels = textEntries(entry.Labels);
  const id = asText(entry.Id);
  const podUid = labels[LABELS.podUid];
  const name = labels[LABELS.containerName];
  if (id === undefined || podUid === undefined || name === undefined) return undefined;
  return {
    id,
    podUid,
    name,
    attempt: Number(labels[LABELS.attempt] ?? '0'),
    specHash: labels[LABELS.specHash] ?? '',
    image: labels[IMAGE_LABEL] ?? asText(entry.Image) ?? '',
    imageId: plainId(asText(entry.ImageID) ?? ''),
    state: stateOf(asText(entry.State)),
  };
}

function stateOf(state: string | undefined): Container['state'] {
  switch (state) {
    case 'running':
    case 'paused':
    case 'restarting':
      return 'running';
    case 'exited':
    case 'dead':
    case 'removing':
      return 'exited';
    default:
      return 'created';
  }
}

/** Without the name of the algorithm. */
export function plainId(id: string): string {
  return id.replace(/^sha256:/, '');
}

/**
 * One line of the json-file log driver: `{"log":"text\n","stream":"stdout","time":"2026-11-23T23:10:45.05Z"}`. Lines over
 * 16 KiB come in pieces, of which only the last ends in a newline.
 */
export function parseJsonEntry(line: Buffer): LogEntry | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line.toString('utf8'));
  } catch {
    // A torn line, as after a power cut.
    return undefined;
  }
  const { log, stream, time } = asObject(value);
  if (typeof log !== 'string' || typeof time !== 'string') return undefined;
  if (stream !== 'stdout' && stream !== 'stderr') return undefined;
  const partial = !log.endsWith('\n');
  return { time, stream, partial, text: Buffer.from(partial ? log : log.slice(0, -1)) };
}

/** The answer of `GET /containers/ID/stats?stream=false`. */
export function readStats(containerId: string, value: unknown): ContainerStats | undefined {
  const answer = asObject(value);
  const cpuNanos = asNumber(asObject(asObject(answer.cpu_stats).cpu_usage).total_usage);
  if (cpuNanos === undefined) return undefined;
  const memory = asObject(answer.memory_stats);
  const { inactive_file, total_inactive_file } = asObject(memory.stats);
  const inactive = asNumber(total_inactive_file) ?? asNumber(inactive_file) ?? 0;
  return {
    containerId,
    cpuNanos,
    memoryBytes: Math.max(0, (asNumber(memory.usage) ?? 0) - inactive),
  };
}

/**
 * Answers a request for the log of a container from what the engine keeps. Errors are in Kubernetes' words.
 */
import type { Clock } from '../protocol/clock.ts';
import { badRequest } from '../protocol/status.ts';
import type { LogsRequest } from '../protocol/stream-requests.ts';
import { type StreamPod, statusOf } from './pod-streams.ts';
import { findContainer } from './pods/pod-steps.ts';
import type { Container, LogOptions, Runtime } from './runtime/runtime.ts';

/** Throws ApiError for what the user should read. */
export function openLogs(
  request: LogsRequest,
  worker: StreamPod,
  { runtime, clock }: { readonly runtime: Runtime; readonly clock: Clock },
  signal: AbortSignal,
): AsyncIterable<Uint8Array> {
  const container = request.previous ? previousOf(worker, request) : currentOf(worker, request);
  return runtime.logs(container.id, logOptions(request, clock), signal);
}

function currentOf(worker: StreamPod, request: LogsRequest): Container {
  const [newest] = attempts(worker, request.container);
  if (newest !== undefined && newest.state !== 'created') return newest;
  const { name } = worker.pod;
  if (findContainer(worker.pod, request.container) === undefined) {
    throw badRequest(`container ${request.container} is not valid for pod ${name}`);
  }
  const reason =
    statusOf(worker.status, request.container)?.state?.waiting?.reason ?? 'ContainerCreating';
  throw badRequest(
    `container "${request.container}" in pod "${name}" is waiting to start: ${reason}`,
  );
}

function previousOf(worker: StreamPod, request: LogsRequest): Container {
  const [newest, ...older] = attempts(worker, request.container);
  // While a container waits for its next start, its newest attempt is the previous one.
  const ended = newest?.state === 'exited' ? newest : undefined;
  const previous = older.find(({ state }) => state === 'exited') ?? ended;
  if (previous !== undefined) return previous;
  const { name } = worker.pod;
  throw badRequest(
    `previous terminated container "${request.container}" in pod "${name}" not found`,
  );
}

/** Newest first. */
function attempts(worker: StreamPod, name: string): Container[] {
  return worker.containers
    .filter((container) => container.name === name)
    .sort((a, b) => b.attempt - a.attempt);
}

function logOptions(request: LogsRequest, clock: Clock): LogOptions {
  const { follow, timestamps, tailLines, sinceSeconds, sinceTime } = request;
  const sinceMs =
    sinceSeconds === undefined ? Date.parse(sinceTime ?? '') : clock.wallMs() - sinceSeconds * 1000;
  return {
    follow,
    timestamps,
    ...(tailLines === undefined ? {} : { tailLines }),
    ...(Number.isNaN(sinceMs) ? {} : { sinceMs }),
  };
}

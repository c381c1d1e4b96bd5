/**
 * Opens what a StreamRequest asks for: a log, a command in a container, a container's own streams, a port of a pod.
 * Only of pods that this board has; errors are in Kubernetes' words where it has some.
 */
import type { Clock } from '../protocol/clock.ts';
import type { ContainerStatus, PodStatus } from '../protocol/kinds/types.ts';
import { ApiError, badRequest } from '../protocol/status.ts';
import type { AttachRequest, ExecRequest, PodStreamRequest } from '../protocol/stream-requests.ts';
import type { ServedStream } from './link/stream-pump.ts';
import { openLogs } from './pod-logs.ts';
import { findContainer } from './pods/pod-steps.ts';
import type { PodWorker } from './pods/pod-worker.ts';
import { openPort } from './port-forward.ts';
import type { Container, ExecSession, Runtime } from './runtime/runtime.ts';

export interface StreamContext {
  readonly runtime: Runtime;
  readonly clock: Clock;
}

/** A pod of the board as far as streams need it. */
export type StreamPod = Pick<PodWorker, 'pod' | 'containers' | 'status'>;

/** Throws ApiError for what the user should read. */
export async function openStream(
  request: PodStreamRequest,
  worker: StreamPod | undefined,
  context: StreamContext,
  signal: AbortSignal,
): Promise<ServedStream> {
  if (worker === undefined) {
    const message = `pod with uid "${request.podUid}" is not on this board`;
    throw new ApiError(404, 'NotFound', message);
  }
  switch (request.type) {
    case 'logs': {
      const { limitBytes } = request;
      const bytes = openLogs(request, worker, context, signal);
      return { type: 'bytes', bytes, ...(limitBytes === undefined ? {} : { limitBytes }) };
    }
    case 'exec':
    case 'attach':
      return { type: 'session', session: await openProcess(request, worker, context.runtime) };
    case 'portForward': {
      const target = { podName: worker.pod.name, host: hostOf(worker), port: request.port };
      return { type: 'session', session: await openPort(target, signal) };
    }
    default: {
      const never: never = request;
      return never;
    }
  }
}

function openProcess(
  request: ExecRequest | AttachRequest,
  worker: StreamPod,
  runtime: Runtime,
): Promise<ExecSession> {
  const { id } = runningContainer(worker, request.container);
  const { stdin, stdout, stderr, tty } = request;
  if (request.type === 'exec') {
    return runtime.exec(id, { command: request.command, stdin, stdout, stderr, tty });
  }
  const made = findContainer(worker.pod, request.container);
  if (stdin && made?.stdin !== true) {
    throw badRequest(
      `container "${request.container}" of pod "${worker.pod.name}" has no stdin: set "stdin: true"`,
    );
  }
  if (tty && made?.tty !== true) {
    throw badRequest(
      `container "${request.container}" of pod "${worker.pod.name}" has no terminal: set "tty: true"`,
    );
  }
  // Its framing depends on how it was made, not on what the client would like.
  return runtime.attach(id, { stdin, stdout, stderr, tty: made?.tty === true });
}

function runningContainer({ pod, containers, status }: StreamPod, name: string): Container {
  const own = containers.filter((container) => container.name === name);
  const running = own.find(({ state }) => state === 'running');
  if (running !== undefined) return running;
  const state = statusOf(status, name)?.state;
  const reason = state?.waiting?.reason ?? state?.terminated?.reason;
  const why = reason === undefined ? '' : `: ${reason}`;
  throw badRequest(`container "${name}" of pod "${pod.name}" is not running${why}`);
}

/** What the pod's status says of one of its containers. */
export function statusOf(status: PodStatus | undefined, name: string): ContainerStatus | undefined {
  const { containerStatuses, initContainerStatuses, ephemeralContainerStatuses } = status ?? {};
  const lists = [containerStatuses, initContainerStatuses, ephemeralContainerStatuses];
  return lists.flatMap((list) => list ?? []).find((one) => one.name === name);
}

/** Never what somebody else wrote: the address is the one that this board gave the pod. */
function hostOf({ pod, status }: StreamPod): string {
  if (pod.spec.hostNetwork === true) return '127.0.0.1';
  const ip = status?.podIP ?? '';
  if (ip === '') throw badRequest(`pod "${pod.name}" is not running: it has no address yet`);
  return ip;
}

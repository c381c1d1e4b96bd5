/**
 * The end of a container in Kubernetes' words. Pure.
 */
import { rfc3339 } from '../../protocol/clock.ts';
import type { ContainerStateTerminated } from '../../protocol/kinds/types.ts';
import type { Container } from '../runtime/runtime.ts';

/** Reason: OOMKilled, Completed for exit code 0, Error for the rest. */
export function terminatedState(container: Container): ContainerStateTerminated {
  const exitCode = container.exitCode ?? 0;
  return {
    exitCode,
    reason: container.oomKilled === true ? 'OOMKilled' : exitCode === 0 ? 'Completed' : 'Error',
    ...(container.message === undefined || container.message === ''
      ? {}
      : { message: container.message }),
    ...(container.startedAtMs === undefined ? {} : { startedAt: rfc3339(container.startedAtMs) }),
    ...(container.finishedAtMs === undefined
      ? {}
      : { finishedAt: rfc3339(container.finishedAtMs) }),
    containerID: container.id,
  };
}

/**
 * Events that say once per wait that a container or an image is waited for. Pure.
 */
import type { PodStatus } from '../../protocol/kinds/types.ts';
import type { BoardPod } from '../plan/board-pod.ts';
import type { PodEvent } from './pod-steps.ts';

export function backOffEvents(
  { uid, namespace, name }: BoardPod,
  before: PodStatus | undefined,
  now: PodStatus,
): PodEvent[] {
  const known = new Map(
    statuses(before).map((one) => [one.name, one.state?.waiting?.reason] as const),
  );
  const events: PodEvent[] = [];
  for (const { name: container, state, image } of statuses(now)) {
    const reason = state?.waiting?.reason;
    if (reason === known.get(container)) continue;
    const base = { uid, namespace, name, container, reason: 'BackOff' };
    if (reason === 'CrashLoopBackOff') {
      const where = `${name}_${namespace}(${uid})`;
      const message = `Back-off restarting failed container ${container} in pod ${where}`;
      events.push({ ...base, type: 'Warning', message });
    } else if (reason === 'ImagePullBackOff') {
      events.push({ ...base, type: 'Normal', message: `Back-off pulling image "${image}"` });
      events.push({ ...base, type: 'Warning', reason: 'Failed', message: `Error: ${reason}` });
    }
  }
  return events;
}

function statuses(status: PodStatus | undefined) {
  return [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])];
}

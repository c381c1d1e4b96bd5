/**
 * What this board listens on for pods of boards that it has no route to: the ports of services' endpoints, headless or not, on the
 * addresses of the pods themselves, so that a client reaches them by IP. Other ports of these pods are not known here. Pure.
 */
import type { DesiredService } from '../../protocol/messages.ts';
import { cidrContains } from '../plan/pod-ip.ts';
import { backendKey, type ListenerSpec, type ServiceTable } from './service-table.ts';

/** The table with the ports of pods in `ranges` in it. Whether a pod is ready is not asked: by its IP it is reached anyway. */
export function withRelayedPods(
  table: ServiceTable,
  services: readonly DesiredService[],
  ranges: readonly string[],
): ServiceTable {
  if (ranges.length === 0) return table;
  const listeners = new Map(table.listeners);
  const udpListeners = new Map(table.udpListeners);
  for (const { namespace, name, ports, endpoints } of services) {
    for (const { ip, ports: targets } of endpoints) {
      if (!ranges.some((range) => cidrContains(range, ip))) continue;
      for (const { name: portName, protocol } of ports) {
        const port = targets[portName];
        if (port === undefined || protocol === 'SCTP') continue;
        const into = protocol === 'UDP' ? udpListeners : listeners;
        const key = backendKey({ ip, port });
        // Several services may have the pod.
        if (!into.has(key)) into.set(key, listener({ namespace, name }, ip, port));
      }
    }
  }
  return { ...table, listeners, udpListeners };
}

function listener(service: ListenerSpec['service'], ip: string, port: number): ListenerSpec {
  const backends = [{ ip, port }];
  return {
    ...{ ip, port, service, backends },
    affinity: undefined,
    sourceRanges: undefined,
    isRelayedPod: true,
  };
}

/**
 * From the pods of this board to what is listened for on their hostPorts. Pure.
 *
 * A host port is open while the pod has its address and has not ended. It is forwarded like a service with one backend; a
 * service that has the port already keeps it. Pods on the board's own network need nothing: they listen themselves.
 */
import { hasEnded } from '../../protocol/pod-phase.ts';
import { type BoardPod, isSidecar, podKey } from '../plan/board-pod.ts';
import {
  type BoardPlace,
  kindOf,
  type ListenerSpec,
  type ServiceProblem,
  type ServiceTable,
} from './service-table.ts';

export interface HostPort {
  readonly pod: { readonly namespace: string; readonly name: string; readonly podUid: string };
  readonly podIp: string;
  readonly containerPort: number;
  /** Undefined: every address of the board. */
  readonly hostIp: string | undefined;
  readonly hostPort: number;
  readonly protocol: 'TCP' | 'UDP';
}

/** A pod of the board as far as its host ports need it. */
export interface PodWithPorts {
  readonly pod: BoardPod;
  readonly gone: boolean;
  readonly status: { readonly podIP?: string; readonly phase?: string } | undefined;
}

const EVERYWHERE: ReadonlySet<string> = new Set(['', '0.0.0.0', '::']);

/** In the order of the pods: of two that want the same port the first has it. */
export function hostPortsOf(pods: Iterable<PodWithPorts>): HostPort[] {
  const ports: HostPort[] = [];
  for (const { pod, gone, status } of pods) {
    const podIp = status?.podIP ?? '';
    if (podIp === '' || gone || hasEnded(status) || pod.spec.hostNetwork === true) continue;
    const sidecars = (pod.spec.initContainers ?? []).filter(isSidecar);
    for (const port of [...pod.spec.containers, ...sidecars].flatMap((one) => one.ports ?? [])) {
      const { containerPort = 0, hostPort = 0, hostIP = '', protocol = 'TCP' } = port;
      if (hostPort === 0 || (protocol !== 'TCP' && protocol !== 'UDP')) continue;
      const { namespace, name, uid: podUid } = pod;
      const hostIp = EVERYWHERE.has(hostIP) ? undefined : hostIP;
      const owner = { namespace, name, podUid };
      ports.push({ pod: owner, podIp, containerPort, hostIp, hostPort, protocol });
    }
  }
  return ports;
}

/** The table with the host ports in it, and with a problem for each that is taken. */
export function withHostPorts(
  table: ServiceTable,
  ports: readonly HostPort[],
  board: BoardPlace,
): ServiceTable {
  const listeners = new Map(table.listeners);
  const udpListeners = new Map(table.udpListeners);
  const problems: ServiceProblem[] = [...table.problems];
  for (const port of ports) {
    const into = port.protocol === 'UDP' ? udpListeners : listeners;
    // Each address for itself: a program that has the port on one of them is in the way there alone.
    const ips = port.hostIp === undefined ? board.addresses : [port.hostIp];
    const isOthers = (ip: string) =>
      port.hostIp === undefined && isOfService(into, `${ip}:${port.hostPort}`, board.address);
    const own = ips.filter((ip) => !isOthers(ip));
    const holder = holderOf(into, own, port.hostPort);
    if (holder !== undefined) problems.push(conflict(port, holder));
    else for (const ip of own) into.set(`${ip}:${port.hostPort}`, listener(port, ip));
  }
  return { listeners, udpListeners, problems };
}

/** Whether a service has it there alone: on its address of the pool, or an external one, that this board has just now. */
function isOfService(
  listeners: ReadonlyMap<string, ListenerSpec>,
  key: string,
  boardAddress: string,
): boolean {
  const { ip, service } = listeners.get(key) ?? {};
  return (
    ip !== undefined &&
    ip !== boardAddress &&
    service !== undefined &&
    kindOf(service) === 'Service'
  );
}

function listener(port: HostPort, ip: string): ListenerSpec {
  return {
    ip,
    port: port.hostPort,
    service: port.pod,
    backends: [{ ip: port.podIp, port: port.containerPort }],
    affinity: undefined,
    sourceRanges: undefined,
  };
}

/** Who has the port on one of these addresses, or on all. */
export function holderOf(
  listeners: ReadonlyMap<string, ListenerSpec>,
  ips: readonly string[],
  port: number,
): ListenerSpec | undefined {
  for (const ip of ['*', ...ips]) {
    const holder = listeners.get(`${ip}:${port}`);
    if (holder !== undefined) return holder;
  }
  return undefined;
}

function conflict(
  { pod, hostPort, protocol }: HostPort,
  { service }: ListenerSpec,
): ServiceProblem {
  const what = `port ${hostPort}${protocol === 'UDP' ? '/UDP' : ''}`;
  const holder = kindOf(service).toLowerCase();
  return {
    service: pod,
    reason: 'PortConflict',
    message:
      `${what} of this board is held by ${holder} ${podKey(service)}: ` +
      'give one of them another port',
  };
}

/** Which addresses of the pool this board could hold. Pure. */
import type { DesiredService } from '../../protocol/messages.ts';
import { cidrContains } from '../plan/pod-ip.ts';
import { backendsOf, type ServiceProblem, type ServiceRef } from '../proxy/service-table.ts';

/** The interface with the board's own address. */
export interface LanPlace {
  readonly interface: string;
  /** As in "192.168.1.7/24". */
  readonly cidr: string;
}

export interface Offers {
  /** Addresses of all services, whether this board could hold them or not. */
  readonly inUse: ReadonlyMap<string, ServiceRef>;
  readonly offers: readonly string[];
  readonly problems: readonly ServiceProblem[];
}

/**
 * Every address of a service that is in the board's LAN; with externalTrafficPolicy Local only while a pod of the service is
 * ready on this board, because all others would refuse.
 */
export function offersOf(
  services: readonly DesiredService[],
  node: string,
  lan: LanPlace | undefined,
): Offers {
  const inUse = new Map<string, ServiceRef>();
  const offers: string[] = [];
  const problems: ServiceProblem[] = [];
  for (const service of services) {
    const { loadBalancer, namespace, name } = service;
    const ip = loadBalancer?.address;
    if (ip === undefined) continue;
    inUse.set(ip, { namespace, name });
    if (lan === undefined) continue;
    if (!cidrContains(lan.cidr, ip)) problems.push(offLan({ namespace, name }, ip, lan));
    else if (!service.externalTrafficLocal || hasLocalPod(service, node)) offers.push(ip);
  }
  return { inUse, offers, problems };
}

function hasLocalPod(service: DesiredService, node: string): boolean {
  return service.ports.some(({ name }) => backendsOf(service, name, true, node).length > 0);
}

function offLan(service: ServiceRef, ip: string, { cidr }: LanPlace): ServiceProblem {
  const message = `${ip} is not in the LAN of this board (${cidr}): another board has to hold it, or the pool is wrong`;
  return { service, reason: 'AddressOffLan', message };
}

/**
 * Which address of the pool each LoadBalancer service has. Pure: what was given stands in the services' own status.
 *
 * A service keeps its address as long as it is of this kind. A wish (spec.loadBalancerIP, or the annotation, which wins, as
 * Kubernetes deprecates the field) is an order: this address or none. Others get the lowest that is free. Two that have the same
 * (a restored backup, a status written by hand): the older one keeps it.
 */
import type { Service, ServiceSpec } from '../../protocol/kinds/types.ts';
import { keyOf } from '../informer/informer.ts';
import type { AddressPool } from './address-pool.ts';

/** The address that a service wants. */
export const ADDRESS_ANNOTATION = 'pier.local/load-balancer-ip';

export type Allocation =
  | { readonly type: 'address'; readonly ip: string }
  | { readonly type: 'none'; readonly why: string };

export interface AllocationView {
  readonly services: readonly Service[];
  readonly pool: AddressPool;
  /** LAN addresses of boards: never given away. */
  readonly boardAddresses: readonly string[];
  /** What was given to a service and may not have reached its status yet, by uid. */
  readonly given: ReadonlyMap<string, string>;
}

/** Whether the boards themselves are the load balancer. */
export function isBoardsLoadBalancer({ type, loadBalancerClass = '' }: ServiceSpec): boolean {
  return type === 'LoadBalancer' && loadBalancerClass === '';
}

/** By "namespace/name", for every service that the pool is for. */
export function allocateAddresses(view: AllocationView): Map<string, Allocation> {
  const { pool, boardAddresses } = view;
  const boards = new Set(boardAddresses);
  const result = new Map<string, Allocation>();
  const holders = new Map<string, string>();
  const give = (key: string, ip: string): void => {
    holders.set(ip, key);
    result.set(key, { type: 'address', ip });
  };
  const services = view.services
    .filter(({ spec = {} }) => isBoardsLoadBalancer(spec))
    .sort((a, b) => (orderOf(a) < orderOf(b) ? -1 : 1));
  const isFree = (ip: string) => pool.contains(ip) && !boards.has(ip) && !holders.has(ip);
  for (const service of services) {
    const ip = heldBy(service, view.given);
    const wish = wishOf(service);
    if (ip !== undefined && isFree(ip) && (wish === undefined || wish === ip)) {
      give(keyOf(service), ip);
    }
  }
  const waiting = services.filter((service) => !result.has(keyOf(service)));
  // Wishes first, so that a free choice does not take one away.
  for (const service of waiting) {
    const wish = wishOf(service);
    if (wish === undefined) continue;
    if (isFree(wish)) give(keyOf(service), wish);
    else result.set(keyOf(service), none(whyNot(wish, pool, boards, holders)));
  }
  const free = pool.addresses.filter(isFree)[Symbol.iterator]();
  for (const service of waiting) {
    if (wishOf(service) !== undefined) continue;
    const next = free.next();
    if (next.done !== true) give(keyOf(service), next.value);
    else
      result.set(
        keyOf(service),
        none(
          `all ${pool.addresses.length} addresses of the pool are taken: delete a service of type LoadBalancer, or give the master a larger --load-balancer-pool`,
        ),
      );
  }
  return result;
}

/** The address that a service asks for; undefined when it leaves the choice to us. */
export function wishOf({ metadata, spec }: Service): string | undefined {
  return metadata?.annotations?.[ADDRESS_ANNOTATION] || spec?.loadBalancerIP || undefined;
}

/** The address of the pool in a service's status. */
export function poolAddressOf({ status }: Service, pool: AddressPool): string | undefined {
  const ips = (status?.loadBalancer?.ingress ?? []).map(({ ip = '' }) => ip);
  return ips.length === 1 && pool.contains(ips[0] ?? '') ? ips[0] : undefined;
}

function heldBy(service: Service, given: ReadonlyMap<string, string>): string | undefined {
  const [first] = service.status?.loadBalancer?.ingress ?? [];
  return given.get(service.metadata?.uid ?? '') ?? first?.ip;
}

function whyNot(
  wish: string,
  pool: AddressPool,
  boards: ReadonlySet<string>,
  holders: ReadonlyMap<string, string>,
): string {
  if (!pool.contains(wish)) return `the wanted address ${wish} is not in the pool of the master`;
  if (boards.has(wish)) return `the wanted address ${wish} is a board's own`;
  return `the wanted address ${wish} is held by service ${holders.get(wish)}`;
}

function none(why: string): Allocation {
  return { type: 'none', why };
}

/** Older ones first; of the same second by name. */
function orderOf(service: Service): string {
  return `${service.metadata?.creationTimestamp ?? ''} ${keyOf(service)}`;
}

/** LoadBalancer services and the pool of addresses as the runner drives them; the decisions are in load-balancer.ts and allocation.ts. */
import type { Node, Service } from '../../protocol/kinds/types.ts';
import { keyOf, splitKey } from '../informer/informer.ts';
import { BY_NAMESPACE, type SharedInformers } from '../informer/shared.ts';
import type { AddressPool } from '../load-balancer/address-pool.ts';
import {
  type Allocation,
  allocateAddresses,
  isBoardsLoadBalancer,
} from '../load-balancer/allocation.ts';
import type { Action } from './actions.ts';
import { foreignSlices, servicesOfSlice } from './foreign-slices.ts';
import { reconcileLoadBalancer } from './load-balancer.ts';
import { type Controller, watchOf } from './runner.ts';

/** `pool` undefined: services are reached at the boards' own addresses. */
export function loadBalancerController(
  informers: SharedInformers,
  pool: AddressPool | undefined,
): Controller {
  const { services, endpoints, endpointSlices, nodes } = informers;
  const balanced = (): string[] =>
    services
      .list()
      .filter(({ spec = {} }) => isBoardsLoadBalancer(spec))
      .map((service) => keyOf(service));
  const memory = new AllocationMemory();
  return {
    name: 'service-lb-controller',
    workers: 1,
    watches: [
      // An address that becomes free, or is taken, may be one that another service waits for.
      watchOf(services, ({ object }) => [keyOf(object), ...(pool === undefined ? [] : balanced())]),
      watchOf(endpoints, ({ object }) => [keyOf(object)]),
      watchOf(endpointSlices, servicesOfSlice),
      watchOf(nodes, balanced),
    ],
    reconcile(key): readonly Action[] {
      const service = services.getByKey(key);
      if (service === undefined) return [];
      const allocation = pool && memory.allocate(services.list(), nodes.list(), pool).get(key);
      const { namespace, name } = splitKey(key);
      const view = {
        service,
        endpoints: endpoints.getByKey(key),
        slices: foreignSlices(endpointSlices.byIndex(BY_NAMESPACE, namespace), name),
        nodes: nodes.list(),
        allocation,
      };
      return memory.newOnly(service, reconcileLoadBalancer(view));
    },
  };
}

/** What informers do not show yet: an address given a moment ago; and what a service has been told. */
class AllocationMemory {
  readonly #given = new Map<string, string>();
  readonly #told = new Map<string, string>();

  allocate(
    services: readonly Service[],
    nodes: readonly Node[],
    pool: AddressPool,
  ): Map<string, Allocation> {
    const boardAddresses = nodes.flatMap(({ status }) =>
      (status?.addresses ?? []).map(({ address }) => address),
    );
    const allocations = allocateAddresses({ services, pool, boardAddresses, given: this.#given });
    this.#given.clear();
    for (const service of services) {
      const allocation = allocations.get(keyOf(service));
      const uid = service.metadata?.uid ?? '';
      if (allocation?.type === 'address') this.#given.set(uid, allocation.ip);
    }
    return allocations;
  }

  /** Without the events that a service has got already. */
  newOnly({ metadata }: Service, actions: readonly Action[]): readonly Action[] {
    const uid = metadata?.uid ?? '';
    const event = actions.find(({ type }) => type === 'event');
    const message = event?.type === 'event' ? event.message : undefined;
    const isKnown = message === this.#told.get(uid);
    if (message === undefined) this.#told.delete(uid);
    else this.#told.set(uid, message);
    return isKnown ? actions.filter(({ type }) => type !== 'event') : actions;
  }
}

/**
 * LoadBalancer services: their status shows the address that they have of the pool; without a pool those of the boards that
 * listen for them. Pure.
 *
 * Which boards: those that are Ready and not labelled to be left out; with externalTrafficPolicy Local only those with a
 * ready endpoint, because the others would refuse. A service of another loadBalancerClass is somebody else's.
 */
import type {
  EndpointSlice,
  Endpoints,
  LoadBalancerIngress,
  Node,
  Service,
} from '../../protocol/kinds/types.ts';
import { RESOURCES } from '../api/client.ts';
import { type Allocation, isBoardsLoadBalancer, wishOf } from '../load-balancer/allocation.ts';
import { readinessOf } from '../scheduler/taints.ts';
import type { Action } from './actions.ts';
import { canonicalJson } from './pod-template.ts';

/** Kubernetes' well-known label for nodes that take no part. */
const EXCLUDED_LABEL = 'node.kubernetes.io/exclude-from-external-load-balancers';

interface LoadBalancerView {
  readonly service: Service;
  readonly endpoints: Endpoints | undefined;
  /** Those that somebody else than Pier keeps. */
  readonly slices?: readonly EndpointSlice[];
  readonly nodes: readonly Node[];
  /** Undefined: the cluster has no pool of addresses. */
  readonly allocation: Allocation | undefined;
}

export function reconcileLoadBalancer(view: LoadBalancerView): Action[] {
  const { service } = view;
  if (service.metadata?.deletionTimestamp !== undefined) return [];
  const spec = service.spec ?? {};
  const have = service.status?.loadBalancer?.ingress ?? [];
  // What another load balancer wrote is its own; what is left from an earlier type goes.
  if (spec.type === 'LoadBalancer' && !isBoardsLoadBalancer(spec)) return [];
  const wanted = spec.type === 'LoadBalancer' ? wantedIngress(view) : [];
  const events = spec.type === 'LoadBalancer' ? complaints(view) : [];
  if (canonicalJson(have) === canonicalJson(wanted)) return events;
  const loadBalancer = wanted.length === 0 ? {} : { ingress: wanted };
  const object: Service = { ...service, status: { ...service.status, loadBalancer } };
  return [...events, { type: 'updateStatus', id: RESOURCES.services, object }];
}

function wantedIngress(view: LoadBalancerView) {
  const { allocation } = view;
  if (allocation === undefined) return ingressOf(view);
  // Kubernetes: VIP says that traffic arrives with this very address and port.
  return allocation.type === 'address' ? [{ ip: allocation.ip, ipMode: 'VIP' }] : [];
}

/** Why a service has no address, or not the one it asks for. */
function complaints({ service, allocation }: LoadBalancerView): Action[] {
  const wish = wishOf(service);
  let message: string | undefined;
  if (allocation?.type === 'none') message = allocation.why;
  else if (allocation === undefined && wish !== undefined) {
    message =
      `the wanted address ${wish} cannot be given: the master has no --load-balancer-pool, ` +
      'so the boards listen on their own addresses';
  }
  if (message === undefined) return [];
  const regarding = { apiVersion: 'v1', kind: 'Service', metadata: service.metadata ?? {} };
  return [{ type: 'event', regarding, eventType: 'Warning', reason: 'AllocationFailed', message }];
}

function ingressOf(view: LoadBalancerView): LoadBalancerIngress[] {
  const isLocal = view.service.spec?.externalTrafficPolicy === 'Local';
  const withEndpoints = isLocal ? boardsWithEndpoints(view) : undefined;
  const boards = view.nodes
    .filter(({ metadata }) => metadata?.labels?.[EXCLUDED_LABEL] === undefined)
    .filter(({ metadata }) => withEndpoints?.has(metadata?.name ?? '') ?? true);
  // Kubernetes: VIP says that traffic arrives with this very address and port.
  return boardAddresses(boards).map((ip) => ({ ip, ipMode: 'VIP' }));
}

/** Names of the boards that have a ready endpoint. */
function boardsWithEndpoints({ endpoints, slices = [] }: LoadBalancerView): ReadonlySet<string> {
  const ready = [
    ...(endpoints?.subsets ?? []).flatMap(({ addresses = [] }) => addresses),
    ...slices
      .flatMap(({ endpoints: list = [] }) => list)
      .filter(({ conditions }) => conditions?.ready !== false),
  ];
  return new Set(ready.flatMap(({ nodeName }) => nodeName ?? []));
}

/** LAN addresses of those that are Ready, in the order of their names. */
export function boardAddresses(nodes: readonly Node[]): string[] {
  return nodes
    .filter((node) => readinessOf(node) === 'True')
    .sort((a, b) => ((a.metadata?.name ?? '') < (b.metadata?.name ?? '') ? -1 : 1))
    .flatMap(({ status }) => {
      const ip = status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
      return ip === undefined ? [] : [ip];
    });
}

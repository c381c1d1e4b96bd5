/**
 * Ingresses: their status shows the addresses of the boards that serve them and are Ready. Pure. One of another class is
 * somebody else's, status and all.
 */
import type {
  Ingress,
  IngressClass,
  IngressLoadBalancerIngress,
  Node,
} from '../../protocol/kinds/types.ts';
import { RESOURCES } from '../api/client.ts';
import { isServed, ownClasses, servingBoards } from '../ingress/ingress-class.ts';
import type { Action } from './actions.ts';
import { boardAddresses } from './load-balancer.ts';
import { canonicalJson } from './pod-template.ts';

interface IngressStatusView {
  readonly ingress: Ingress;
  readonly classes: readonly IngressClass[];
  readonly nodes: readonly Node[];
}

export function reconcileIngressStatus({ ingress, classes, nodes }: IngressStatusView): Action[] {
  if (!isServed(ingress, ownClasses(classes))) return [];
  const wanted: IngressLoadBalancerIngress[] = boardAddresses(servingBoards(nodes)).map((ip) => ({
    ip,
  }));
  const have = ingress.status?.loadBalancer?.ingress ?? [];
  if (canonicalJson(have) === canonicalJson(wanted)) return [];
  const loadBalancer = wanted.length === 0 ? {} : { ingress: wanted };
  const object: Ingress = { ...ingress, status: { loadBalancer } };
  return [{ type: 'updateStatus', id: RESOURCES.ingresses, object }];
}

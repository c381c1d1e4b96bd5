/**
 * Ports 80 and 443 of the board in the table of what is listened for, while there is an Ingress to serve. Pure.
 *
 * On each address for itself, because services have port 80 of theirs: of their cluster IPs, and of addresses of the pool and
 * external ones that the board has just now. A service or a host port that has the port on the board's own address keeps it, and
 * the Ingresses are told. With 443 only while an Ingress has a TLS Secret.
 */
import type { DesiredIngress } from '../../protocol/ingress.ts';
import { holderOf } from '../proxy/host-ports.ts';
import { LEAVE_OUT } from '../proxy/listen-problem.ts';
import {
  type BoardPlace,
  kindOf,
  type ServiceProblem,
  type ServiceRef,
  type ServiceTable,
} from '../proxy/service-table.ts';

const HTTP_PORT = 80;
const HTTPS_PORT = 443;
/** Stands for all Ingresses of the board: the listeners are for them all. */
const EVERY_INGRESS: ServiceRef = { namespace: '', name: '', isIngress: true };

export function withIngresses(
  table: ServiceTable,
  ingresses: readonly DesiredIngress[],
  board: BoardPlace,
): ServiceTable {
  const listeners = new Map(table.listeners);
  const problems: ServiceProblem[] = [...table.problems];
  const wanted = [
    ...(ingresses.length > 0 ? [{ port: HTTP_PORT, web: 'http' as const }] : []),
    ...(ingresses.some(({ tls }) => tls.length > 0)
      ? [{ port: HTTPS_PORT, web: 'https' as const }]
      : []),
  ];
  for (const { port, web } of wanted) {
    const holder = holderOf(listeners, [board.address], port)?.service;
    if (holder !== undefined) {
      const who = `${kindOf(holder).toLowerCase()} ${holder.namespace}/${holder.name}`;
      const message = `port ${port} of this board is held by ${who}: give it another port, or ${LEAVE_OUT}`;
      problems.push(
        ...ingresses.map(({ namespace, name }) => ({
          service: { namespace, name, isIngress: true as const },
          reason: 'PortConflict' as const,
          message,
        })),
      );
      continue;
    }
    for (const ip of board.addresses) {
      if (listeners.has(`${ip}:${port}`)) continue;
      const spec = { ip, port, service: EVERY_INGRESS, backends: [], web };
      listeners.set(`${ip}:${port}`, { ...spec, affinity: undefined, sourceRanges: undefined });
    }
  }
  return { ...table, listeners, problems };
}

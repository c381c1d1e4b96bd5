/** Why a service or a host port cannot be listened for, for the event on it: who holds the port, and what to do. */

import { INGRESS_LABEL } from '../../protocol/ingress.ts';
import { portHolder, type Transport } from './port-holder.ts';
import { kindOf, type ListenerSpec, type ServiceProblem } from './service-table.ts';

/** What to do about a board on which something else is the web server. */
export const LEAVE_OUT = `leave Ingresses to other boards (kubectl label node BOARD ${INGRESS_LABEL}=false)`;

export async function listenProblem(
  {
    service,
    ip,
    port,
    isRelayedPod,
  }: Pick<ListenerSpec, 'service' | 'ip' | 'port' | 'isRelayedPod'>,
  transport: Transport,
  error: NodeJS.ErrnoException,
): Promise<ServiceProblem> {
  const what = `port ${port}${transport === 'UDP' ? '/UDP' : ''}`;
  if (error.code !== 'EADDRINUSE') {
    const message = `${ip ?? 'this board'} ${what} cannot be listened on: ${error.message}`;
    return { service, reason: 'ListenFailed', message };
  }
  const holder = await portHolder(port, transport).catch(() => undefined);
  if (isRelayedPod === true) {
    const message =
      `pod ${ip}, which is behind another subnet, is not reached by its IP from this board: ${what} is held here by ` +
      `${holder ?? 'another program'}: stop it, or give the pod another port`;
    return { service, reason: 'PortConflict', message };
  }
  const other = {
    Pod: 'give the pod another hostPort',
    Service: `give the service another ${ip === undefined ? 'nodePort' : 'port'}`,
    Ingress: LEAVE_OUT,
  }[kindOf(service)];
  const message = `${what} of this board is held by ${holder ?? 'another program'}: stop it, or ${other}`;
  return { service, reason: 'PortConflict', message };
}

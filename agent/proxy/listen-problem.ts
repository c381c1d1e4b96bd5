/** Why a service or a host port cannot be listened for, for the event on it: who holds the port, and what to do. */
import { portHolder, type Transport } from './port-holder.ts';
import type { ListenerSpec, ServiceProblem } from './service-table.ts';

export async function listenProblem(
  { service, ip, port }: Pick<ListenerSpec, 'service' | 'ip' | 'port'>,
  transport: Transport,
  error: NodeJS.ErrnoException,
): Promise<ServiceProblem> {
  const what = `port ${port}${transport === 'UDP' ? '/UDP' : ''}`;
  if (error.code !== 'EADDRINUSE') {
    const message = `${ip ?? 'this board'} ${what} cannot be listened on: ${error.message}`;
    return { service, reason: 'ListenFailed', message };
  }
  const holder = await portHolder(port, transport).catch(() => undefined);
  const other =
    service.podUid !== undefined
      ? 'the pod another hostPort'
      : `the service another ${ip === undefined ? 'nodePort' : 'port'}`;
  const message = `${what} of this board is held by ${holder ?? 'another program'}: stop it, or give ${other}`;
  return { service, reason: 'PortConflict', message };
}

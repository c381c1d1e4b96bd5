/** A Service of two pods on two boards, as the master sends it to a board. */
import type { DesiredService, ServiceEndpoint } from '../../../protocol/messages.ts';

export function endpoint(ip: string, more: Partial<ServiceEndpoint> = {}): ServiceEndpoint {
  return { ip, ready: true, terminating: false, ports: { http: 8080 }, ...more };
}

export function service(more: Partial<DesiredService> = {}): DesiredService {
  return {
    v: 1,
    namespace: 'default',
    name: 'web',
    digest: 'd',
    type: 'ClusterIP',
    clusterIp: '10.43.0.9',
    ports: [{ name: 'http', protocol: 'TCP', port: 80 }],
    endpoints: [endpoint('10.42.0.2', { node: 'a' }), endpoint('10.42.1.2', { node: 'b' })],
    internalTrafficLocal: false,
    externalTrafficLocal: false,
    ...more,
  };
}

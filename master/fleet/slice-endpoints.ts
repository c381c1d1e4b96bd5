/**
 * From EndpointSlices to what boards are told. Pure. Source: Kubernetes' documentation of EndpointSlices (of several addresses of
 * an endpoint the first counts; conditions that are not set mean ready, and serving as far as ready).
 */
import type { Endpoint, EndpointSlice } from '../../protocol/kinds/types.ts';
import type { ServiceEndpoint } from '../../protocol/messages.ts';

/** IPv4 only, as everything that boards forward. */
export function sliceEndpoints(slices: readonly EndpointSlice[]): ServiceEndpoint[] {
  return slices
    .filter(({ addressType }) => addressType === 'IPv4')
    .flatMap(({ endpoints = [], ports = [] }) => {
      // Without a number all ports are meant, which nobody can listen for.
      const numbers = ports.flatMap(({ name = '', port }) =>
        port === undefined ? [] : [[name, port] as const],
      );
      return endpoints.flatMap((one) => endpointOf(one, Object.fromEntries(numbers)) ?? []);
    });
}

/** Undefined for one that is on its way out and answers no more. */
function endpointOf(
  { addresses, conditions = {}, hostname, nodeName, targetRef }: Endpoint,
  ports: Record<string, number>,
): ServiceEndpoint | undefined {
  const { ready: isReady = true, serving = isReady, terminating = false } = conditions;
  const [ip] = addresses;
  if (ip === undefined || (terminating && !serving)) return undefined;
  return {
    ip,
    ...(nodeName === undefined ? {} : { node: nodeName }),
    ...(targetRef?.kind === 'Pod'
      ? { pod: `${targetRef.namespace ?? ''}/${targetRef.name ?? ''}` }
      : {}),
    ...(hostname === undefined || hostname === '' ? {} : { hostname }),
    ready: terminating ? serving : isReady,
    terminating,
    ports,
  };
}

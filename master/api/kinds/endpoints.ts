/** Endpoints: the addresses behind a Service, kept by the endpoints controller or by hand. */
import type { EndpointSubset, Endpoints } from '../../../protocol/kinds/types.ts';
import { dnsLabelErrors } from '../../../protocol/names.ts';
import type { FieldError } from '../../../protocol/status.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, NAME, NONE, nameCell, text } from './columns.ts';
import { eachReason, notSupported, required } from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { portNumberReasons } from './validate/names.ts';
import { PROTOCOLS, validateEndpointIp } from './validate/ports.ts';

/** How many addresses the table shows before it counts. */
const SHOWN_MAX = 3;

export const ENDPOINTS: KindModule<Endpoints> = {
  group: '',
  version: 'v1',
  kind: 'Endpoints',
  plural: 'endpoints',
  singular: 'endpoints',
  shortNames: ['ep'],
  categories: [],
  namespaced: true,
  message: 'io.k8s.api.core.v1.Endpoints',
  storage: 'durable',
  subresources: {},
  hasGeneration: false,
  setDefaults(endpoints) {
    for (const subset of endpoints.subsets ?? []) {
      for (const port of subset.ports ?? []) port.protocol ||= 'TCP';
    }
  },
  validate: (endpoints) => [
    ...validateObjectMeta(endpoints.metadata),
    ...(endpoints.subsets ?? []).flatMap((subset, index) =>
      validateSubset(`subsets[${index}]`, subset),
    ),
  ],
  columns: [NAME, text('Endpoints', 'Addresses with ports.'), AGE],
  row: (endpoints, nowMs) => [
    nameCell(endpoints),
    addressesCell(endpoints.subsets ?? []),
    ageCell(endpoints, nowMs),
  ],
};

function validateSubset(path: string, subset: EndpointSubset): FieldError[] {
  const errors: FieldError[] = [];
  const { addresses = [], notReadyAddresses = [], ports = [] } = subset;
  if (addresses.length === 0 && notReadyAddresses.length === 0) {
    errors.push(required(path, 'must specify `addresses` or `notReadyAddresses`'));
  }
  for (const [index, address] of addresses.entries()) {
    errors.push(...validateEndpointIp(`${path}.addresses[${index}].ip`, address.ip));
  }
  for (const [index, address] of notReadyAddresses.entries()) {
    errors.push(...validateEndpointIp(`${path}.notReadyAddresses[${index}].ip`, address.ip));
  }
  for (const [index, port] of ports.entries()) {
    const at = `${path}.ports[${index}]`;
    if (!port.name && ports.length > 1) errors.push(required(`${at}.name`));
    if (port.name) errors.push(...eachReason(`${at}.name`, port.name, dnsLabelErrors(port.name)));
    errors.push(...eachReason(`${at}.port`, port.port, portNumberReasons(port.port)));
    if (!PROTOCOLS.includes(port.protocol ?? '')) {
      errors.push(notSupported(`${at}.protocol`, port.protocol, PROTOCOLS));
    }
  }
  return errors;
}

/** `10.42.0.3:80,10.42.1.2:80,10.42.1.3:80 + 4 more...` */
function addressesCell(subsets: readonly EndpointSubset[]): string {
  if (subsets.length === 0) return NONE;
  const all = subsets.flatMap(({ addresses = [], ports = [] }) =>
    ports.length === 0
      ? addresses.map(({ ip }) => ip)
      : ports.flatMap(({ port }) => addresses.map(({ ip }) => hostPort(ip, port))),
  );
  const shown = all.slice(0, SHOWN_MAX).join(',');
  return all.length > SHOWN_MAX ? `${shown} + ${all.length - SHOWN_MAX} more...` : shown;
}

function hostPort(ip: string, port: number): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

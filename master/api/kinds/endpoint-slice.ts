/**
 * EndpointSlice: up to a thousand addresses behind a Service (a hundred in those that the controller makes). Programs that look
 * for the pods of a Service read these; boards are told of Endpoints, and of slices that somebody else than Pier keeps.
 */
import { isIPv4, isIPv6 } from 'node:net';
import type {
  DiscoveryV1EndpointPort,
  Endpoint,
  EndpointSlice,
} from '../../../protocol/kinds/types.ts';
import { dnsLabelErrors, dnsSubdomainErrors } from '../../../protocol/names.ts';
import type { FieldError } from '../../../protocol/status.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, NAME, nameCell, text } from './columns.ts';
import {
  duplicate,
  eachReason,
  IMMUTABLE,
  invalidValue,
  notSupported,
  required,
  tooMany,
} from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { portNumberReasons } from './validate/names.ts';
import { PROTOCOLS, validateEndpointIp } from './validate/ports.ts';

const ADDRESS_TYPES: readonly string[] = ['FQDN', 'IPv4', 'IPv6'];
const ENDPOINTS_MAX = 1_000;
const ADDRESSES_MAX = 100;
const PORTS_MAX = 20_000;
/** How many ports and addresses the table shows before it counts. */
const SHOWN_MAX = 3;
const UNSET = '<unset>';

export const ENDPOINT_SLICE: KindModule<EndpointSlice> = {
  group: 'discovery.k8s.io',
  version: 'v1',
  kind: 'EndpointSlice',
  plural: 'endpointslices',
  singular: 'endpointslice',
  shortNames: [],
  categories: [],
  namespaced: true,
  message: 'io.k8s.api.discovery.v1.EndpointSlice',
  storage: 'durable',
  subresources: {},
  hasGeneration: true,
  setDefaults(slice) {
    for (const port of slice.ports ?? []) {
      port.name ??= '';
      port.protocol ||= 'TCP';
    }
  },
  validate: (slice) => [
    ...validateObjectMeta(slice.metadata),
    ...validateAddressType(slice.addressType),
    ...validateEndpoints(slice),
    ...validatePorts(slice.ports ?? []),
  ],
  validateUpdate: (next, previous) =>
    next.addressType === previous.addressType
      ? []
      : [invalidValue('addressType', next.addressType, IMMUTABLE)],
  columns: [
    NAME,
    text('AddressType', 'What the addresses are: IPv4, IPv6 or FQDN.'),
    text('Ports', 'Ports of every endpoint.'),
    text('Endpoints', 'Addresses of the endpoints.'),
    AGE,
  ],
  row: (slice, nowMs) => [
    nameCell(slice),
    slice.addressType ?? '',
    shownCell((slice.ports ?? []).map(({ port }) => (port === undefined ? '*' : String(port)))),
    shownCell((slice.endpoints ?? []).flatMap(({ addresses = [] }) => addresses)),
    ageCell(slice, nowMs),
  ],
};

function validateAddressType(type: string | undefined): FieldError[] {
  if (type === undefined || type === '') return [required('addressType')];
  return ADDRESS_TYPES.includes(type) ? [] : [notSupported('addressType', type, ADDRESS_TYPES)];
}

function validateEndpoints({ endpoints = [], addressType }: EndpointSlice): FieldError[] {
  if (endpoints.length > ENDPOINTS_MAX) {
    return [tooMany('endpoints', endpoints.length, ENDPOINTS_MAX)];
  }
  return endpoints.flatMap((endpoint, index) =>
    validateEndpoint(`endpoints[${index}]`, endpoint, addressType),
  );
}

function validateEndpoint(path: string, endpoint: Endpoint, addressType: string): FieldError[] {
  const { addresses = [], hostname } = endpoint;
  const errors: FieldError[] = [];
  if (addresses.length === 0) {
    errors.push(required(`${path}.addresses`, 'must contain at least 1 address'));
  } else if (addresses.length > ADDRESSES_MAX) {
    errors.push(tooMany(`${path}.addresses`, addresses.length, ADDRESSES_MAX));
  }
  for (const [index, address] of addresses.entries()) {
    errors.push(...validateAddress(`${path}.addresses[${index}]`, address, addressType));
  }
  if (hostname !== undefined) {
    errors.push(...eachReason(`${path}.hostname`, hostname, dnsLabelErrors(hostname)));
  }
  return errors;
}

function validateAddress(field: string, address: string, addressType: string): FieldError[] {
  if (addressType === 'FQDN') return eachReason(field, address, dnsSubdomainErrors(address));
  if (addressType === 'IPv4' && !isIPv4(address)) {
    return [invalidValue(field, address, 'must be an IPv4 address')];
  }
  if (addressType === 'IPv6' && !isIPv6(address)) {
    return [invalidValue(field, address, 'must be an IPv6 address')];
  }
  return validateEndpointIp(field, address);
}

function validatePorts(ports: readonly DiscoveryV1EndpointPort[]): FieldError[] {
  if (ports.length > PORTS_MAX) return [tooMany('ports', ports.length, PORTS_MAX)];
  const errors: FieldError[] = [];
  const names = new Set<string>();
  for (const [index, { name = '', port, protocol = '' }] of ports.entries()) {
    const at = `ports[${index}]`;
    if (name !== '') errors.push(...eachReason(`${at}.name`, name, dnsLabelErrors(name)));
    if (names.has(name)) errors.push(duplicate(`${at}.name`, name));
    names.add(name);
    if (port !== undefined) {
      errors.push(...eachReason(`${at}.port`, port, portNumberReasons(port)));
    }
    if (!PROTOCOLS.includes(protocol)) {
      errors.push(notSupported(`${at}.protocol`, protocol, PROTOCOLS));
    }
  }
  return errors;
}

/** `10.42.0.3,10.42.1.2,10.42.1.3 + 4 more...` */
function shownCell(values: readonly string[]): string {
  if (values.length === 0) return UNSET;
  const shown = values.slice(0, SHOWN_MAX).join(',');
  return values.length > SHOWN_MAX ? `${shown} + ${values.length - SHOWN_MAX} more...` : shown;
}

/** A Service's spec. Whether an address or node port is free is the allocator's to say. */
import { isIPv4 } from 'node:net';
import type { ServicePort, ServiceSpec } from '../../../../protocol/kinds/types.ts';
import { dnsLabelErrors, dnsSubdomainErrors } from '../../../../protocol/names.ts';
import { validateLabels } from '../../../../protocol/selector.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import { hasNodePorts, isHeadless, usesClusterIp } from '../service-addresses.ts';
import {
  duplicate,
  eachReason,
  forbidden,
  invalidValue,
  notSupported,
  oneOf,
  required,
} from './errors.ts';
import { portNumberReasons } from './names.ts';
import { PROTOCOLS, validateEndpointIp, validateIp, validatePortOrName } from './ports.ts';

const TYPES: readonly string[] = ['ClusterIP', 'ExternalName', 'LoadBalancer', 'NodePort'];
const AFFINITIES: readonly string[] = ['ClientIP', 'None'];
const DISTRIBUTIONS: readonly string[] = ['PreferClose', 'PreferSameNode', 'PreferSameZone'];
const POLICIES: readonly string[] = ['Cluster', 'Local'];
/** A day. */
const AFFINITY_SECONDS_MAX = 86_400;

export function validateServiceSpec(path: string, spec: ServiceSpec): FieldError[] {
  const errors: FieldError[] = [];
  const ports = spec.ports ?? [];
  if (ports.length === 0 && !isHeadless(spec) && spec.type !== 'ExternalName') {
    errors.push(required(`${path}.ports`));
  }
  errors.push(...validateByType(path, spec), ...validatePorts(`${path}.ports`, spec, ports));
  errors.push(...validateLabels(spec.selector ?? {}, `${path}.selector`));
  if (!spec.sessionAffinity) errors.push(required(`${path}.sessionAffinity`));
  errors.push(...oneOf(`${path}.sessionAffinity`, spec.sessionAffinity, AFFINITIES));
  errors.push(...validateAffinityTimeout(path, spec));
  errors.push(...validateClusterIp(path, spec));
  for (const [index, ip] of (spec.externalIPs ?? []).entries()) {
    errors.push(...validateEndpointIp(`${path}.externalIPs[${index}]`, ip));
  }
  if (!spec.type) errors.push(required(`${path}.type`));
  errors.push(...oneOf(`${path}.type`, spec.type, TYPES));
  errors.push(...oneOf(`${path}.internalTrafficPolicy`, spec.internalTrafficPolicy, POLICIES));
  if (spec.trafficDistribution !== undefined) {
    const field = `${path}.trafficDistribution`;
    errors.push(...oneOf(field, spec.trafficDistribution, DISTRIBUTIONS));
  }
  errors.push(...validateSourceRanges(path, spec));
  errors.push(...validateExternalPolicy(path, spec));
  return errors;
}

function validateByType(path: string, spec: ServiceSpec): FieldError[] {
  if (spec.type === 'ExternalName') {
    const errors: FieldError[] = [];
    if (spec.clusterIP) {
      const why = "may not be set when `type` is 'ExternalName'";
      errors.push(forbidden(`${path}.clusterIP`, why));
    }
    // A trailing dot says that the name is complete.
    const name = (spec.externalName ?? '').replace(/\.$/, '');
    if (name === '') errors.push(required(`${path}.externalName`));
    else errors.push(...eachReason(`${path}.externalName`, name, dnsSubdomainErrors(name)));
    return errors;
  }
  if (isHeadless(spec) && hasNodePorts(spec)) {
    const why = `may not be set to 'None' for ${spec.type} services`;
    return [invalidValue(`${path}.clusterIPs[0]`, 'None', why)];
  }
  return [];
}

function validateClusterIp(path: string, spec: ServiceSpec): FieldError[] {
  if (!usesClusterIp(spec) || isHeadless(spec)) return [];
  const ips = spec.clusterIPs ?? [];
  if (spec.clusterIP) {
    const errors = validateIp(`${path}.clusterIPs[0]`, spec.clusterIP);
    if (errors.length > 0) return errors;
    if (ips.length > 0 && ips[0] !== spec.clusterIP) {
      return [invalidValue(`${path}.clusterIPs`, ips, 'first value must match `clusterIP`')];
    }
  }
  if (ips.length > 1 || spec.ipFamilies?.some((family) => family !== 'IPv4') === true) {
    const why = "Pier's service network is IPv4 alone: leave out `ipFamilies`, or name only IPv4";
    return [invalidValue(`${path}.ipFamilies`, spec.ipFamilies ?? [], why)];
  }
  if (spec.ipFamilyPolicy === 'RequireDualStack') {
    const why = 'this cluster is not configured for dual-stack services';
    return [invalidValue(`${path}.ipFamilyPolicy`, spec.ipFamilyPolicy, why)];
  }
  const supported = ['PreferDualStack', 'RequireDualStack', 'SingleStack'];
  return oneOf(`${path}.ipFamilyPolicy`, spec.ipFamilyPolicy, supported);
}

function validatePorts(
  path: string,
  spec: ServiceSpec,
  ports: readonly ServicePort[],
): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  const numbers = new Set<string>();
  const nodePorts = new Set<string>();
  for (const [index, port] of ports.entries()) {
    const at = `${path}[${index}]`;
    const name = port.name ?? '';
    if (name === '' && ports.length > 1) errors.push(required(`${at}.name`));
    if (name !== '') errors.push(...eachReason(`${at}.name`, name, dnsLabelErrors(name)));
    if (name !== '' && names.has(name)) errors.push(duplicate(`${at}.name`, name));
    names.add(name);
    errors.push(...validatePort(at, port));
    if (port.nodePort && !hasNodePorts(spec)) {
      const why = `may not be used when \`type\` is '${spec.type}'`;
      errors.push(forbidden(`${at}.nodePort`, why));
    }
    const { protocol } = port;
    const number = `${protocol} ${port.port}`;
    if (numbers.has(number)) errors.push(duplicate(at, { protocol, port: port.port }));
    numbers.add(number);
    if (!port.nodePort) continue;
    const nodePort = `${protocol} ${port.nodePort}`;
    if (nodePorts.has(nodePort)) errors.push(duplicate(`${at}.nodePort`, port.nodePort));
    nodePorts.add(nodePort);
  }
  return errors;
}

function validatePort(at: string, port: ServicePort): FieldError[] {
  const errors = eachReason(`${at}.port`, port.port, portNumberReasons(port.port));
  if (!port.protocol) errors.push(required(`${at}.protocol`));
  else if (!PROTOCOLS.includes(port.protocol)) {
    errors.push(notSupported(`${at}.protocol`, port.protocol, PROTOCOLS));
  }
  errors.push(...validatePortOrName(`${at}.targetPort`, port.targetPort ?? 0));
  return errors;
}

function validateAffinityTimeout(path: string, spec: ServiceSpec): FieldError[] {
  const seconds = spec.sessionAffinityConfig?.clientIP?.timeoutSeconds;
  if (seconds === undefined || (seconds > 0 && seconds <= AFFINITY_SECONDS_MAX)) return [];
  const field = `${path}.sessionAffinityConfig.clientIP.timeoutSeconds`;
  return [
    invalidValue(field, seconds, `must be greater than 0 and less than ${AFFINITY_SECONDS_MAX}`),
  ];
}

function validateSourceRanges(path: string, spec: ServiceSpec): FieldError[] {
  const field = `${path}.loadBalancerSourceRanges`;
  const ranges = spec.loadBalancerSourceRanges ?? [];
  if (ranges.length > 0 && spec.type !== 'LoadBalancer') {
    return [forbidden(field, "may only be used when `type` is 'LoadBalancer'")];
  }
  return ranges.flatMap((range, index) => {
    const [ip = '', bits = ''] = range.trim().split('/');
    const valid = isIPv4(ip) && /^\d{1,2}$/.test(bits) && Number(bits) <= 32;
    const why = "must be an IPv4 range, (e.g. 192.168.0.0/16): Pier's services are IPv4";
    return valid ? [] : [invalidValue(`${field}[${index}]`, range, why)];
  });
}

function validateExternalPolicy(path: string, spec: ServiceSpec): FieldError[] {
  if (!spec.externalTrafficPolicy) return [];
  const field = `${path}.externalTrafficPolicy`;
  if (!hasNodePorts(spec) && (spec.externalIPs ?? []).length === 0) {
    const why = 'may only be set for externally-accessible services';
    return [invalidValue(field, spec.externalTrafficPolicy, why)];
  }
  return oneOf(field, spec.externalTrafficPolicy, POLICIES);
}

/** The cluster IP is in DNS caches and in the heads of clients: it stays as long as the service has one. */
export function validateServiceUpdate(next: ServiceSpec, previous: ServiceSpec): FieldError[] {
  if (!usesClusterIp(next) || !usesClusterIp(previous)) return [];
  if (!previous.clusterIP || next.clusterIP === previous.clusterIP) return [];
  const why = 'may not change once set';
  return [invalidValue('spec.clusterIPs[0]', next.clusterIPs ?? [next.clusterIP ?? ''], why)];
}

/**
 * Cluster IPs and node ports of a Service: which types have them, what an update keeps, and what is taken from the
 * allocator. Malformed values are left alone: validation, which runs afterwards, refuses them by name.
 */
import { isIPv4 } from 'node:net';
import type { ServicePort, ServiceSpec } from '../../../protocol/kinds/types.ts';
import { AllocationError } from '../allocator.ts';
import type { Allocator } from '../kind.ts';

const HEADLESS = 'None';

export function usesClusterIp(spec: ServiceSpec): boolean {
  return spec.type === 'ClusterIP' || spec.type === 'NodePort' || spec.type === 'LoadBalancer';
}

export function isHeadless(spec: ServiceSpec): boolean {
  return spec.clusterIP === HEADLESS;
}

export function hasNodePorts(spec: ServiceSpec): boolean {
  return spec.type === 'NodePort' || spec.type === 'LoadBalancer';
}

/** Fills what the client left to the server. Throws `AllocationError` for what it asked for and cannot have. */
export function allocate(spec: ServiceSpec, allocator: Allocator): void {
  if (!usesClusterIp(spec)) return;
  allocateClusterIp(spec, allocator);
  if (!hasNodePorts(spec)) return;
  if (spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts === false) return;
  allocateNodePorts(spec.ports ?? [], allocator);
}

function allocateClusterIp(spec: ServiceSpec, allocator: Allocator): void {
  const wanted = spec.clusterIP || spec.clusterIPs?.[0] || '';
  if (wanted !== HEADLESS && wanted !== '' && !isIPv4(wanted)) return;
  spec.clusterIP = wanted === HEADLESS ? HEADLESS : allocator.clusterIp(wanted);
  if (spec.clusterIPs === undefined || spec.clusterIPs.length === 0) {
    spec.clusterIPs = [spec.clusterIP];
  }
  // Pier's service network is IPv4 alone.
  spec.ipFamilies ??= ['IPv4'];
  spec.ipFamilyPolicy ||= 'SingleStack';
}

function allocateNodePorts(ports: readonly ServicePort[], allocator: Allocator): void {
  // What was asked for first, so that a free choice does not take it away.
  for (const [index, port] of ports.entries()) {
    if (port.nodePort) takeNodePort(port, index, allocator);
  }
  for (const [index, port] of ports.entries()) {
    if (port.nodePort) continue;
    // One service may offer the same port over TCP and UDP (DNS): then on one node port, when it is free.
    const twin = ports.find((one) => one !== port && one.port === port.port && one.nodePort);
    port.nodePort = twin?.protocol === port.protocol ? 0 : (twin?.nodePort ?? 0);
    try {
      takeNodePort(port, index, allocator);
    } catch (error) {
      if (!(error instanceof AllocationError) || port.nodePort === 0) throw error;
      port.nodePort = 0;
      takeNodePort(port, index, allocator);
    }
  }
}

function takeNodePort(port: ServicePort, index: number, allocator: Allocator): void {
  try {
    port.nodePort = allocator.nodePort(port.nodePort ?? 0, port.protocol ?? 'TCP');
  } catch (error) {
    if (!(error instanceof AllocationError)) throw error;
    throw new AllocationError(`spec.ports[${index}].nodePort`, error.value, error.message);
  }
}

/**
 * Before an update: who sends a Service back without the values that the server chose keeps them, and what the
 * new type does not have goes, unless the client asked for it in so many words (then validation says no).
 */
export function carryOver(next: ServiceSpec, previous: ServiceSpec): void {
  if (usesClusterIp(next) && usesClusterIp(previous)) {
    if (!next.clusterIP && previous.clusterIP) next.clusterIP = previous.clusterIP;
    const ips = next.clusterIPs ?? [];
    if (ips.length === 0 || sameList(ips, previous.clusterIPs ?? [])) {
      if (next.clusterIP) next.clusterIPs = [next.clusterIP];
    }
    next.ipFamilies ??= previous.ipFamilies ?? ['IPv4'];
    next.ipFamilyPolicy ||= previous.ipFamilyPolicy || 'SingleStack';
  }
  if (!usesClusterIp(next) && usesClusterIp(previous)) dropClusterIp(next, previous);
  if (hasNodePorts(next) && hasNodePorts(previous)) keepNodePorts(next, previous);
  if (!hasNodePorts(next) && hasNodePorts(previous)) dropNodePorts(next, previous);
}

function dropClusterIp(next: ServiceSpec, previous: ServiceSpec): void {
  if (next.clusterIP !== previous.clusterIP) return;
  delete next.clusterIP;
  delete next.clusterIPs;
  delete next.ipFamilies;
  delete next.ipFamilyPolicy;
  delete next.internalTrafficPolicy;
}

function keepNodePorts(next: ServiceSpec, previous: ServiceSpec): void {
  const wanted = new Set((next.ports ?? []).map((port) => `${port.protocol} ${port.nodePort}`));
  for (const port of next.ports ?? []) {
    if (port.nodePort) continue;
    const before = previous.ports?.find(
      (one) => one.port === port.port && one.protocol === port.protocol,
    );
    if (!before?.nodePort || wanted.has(`${port.protocol} ${before.nodePort}`)) continue;
    port.nodePort = before.nodePort;
  }
}

function dropNodePorts(next: ServiceSpec, previous: ServiceSpec): void {
  const before = new Set((previous.ports ?? []).map(({ nodePort }) => nodePort));
  for (const port of next.ports ?? []) {
    if (before.has(port.nodePort)) delete port.nodePort;
  }
  if (next.externalTrafficPolicy === previous.externalTrafficPolicy) {
    delete next.externalTrafficPolicy;
  }
  delete next.allocateLoadBalancerNodePorts;
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((one, index) => one === b[index]);
}

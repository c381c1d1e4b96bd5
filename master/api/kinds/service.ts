/**
 * Service: one address and name for a set of pods. The cluster IP and node ports come from the allocator when the
 * object is written, and `release` says what it holds.
 */
import type { Service, ServiceSpec } from '../../../protocol/kinds/types.ts';
import { dns1035LabelErrors } from '../../../protocol/names.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, labelsCell, NAME, NONE, nameCell, text } from './columns.ts';
import { allocate, carryOver, hasNodePorts, usesClusterIp } from './service-addresses.ts';
import { dropStatus, keepStatus } from './status.ts';
import { serviceWarnings } from './unsupported.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { validateServiceSpec, validateServiceUpdate } from './validate/service.ts';

/** Kubernetes' three hours, for sessionAffinity ClientIP. */
const AFFINITY_SECONDS = 10_800;

export const SERVICE: KindModule<Service> = {
  group: '',
  version: 'v1',
  kind: 'Service',
  plural: 'services',
  singular: 'service',
  shortNames: ['svc'],
  categories: ['all'],
  namespaced: true,
  message: 'io.k8s.api.core.v1.Service',
  storage: 'durable',
  subresources: { status: true },
  hasGeneration: false,
  setDefaults(service) {
    service.spec ??= {};
    setSpecDefaults(service.spec);
  },
  prepareForCreate(service, { allocator }) {
    dropStatus(service, { loadBalancer: {} });
    if (service.spec !== undefined) allocate(service.spec, allocator);
  },
  prepareForUpdate(next, previous, { allocator }) {
    keepStatus(next, previous);
    if (next.spec === undefined) return;
    carryOver(next.spec, previous.spec ?? {});
    allocate(next.spec, allocator);
  },
  release(service, allocator) {
    const spec = service.spec ?? {};
    if (usesClusterIp(spec) && spec.clusterIP && spec.clusterIP !== 'None') {
      allocator.freeClusterIp(spec.clusterIP);
    }
    for (const { nodePort, protocol } of spec.ports ?? []) {
      if (nodePort) allocator.freeNodePort(nodePort, protocol ?? 'TCP');
    }
  },
  validateName: (name) => dns1035LabelErrors(name)[0],
  validate: (service) => [
    ...validateObjectMeta(service.metadata),
    ...validateServiceSpec('spec', service.spec ?? {}),
  ],
  validateUpdate: (next, previous) => validateServiceUpdate(next.spec ?? {}, previous.spec ?? {}),
  warnings: (service) => serviceWarnings('spec', service.spec),
  columns: [
    NAME,
    text('Type', 'How far the service can be reached.'),
    text('Cluster-IP', 'Address inside the cluster.'),
    text('External-IP', 'Address from outside.'),
    text('Port(s)', 'Ports, with the node port behind the colon.'),
    AGE,
    text('Selector', 'Which pods are behind it.', 'wide'),
  ],
  row(service, nowMs) {
    const spec = service.spec ?? {};
    return [
      nameCell(service),
      spec.type ?? '',
      spec.clusterIP || NONE,
      externalCell(service),
      portsCell(spec),
      ageCell(service, nowMs),
      labelsCell(spec.selector),
    ];
  },
  selectableFields: (service) => ({
    'spec.clusterIP': service.spec?.clusterIP ?? '',
    'spec.type': service.spec?.type ?? '',
  }),
};

function setSpecDefaults(spec: ServiceSpec): void {
  spec.sessionAffinity ||= 'None';
  if (spec.sessionAffinity === 'None') delete spec.sessionAffinityConfig;
  if (spec.sessionAffinity === 'ClientIP') {
    spec.sessionAffinityConfig ??= {};
    spec.sessionAffinityConfig.clientIP ??= {};
    spec.sessionAffinityConfig.clientIP.timeoutSeconds ??= AFFINITY_SECONDS;
  }
  spec.type ||= 'ClusterIP';
  for (const port of spec.ports ?? []) {
    port.protocol ||= 'TCP';
    if (port.targetPort === undefined || port.targetPort === 0 || port.targetPort === '') {
      port.targetPort = port.port;
    }
  }
  if (!usesClusterIp(spec)) return;
  spec.internalTrafficPolicy ||= 'Cluster';
  if (hasNodePorts(spec) || (spec.externalIPs ?? []).length > 0) {
    spec.externalTrafficPolicy ||= 'Cluster';
  }
  if (spec.type === 'LoadBalancer') spec.allocateLoadBalancerNodePorts ??= true;
}

function externalCell({ spec = {}, status }: Service): string {
  if (spec.type === 'ExternalName') return spec.externalName || NONE;
  const given = spec.externalIPs ?? [];
  if (spec.type !== 'LoadBalancer') return given.length === 0 ? NONE : given.join(',');
  const ingress = (status?.loadBalancer?.ingress ?? []).map(({ ip, hostname }) => ip || hostname);
  const all = [...ingress.filter((one) => one), ...given];
  return all.length === 0 ? '<pending>' : all.join(',');
}

/** `80:30080/TCP,443/TCP` */
function portsCell(spec: ServiceSpec): string {
  const ports = (spec.ports ?? []).map(({ port, nodePort, protocol }) =>
    nodePort ? `${port}:${nodePort}/${protocol}` : `${port}/${protocol}`,
  );
  return ports.length === 0 ? NONE : ports.join(',');
}

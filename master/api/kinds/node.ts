/** Node: one board. The agent reports its status; people label, taint and cordon it. */
import type { Node, NodeAddress } from '../../../protocol/kinds/types.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, NAME, NONE, nameCell, text, UNKNOWN } from './columns.ts';
import { keepStatus } from './status.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { validateNodeSpec, validateNodeUpdate } from './validate/node.ts';

const ROLE_PREFIX = 'node-role.kubernetes.io/';

export const NODE: KindModule<Node> = {
  group: '',
  version: 'v1',
  kind: 'Node',
  plural: 'nodes',
  singular: 'node',
  shortNames: ['no'],
  categories: [],
  namespaced: false,
  message: 'io.k8s.api.core.v1.Node',
  storage: 'durable',
  subresources: { status: true },
  hasGeneration: false,
  setDefaults(node) {
    node.spec ??= {};
    node.status ??= {};
    // What is not reported as usable is all of the capacity.
    if (node.status.capacity !== undefined) {
      node.status.allocatable = { ...node.status.capacity, ...node.status.allocatable };
    }
  },
  // A board registers itself with its first status, so a create keeps what the client sent.
  prepareForUpdate: keepStatus,
  validate: (node) => [...validateObjectMeta(node.metadata), ...validateNodeSpec(node.spec)],
  validateUpdate: validateNodeUpdate,
  columns: [
    NAME,
    text('Status', 'Ready or not, and whether new pods may come.'),
    text('Roles', 'From the labels node-role.kubernetes.io/ROLE.'),
    AGE,
    text('Version', "Version of the board's agent."),
    text('Internal-IP', 'Address on the local network.', 'wide'),
    text('External-IP', 'Address from outside, where there is one.', 'wide'),
    text('OS-Image', 'Operating system.', 'wide'),
    text('Kernel-Version', 'Version of the Linux kernel.', 'wide'),
    text('Container-Runtime', 'What runs the containers.', 'wide'),
  ],
  row(node, nowMs) {
    const info = node.status?.nodeInfo;
    const addresses = node.status?.addresses ?? [];
    return [
      nameCell(node),
      statusCell(node),
      rolesCell(node.metadata?.labels ?? {}),
      ageCell(node, nowMs),
      info?.kubeletVersion ?? '',
      addressCell(addresses, 'InternalIP'),
      addressCell(addresses, 'ExternalIP'),
      info?.osImage || UNKNOWN,
      info?.kernelVersion || UNKNOWN,
      info?.containerRuntimeVersion || UNKNOWN,
    ];
  },
  // Absent must read `false`: clients list `spec.unschedulable=false` to find usable boards.
  selectableFields: (node) => ({ 'spec.unschedulable': String(node.spec?.unschedulable === true) }),
};

function statusCell(node: Node): string {
  const ready = (node.status?.conditions ?? []).find(({ type }) => type === 'Ready');
  const words = [ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady'];
  if (node.spec?.unschedulable === true) words.push('SchedulingDisabled');
  return words.join(',');
}

function rolesCell(labels: Record<string, string>): string {
  const roles = new Set<string>();
  for (const [key, value] of Object.entries(labels)) {
    const role = key === 'kubernetes.io/role' ? value : key.slice(ROLE_PREFIX.length);
    if (role !== '' && (key === 'kubernetes.io/role' || key.startsWith(ROLE_PREFIX))) {
      roles.add(role);
    }
  }
  return roles.size === 0 ? NONE : [...roles].sort().join(',');
}

function addressCell(addresses: readonly NodeAddress[], type: string): string {
  return addresses.find((one) => one.type === type)?.address ?? NONE;
}

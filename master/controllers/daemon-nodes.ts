/**
 * On which boards a DaemonSet's pods belong, and what a pod needs to get and stay there. Pure.
 * Source: Kubernetes' documentation of DaemonSet, "How Daemon Pods are scheduled" and "Taints and tolerations".
 */
import type { DaemonSet, Node, Pod, PodSpec, Toleration } from '../../protocol/kinds/types.ts';
import { matchesNodeAffinity, nodeAffinityOf } from '../scheduler/node-affinity.ts';
import { conditionTaints, firstUntolerated } from '../scheduler/taints.ts';

const NAME_FIELD = 'metadata.name';

function toleration(key: string, effect: string): Toleration {
  return { key, operator: 'Exists', effect };
}

/** A daemon belongs to its board and stays whatever happens to the board. */
const ADDED: readonly Toleration[] = [
  toleration('node.kubernetes.io/not-ready', 'NoExecute'),
  toleration('node.kubernetes.io/unreachable', 'NoExecute'),
  toleration('node.kubernetes.io/disk-pressure', 'NoSchedule'),
  toleration('node.kubernetes.io/memory-pressure', 'NoSchedule'),
  toleration('node.kubernetes.io/pid-pressure', 'NoSchedule'),
  toleration('node.kubernetes.io/unschedulable', 'NoSchedule'),
  // Pier's own conditions of boards: whoever watches the temperature must run where it is high.
  toleration('pier.local/overheating', 'NoSchedule'),
  toleration('pier.local/under-voltage', 'NoSchedule'),
];
const ADDED_HOST_NETWORK = toleration('node.kubernetes.io/network-unavailable', 'NoSchedule');

function tolerationsOf(spec: PodSpec | undefined): Toleration[] {
  const own = spec?.tolerations ?? [];
  const added = spec?.hostNetwork === true ? [...ADDED, ADDED_HOST_NETWORK] : ADDED;
  const isOwn = (one: Toleration): boolean =>
    own.some(
      (known) =>
        known.key === one.key && known.effect === one.effect && known.operator === one.operator,
    );
  return [...own, ...added.filter((one) => !isOwn(one))];
}

export interface Eligibility {
  /** A pod is to be there. */
  readonly shouldRun: boolean;
  /** A pod that is there may stay. */
  readonly mayStay: boolean;
}

export function eligibility({ spec }: DaemonSet, node: Node): Eligibility {
  const podSpec = spec?.template.spec;
  const name = node.metadata?.name ?? '';
  const fixed = podSpec?.nodeName ?? '';
  const labels = node.metadata?.labels ?? {};
  const isMeant =
    (fixed === '' || fixed === name) &&
    matchesNodeAffinity(nodeAffinityOf(podSpec === undefined ? {} : { spec: podSpec }), {
      name,
      labels,
    });
  if (!isMeant) return { shouldRun: false, mayStay: false };
  const taints = [...(node.spec?.taints ?? []), ...conditionTaints(node)];
  const tolerations = tolerationsOf(podSpec);
  return {
    shouldRun: firstUntolerated(taints, tolerations, ['NoSchedule', 'NoExecute']) === undefined,
    mayStay: firstUntolerated(taints, tolerations, ['NoExecute']) === undefined,
  };
}

/** The template's spec for a pod that only this board will do for. The scheduler binds it. */
export function specFor(spec: PodSpec, nodeName: string): PodSpec {
  const { affinity } = spec;
  const term = { matchFields: [{ key: NAME_FIELD, operator: 'In', values: [nodeName] }] };
  return {
    ...spec,
    tolerations: tolerationsOf(spec),
    affinity: {
      ...affinity,
      nodeAffinity: {
        ...affinity?.nodeAffinity,
        // What the template asked for has been looked at already.
        requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [term] },
      },
    },
  };
}

/** Where the pod is, or will be when it is bound. */
export function nodeOf({ spec }: Pod): string {
  if ((spec?.nodeName ?? '') !== '') return spec?.nodeName ?? '';
  const required = spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  for (const { matchFields = [] } of required?.nodeSelectorTerms ?? []) {
    const named = matchFields.find(({ key, operator }) => key === NAME_FIELD && operator === 'In');
    if (named !== undefined) return named.values?.[0] ?? '';
  }
  return '';
}

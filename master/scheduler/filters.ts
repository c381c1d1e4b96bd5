/**
 * Filters: may this pod run on this board, and if not, why, in kube-scheduler's words. Pure. They
 * run in the order of `FILTERS`; the first that refuses a board names its reasons, as in
 * kube-scheduler.
 */
import { processorOf } from './image-catalog.ts';
import { matchesNodeAffinity } from './node-affinity.ts';
import { checkPodAffinity, type PodAffinityState, podAffinityState } from './pod-affinity.ts';
import type { HostPort, PodInfo } from './pod-info.ts';
import { PODS } from './resources.ts';
import type { ClusterSnapshot, NodeView } from './snapshot.ts';
import { firstUntolerated, isTolerated, TAINT_UNSCHEDULABLE } from './taints.ts';
import { checkSpread, type SpreadState, spreadState } from './topology-spread.ts';
import { checkVolumes, type VolumeState, volumeState } from './volume-binding.ts';

/** What one decision computes once for all nodes. */
export interface Cycle {
  readonly snapshot: ClusterSnapshot;
  readonly spread: SpreadState;
  readonly podAffinity: PodAffinityState | undefined;
  readonly volumes: VolumeState | undefined;
}

export function startCycle(pod: PodInfo, snapshot: ClusterSnapshot): Cycle {
  return {
    snapshot,
    spread: spreadState(pod, snapshot),
    podAffinity: podAffinityState(pod, snapshot),
    volumes: volumeState(pod, snapshot),
  };
}

export type FilterName =
  | 'NodeUnschedulable'
  | 'NodeName'
  | 'TaintToleration'
  | 'NodeAffinity'
  | 'ImageArchitecture'
  | 'NodePorts'
  | 'NodeResourcesFit'
  | 'VolumeBinding'
  | 'PodTopologySpread'
  | 'InterPodAffinity';

interface Filter {
  readonly name: FilterName;
  /** Undefined when the board will do; otherwise the reasons, at least one. */
  check(pod: PodInfo, node: NodeView, cycle: Cycle): readonly string[] | undefined;
}

export interface Refusal {
  readonly filter: FilterName;
  readonly reasons: readonly string[];
}

const nodeUnschedulable: Filter = {
  name: 'NodeUnschedulable',
  check(pod, node) {
    const taint = node.taints.find((one) => one.key === TAINT_UNSCHEDULABLE);
    if (taint === undefined || isTolerated(taint, pod.tolerations)) return undefined;
    return ['node(s) were unschedulable'];
  },
};

const nodeName: Filter = {
  name: 'NodeName',
  check(pod, node) {
    if (pod.nodeName === '' || pod.nodeName === node.name) return undefined;
    return ["node(s) didn't match the requested node name"];
  },
};

const taintToleration: Filter = {
  name: 'TaintToleration',
  check(pod, node) {
    const taint = firstUntolerated(node.taints, pod.tolerations, ['NoSchedule', 'NoExecute']);
    if (taint === undefined) return undefined;
    return [`node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`];
  },
};

const nodeAffinity: Filter = {
  name: 'NodeAffinity',
  check(pod, node) {
    if (matchesNodeAffinity(pod.nodeAffinity, node)) return undefined;
    return ["node(s) didn't match Pod's node affinity/selector"];
  },
};

/** Kubernetes has no such filter: there the pod lands and fails. */
const imageArchitecture: Filter = {
  name: 'ImageArchitecture',
  check(pod, node) {
    if (pod.foreignTo.size === 0) return undefined;
    const image = pod.foreignTo.get(processorOf(node.labels));
    if (image === undefined) return undefined;
    const architecture = node.labels['kubernetes.io/arch'] ?? '';
    return [`node(s) had architecture ${architecture}, which image "${image}" is not built for`];
  },
};

/** 0.0.0.0 takes the port on every address. */
function portsCollide(a: HostPort, b: HostPort): boolean {
  if (a.port !== b.port || a.protocol !== b.protocol) return false;
  const isWildcard = (port: HostPort): boolean => port.ip === '0.0.0.0' || port.ip === '::';
  return a.ip === b.ip || isWildcard(a) || isWildcard(b);
}

const nodePorts: Filter = {
  name: 'NodePorts',
  check(pod, node) {
    if (pod.hostPorts.length === 0 || node.podsWithPorts === 0) return undefined;
    for (const other of node.pods.values()) {
      if (other.uid === pod.uid) continue;
      if (other.hostPorts.some((taken) => pod.hostPorts.some((one) => portsCollide(one, taken)))) {
        return ["node(s) didn't have free ports for the requested pod ports"];
      }
    }
    return undefined;
  },
};

const nodeResourcesFit: Filter = {
  name: 'NodeResourcesFit',
  check(pod, node, cycle) {
    let reasons: string[] | undefined;
    for (const { index, amount } of pod.requests) {
      const free = (node.allocatable[index] ?? 0) - (node.requested[index] ?? 0);
      if (amount <= free) continue;
      reasons ??= [];
      const name = cycle.snapshot.resources.nameOf(index);
      reasons.push(index === PODS ? 'Too many pods' : `Insufficient ${name}`);
    }
    return reasons;
  },
};

const volumeBinding: Filter = {
  name: 'VolumeBinding',
  check: (_pod, node, cycle) => checkVolumes(cycle.volumes, node),
};

const podTopologySpread: Filter = {
  name: 'PodTopologySpread',
  check(_pod, node, cycle) {
    const verdict = checkSpread(cycle.spread, node);
    if (verdict === 'fits') return undefined;
    const missing = verdict === 'label missing' ? ' (missing required label)' : '';
    return [`node(s) didn't match pod topology spread constraints${missing}`];
  },
};

const interPodAffinity: Filter = {
  name: 'InterPodAffinity',
  check(pod, node, cycle) {
    if (cycle.podAffinity === undefined) return undefined;
    const verdict = checkPodAffinity(cycle.podAffinity, pod, node);
    switch (verdict) {
      case 'fits':
        return undefined;
      case 'affinity':
        return ["node(s) didn't match pod affinity rules"];
      case 'anti-affinity':
        return ["node(s) didn't match pod anti-affinity rules"];
      case 'refused by others':
        return ["node(s) didn't satisfy existing pods anti-affinity rules"];
      default:
        return verdict satisfies never;
    }
  },
};

const FILTERS: readonly Filter[] = [
  nodeUnschedulable,
  nodeName,
  taintToleration,
  nodeAffinity,
  imageArchitecture,
  nodePorts,
  nodeResourcesFit,
  volumeBinding,
  podTopologySpread,
  interPodAffinity,
];

/** Undefined when the pod may run there. */
export function refusalOf(pod: PodInfo, node: NodeView, cycle: Cycle): Refusal | undefined {
  // Asked before any board is looked at, as in kube-scheduler: labels and room are not what is missing.
  const blocked = cycle.volumes?.blocked;
  if (blocked !== undefined) return { filter: 'VolumeBinding', reasons: [blocked] };
  for (const filter of FILTERS) {
    const reasons = filter.check(pod, node, cycle);
    if (reasons !== undefined) return { filter: filter.name, reasons };
  }
  return undefined;
}

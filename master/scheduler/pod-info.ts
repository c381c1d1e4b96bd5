/**
 * A pod as the scheduler sees it: everything that filters and scores need, computed once. Pure.
 * Also the list of fields that the scheduler does not honour yet, so that the API can say so.
 */

import type {
  LabelSelector,
  Pod,
  PodAffinityTerm,
  Toleration,
  TopologySpreadConstraint,
  WeightedPodAffinityTerm,
} from '../../protocol/kinds/types.ts';
import { claimNames } from '../volumes/binding.ts';
import type { ImageCatalog } from './image-catalog.ts';
import { type NodeAffinityRules, nodeAffinityOf } from './node-affinity.ts';
import {
  podRequests,
  type ResourceAmount,
  type ResourceIndex,
  type ScoringRequest,
  scoringRequests,
} from './resources.ts';

/**
 * Fields that bear on placement and are stored, but not honoured yet (paths from the pod's root;
 * `[*]` is every element). The API names them in Warning headers; nothing is ignored in silence.
 */
export const UNSUPPORTED_POD_FIELDS: readonly string[] = [
  'spec.resourceClaims',
  'spec.schedulingGroup',
  'spec.volumes[*].ephemeral',
];

export interface HostPort {
  readonly ip: string;
  readonly protocol: string;
  readonly port: number;
}

export interface PodTerm {
  /** The whole term has no selector: it matches nothing. */
  readonly selector: LabelSelector | undefined;
  readonly topologyKey: string;
  /** Namespaces by name; empty and no `namespaceSelector` means the pod's own. */
  readonly namespaces: readonly string[];
  readonly namespaceSelector: LabelSelector | undefined;
}

interface WeightedPodTerm {
  readonly weight: number;
  readonly term: PodTerm;
}

export interface SpreadConstraint {
  readonly topologyKey: string;
  readonly maxSkew: number;
  readonly minDomains: number;
  readonly required: boolean;
  readonly selector: LabelSelector | undefined;
  readonly honorNodeAffinity: boolean;
  readonly honorNodeTaints: boolean;
}

export interface PodInfo {
  readonly key: string;
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly priority: number;
  readonly terminating: boolean;
  /** The uid of the controller that owns it; empty without one. */
  readonly ownerUid: string;
  readonly requests: readonly ResourceAmount[];
  readonly scoring: ScoringRequest;
  readonly hostPorts: readonly HostPort[];
  /** Names of the PersistentVolumeClaims of its volumes. */
  readonly claims: readonly string[];
  readonly nodeName: string;
  readonly nodeAffinity: NodeAffinityRules;
  readonly tolerations: readonly Toleration[];
  readonly affinity: readonly PodTerm[];
  readonly antiAffinity: readonly PodTerm[];
  readonly preferredAffinity: readonly WeightedPodTerm[];
  readonly preferredAntiAffinity: readonly WeightedPodTerm[];
  readonly spread: readonly SpreadConstraint[];
  readonly gated: boolean;
  /** May push out pods of lower priority. */
  readonly preempts: boolean;
  /** RFC 3339; among victims of one priority the youngest go first. */
  readonly created: string;
  /** By processor, an image of the pod that is not built for it, as far as that is known; nearly always empty. */
  readonly foreignTo: ReadonlyMap<string, string>;
  /** Everything of the pod that the labels and taints of a board are held against. */
  readonly staticKey: string;
  /** Pods of the same shape are the same to a board, siblings included. */
  readonly shapeKey: string;
  /** No host ports, no claims, no spread, no pod affinity, no preferences of its own. */
  readonly isPlain: boolean;
}

const NOTHING_FOREIGN: ReadonlyMap<string, string> = new Map();

/** `images`: for a pod that is to be placed; one that has its board is not judged by them. */
export function compilePod(pod: Pod, resources: ResourceIndex, images?: ImageCatalog): PodInfo {
  const meta = pod.metadata ?? {};
  const labels = meta.labels ?? {};
  const podAffinity = pod.spec?.affinity?.podAffinity;
  const podAntiAffinity = pod.spec?.affinity?.podAntiAffinity;
  const requests = podRequests(pod, resources);
  const scoring = scoringRequests(pod);
  const hostPorts = hostPortsOf(pod);
  const claims = claimNames(pod.spec?.volumes);
  const foreignTo = images?.foreignTo(imagesOf(pod)) ?? NOTHING_FOREIGN;
  const staticKey = staticKeyOf(pod, foreignTo);
  const owner = meta.ownerReferences?.find((one) => one.controller === true)?.uid ?? '';
  return {
    key: `${meta.namespace ?? ''}/${meta.name ?? ''}`,
    uid: meta.uid ?? '',
    namespace: meta.namespace ?? '',
    name: meta.name ?? '',
    labels,
    priority: pod.spec?.priority ?? 0,
    terminating: meta.deletionTimestamp !== undefined,
    ownerUid: owner,
    requests,
    scoring,
    hostPorts,
    claims,
    nodeName: pod.spec?.nodeName ?? '',
    nodeAffinity: nodeAffinityOf(pod),
    tolerations: pod.spec?.tolerations ?? [],
    affinity: terms(podAffinity?.requiredDuringSchedulingIgnoredDuringExecution, labels),
    antiAffinity: terms(podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution, labels),
    preferredAffinity: weighted(
      podAffinity?.preferredDuringSchedulingIgnoredDuringExecution,
      labels,
    ),
    preferredAntiAffinity: weighted(
      podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution,
      labels,
    ),
    spread: (pod.spec?.topologySpreadConstraints ?? []).map((one) => spreadOf(one, labels)),
    gated: (pod.spec?.schedulingGates ?? []).length > 0,
    preempts: pod.spec?.preemptionPolicy !== 'Never',
    created: meta.creationTimestamp ?? '',
    foreignTo,
    staticKey,
    shapeKey: shapeKeyOf(requests, scoring, owner, staticKey),
    isPlain: hostPorts.length === 0 && claims.length === 0 && !hasPlacementRules(pod),
  };
}

function imagesOf({ spec }: Pod): string[] {
  const all = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])];
  return all.flatMap(({ image }) => (image === undefined ? [] : [image]));
}

function staticKeyOf({ spec }: Pod, foreignTo: ReadonlyMap<string, string>): string {
  const { nodeName = '', nodeSelector, tolerations = [], affinity } = spec ?? {};
  const required = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  const isOpen =
    nodeName === '' &&
    nodeSelector === undefined &&
    tolerations.length === 0 &&
    required === undefined &&
    foreignTo.size === 0;
  if (isOpen) return '';
  return JSON.stringify([nodeName, nodeSelector, tolerations, required, ...foreignTo.keys()]);
}

function shapeKeyOf(
  requests: readonly ResourceAmount[],
  scoring: ScoringRequest,
  owner: string,
  staticKey: string,
): string {
  let key = `${scoring.cpuMillis} ${scoring.memoryBytes}`;
  for (const { index, amount } of requests) key += ` ${index}:${amount}`;
  return `${key} ${owner} ${staticKey}`;
}

/** Rules that look at other pods, or that weigh boards against each other. */
function hasPlacementRules({ spec }: Pod): boolean {
  const { affinity, topologySpreadConstraints = [] } = spec ?? {};
  const preferred = affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  return (
    topologySpreadConstraints.length > 0 ||
    preferred.length > 0 ||
    affinity?.podAffinity !== undefined ||
    affinity?.podAntiAffinity !== undefined
  );
}

function hostPortsOf(pod: Pod): HostPort[] {
  const ports: HostPort[] = [];
  const sidecars = (pod.spec?.initContainers ?? []).filter((c) => c.restartPolicy === 'Always');
  for (const container of [...(pod.spec?.containers ?? []), ...sidecars]) {
    for (const port of container.ports ?? []) {
      const hostPort = pod.spec?.hostNetwork === true ? port.containerPort : port.hostPort;
      if (hostPort === undefined || hostPort === 0) continue;
      const ip = port.hostIP === undefined || port.hostIP === '' ? '0.0.0.0' : port.hostIP;
      ports.push({ ip, protocol: port.protocol ?? 'TCP', port: hostPort });
    }
  }
  return ports;
}

function terms(
  list: readonly PodAffinityTerm[] | undefined,
  labels: Readonly<Record<string, string>>,
): PodTerm[] {
  return (list ?? []).map((term) => ({
    selector: withLabelKeys(
      term.labelSelector,
      labels,
      term.matchLabelKeys ?? [],
      term.mismatchLabelKeys ?? [],
    ),
    topologyKey: term.topologyKey ?? '',
    namespaces: term.namespaces ?? [],
    namespaceSelector: term.namespaceSelector,
  }));
}

function weighted(
  list: readonly WeightedPodAffinityTerm[] | undefined,
  labels: Readonly<Record<string, string>>,
): WeightedPodTerm[] {
  return (list ?? []).flatMap(({ weight, podAffinityTerm }) =>
    terms(podAffinityTerm === undefined ? [] : [podAffinityTerm], labels).map((term) => ({
      weight: weight ?? 0,
      term,
    })),
  );
}

/** matchLabelKeys and mismatchLabelKeys: the pod's own values, merged into the selector. */
function withLabelKeys(
  selector: LabelSelector | undefined,
  labels: Readonly<Record<string, string>>,
  match: readonly string[],
  mismatch: readonly string[],
): LabelSelector | undefined {
  if (selector === undefined || (match.length === 0 && mismatch.length === 0)) return selector;
  const expressions = [...(selector.matchExpressions ?? [])];
  const merge = (keys: readonly string[], operator: 'In' | 'NotIn'): void => {
    for (const key of keys) {
      const value = labels[key];
      if (value !== undefined) expressions.push({ key, operator, values: [value] });
    }
  };
  merge(match, 'In');
  merge(mismatch, 'NotIn');
  return { ...selector, matchExpressions: expressions };
}

function spreadOf(
  constraint: TopologySpreadConstraint,
  labels: Readonly<Record<string, string>>,
): SpreadConstraint {
  return {
    topologyKey: constraint.topologyKey ?? '',
    maxSkew: constraint.maxSkew ?? 1,
    minDomains: constraint.minDomains ?? 1,
    required: constraint.whenUnsatisfiable !== 'ScheduleAnyway',
    selector: withLabelKeys(constraint.labelSelector, labels, constraint.matchLabelKeys ?? [], []),
    honorNodeAffinity: constraint.nodeAffinityPolicy !== 'Ignore',
    honorNodeTaints: constraint.nodeTaintsPolicy === 'Honor',
  };
}

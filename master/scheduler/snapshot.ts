/**
 * The cluster as the scheduler sees it, kept up to date one change at a time: nodes with what is
 * free on them. Pure state, no I/O, no clock.
 *
 * Invariants: for each node, `requested`, `hostPorts` and `ownerCounts` are exactly the sums over
 * `pods`; a pod is counted on at most one node; pods whose node is not known yet wait in
 * `homeless`.
 */

import type { Node, Pod, Taint } from '../../protocol/kinds/types.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import { Columns } from './columns.ts';
import { FastPath } from './fast-path.ts';
import { ImageCatalog } from './image-catalog.ts';
import { compilePod, type PodInfo } from './pod-info.ts';
import { nodeAllocatable, ResourceIndex } from './resources.ts';
import { conditionTaints } from './taints.ts';
import { VolumeCatalog } from './volume-catalog.ts';

/** What a heartbeat measured on a board. */
export interface MeasuredUsage {
  readonly cpuMillis: number;
  readonly memoryBytes: number;
}

/** A node in the snapshot. Readers treat it as immutable; only `ClusterSnapshot` changes it. */
export interface NodeView {
  readonly name: string;
  /** Its row in `Columns`. */
  slot: number;
  labels: Readonly<Record<string, string>>;
  /** Written taints and those that the conditions amount to. */
  taints: readonly Taint[];
  /** By resource index, as `requested`. */
  allocatable: readonly number[];
  readonly requested: number[];
  /** Requests with assumed amounts for pods that ask for nothing: for scores. */
  scoringCpuMillis: number;
  scoringMemoryBytes: number;
  readonly pods: Map<string, PodInfo>;
  /** Owner uid -> how many of its pods are here. */
  readonly ownerCounts: Map<string, number>;
  /** How many of `pods` take host ports: zero lets the filter skip them. */
  podsWithPorts: number;
  usage: MeasuredUsage | undefined;
}

/** A placed pod with pod (anti-)affinity of its own. */
export interface PlacedTerms {
  readonly pod: PodInfo;
  readonly node: NodeView;
}

export class ClusterSnapshot {
  readonly resources = new ResourceIndex();
  readonly volumes = new VolumeCatalog();
  readonly images = new ImageCatalog((node) => this.#nodes.get(node)?.labels);
  readonly #nodes = new Map<string, NodeView>();
  readonly #nodeOf = new Map<string, string>();
  readonly #homeless = new Map<string, Map<string, PodInfo>>();
  readonly #namespaceLabels = new Map<string, Readonly<Record<string, string>>>();
  readonly #terms = new Map<string, PlacedTerms>();
  #index: { readonly columns: Columns; readonly fast: FastPath } | undefined;

  /** By name, so that every decision sees the same order. */
  get nodes(): readonly NodeView[] {
    return this.columns.views;
  }

  /** Made anew when boards come or go; kept up to date otherwise. */
  get columns(): Columns {
    return this.#indexed().columns;
  }

  get fast(): FastPath {
    return this.#indexed().fast;
  }

  /** Placed pods whose rules may attract or refuse others: none lets filters skip them. */
  get podsWithTerms(): ReadonlyMap<string, PlacedTerms> {
    return this.#terms;
  }

  #indexed(): { readonly columns: Columns; readonly fast: FastPath } {
    if (this.#index === undefined) {
      const sorted = [...this.#nodes.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
      const columns = new Columns(sorted);
      this.#index = { columns, fast: new FastPath(columns) };
    }
    return this.#index;
  }

  node(name: string): NodeView | undefined {
    return this.#nodes.get(name);
  }

  namespaceLabels(namespace: string): Readonly<Record<string, string>> {
    return this.#namespaceLabels.get(namespace) ?? {};
  }

  setNamespace(name: string, labels: Readonly<Record<string, string>>): void {
    this.#namespaceLabels.set(name, labels);
  }

  removeNamespace(name: string): void {
    this.#namespaceLabels.delete(name);
  }

  /** Adds or replaces a node. True when something that placement looks at has changed. */
  setNode(node: Node): boolean {
    const name = node.metadata?.name ?? '';
    const facts = {
      labels: node.metadata?.labels ?? {},
      taints: mergedTaints(node),
      allocatable: nodeAllocatable(node, this.resources),
    };
    const known = this.#nodes.get(name);
    if (known !== undefined) {
      const isAnother =
        JSON.stringify([known.labels, known.taints]) !==
        JSON.stringify([facts.labels, facts.taints]);
      const isOtherSize = JSON.stringify(known.allocatable) !== JSON.stringify(facts.allocatable);
      Object.assign(known, facts);
      if (isAnother) this.#index?.fast.forgetEligibility();
      if (isAnother) this.images.forgetProcessors();
      if (isOtherSize) this.#index?.columns.touch(known);
      return isAnother || isOtherSize;
    }
    const view: NodeView = {
      name,
      slot: -1,
      ...facts,
      requested: [0, 0, 0, 0],
      scoringCpuMillis: 0,
      scoringMemoryBytes: 0,
      pods: new Map(),
      ownerCounts: new Map(),
      podsWithPorts: 0,
      usage: undefined,
    };
    this.#nodes.set(name, view);
    this.images.forgetProcessors();
    this.#index = undefined;
    const waiting = this.#homeless.get(name);
    this.#homeless.delete(name);
    for (const pod of waiting?.values() ?? []) this.#count(view, pod);
    return true;
  }

  /** Its pods are remembered: the node may come back. */
  removeNode(name: string): void {
    const view = this.#nodes.get(name);
    if (view === undefined) return;
    this.#nodes.delete(name);
    this.images.forgetProcessors();
    this.#index = undefined;
    if (view.pods.size === 0) return;
    for (const uid of view.pods.keys()) this.#terms.delete(uid);
    this.#homeless.set(name, new Map(view.pods));
  }

  /** Measured use of a board, or undefined when it is not known (any more). */
  setUsage(nodeName: string, usage: MeasuredUsage | undefined): void {
    const view = this.#nodes.get(nodeName);
    if (view === undefined) return;
    view.usage = usage;
    this.#index?.columns.touch(view);
  }

  /** Counts an assigned pod, replacing what was known of it; a pod that ended is taken out. */
  setPod(pod: Pod): void {
    const uid = pod.metadata?.uid ?? '';
    const nodeName = pod.spec?.nodeName ?? '';
    this.removePod(uid);
    if (nodeName === '' || hasEnded(pod.status)) return;
    this.assume(compilePod(pod, this.resources), nodeName);
  }

  /** Counts `pod` on the node before the API knows of it. */
  assume(pod: PodInfo, nodeName: string): void {
    this.removePod(pod.uid);
    this.#nodeOf.set(pod.uid, nodeName);
    const view = this.#nodes.get(nodeName);
    if (view !== undefined) {
      this.#count(view, pod);
      return;
    }
    const waiting = this.#homeless.get(nodeName) ?? new Map<string, PodInfo>();
    waiting.set(pod.uid, pod);
    this.volumes.placed(pod, nodeName);
    this.#homeless.set(nodeName, waiting);
  }

  /** The name of the node it was counted on. */
  removePod(uid: string): string | undefined {
    const nodeName = this.#nodeOf.get(uid);
    if (nodeName === undefined) return undefined;
    this.#nodeOf.delete(uid);
    const view = this.#nodes.get(nodeName);
    const pod = view?.pods.get(uid);
    if (view !== undefined && pod !== undefined) this.#uncount(view, pod);
    const waiting = this.#homeless.get(nodeName);
    const homeless = waiting?.get(uid);
    if (homeless !== undefined) this.volumes.unplaced(homeless);
    waiting?.delete(uid);
    if (waiting?.size === 0) this.#homeless.delete(nodeName);
    return nodeName;
  }

  nodeOfPod(uid: string): string | undefined {
    return this.#nodeOf.get(uid);
  }

  #count(view: NodeView, pod: PodInfo): void {
    view.pods.set(pod.uid, pod);
    this.volumes.placed(pod, view.name);
    applyPod(view, pod, 1);
    if (hasTerms(pod)) this.#terms.set(pod.uid, { pod, node: view });
    this.#index?.columns.touch(view);
  }

  #uncount(view: NodeView, pod: PodInfo): void {
    view.pods.delete(pod.uid);
    this.volumes.unplaced(pod);
    applyPod(view, pod, -1);
    this.#terms.delete(pod.uid);
    this.#index?.columns.touch(view);
  }
}

function hasTerms(pod: PodInfo): boolean {
  return (
    pod.affinity.length +
      pod.antiAffinity.length +
      pod.preferredAffinity.length +
      pod.preferredAntiAffinity.length >
    0
  );
}

function applyPod(view: NodeView, pod: PodInfo, sign: 1 | -1): void {
  for (const { index, amount } of pod.requests) {
    view.requested[index] = (view.requested[index] ?? 0) + sign * amount;
  }
  view.scoringCpuMillis += sign * pod.scoring.cpuMillis;
  view.scoringMemoryBytes += sign * pod.scoring.memoryBytes;
  if (pod.hostPorts.length > 0) view.podsWithPorts += sign;
  if (pod.ownerUid === '') return;
  const count = (view.ownerCounts.get(pod.ownerUid) ?? 0) + sign;
  if (count > 0) view.ownerCounts.set(pod.ownerUid, count);
  else view.ownerCounts.delete(pod.ownerUid);
}

/** Written taints first; a condition adds its own only where nobody has written it yet. */
function mergedTaints(node: Node): Taint[] {
  const written = node.spec?.taints ?? [];
  const implied = conditionTaints(node).filter(
    (taint) => !written.some((one) => one.key === taint.key && one.effect === taint.effect),
  );
  return [...written, ...implied];
}

/**
 * Amounts of resources as numbers: what a pod asks for, counted the Kubernetes way, and what a
 * board has. CPU is in millicores, everything else in whole units (bytes, pods, devices). Pure.
 *
 * Source of the rules: Kubernetes' documentation of init containers ("Resource sharing within
 * containers"), sidecar containers, pod overhead and pod-level resources.
 */
import type { Container, Node, Pod } from '../../protocol/kinds/types.ts';
import { milliValue, value } from '../../protocol/quantity.ts';

export const CPU = 0;
export const MEMORY = 1;
export const STORAGE = 2;
export const PODS = 3;
/** cpu, memory, ephemeral-storage and pods: every board has them. */
export const FIXED_RESOURCES = 4;

/**
 * Numbers the resource names, so that amounts are arrays; extended resources follow the four fixed
 * ones.
 */
export class ResourceIndex {
  readonly #names: string[] = ['cpu', 'memory', 'ephemeral-storage', 'pods'];
  readonly #indexes = new Map<string, number>(this.#names.map((name, index) => [name, index]));

  indexOf(name: string): number {
    let index = this.#indexes.get(name);
    if (index === undefined) {
      index = this.#names.length;
      this.#names.push(name);
      this.#indexes.set(name, index);
    }
    return index;
  }

  nameOf(index: number): string {
    return this.#names[index] ?? `resource ${index}`;
  }
}

export interface ResourceAmount {
  readonly index: number;
  readonly amount: number;
}

type Quantities = Readonly<Record<string, string>>;

/** Kubernetes scores a container that requests nothing as if it asked for this much. */
const UNREQUESTED_CPU_MILLIS = 100;
const UNREQUESTED_MEMORY_BYTES = 200 * 1024 * 1024;

function amountOf(name: string, quantity: string): number {
  return name === 'cpu' ? milliValue(quantity) : value(quantity);
}

type Amounts = Map<string, number>;

function add(into: Amounts, quantities: Quantities | undefined): void {
  for (const [name, quantity] of Object.entries(quantities ?? {})) {
    into.set(name, (into.get(name) ?? 0) + amountOf(name, quantity));
  }
}

function raiseTo(into: Amounts, other: Amounts): void {
  for (const [name, amount] of other) {
    if (amount > (into.get(name) ?? 0)) into.set(name, amount);
  }
}

/**
 * What the pod must find free: the larger of all running containers together and of the hungriest
 * init step (with the sidecars started before it), plus overhead. Every pod also takes one of
 * `pods`.
 */
export function podRequests(pod: Pod, resources: ResourceIndex): ResourceAmount[] {
  const totals = podTotals(pod, (container) => container.resources?.requests ?? {});
  const amounts: ResourceAmount[] = [{ index: PODS, amount: 1 }];
  for (const [name, amount] of totals) {
    if (amount > 0) amounts.push({ index: resources.indexOf(name), amount });
  }
  return amounts.sort((a, b) => a.index - b.index);
}

function podTotals(pod: Pod, requestsOf: (container: Container) => Quantities): Amounts {
  const totals = containerTotals(pod, requestsOf);
  // Pod-level requests, where given, are the pod's word on the whole.
  for (const [name, quantity] of Object.entries(pod.spec?.resources?.requests ?? {})) {
    totals.set(name, amountOf(name, quantity));
  }
  add(totals, pod.spec?.overhead);
  return totals;
}

function containerTotals(pod: Pod, requestsOf: (container: Container) => Quantities): Amounts {
  const running: Amounts = new Map();
  for (const container of pod.spec?.containers ?? []) add(running, requestsOf(container));
  const sidecars: Amounts = new Map();
  const initPeak: Amounts = new Map();
  for (const container of pod.spec?.initContainers ?? []) {
    const requests = requestsOf(container);
    if (container.restartPolicy === 'Always') {
      add(running, requests);
      add(sidecars, requests);
      raiseTo(initPeak, sidecars);
    } else {
      const step = new Map(sidecars);
      add(step, requests);
      raiseTo(initPeak, step);
    }
  }
  raiseTo(running, initPeak);
  return running;
}

export interface ScoringRequest {
  readonly cpuMillis: number;
  readonly memoryBytes: number;
}

/**
 * As `podRequests`, for cpu and memory, with a small assumed amount for containers that ask for
 * nothing. Never less than the request.
 */
export function scoringRequests(pod: Pod): ScoringRequest {
  const totals = podTotals(pod, (container) => ({
    cpu: container.resources?.requests?.cpu ?? `${UNREQUESTED_CPU_MILLIS}m`,
    memory: container.resources?.requests?.memory ?? String(UNREQUESTED_MEMORY_BYTES),
  }));
  return { cpuMillis: totals.get('cpu') ?? 0, memoryBytes: totals.get('memory') ?? 0 };
}

/**
 * What the board gives to pods, as an array by resource index; `capacity` where `allocatable` is
 * absent.
 */
export function nodeAllocatable(node: Node, resources: ResourceIndex): number[] {
  const amounts: number[] = [0, 0, 0, 0];
  const quantities: Quantities = node.status?.allocatable ?? node.status?.capacity ?? {};
  for (const [name, quantity] of Object.entries(quantities)) {
    amounts[resources.indexOf(name)] = amountOf(name, quantity);
  }
  return amounts;
}

/**
 * Which devices of the board a pod may have, and which of them each of its containers gets. Pure.
 *
 * A container asks for devices as for every extended resource, by a limit such as `pier.local/i2c-1: 1`. A pod holds as
 * many units as its containers need at the same time: those that run for its life need units of their own, an init
 * container that ends uses what the others will have (Kubernetes: the effective request of a pod).
 */
import type { Container, PodSpec } from '../../protocol/kinds/types.ts';
import { DEVICE_DOMAIN } from '../../protocol/messages.ts';
import { value } from '../../protocol/quantity.ts';
import { isSidecar } from './board-pod.ts';

/** What is given to one pod as a whole. */
export interface DeviceUnit {
  /** As pods ask for it: "pier.local/i2c-1". */
  readonly resource: string;
  /** Tells units of one resource apart, also after a boot: the bus address of a USB device, else the name. */
  readonly id: string;
  readonly nodes: readonly DeviceNode[];
}

/** A device file. */
export interface DeviceNode {
  /** Within /dev: "i2c-1", "bus/usb/001/004". */
  readonly name: string;
  readonly hostPath: string;
}

/** Ids of units by resource. */
export type HeldUnits = Readonly<Record<string, readonly string[]>>;

/** How many units a container asks for, by resource; other domains' resources are not the board's to give. */
export function deviceCounts({ resources }: Container): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [name, amount] of Object.entries(resources?.limits ?? {})) {
    if (name.startsWith(DEVICE_DOMAIN) && value(amount) > 0) counts.set(name, value(amount));
  }
  return counts;
}

/** How many units the pod holds, by resource. */
export function podDeviceCounts(spec: PodSpec): Map<string, number> {
  const counts = new Map<string, number>();
  for (const container of allContainers(spec)) {
    for (const [resource, count] of deviceCounts(container)) {
      const end = firstUnit(spec, container, resource) + count;
      counts.set(resource, Math.max(counts.get(resource) ?? 0, end));
    }
  }
  return counts;
}

/** Of the units that the pod holds, those of one container. */
export function unitsOfContainer(
  spec: PodSpec,
  container: Container,
  units: readonly DeviceUnit[],
): DeviceUnit[] {
  return [...deviceCounts(container)].flatMap(([resource, count]) => {
    const first = firstUnit(spec, container, resource);
    return units.filter((unit) => unit.resource === resource).slice(first, first + count);
  });
}

/**
 * Gives a pod its units: those it had, where they are still there, then free ones in their order. `taken` are what other
 * pods hold. A device that goes by two names (`video0` and `usb-...`) is taken by either. Throws an Error that says what is missing.
 */
export function allocateDevices(
  spec: PodSpec,
  had: HeldUnits,
  units: readonly DeviceUnit[],
  taken: readonly HeldUnits[],
): DeviceUnit[] {
  const isTaken = (unit: DeviceUnit) =>
    taken.some((held) => held[unit.resource]?.includes(unit.id) === true);
  const takenFiles = fileNames(units.filter(isTaken));
  const given: DeviceUnit[] = [];
  for (const [resource, count] of podDeviceCounts(spec)) {
    const there = units.filter((unit) => unit.resource === resource);
    const free = there.filter(
      (unit) => !isTaken(unit) && !unit.nodes.some(({ name }) => takenFiles.has(name)),
    );
    if (free.length < count) throw new Error(shortage(resource, count, there, free));
    given.push(...chosen(free, had[resource] ?? [], count));
  }
  return given;
}

/** Each container keeps its place in the list, and with it its unit. */
function chosen(free: readonly DeviceUnit[], had: readonly string[], count: number): DeviceUnit[] {
  const kept = had.slice(0, count);
  const spare = free.filter(({ id }) => !kept.includes(id));
  return Array.from({ length: count }, (_, place) => {
    const own = free.find(({ id }) => id === kept[place]);
    return own ?? spare.shift();
  }).filter((unit) => unit !== undefined);
}

export function heldUnits(units: readonly DeviceUnit[]): HeldUnits {
  const held: Record<string, string[]> = {};
  for (const { resource, id } of units) held[resource] = [...(held[resource] ?? []), id];
  return held;
}

/** How many units of each resource the board has, as quantities. */
export function deviceCapacity(units: readonly DeviceUnit[]): Record<string, string> {
  const held = Object.entries(heldUnits(units));
  return Object.fromEntries(held.map(([resource, ids]) => [resource, String(ids.length)]));
}

function shortage(
  resource: string,
  count: number,
  there: readonly DeviceUnit[],
  free: readonly DeviceUnit[],
): string {
  const wanted = `the container needs ${count} of ${resource}`;
  if (there.length < count) {
    const has = there.length === 0 ? 'has none' : `has ${there.length}`;
    return `${wanted}, and this board ${has} now: plug the device in, or delete the pod to have it placed anew`;
  }
  return `${wanted}, and this board has ${free.length} free: another pod holds the device, maybe by its other name`;
}

/** Where the units of a container begin among those of its pod. */
function firstUnit(spec: PodSpec, container: Container, resource: string): number {
  const isAppContainer = spec.containers.includes(container);
  const inits = spec.initContainers ?? [];
  const before = isAppContainer
    ? [...inits, ...spec.containers.slice(0, spec.containers.indexOf(container))]
    : inits.slice(0, inits.indexOf(container));
  const lasting = before.filter((one) => !inits.includes(one) || isSidecar(one));
  return lasting.reduce((sum, one) => sum + (deviceCounts(one).get(resource) ?? 0), 0);
}

function allContainers({ initContainers = [], containers }: PodSpec): Container[] {
  return [...initContainers, ...containers];
}

function fileNames(units: readonly DeviceUnit[]): Set<string> {
  return new Set(units.flatMap(({ nodes }) => nodes.map(({ name }) => name)));
}

/**
 * When to probe which container, and what the answers mean. Pure; agent/pods/prober.ts asks.
 *
 * Rules, all of them Kubernetes' ("Configure Liveness, Readiness and Startup Probes"):
 * - Nothing is probed before initialDelaySeconds have passed, nor while a postStart hook runs.
 * - Until the startup probe has succeeded once, the other two wait; then it asks no more.
 * - A verdict changes after failureThreshold or successThreshold equal answers in a row.
 * - A container whose startup or liveness probe failed is ended, and asked no more.
 * - Without a readiness probe a started container is ready; with one it is not until the first success.
 * - A container that was ready when the agent was restarted stays so until its probe says otherwise.
 */
import type { Container as KubeContainer, Probe } from '../../protocol/kinds/types.ts';
import type { Container } from '../runtime/runtime.ts';
import type { BoardPod } from './board-pod.ts';
import { fnv1a } from './fnv1a.ts';
import { newestContainers } from './memory.ts';

export const PROBE_TYPES = ['startup', 'liveness', 'readiness'] as const;
export type ProbeType = (typeof PROBE_TYPES)[number];

/** `unknown`: it could not be asked; that counts as no answer at all. */
export type ProbeAnswer = 'success' | 'failure' | 'unknown';

interface ProbeState {
  readonly verdict: 'success' | 'failure' | undefined;
  readonly last: ProbeAnswer | undefined;
  /** Equal answers in a row. */
  readonly inARow: number;
  /** Monotonic; undefined while it is being asked. */
  readonly dueMs: number | undefined;
}

/** What an agent passes on to the next one about a running container. */
export interface Remembered {
  readonly started: boolean;
  readonly ready: boolean;
  /** Its postStart hook has run. */
  readonly hooked: boolean;
  /** Since when it is ready; wall clock, for display. */
  readonly readySinceMs?: number;
}

export interface ContainerHealth {
  /** Of the engine's container: another one starts from nothing. */
  readonly id: string;
  /** postStart has run, or there is none. */
  readonly hooked: boolean;
  /** Told by a former agent. */
  readonly before: Remembered | undefined;
  readonly probes: Readonly<Partial<Record<ProbeType, ProbeState>>>;
}

/** By container name. Only running containers are in it. */
export type PodHealth = ReadonlyMap<string, ContainerHealth>;

export const NO_HEALTH: PodHealth = new Map();

export interface DueProbe {
  readonly container: KubeContainer;
  readonly id: string;
  readonly type: ProbeType;
  readonly probe: Probe;
}

/** Which containers can have probes and hooks: the main ones and sidecars. */
export function probedContainers({ spec }: BoardPod): KubeContainer[] {
  const sidecars = (spec.initContainers ?? []).filter(
    ({ restartPolicy }) => restartPolicy === 'Always',
  );
  return [...sidecars, ...spec.containers];
}

export function probeOf(container: KubeContainer, type: ProbeType): Probe | undefined {
  return container[`${type}Probe`];
}

/** Takes in which containers run now. Returns `health` itself when nothing is new. */
export function noteRunning(
  health: PodHealth,
  pod: BoardPod,
  seen: readonly Container[],
  { nowMs, remembered }: { nowMs: number; remembered: (id: string) => Remembered | undefined },
): PodHealth {
  const newest = newestContainers(seen);
  const next = new Map<string, ContainerHealth>();
  let changed = false;
  for (const container of probedContainers(pod)) {
    const running = newest.get(container.name);
    if (running?.state !== 'running') continue;
    const known = health.get(container.name);
    if (known?.id === running.id) {
      next.set(container.name, known);
      continue;
    }
    changed = true;
    next.set(container.name, firstHealth(container, running.id, remembered(running.id), nowMs));
  }
  return changed || next.size !== health.size ? next : health;
}

/** The postStart hook has run. */
export function noteHooked(health: PodHealth, name: string, id: string): PodHealth {
  const known = health.get(name);
  return known?.id === id ? withHealth(health, name, { ...known, hooked: true }) : health;
}

/** Probes whose time has come, and when to look again. */
export function dueProbes(
  health: PodHealth,
  pod: BoardPod,
  nowMs: number,
): { readonly due: readonly DueProbe[]; readonly wakeAtMs: number | undefined } {
  const due: DueProbe[] = [];
  let wakeAtMs: number | undefined;
  for (const container of probedContainers(pod)) {
    const known = health.get(container.name);
    if (known === undefined || !known.hooked || hasFailed(known)) continue;
    for (const type of PROBE_TYPES) {
      const probe = probeOf(container, type);
      const dueMs = known.probes[type]?.dueMs;
      if (probe === undefined || dueMs === undefined || !isWanted(container, known, type)) continue;
      if (dueMs <= nowMs) due.push({ container, id: known.id, type, probe });
      else wakeAtMs = Math.min(wakeAtMs ?? dueMs, dueMs);
    }
  }
  return { due, wakeAtMs };
}

/** It is being asked. */
export function noteAsked(health: PodHealth, { container, id, type }: DueProbe): PodHealth {
  return withProbe(health, container.name, id, type, (state) => ({ ...state, dueMs: undefined }));
}

/** `askedMs`: when it was due; the period counts from there. */
export function noteAnswer(
  health: PodHealth,
  { container, id, type, probe }: DueProbe,
  answer: ProbeAnswer,
  { askedMs, nowMs }: { readonly askedMs: number; readonly nowMs: number },
): PodHealth {
  const next = withProbe(health, container.name, id, type, (state) =>
    afterAnswer(state, probe, answer, Math.max(nowMs, askedMs + seconds(probe.periodSeconds, 10))),
  );
  const known = next.get(container.name);
  if (type !== 'startup' || known?.id !== id || known.probes.startup?.verdict !== 'success') {
    return next;
  }
  // Kubernetes: the readiness probe does not wait for its next turn.
  return withProbe(next, container.name, id, 'readiness', (state) => ({
    ...state,
    ...(state.dueMs === undefined ? {} : { dueMs: nowMs }),
  }));
}

/** Kubernetes' ContainerStatus.started: it runs, its hook has run, its startup probe has succeeded. */
export function isStarted(health: PodHealth, container: KubeContainer, id: string): boolean {
  const known = health.get(container.name);
  if (known?.id !== id || !known.hooked) return false;
  return hasStarted(container, known);
}

export function isReady(health: PodHealth, container: KubeContainer, id: string): boolean {
  const known = health.get(container.name);
  if (known?.id !== id || !isStarted(health, container, id)) return false;
  if (container.readinessProbe === undefined) return true;
  const verdict = known.probes.readiness?.verdict;
  return verdict === undefined ? known.before?.ready === true : verdict === 'success';
}

/** The probe for which the running container has to be ended. */
export function failedProbe(
  health: PodHealth,
  container: KubeContainer,
  id: string,
): { readonly type: 'startup' | 'liveness'; readonly probe: Probe } | undefined {
  const known = health.get(container.name);
  if (known?.id !== id) return undefined;
  for (const type of ['startup', 'liveness'] as const) {
    const probe = probeOf(container, type);
    if (probe !== undefined && known.probes[type]?.verdict === 'failure') return { type, probe };
  }
  return undefined;
}

/** What the next agent should know of this container. */
export function toRemember(health: PodHealth, container: KubeContainer, id: string): Remembered {
  const hooked = health.get(container.name)?.hooked ?? false;
  const started = isStarted(health, container, id);
  return { started, ready: isReady(health, container, id), hooked };
}

function firstHealth(
  container: KubeContainer,
  id: string,
  before: Remembered | undefined,
  nowMs: number,
): ContainerHealth {
  const probes: Partial<Record<ProbeType, ProbeState>> = {};
  for (const type of PROBE_TYPES) {
    const probe = probeOf(container, type);
    if (probe === undefined) continue;
    // After a restart of the agent not all probes of the board at once: each at its own place in the period.
    const delayMs =
      before?.started === true
        ? spread(`${id}${type}`) * seconds(probe.periodSeconds, 10)
        : seconds(probe.initialDelaySeconds, 0);
    probes[type] = { verdict: undefined, last: undefined, inARow: 0, dueMs: nowMs + delayMs };
  }
  const hooked = container.lifecycle?.postStart === undefined || before?.hooked === true;
  return { id, hooked, before, probes };
}

function afterAnswer(
  state: ProbeState,
  probe: Probe,
  answer: ProbeAnswer,
  dueMs: number,
): ProbeState {
  if (answer === 'unknown') return { ...state, dueMs };
  const inARow = state.last === answer ? state.inARow + 1 : 1;
  const threshold =
    answer === 'success' ? (probe.successThreshold ?? 1) : (probe.failureThreshold ?? 3);
  const verdict = inARow >= threshold ? answer : state.verdict;
  return { verdict, last: answer, inARow, dueMs };
}

function isWanted(container: KubeContainer, known: ContainerHealth, type: ProbeType): boolean {
  return (type === 'startup') !== hasStarted(container, known);
}

function hasStarted(container: KubeContainer, known: ContainerHealth): boolean {
  if (container.startupProbe === undefined || known.before?.started === true) return true;
  return known.probes.startup?.verdict === 'success';
}

function hasFailed({ probes }: ContainerHealth): boolean {
  return probes.startup?.verdict === 'failure' || probes.liveness?.verdict === 'failure';
}

function withProbe(
  health: PodHealth,
  name: string,
  id: string,
  type: ProbeType,
  change: (state: ProbeState) => ProbeState,
): PodHealth {
  const known = health.get(name);
  const state = known?.probes[type];
  // An answer about a container that has ended meanwhile is worth nothing.
  if (known?.id !== id || state === undefined) return health;
  return withHealth(health, name, { ...known, probes: { ...known.probes, [type]: change(state) } });
}

function withHealth(health: PodHealth, name: string, known: ContainerHealth): PodHealth {
  return new Map(health).set(name, known);
}

/** Zero counts as not set, as in Kubernetes' defaults. */
function seconds(value: number | undefined, fallback: number): number {
  return (value || fallback) * 1000;
}

/** From 0 to 1, always the same for the same text (32-bit FNV-1a). */
function spread(text: string): number {
  const hash = fnv1a(text);
  return ((hash ^ (hash >>> 15)) >>> 0) / 2 ** 32;
}

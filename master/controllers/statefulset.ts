/**
 * StatefulSet: pods with names that stay. Pure.
 *
 * Promises: there is never more than one pod of a name, because a name is given again only when its pod is gone from the
 * API (of a board that died too: until it returns, or somebody says that it is off); with OrderedReady each pod waits
 * for those below it, and at most one is missing on purpose. Source: Kubernetes' documentation of StatefulSet.
 */

import type {
  ControllerRevision,
  PersistentVolumeClaim,
  Pod,
  PodTemplateSpec,
  StatefulSet,
  StatefulSetStatus,
} from '../../protocol/kinds/types.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import { RESOURCES } from '../api/client.ts';
import type { Action, Announcement, Now } from './actions.ts';
import type { EventTarget } from './events.ts';
import { claim, deletePod, podFromTemplate } from './ownership.ts';
import { canonicalJson } from './pod-template.ts';
import {
  isPodActive,
  isPodAvailable,
  isPodReady,
  nextAvailableInMs,
  type PodTimes,
} from './pods.ts';
import { withStatus } from './replicaset.ts';
import { dropRevisions, REVISION_HASH, syncHistory, templateOf } from './revisions.ts';
import { makeClaims, ownClaims, withClaims } from './statefulset-claims.ts';

const POD_NAME = 'statefulset.kubernetes.io/pod-name';
const POD_INDEX = 'apps.kubernetes.io/pod-index';

interface StatefulSetView {
  readonly set: StatefulSet;
  /** All pods and revisions of the namespace, or at least those that it owns or that match. */
  readonly pods: readonly Pod[];
  readonly revisions: readonly ControllerRevision[];
  /** All claims of the namespace. */
  readonly claims: readonly PersistentVolumeClaim[];
  readonly times: PodTimes;
}

/** The two templates between which an update goes, by the names of their revisions. */
interface Revisions {
  readonly current: { readonly name: string; readonly template: PodTemplateSpec };
  readonly update: { readonly name: string; readonly template: PodTemplateSpec };
}

interface Slot {
  readonly ordinal: number;
  readonly pod: Pod | undefined;
}

interface Context {
  readonly set: StatefulSet;
  readonly claims: readonly PersistentVolumeClaim[];
  readonly owner: EventTarget;
  readonly revisions: Revisions;
  /** From the lowest ordinal on: those that are wanted. */
  readonly slots: readonly Slot[];
  /** Pods beyond, the highest ordinal first. */
  readonly surplus: readonly Pod[];
  readonly isOrdered: boolean;
  readonly isHealthy: (pod: Pod | undefined) => boolean;
}

export function reconcileStatefulSet(view: StatefulSetView, now: Now): Action[] {
  const { set, times } = view;
  if (set.metadata?.deletionTimestamp !== undefined) return [];
  const owner: EventTarget = {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: set.metadata ?? {},
  };
  const { selector, template = {}, minReadySeconds = 0, revisionHistoryLimit } = set.spec ?? {};
  const { owned, actions } = claim({
    owner,
    selector,
    id: RESOURCES.pods,
    candidates: view.pods,
    mayAdopt: (pod) => isPodActive(pod) && ordinalOf(pod, set) !== undefined,
  });
  const collisionCount = set.status?.collisionCount;
  const workload = {
    owner,
    selector,
    template,
    collisionCount,
    historyLimit: revisionHistoryLimit,
  };
  const history = syncHistory(workload, view.revisions);
  const updateName = history.current.metadata?.name ?? '';
  const known = history.all.find(({ metadata }) => metadata?.name === set.status?.currentRevision);
  const revisions: Revisions = {
    update: { name: updateName, template },
    current:
      known === undefined
        ? { name: updateName, template }
        : { name: known.metadata?.name ?? '', template: templateOf(known) ?? template },
  };
  const isAvailable = (pod: Pod): boolean =>
    isPodAvailable(pod, minReadySeconds, times, now.monotonicMs);
  const context = contextOf(view, owner, revisions, owned, isAvailable);
  actions.push(...history.actions);
  if (history.collisionCount === undefined) {
    actions.push(...ownersOf(context), ...nextStep(context));
    const live = new Set(owned.map(({ metadata }) => metadata?.labels?.[REVISION_HASH]));
    live.add(revisions.current.name);
    actions.push(...dropRevisions(workload, history, ({ metadata }) => live.has(metadata?.name)));
  }
  const status = statusOf(context, owned, isAvailable, history.collisionCount ?? collisionCount);
  if (canonicalJson(status) !== canonicalJson(set.status ?? {})) {
    const object = withStatus(set, status);
    actions.push({
      type: 'updateStatus',
      id: RESOURCES.statefulSets,
      object,
      evenAfterFailure: true,
    });
  }
  const delayMs = nextAvailableInMs(owned, minReadySeconds, times, now.monotonicMs);
  if (delayMs !== undefined) actions.push({ type: 'requeueAfter', delayMs });
  return actions;
}

/** The number at the end of its name; undefined when it is no name of this StatefulSet. */
function ordinalOf({ metadata }: Pod, set: StatefulSet): number | undefined {
  const prefix = `${set.metadata?.name ?? ''}-`;
  const name = metadata?.name ?? '';
  const rest = name.startsWith(prefix) ? name.slice(prefix.length) : '';
  return /^(0|[1-9]\d*)$/.test(rest) ? Number(rest) : undefined;
}

function firstOrdinal({ spec }: StatefulSet): number {
  return spec?.ordinals?.start ?? 0;
}

function contextOf(
  { set, claims }: StatefulSetView,
  owner: EventTarget,
  revisions: Revisions,
  owned: readonly Pod[],
  isAvailable: (pod: Pod) => boolean,
): Context {
  const replicas = set.spec?.replicas ?? 1;
  const start = firstOrdinal(set);
  const byOrdinal = new Map(owned.map((pod) => [ordinalOf(pod, set), pod]));
  const isWanted = (ordinal: number): boolean => ordinal >= start && ordinal < start + replicas;
  const surplus = owned
    .filter((pod) => {
      const ordinal = ordinalOf(pod, set);
      return ordinal !== undefined && !isWanted(ordinal);
    })
    .sort((a, b) => (ordinalOf(b, set) ?? 0) - (ordinalOf(a, set) ?? 0));
  return {
    set,
    claims,
    owner,
    revisions,
    slots: Array.from({ length: replicas }, (_, at) => ({
      ordinal: start + at,
      pod: byOrdinal.get(start + at),
    })),
    surplus,
    isOrdered: set.spec?.podManagementPolicy !== 'Parallel',
    isHealthy: (pod) => pod !== undefined && isPodActive(pod) && isAvailable(pod),
  };
}

/** What is missing, then what is too much, then the newer template: one step with OrderedReady. */
function nextStep(context: Context): Action[] {
  const filled = fill(context);
  if (context.isOrdered && filled !== undefined) return filled;
  const shrunk = shrink(context);
  if (context.isOrdered && shrunk !== undefined) return shrunk;
  const actions = [...(filled ?? []), ...(shrunk ?? [])];
  return actions.length > 0 ? actions : roll(context);
}

/** With OrderedReady undefined means that all are there and healthy, an empty list that one is waited for. */
function fill(context: Context): Action[] | undefined {
  const actions: Action[] = [];
  for (const { ordinal, pod } of context.slots) {
    if (pod === undefined) {
      actions.push(...createWithClaims(context, ordinal));
    } else if (hasEnded(pod.status) && pod.metadata?.deletionTimestamp === undefined) {
      actions.push(...recreate(context, pod));
    } else if (context.isHealthy(pod)) {
      continue;
    } else if ((pod.spec?.nodeName ?? '') === '') {
      // Its claims may have been deleted before it had a board.
      actions.push(...(makeClaims(context, ordinal) ?? []));
    }
    if (context.isOrdered) return actions;
  }
  return actions.length > 0 ? actions : undefined;
}

/** With OrderedReady the highest goes first, when all below it are healthy. */
function shrink(context: Context): Action[] | undefined {
  const { surplus, isOrdered, owner } = context;
  const actions: Action[] = [];
  for (const pod of surplus) {
    const isGoing = pod.metadata?.deletionTimestamp !== undefined;
    if (!isGoing) actions.push(remove(pod, owner));
    if (isOrdered) return actions;
  }
  return actions.length > 0 ? actions : undefined;
}

/** From the highest ordinal down to the partition, one after the other. */
function roll({ set, slots, revisions, owner, isHealthy }: Context): Action[] {
  const { type = 'RollingUpdate', rollingUpdate } = set.spec?.updateStrategy ?? {};
  if (type !== 'RollingUpdate') return [];
  const lowest = firstOrdinal(set) + (rollingUpdate?.partition ?? 0);
  for (const { ordinal, pod } of [...slots].reverse()) {
    if (ordinal < lowest) break;
    if (pod === undefined || pod.metadata?.deletionTimestamp !== undefined) return [];
    if (revisionNameOf(pod) !== revisions.update.name) return [remove(pod, owner)];
    if (!isHealthy(pod)) return [];
  }
  return [];
}

function revisionNameOf({ metadata }: Pod): string | undefined {
  return metadata?.labels?.[REVISION_HASH];
}

function recreate({ owner, set }: Context, pod: Pod): Action[] {
  const { namespace = '', name = '' } = set.metadata ?? {};
  const message = `StatefulSet ${namespace}/${name} is recreating failed Pod ${pod.metadata?.name ?? ''}`;
  return [
    {
      type: 'event',
      regarding: owner,
      eventType: 'Warning',
      reason: 'RecreatingFailedPod',
      message,
    },
    remove(pod, owner),
  ];
}

/** The claims first. What is being deleted under the name of one must be gone before. */
function createWithClaims(context: Context, ordinal: number): Action[] {
  const made = makeClaims(context, ordinal);
  return made === undefined ? [] : [...made, create(context, ordinal)];
}

function ownersOf({ set, claims, slots, surplus }: Context): Action[] {
  const going = surplus.map((pod) => ({ ordinal: ordinalOf(pod, set) ?? -1, pod }));
  return ownClaims(
    { set, claims },
    slots.map(({ ordinal }) => ordinal),
    going,
  );
}

/** Below the partition the old template holds. */
function create({ set, owner, revisions }: Context, ordinal: number): Action {
  const { type = 'RollingUpdate', rollingUpdate } = set.spec?.updateStrategy ?? {};
  const partition = firstOrdinal(set) + (rollingUpdate?.partition ?? 0);
  const isHeld = type === 'RollingUpdate' && ordinal < partition;
  const revision = isHeld ? revisions.current : revisions.update;
  const name = `${set.metadata?.name ?? ''}-${ordinal}`;
  const pod = podFromTemplate(revision.template, owner, {
    name,
    labels: {
      [REVISION_HASH]: revision.name,
      [POD_NAME]: name,
      [POD_INDEX]: String(ordinal),
    },
  });
  const { serviceName = '' } = set.spec ?? {};
  const identity = { hostname: name, ...(serviceName === '' ? {} : { subdomain: serviceName }) };
  const spec = withClaims(pod.spec ?? { containers: [] }, set, ordinal);
  const object: Pod = { ...pod, spec: { ...spec, ...identity } };
  const announce = announcement(owner, 'create', name);
  return { type: 'create', id: RESOURCES.pods, object, announce };
}

/** Kubernetes has words of its own for the pods of a StatefulSet. */
function announcement(owner: EventTarget, verb: 'create' | 'delete', name: string): Announcement {
  const what = `${verb} Pod ${name} in StatefulSet ${owner.metadata.name ?? ''}`;
  const reason = verb === 'create' ? 'Create' : 'Delete';
  return {
    regarding: owner,
    success: { reason: `Successful${reason}`, message: `${what} successful` },
    failure: { reason: `Failed${reason}`, message: `${what} failed error: {error}` },
  };
}

function remove(pod: Pod, owner: EventTarget): Action {
  const announce = announcement(owner, 'delete', pod.metadata?.name ?? '');
  return { ...deletePod(pod, owner), announce };
}

function statusOf(
  { set, revisions, slots, isHealthy }: Context,
  owned: readonly Pod[],
  isAvailable: (pod: Pod) => boolean,
  collisionCount: number | undefined,
): StatefulSetStatus {
  const members = owned.filter((pod) => ordinalOf(pod, set) !== undefined);
  const staying = members.filter(({ metadata }) => metadata?.deletionTimestamp === undefined);
  const having = (name: string): number =>
    staying.filter((pod) => revisionNameOf(pod) === name).length;
  const ready = members.filter((pod) => pod.status?.phase === 'Running' && isPodReady(pod));
  const generation = set.metadata?.generation;
  const { update, current } = revisions;
  // The update is over when every pod has it and is healthy; then it is what is current.
  const isRolling = (set.spec?.updateStrategy?.type ?? 'RollingUpdate') === 'RollingUpdate';
  const isDone =
    isRolling &&
    members.length === slots.length &&
    slots.every(
      ({ pod }) => isHealthy(pod) && pod !== undefined && revisionNameOf(pod) === update.name,
    );
  const currentRevision = isDone ? update.name : current.name;
  return {
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    replicas: members.length,
    readyReplicas: ready.length,
    availableReplicas: ready.filter(isAvailable).length,
    currentReplicas: having(currentRevision),
    updatedReplicas: having(update.name),
    currentRevision,
    updateRevision: update.name,
    collisionCount: collisionCount ?? 0,
  };
}

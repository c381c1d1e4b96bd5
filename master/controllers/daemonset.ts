/**
 * DaemonSet: one pod on every board that fits. Pure.
 *
 * Promises: never two pods of one template on one board; while it rolls to a new template, at most `maxUnavailable`
 * boards are without an available pod (without `maxSurge` the new pod is made when the old one is gone); a board that
 * does not answer holds up nobody. Source: Kubernetes' documentation of DaemonSet and its rolling update.
 */

import type { ControllerRevision, DaemonSet, Node, Pod } from '../../protocol/kinds/types.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import { RESOURCES } from '../api/client.ts';
import type { Action, Now } from './actions.ts';
import { type Eligibility, eligibility, nodeOf, specFor } from './daemon-nodes.ts';
import { resolveIntOrPercent } from './deployment-rollout.ts';
import type { EventTarget } from './events.ts';
import { announcePod, claim, deletePod, podFromTemplate } from './ownership.ts';
import { canonicalJson } from './pod-template.ts';
import {
  isPodActive,
  isPodAvailable,
  isPodReady,
  nextAvailableInMs,
  type PodTimes,
} from './pods.ts';
import { withStatus } from './replicaset.ts';
import { dropRevisions, hashOf, REVISION_HASH, type Revisioned, syncHistory } from './revisions.ts';

/** Creates and deletes in one reconciliation; the rest follows in the next. */
const BURST_MAX = 250;
/** A pod that failed at once is not replaced more often than this. */
const FAILED_STAYS_MS = 10_000;

interface DaemonSetView {
  readonly daemonSet: DaemonSet;
  readonly nodes: readonly Node[];
  /** All pods and revisions of the namespace, or at least those that it owns or that match. */
  readonly pods: readonly Pod[];
  readonly revisions: readonly ControllerRevision[];
  readonly times: PodTimes;
}

/** One board with what there is of the DaemonSet. */
interface Place extends Eligibility {
  readonly name: string;
  /** The oldest first. */
  readonly pods: readonly Pod[];
  /** Of those that are not on their way out: the one of the current template, and one of another. */
  readonly fresh: Pod | undefined;
  readonly old: Pod | undefined;
}

interface Context {
  readonly view: DaemonSetView;
  readonly owner: EventTarget;
  readonly hash: string;
  readonly now: Now;
  readonly isAvailable: (pod: Pod | undefined) => boolean;
}

export function reconcileDaemonSet(view: DaemonSetView, now: Now): Action[] {
  const { daemonSet, times } = view;
  if (daemonSet.metadata?.deletionTimestamp !== undefined) return [];
  const owner: EventTarget = {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: daemonSet.metadata ?? {},
  };
  const { selector, minReadySeconds = 0 } = daemonSet.spec ?? {};
  const { owned, actions } = claim({
    owner,
    selector,
    id: RESOURCES.pods,
    candidates: view.pods,
    mayAdopt: isPodActive,
  });
  const history = syncHistory(revisioned(daemonSet, owner), view.revisions);
  const hash = hashOf(history.current);
  const isAvailable = (pod: Pod | undefined): boolean =>
    pod !== undefined && isPodAvailable(pod, minReadySeconds, times, now.monotonicMs);
  const context: Context = { view, owner, hash, now, isAvailable };
  const places = placesOf(context, owned);
  const work: Action[] = [];
  if (history.collisionCount === undefined) {
    work.push(...manage(context, places, owned));
    const isRolling = (daemonSet.spec?.updateStrategy?.type ?? 'RollingUpdate') === 'RollingUpdate';
    // One thing after the other: what is missing first.
    const isQuiet = work.every(({ type }) => type === 'requeueAfter');
    if (isRolling && isQuiet) work.push(...roll(context, places));
    const live = new Set(owned.map(({ metadata }) => metadata?.labels?.[REVISION_HASH]));
    const isLive = (one: ControllerRevision): boolean => live.has(hashOf(one));
    work.push(
      ...dropRevisions({ historyLimit: daemonSet.spec?.revisionHistoryLimit }, history, isLive),
    );
  }
  actions.push(...history.actions, ...work);
  actions.push(...statusActions(context, places, history.collisionCount));
  const delayMs = nextAvailableInMs(owned, minReadySeconds, times, now.monotonicMs);
  if (delayMs !== undefined) actions.push({ type: 'requeueAfter', delayMs });
  return actions;
}

function revisioned({ spec, status }: DaemonSet, owner: EventTarget): Revisioned {
  return {
    owner,
    selector: spec?.selector,
    template: spec?.template ?? {},
    collisionCount: status?.collisionCount,
    historyLimit: spec?.revisionHistoryLimit,
  };
}

function placesOf({ view, hash }: Context, owned: readonly Pod[]): Place[] {
  const { times } = view;
  const seen = (pod: Pod): number => times.firstSeenMs(pod.metadata?.uid ?? '') ?? 0;
  const byNode = new Map<string, Pod[]>();
  for (const pod of owned) byNode.set(nodeOf(pod), [...(byNode.get(nodeOf(pod)) ?? []), pod]);
  return [...view.nodes]
    .sort((a, b) => ((a.metadata?.name ?? '') < (b.metadata?.name ?? '') ? -1 : 1))
    .map((node) => {
      const name = node.metadata?.name ?? '';
      const pods = (byNode.get(name) ?? []).sort(
        (a, b) =>
          seen(a) - seen(b) || ((a.metadata?.name ?? '') < (b.metadata?.name ?? '') ? -1 : 1),
      );
      const active = pods.filter(isPodActive);
      const isFresh = (pod: Pod): boolean => pod.metadata?.labels?.[REVISION_HASH] === hash;
      const fresh = active.find(isFresh);
      const old = active.find((pod) => !isFresh(pod));
      return { name, pods, fresh, old, ...eligibility(view.daemonSet, node) };
    });
}

/** A pod where one is missing, none where none belongs, one where there are several. */
function manage(context: Context, places: readonly Place[], owned: readonly Pod[]): Action[] {
  const { owner } = context;
  const nodes = new Set(places.map(({ name }) => name));
  const lost = owned.filter((pod) => isPodActive(pod) && !nodes.has(nodeOf(pod)));
  const waits: Action[] = [];
  const surplus: Pod[] = [...lost];
  const missing: string[] = [];
  for (const place of places) {
    if (!place.mayStay) {
      surplus.push(
        ...place.pods.filter(({ metadata }) => metadata?.deletionTimestamp === undefined),
      );
    } else if (place.pods.length === 0) {
      if (place.shouldRun) missing.push(place.name);
    } else {
      surplus.push(...doubled(context, place), ...ended(context, place, waits));
    }
  }
  return [
    ...waits,
    ...createPods(context, missing),
    ...surplus.slice(0, BURST_MAX).map((pod) => deletePod(pod, owner)),
  ];
}

/** Beyond one of each template (one of all without surge), the younger ones. */
function doubled({ view, isAvailable }: Context, { pods, fresh, old }: Place): Pod[] {
  const active = pods.filter(isPodActive);
  if (limitsOf(view.daemonSet, 1).maxSurge === 0) return active.slice(1);
  if (fresh !== undefined && old !== undefined && isAvailable(fresh)) {
    return active.filter((pod) => pod !== fresh);
  }
  return active.filter((pod) => pod !== fresh && pod !== old);
}

/** A daemon does not end by itself: what has ended makes room for another one. */
function ended({ view, now }: Context, { pods }: Place, waits: Action[]): Pod[] {
  return pods.filter((pod) => {
    if (!hasEnded(pod.status) || pod.metadata?.deletionTimestamp !== undefined) return false;
    const sinceMs = view.times.firstSeenMs(pod.metadata?.uid ?? '') ?? now.monotonicMs;
    const delayMs = sinceMs + FAILED_STAYS_MS - now.monotonicMs;
    if (delayMs <= 0) return true;
    waits.push({ type: 'requeueAfter', delayMs });
    return false;
  });
}

function createPods({ view, owner, hash }: Context, nodes: readonly string[]): Action[] {
  const template = view.daemonSet.spec?.template;
  return nodes.slice(0, BURST_MAX).map((node) => {
    const pod = podFromTemplate(template, owner, {
      generateName: `${owner.metadata.name ?? ''}-`,
      labels: { [REVISION_HASH]: hash },
    });
    const spec = specFor(pod.spec ?? { containers: [] }, node);
    const announce = announcePod(owner, 'create');
    return { type: 'create', id: RESOURCES.pods, object: { ...pod, spec }, announce };
  });
}

interface Limits {
  readonly maxSurge: number;
  readonly maxUnavailable: number;
}

/** Kubernetes: both round up, and both zero means maxUnavailable 1. */
function limitsOf({ spec }: DaemonSet, desired: number): Limits {
  const { maxSurge = 0, maxUnavailable = 1 } = spec?.updateStrategy?.rollingUpdate ?? {};
  const surge = resolveIntOrPercent(maxSurge, desired, 'up');
  const unavailable = resolveIntOrPercent(maxUnavailable, desired, 'up');
  return { maxSurge: surge, maxUnavailable: surge + unavailable === 0 ? 1 : unavailable };
}

/** One step towards the new template, on boards that answer. */
function roll(context: Context, places: readonly Place[]): Action[] {
  const { view, owner, isAvailable } = context;
  const due = places.filter(({ shouldRun }) => shouldRun);
  const { maxSurge, maxUnavailable } = limitsOf(view.daemonSet, due.length);
  const outdated = due.filter(({ fresh, old }) => fresh === undefined && old !== undefined);
  const broken = outdated.filter(({ old }) => !isAvailable(old));
  const healthy = outdated.filter(({ old }) => isAvailable(old));
  if (maxSurge === 0) {
    const unavailable =
      due.filter((place) => !outdated.includes(place) && !isAvailable(place.fresh)).length +
      broken.length;
    const room = Math.max(0, maxUnavailable - unavailable);
    return [...broken, ...healthy.slice(0, room)].flatMap(({ old }) =>
      old === undefined ? [] : [deletePod(old, owner)],
    );
  }
  const surging = due.filter(({ fresh, old }) => fresh !== undefined && old !== undefined);
  const useless = surging.flatMap(({ old }) =>
    old === undefined || isAvailable(old) ? [] : [deletePod(old, owner)],
  );
  const room = Math.max(0, maxSurge - surging.length);
  const next = [...broken, ...healthy.slice(0, room)];
  return [
    ...useless,
    ...createPods(
      context,
      next.map(({ name }) => name),
    ),
  ];
}

function statusActions(
  { view, isAvailable, hash }: Context,
  places: readonly Place[],
  collisionCount: number | undefined,
): Action[] {
  const { daemonSet } = view;
  const due = places.filter(({ shouldRun }) => shouldRun);
  const scheduled = due.filter(({ pods }) => pods.length > 0);
  const firstOf = ({ pods }: Place): Pod | undefined =>
    pods.find(({ metadata }) => metadata?.deletionTimestamp === undefined) ?? pods[0];
  const firsts = scheduled.flatMap((place) => firstOf(place) ?? []);
  const available = firsts.filter(isAvailable).length;
  const isUpdated = ({ metadata }: Pod): boolean => metadata?.labels?.[REVISION_HASH] === hash;
  const generation = daemonSet.metadata?.generation;
  const collisions = collisionCount ?? daemonSet.status?.collisionCount;
  const status = {
    currentNumberScheduled: scheduled.length,
    numberMisscheduled: places.filter(({ shouldRun, pods }) => !shouldRun && pods.length > 0)
      .length,
    desiredNumberScheduled: due.length,
    numberReady: firsts.filter(isPodReady).length,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    updatedNumberScheduled: firsts.filter(isUpdated).length,
    numberAvailable: available,
    numberUnavailable: due.length - available,
    ...(collisions === undefined ? {} : { collisionCount: collisions }),
  };
  if (canonicalJson(status) === canonicalJson(daemonSet.status ?? {})) return [];
  const object = withStatus(daemonSet, status);
  return [{ type: 'updateStatus', id: RESOURCES.daemonSets, object, evenAfterFailure: true }];
}

/**
 * The history of a DaemonSet or StatefulSet: one ControllerRevision per pod template. Pure.
 *
 * Promises: templates are compared as a whole, the hash only names a revision; the current template always has the
 * highest number; of those that no pod has, only the newest `revisionHistoryLimit` stay. The data has the form that
 * `kubectl rollout undo` sends back as a strategic merge patch.
 */
import type {
  ControllerRevision,
  LabelSelector,
  PodTemplateSpec,
} from '../../protocol/kinds/types.ts';
import { RESOURCES } from '../api/client.ts';
import type { Action } from './actions.ts';
import type { EventTarget } from './events.ts';
import { claim, ownerReferenceTo } from './ownership.ts';
import { canonicalJson, templateHash } from './pod-template.ts';

export const REVISION_HASH = 'controller-revision-hash';
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';
/** Kubernetes' default. */
const HISTORY_LIMIT = 10;

export interface Revisioned {
  readonly owner: EventTarget;
  readonly selector: LabelSelector | undefined;
  readonly template: PodTemplateSpec;
  readonly collisionCount: number | undefined;
  readonly historyLimit: number | undefined;
}

interface History {
  /** Of the current template: its name, its hash, and what makes (or keeps) it the newest. */
  readonly current: ControllerRevision;
  readonly actions: readonly Action[];
  /** All that it has, the current one included; the oldest first. */
  readonly all: readonly ControllerRevision[];
  /** Set when the name is another template's: nothing else may be done before that is written. */
  readonly collisionCount: number | undefined;
}

export function hashOf(revision: ControllerRevision): string {
  return revision.metadata?.labels?.[REVISION_HASH] ?? '';
}

/** `candidates`: all revisions of the namespace, or at least those that it owns or that match. */
export function syncHistory(
  workload: Revisioned,
  candidates: readonly ControllerRevision[],
): History {
  const { owner, template, selector } = workload;
  const { owned, actions } = claim({
    owner,
    selector,
    id: RESOURCES.controllerRevisions,
    candidates,
    mayAdopt: (one) => one.metadata?.deletionTimestamp === undefined,
  });
  const all = [...owned].sort(byNumber);
  const data = dataOf(template);
  const text = canonicalJson(data);
  const found = all.filter((one) => canonicalJson(one.data) === text).at(-1);
  const newest = all.at(-1)?.revision ?? 0;
  if (found !== undefined) {
    if (found.revision === newest)
      return { current: found, actions, all, collisionCount: undefined };
    // Back to an old template: its revision becomes the newest.
    const current = { ...found, revision: newest + 1 };
    const update: Action = { type: 'update', id: RESOURCES.controllerRevisions, object: current };
    return { current, actions: [...actions, update], all, collisionCount: undefined };
  }
  const collisions = workload.collisionCount ?? 0;
  const current = revisionOf(workload, {
    hash: templateHash(template, collisions),
    data,
    number: newest + 1,
  });
  const isTaken = candidates.some(({ metadata }) => metadata?.name === current.metadata?.name);
  if (isTaken) return { current, actions, all, collisionCount: collisions + 1 };
  const create: Action = { type: 'create', id: RESOURCES.controllerRevisions, object: current };
  return {
    current,
    actions: [...actions, create],
    all: [...all, current],
    collisionCount: undefined,
  };
}

/** Deletes the oldest revisions that nobody needs, beyond the limit. `isLive`: a pod has it. */
export function dropRevisions(
  { historyLimit = HISTORY_LIMIT }: Pick<Revisioned, 'historyLimit'>,
  { all, current }: History,
  isLive: (revision: ControllerRevision) => boolean,
): Action[] {
  const idle = all.filter((one) => one.metadata?.name !== current.metadata?.name && !isLive(one));
  return idle.slice(0, Math.max(0, idle.length - historyLimit)).map(({ metadata }) => ({
    type: 'delete',
    id: RESOURCES.controllerRevisions,
    namespace: metadata?.namespace ?? '',
    name: metadata?.name ?? '',
    uid: metadata?.uid ?? '',
  }));
}

function byNumber(a: ControllerRevision, b: ControllerRevision): number {
  return a.revision - b.revision || ((a.metadata?.name ?? '') < (b.metadata?.name ?? '') ? -1 : 1);
}

/** The template of a revision, as it was. */
export function templateOf({ data }: ControllerRevision): PodTemplateSpec | undefined {
  const spec: unknown = memberOf(data, 'spec');
  const template: unknown = memberOf(spec, 'template');
  if (typeof template !== 'object' || template === null) return undefined;
  const { $patch: _directive, ...rest } = { $patch: undefined, ...template };
  return rest;
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

function dataOf(template: PodTemplateSpec): object {
  return { spec: { template: { ...template, $patch: 'replace' } } };
}

function revisionOf(
  { owner, template }: Revisioned,
  { hash, data, number }: { hash: string; data: object; number: number },
): ControllerRevision {
  const { [LAST_APPLIED]: _long, ...annotations } = owner.metadata.annotations ?? {};
  return {
    apiVersion: 'apps/v1',
    kind: 'ControllerRevision',
    metadata: {
      name: `${owner.metadata.name ?? ''}-${hash}`,
      namespace: owner.metadata.namespace ?? '',
      labels: { ...template.metadata?.labels, [REVISION_HASH]: hash },
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
      ownerReferences: [ownerReferenceTo(owner)],
    },
    data,
    revision: number,
  };
}

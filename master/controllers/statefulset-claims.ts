/**
 * The claims of a StatefulSet's pods: each pod has its own, by name, for all its lives. Pure.
 *
 * Made before the pod; kept when the pod goes, unless the set's persistentVolumeClaimRetentionPolicy says otherwise: then an
 * owner is written, and the garbage collector does the rest. Source: Kubernetes' documentation of StatefulSet.
 */
import type { OwnerReference } from '../../protocol/kinds/meta.ts';
import type {
  PersistentVolumeClaim,
  Pod,
  PodSpec,
  StatefulSet,
  Volume,
} from '../../protocol/kinds/types.ts';
import { RESOURCES } from '../api/client.ts';
import { deepEqual } from '../api/equal.ts';
import type { Action } from './actions.ts';
import { ownerReferenceTo } from './ownership.ts';

interface SetClaims {
  readonly set: StatefulSet;
  /** Of the namespace. */
  readonly claims: readonly PersistentVolumeClaim[];
}

function templatesOf({ spec }: StatefulSet): readonly PersistentVolumeClaim[] {
  return spec?.volumeClaimTemplates ?? [];
}

function claimNameOf(template: PersistentVolumeClaim, set: StatefulSet, ordinal: number): string {
  return `${template.metadata?.name ?? ''}-${set.metadata?.name ?? ''}-${ordinal}`;
}

/** The pod's spec with its own claims; a volume of the template with the name of one gives way. */
export function withClaims(spec: PodSpec, set: StatefulSet, ordinal: number): PodSpec {
  const volumes: Volume[] = templatesOf(set).map((template) => ({
    name: template.metadata?.name ?? '',
    persistentVolumeClaim: { claimName: claimNameOf(template, set, ordinal), readOnly: false },
  }));
  if (volumes.length === 0) return spec;
  const own = new Set(volumes.map(({ name }) => name));
  return {
    ...spec,
    volumes: [...(spec.volumes ?? []).filter(({ name }) => !own.has(name)), ...volumes],
  };
}

/** Makes the claims of one pod that are missing; undefined while one of them is still being deleted. */
export function makeClaims({ set, claims }: SetClaims, ordinal: number): Action[] | undefined {
  const actions: Action[] = [];
  const podName = `${set.metadata?.name ?? ''}-${ordinal}`;
  for (const template of templatesOf(set)) {
    const name = claimNameOf(template, set, ordinal);
    const known = claims.find(({ metadata }) => metadata?.name === name);
    if (known?.metadata?.deletionTimestamp !== undefined) return undefined;
    if (known === undefined) actions.push(createClaim(set, template, name, podName));
  }
  return actions;
}

function createClaim(
  set: StatefulSet,
  template: PersistentVolumeClaim,
  name: string,
  podName: string,
): Action {
  const { namespace = '', name: setName = '' } = set.metadata ?? {};
  const { labels, annotations } = template.metadata ?? {};
  const object: PersistentVolumeClaim = {
    metadata: {
      name,
      namespace,
      // Found by the selector of the set, as its pods are.
      labels: { ...labels, ...set.spec?.selector?.matchLabels },
      ...(annotations === undefined ? {} : { annotations }),
    },
    ...(template.spec === undefined ? {} : { spec: template.spec }),
  };
  const what = `create Claim ${name} Pod ${podName} in StatefulSet ${setName}`;
  return {
    type: 'create',
    id: RESOURCES.persistentVolumeClaims,
    object,
    announce: {
      regarding: { apiVersion: 'apps/v1', kind: 'StatefulSet', metadata: set.metadata ?? {} },
      success: { reason: 'SuccessfulCreate', message: `${what} success` },
      failure: { reason: 'FailedCreate', message: `${what} failed error: {error}` },
    },
  };
}

/**
 * The owners that the retention policy asks for. `wanted`: ordinals whose pods stay; `surplus`: pods that have to go, with
 * their ordinals: their claims follow them only if the policy for scaling says so.
 */
export function ownClaims(
  { set, claims }: SetClaims,
  wanted: readonly number[],
  surplus: readonly { readonly ordinal: number; readonly pod: Pod }[],
): Action[] {
  const { whenDeleted, whenScaled } = set.spec?.persistentVolumeClaimRetentionPolicy ?? {};
  const ofSet = whenDeleted === 'Delete' ? setReference(set) : undefined;
  const owners = [
    ...wanted.map((ordinal) => ({ ordinal, owner: ofSet })),
    ...surplus.map(({ ordinal, pod }) => ({
      ordinal,
      owner: whenScaled === 'Delete' ? podReference(pod) : ofSet,
    })),
  ];
  return owners.flatMap(({ ordinal, owner }) =>
    templatesOf(set).flatMap((template): Action[] => {
      const name = claimNameOf(template, set, ordinal);
      const claim = claims.find(({ metadata }) => metadata?.name === name);
      if (claim === undefined || claim.metadata?.deletionTimestamp !== undefined) return [];
      const { ownerReferences = [] } = claim.metadata ?? {};
      const others = ownerReferences.filter((one) => !isOurs(one, set, ordinal));
      const next = owner === undefined ? others : [...others, owner];
      if (deepEqual(next, ownerReferences)) return [];
      const metadata = { ...claim.metadata, ownerReferences: next };
      const object: PersistentVolumeClaim = { ...claim, metadata };
      return [{ type: 'update', id: RESOURCES.persistentVolumeClaims, object }];
    }),
  );
}

function isOurs({ kind, name, uid }: OwnerReference, set: StatefulSet, ordinal: number): boolean {
  if (kind === 'Pod') return name === `${set.metadata?.name ?? ''}-${ordinal}`;
  return kind === 'StatefulSet' && uid === set.metadata?.uid;
}

function setReference({ metadata = {} }: StatefulSet): OwnerReference {
  return ownerReferenceTo({ apiVersion: 'apps/v1', kind: 'StatefulSet', metadata });
}

function podReference({ metadata = {} }: Pod): OwnerReference {
  return ownerReferenceTo({ apiVersion: 'v1', kind: 'Pod', metadata });
}

/**
 * Claims and volumes: who gets which, and what becomes of both when they go. Pure. Source: Kubernetes' "Persistent Volumes".
 *
 * Promises: a volume is bound by one write of its claimRef, with its resourceVersion, so that two claims never get the same;
 * a claim that waits for its first pod gets a volume on the board of that pod; a claim that a pod uses stays, and so does a
 * volume that is bound. The directory of a volume is removed only when its claim is known to be gone (`isClaimGone`).
 */

import type {
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  StorageClass,
} from '../../protocol/kinds/types.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import { RESOURCES } from '../api/client.ts';
import { deepEqual } from '../api/equal.ts';
import { boardOf, findVolume, isDelayed, isKeptFor, mismatch } from '../volumes/binding.ts';
import {
  awaitsRemoval,
  isLocalPath,
  LOCAL_PATH_PROVISIONER,
  localPathVolume,
  PV_PROTECTION,
  PVC_PROTECTION,
} from '../volumes/local-path.ts';
import type { Action } from './actions.ts';
import type { EventType } from './events.ts';

const BIND_COMPLETED = 'pv.kubernetes.io/bind-completed';
const BOUND_BY_CONTROLLER = 'pv.kubernetes.io/bound-by-controller';
const SELECTED_NODE = 'volume.kubernetes.io/selected-node';

export interface ClaimView {
  readonly claim: PersistentVolumeClaim;
  readonly volumes: readonly PersistentVolume[];
  /** Of the claim's class; undefined without one, or when there is none of that name. */
  readonly storage: StorageClass | undefined;
  /** Those that name the claim. */
  readonly users: readonly Pod[];
  readonly node: (name: string) => Node | undefined;
}

export function reconcileClaim(view: ClaimView): Action[] {
  const { claim } = view;
  if (claim.metadata?.deletionTimestamp !== undefined) return unprotectClaim(view);
  const name = claim.spec?.volumeName ?? '';
  if (name !== '') return keepOrBind(view, name);
  const selected = selectedNode(view.users);
  const isWaiting = isDelayed(claim, view.storage);
  const node = selected === undefined ? undefined : view.node(selected);
  const kept = view.volumes.find(
    (one) => isKeptFor(one, claim) && one.metadata?.deletionTimestamp === undefined,
  );
  // A volume that was made for the claim, or that somebody keeps for it, needs no pod.
  if (kept !== undefined && mismatch(kept, claim) === undefined) return bind(claim, kept, selected);
  if (isWaiting && node === undefined) return [wait(view)];
  const board = isWaiting && node !== undefined ? boardOf(node) : undefined;
  const found = findVolume(claim, view.volumes, board);
  if (found !== undefined) return bind(claim, found, selected);
  return provision(view, isWaiting ? node : undefined);
}

/** A pod that is going may still write; one that has ended does not. */
function unprotectClaim({ claim, users }: ClaimView): Action[] {
  const { finalizers = [], namespace = '', name = '', resourceVersion } = claim.metadata ?? {};
  const isUsed = users.some((pod) => (pod.spec?.nodeName ?? '') !== '' && !hasEnded(pod.status));
  if (isUsed || !finalizers.includes(PVC_PROTECTION)) return [];
  const others = finalizers.filter((one) => one !== PVC_PROTECTION);
  const metadata = { finalizers: others, resourceVersion };
  const id = RESOURCES.persistentVolumeClaims;
  return [{ type: 'patch', id, namespace, name, mergePatch: { metadata } }];
}

/**
 * The board of a pod with the claim: its data will lie there. The scheduler sends all of them to one board; should somebody
 * have placed them by hand, the first by name decides.
 */
function selectedNode(users: readonly Pod[]): string | undefined {
  const nameOf = ({ metadata }: Pod): string => metadata?.name ?? '';
  return users
    .filter((pod) => (pod.spec?.nodeName ?? '') !== '' && !hasEnded(pod.status))
    .sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))
    .at(0)?.spec?.nodeName;
}

/** Somebody chose the volume: the claim itself, or this controller a moment ago. */
function keepOrBind({ claim, volumes, users }: ClaimView, name: string): Action[] {
  const volume = volumes.find(({ metadata }) => metadata?.name === name);
  const wasBound = claim.metadata?.annotations?.[BIND_COMPLETED] !== undefined;
  if (volume === undefined) {
    if (!wasBound) return [];
    const message = 'Bound claim has lost its PersistentVolume. Data on the volume is lost!';
    return lost(claim, 'ClaimLost', message);
  }
  if (volume.spec?.claimRef !== undefined && !isKeptFor(volume, claim)) {
    if (wasBound) {
      const message = `Bound claim has lost reference to PersistentVolume. Data on the volume is lost! Cluster admin should check volume ${name}.`;
      return lost(claim, 'ClaimMisbound', message);
    }
    const message = `volume "${name}" already bound to a different claim.`;
    return [tell(claim, 'Warning', 'FailedBinding', message)];
  }
  const why = wasBound ? undefined : mismatch(volume, claim);
  if (why !== undefined) {
    const message = `Cannot bind to requested volume "${name}": ${why}`;
    return [tell(claim, 'Warning', 'VolumeMismatch', message)];
  }
  return bind(claim, volume, selectedNode(users));
}

/** Both sides, the volume first. What is so already is not written again. */
function bind(
  claim: PersistentVolumeClaim,
  volume: PersistentVolume,
  selected: string | undefined,
): Action[] {
  const { metadata = {}, spec = {} } = claim;
  const { namespace = '', name = '', uid = '', annotations = {} } = metadata;
  const actions: Action[] = [];
  if (volume.spec?.claimRef?.uid !== uid) {
    const claimRef = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace, name, uid };
    const isOurChoice = volume.spec?.claimRef === undefined;
    const marks = { ...volume.metadata?.annotations, [BOUND_BY_CONTROLLER]: 'yes' };
    const object: PersistentVolume = {
      ...volume,
      metadata: { ...volume.metadata, ...(isOurChoice ? { annotations: marks } : {}) },
      spec: { ...volume.spec, claimRef },
    };
    actions.push({ type: 'update', id: RESOURCES.persistentVolumes, object });
  }
  const id = RESOURCES.persistentVolumeClaims;
  const isChosen = (spec.volumeName ?? '') !== '';
  if (!isChosen || annotations[BIND_COMPLETED] === undefined) {
    const marks = {
      [BIND_COMPLETED]: 'yes',
      ...(isChosen ? {} : { [BOUND_BY_CONTROLLER]: 'yes' }),
      ...(selected === undefined || isChosen ? {} : { [SELECTED_NODE]: selected }),
    };
    const mergePatch = {
      metadata: { uid, annotations: marks },
      spec: { volumeName: volume.metadata?.name ?? '' },
    };
    actions.push({ type: 'patch', id, namespace, name, mergePatch });
  }
  const status = {
    phase: 'Bound',
    accessModes: volume.spec?.accessModes ?? [],
    capacity: volume.spec?.capacity ?? {},
  };
  const { phase, accessModes, capacity } = claim.status ?? {};
  if (!deepEqual(status, { phase, accessModes, capacity })) {
    const mergePatch = { metadata: { uid }, status };
    actions.push({ type: 'patch', id, namespace, name, mergePatch, subresource: 'status' });
  }
  return actions;
}

function lost(claim: PersistentVolumeClaim, reason: string, message: string): Action[] {
  if (claim.status?.phase === 'Lost') return [];
  const { namespace = '', name = '', uid = '' } = claim.metadata ?? {};
  const mergePatch = { metadata: { uid }, status: { phase: 'Lost' } };
  const id = RESOURCES.persistentVolumeClaims;
  return [
    { type: 'patch', id, namespace, name, mergePatch, subresource: 'status' },
    tell(claim, 'Warning', reason, message),
  ];
}

/** The claim waits for a pod, or for that pod's board. */
function wait({ claim, users }: ClaimView): Action {
  const waiting = users
    .filter((pod) => !hasEnded(pod.status))
    .map(({ metadata }) => metadata?.name);
  const [first] = waiting.sort();
  return first === undefined
    ? tell(
        claim,
        'Normal',
        'WaitForFirstConsumer',
        'waiting for first consumer to be created before binding',
      )
    : tell(claim, 'Normal', 'WaitForPodScheduled', `waiting for pod ${first} to be scheduled`);
}

/** No volume that is there will do. `node`: the board on which it is wanted. */
function provision({ claim, storage }: ClaimView, node: Node | undefined): Action[] {
  const name = claim.spec?.storageClassName ?? '';
  if (name === '') {
    const message = 'no persistent volumes available for this claim and no storage class is set';
    return [tell(claim, 'Normal', 'FailedBinding', message)];
  }
  const failed = (message: string): Action[] => [
    tell(claim, 'Warning', 'ProvisioningFailed', message),
  ];
  if (storage === undefined) return failed(`storageclass.storage.k8s.io "${name}" not found`);
  const { provisioner } = storage;
  if (provisioner === 'kubernetes.io/no-provisioner') {
    return failed(`no volume plugin matched name: ${provisioner}`);
  }
  if (provisioner !== LOCAL_PATH_PROVISIONER) {
    const message = `Waiting for a volume to be created either by the external provisioner '${provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.`;
    return [tell(claim, 'Normal', 'ExternalProvisioning', message)];
  }
  if (node === undefined) {
    return failed(
      `storage class "${name}" does not say on which board: its volumeBindingMode must be WaitForFirstConsumer`,
    );
  }
  if (claim.spec?.selector !== undefined) return failed('claim Selector is not supported');
  const object = localPathVolume(claim, storage, node);
  if (object === undefined) {
    return failed(
      `board ${node.metadata?.name} has not said where it keeps volumes: its agent is too old, or was not here yet`,
    );
  }
  const success = {
    reason: 'ProvisioningSucceeded',
    message: `Successfully provisioned volume ${object.metadata?.name}`,
  };
  const announce = { regarding: targetOf(claim), success };
  return [{ type: 'create', id: RESOURCES.persistentVolumes, object, announce }];
}

export interface VolumeView {
  readonly volume: PersistentVolume;
  /** The claim that the volume names, or another one of that name. */
  readonly claim: PersistentVolumeClaim | undefined;
  /** Asked of the API itself: what a cache has not seen is no reason to delete data. */
  readonly isClaimGone: boolean;
  /** A board is there on which the volume lies. */
  readonly hasBoard: boolean;
}

export function reconcileVolume(view: VolumeView): Action[] {
  const { volume, hasBoard } = view;
  const { name = '', finalizers = [], deletionTimestamp, uid = '' } = volume.metadata ?? {};
  const id = RESOURCES.persistentVolumes;
  const wanted = phaseOf(view);
  const actions: Action[] = [];
  const { phase, message = '' } = volume.status ?? {};
  if (wanted.phase !== phase || (wanted.message ?? '') !== message) {
    const status = { phase: wanted.phase, message: wanted.message ?? null };
    const mergePatch = { metadata: { uid }, status };
    actions.push({ type: 'patch', id, namespace: '', name, mergePatch, subresource: 'status' });
    if (wanted.phase === 'Failed') {
      actions.push({
        type: 'event',
        regarding: { apiVersion: 'v1', kind: 'PersistentVolume', metadata: volume.metadata ?? {} },
        eventType: 'Warning',
        reason: 'VolumeFailedDelete',
        message: wanted.message ?? '',
      });
    }
  }
  const isAwaited = awaitsRemoval({ ...volume, status: { phase: wanted.phase } });
  if (isAwaited && !hasBoard && deletionTimestamp === undefined) {
    // The board was taken out of the cluster, and its data with it.
    actions.push({ type: 'delete', id, namespace: '', name, uid });
  }
  const mayGo = wanted.phase !== 'Bound' && (!isAwaited || !hasBoard);
  if (deletionTimestamp !== undefined && mayGo && finalizers.includes(PV_PROTECTION)) {
    const metadata = { uid, finalizers: finalizers.filter((one) => one !== PV_PROTECTION) };
    actions.push({ type: 'patch', id, namespace: '', name, mergePatch: { metadata } });
  }
  return actions;
}

function phaseOf({ volume, claim, isClaimGone }: VolumeView): { phase: string; message?: string } {
  const uid = volume.spec?.claimRef?.uid ?? '';
  // Kept by name for a claim that is not there yet.
  if (uid === '') return { phase: 'Available' };
  if (claim?.metadata?.uid === uid) return { phase: 'Bound' };
  if (!isClaimGone) return { phase: volume.status?.phase ?? 'Pending' };
  const isDeleted = volume.spec?.persistentVolumeReclaimPolicy === 'Delete';
  if (!isDeleted || isLocalPath(volume)) return { phase: 'Released' };
  const message = `error getting deleter volume plugin for volume "${volume.metadata?.name}": no deletable volume plugin matched`;
  return { phase: 'Failed', message };
}

function tell(
  claim: PersistentVolumeClaim,
  eventType: EventType,
  reason: string,
  message: string,
): Action {
  return { type: 'event', regarding: targetOf(claim), eventType, reason, message };
}

function targetOf({ metadata = {} }: PersistentVolumeClaim) {
  return { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata };
}

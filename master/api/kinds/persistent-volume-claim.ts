/** PersistentVolumeClaim: an app's wish for storage, and the PersistentVolume that it got. */
import type { PersistentVolumeClaim } from '../../../protocol/kinds/types.ts';
import { PVC_PROTECTION } from '../../volumes/local-path.ts';
import type { KindModule } from '../kind.ts';
import { AGE, accessModesCell, ageCell, NAME, nameCell, text, UNSET } from './columns.ts';
import { dropStatus, keepStatus, protect } from './status.ts';
import { claimWarnings } from './unsupported.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { validateClaimSpec, validateClaimUpdate } from './validate/persistent-volume.ts';

export const PERSISTENT_VOLUME_CLAIM: KindModule<PersistentVolumeClaim> = {
  group: '',
  version: 'v1',
  kind: 'PersistentVolumeClaim',
  plural: 'persistentvolumeclaims',
  singular: 'persistentvolumeclaim',
  shortNames: ['pvc'],
  categories: [],
  namespaced: true,
  message: 'io.k8s.api.core.v1.PersistentVolumeClaim',
  storage: 'durable',
  subresources: { status: true },
  hasGeneration: false,
  setDefaults(claim) {
    claim.spec ??= {};
    claim.spec.volumeMode ||= 'Filesystem';
  },
  prepareForCreate(claim) {
    dropStatus(claim, { phase: 'Pending' });
    protect(claim, PVC_PROTECTION);
  },
  prepareForUpdate: keepStatus,
  validate: (claim) => [
    ...validateObjectMeta(claim.metadata),
    ...validateClaimSpec('spec', claim.spec ?? {}),
  ],
  validateUpdate: validateClaimUpdate,
  warnings: (claim) => claimWarnings('spec', claim.spec),
  columns: [
    NAME,
    text('Status', 'Pending, Bound, or Lost when its volume is gone.'),
    text('Volume', 'The PersistentVolume that it has.'),
    text('Capacity', 'How much that is said to hold.'),
    text('Access Modes', 'By how many boards at a time, and how.'),
    text('StorageClass', 'The class that was asked for.'),
    text('VolumeAttributesClass', 'Attributes that the storage may change.'),
    AGE,
    text('VolumeMode', 'Filesystem or Block.', 'wide'),
  ],
  row(claim, nowMs) {
    const { metadata, spec = {}, status = {} } = claim;
    const hasVolume = (spec.volumeName ?? '') !== '';
    return [
      nameCell(claim),
      metadata?.deletionTimestamp === undefined ? (status.phase ?? '') : 'Terminating',
      spec.volumeName ?? '',
      hasVolume ? (status.capacity?.storage ?? '') : '',
      hasVolume ? accessModesCell(status.accessModes) : '',
      spec.storageClassName ?? '',
      spec.volumeAttributesClassName ?? UNSET,
      ageCell(claim, nowMs),
      spec.volumeMode ?? UNSET,
    ];
  },
};

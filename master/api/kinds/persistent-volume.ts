/** PersistentVolume: storage that outlives pods, of the whole cluster. Bound to claims by master/controllers/volumes.ts. */
import type { PersistentVolume } from '../../../protocol/kinds/types.ts';
import { PV_PROTECTION } from '../../volumes/local-path.ts';
import type { KindModule } from '../kind.ts';
import { AGE, accessModesCell, ageCell, NAME, nameCell, text, UNSET } from './columns.ts';
import { dropStatus, keepStatus, protect } from './status.ts';
import { volumeSpecWarnings } from './unsupported.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { validateVolumeSpec, validateVolumeUpdate } from './validate/persistent-volume.ts';

export const PERSISTENT_VOLUME: KindModule<PersistentVolume> = {
  group: '',
  version: 'v1',
  kind: 'PersistentVolume',
  plural: 'persistentvolumes',
  singular: 'persistentvolume',
  shortNames: ['pv'],
  categories: [],
  namespaced: false,
  message: 'io.k8s.api.core.v1.PersistentVolume',
  storage: 'durable',
  subresources: { status: true },
  hasGeneration: false,
  setDefaults(volume) {
    volume.spec ??= {};
    volume.spec.persistentVolumeReclaimPolicy ||= 'Retain';
    volume.spec.volumeMode ||= 'Filesystem';
    if (volume.spec.hostPath !== undefined) volume.spec.hostPath.type ??= '';
  },
  prepareForCreate(volume) {
    dropStatus(volume, { phase: 'Pending' });
    protect(volume, PV_PROTECTION);
  },
  prepareForUpdate: keepStatus,
  validate: (volume) => [
    ...validateObjectMeta(volume.metadata),
    ...validateVolumeSpec('spec', volume.spec ?? {}),
  ],
  validateUpdate: validateVolumeUpdate,
  warnings: (volume) => volumeSpecWarnings('spec', volume.spec),
  columns: [
    NAME,
    text('Capacity', 'How much it is said to hold.'),
    text('Access Modes', 'By how many boards at a time, and how.'),
    text('Reclaim Policy', 'What becomes of it when its claim goes.'),
    text('Status', 'Available, Bound, or Released when its claim is gone.'),
    text('Claim', 'Namespace and name of the claim that has it.'),
    text('StorageClass', 'The class by which claims find it.'),
    text('VolumeAttributesClass', 'Attributes that the storage may change.'),
    text('Reason', 'Why the status is what it is.'),
    AGE,
    text('VolumeMode', 'Filesystem or Block.', 'wide'),
  ],
  row(volume, nowMs) {
    const { metadata, spec = {}, status } = volume;
    const { namespace = '', name = '' } = spec.claimRef ?? {};
    return [
      nameCell(volume),
      spec.capacity?.storage ?? '',
      accessModesCell(spec.accessModes),
      spec.persistentVolumeReclaimPolicy ?? '',
      metadata?.deletionTimestamp === undefined ? (status?.phase ?? '') : 'Terminating',
      spec.claimRef === undefined ? '' : `${namespace}/${name}`,
      spec.storageClassName ?? '',
      spec.volumeAttributesClassName ?? UNSET,
      status?.reason ?? '',
      ageCell(volume, nowMs),
      spec.volumeMode ?? UNSET,
    ];
  },
};

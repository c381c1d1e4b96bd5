/** StorageClass: how volumes of a class are made. Those of `pier.local/local-path` by Pier, others by whoever has that name. */
import type { StorageClass } from '../../../protocol/kinds/types.ts';
import type { FieldError } from '../../../protocol/status.ts';
import { DEFAULT_CLASS, LOCAL_PATH_PROVISIONER } from '../../volumes/local-path.ts';
import { deepEqual } from '../equal.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, NAME, nameCell, text } from './columns.ts';
import { warning } from './unsupported.ts';
import { forbidden, notSupported } from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { validateParameters, validateProvisioner } from './validate/storage.ts';

export const STORAGE_CLASS: KindModule<StorageClass> = {
  group: 'storage.k8s.io',
  version: 'v1',
  kind: 'StorageClass',
  plural: 'storageclasses',
  singular: 'storageclass',
  shortNames: ['sc'],
  categories: [],
  namespaced: false,
  message: 'io.k8s.api.storage.v1.StorageClass',
  storage: 'durable',
  subresources: {},
  hasGeneration: false,
  setDefaults(storage) {
    storage.reclaimPolicy ||= 'Delete';
    storage.volumeBindingMode ||= 'Immediate';
  },
  validate: (storage) => [
    ...validateObjectMeta(storage.metadata),
    ...validateProvisioner('provisioner', storage.provisioner),
    ...validateParameters(storage.parameters ?? {}),
    ...oneOfWords('reclaimPolicy', storage.reclaimPolicy, ['Delete', 'Retain']),
    ...oneOfWords('volumeBindingMode', storage.volumeBindingMode, [
      'Immediate',
      'WaitForFirstConsumer',
    ]),
  ],
  validateUpdate(next, previous) {
    const fixed = ['parameters', 'provisioner', 'reclaimPolicy', 'volumeBindingMode'] as const;
    return fixed
      .filter((field) => !deepEqual([next[field]], [previous[field]]))
      .map((field) => forbidden(field, 'updates to this field are forbidden.'));
  },
  warnings: storageClassWarnings,
  columns: [
    NAME,
    text('Provisioner', 'Who makes the volumes.'),
    text('ReclaimPolicy', 'What becomes of a volume when its claim goes.'),
    text('VolumeBindingMode', 'When a volume is chosen.'),
    text('AllowVolumeExpansion', 'Whether volumes may grow.'),
    AGE,
  ],
  row(storage, nowMs) {
    const isDefault = storage.metadata?.annotations?.[DEFAULT_CLASS] === 'true';
    return [
      isDefault ? `${nameCell(storage)} (default)` : nameCell(storage),
      storage.provisioner,
      storage.reclaimPolicy ?? '',
      storage.volumeBindingMode ?? '',
      String(storage.allowVolumeExpansion === true),
      ageCell(storage, nowMs),
    ];
  },
};

/** What of a class asks for more than its volumes can do. */
function storageClassWarnings(storage: StorageClass): string[] {
  const { provisioner, parameters = {}, mountOptions = [], allowedTopologies = [] } = storage;
  if (provisioner !== LOCAL_PATH_PROVISIONER) return [];
  const warnings: string[] = [];
  if (storage.volumeBindingMode !== 'WaitForFirstConsumer') {
    warnings.push(
      'volumeBindingMode: no volumes are made for this class: only WaitForFirstConsumer says on which board',
    );
  }
  if (Object.keys(parameters).length > 0) {
    warnings.push(warning('parameters', 'take parameters for its own volumes'));
  }
  if (mountOptions.length > 0) warnings.push(warning('mountOptions', 'pass options to mounts'));
  if (allowedTopologies.length > 0) {
    warnings.push(warning('allowedTopologies', 'keep volumes to some boards'));
  }
  if (storage.allowVolumeExpansion === true) {
    warnings.push(warning('allowVolumeExpansion', 'let volumes grow'));
  }
  return warnings;
}

function oneOfWords(
  field: string,
  value: string | undefined,
  words: readonly string[],
): FieldError[] {
  return words.includes(value ?? '') ? [] : [notSupported(field, value, words)];
}

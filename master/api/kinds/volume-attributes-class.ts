/** VolumeAttributesClass: attributes that a CSI driver may change while a volume is in use. Stored; no driver here does. */
import type { VolumeAttributesClass } from '../../../protocol/kinds/types.ts';
import { deepEqual } from '../equal.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, NAME, nameCell, text } from './columns.ts';
import { warning } from './unsupported.ts';
import { forbidden, required } from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { validateParameters, validateProvisioner } from './validate/storage.ts';

export const VOLUME_ATTRIBUTES_CLASS: KindModule<VolumeAttributesClass> = {
  group: 'storage.k8s.io',
  version: 'v1',
  kind: 'VolumeAttributesClass',
  plural: 'volumeattributesclasses',
  singular: 'volumeattributesclass',
  shortNames: ['vac'],
  categories: [],
  namespaced: false,
  message: 'io.k8s.api.storage.v1.VolumeAttributesClass',
  storage: 'durable',
  subresources: {},
  hasGeneration: false,
  setDefaults() {
    // None.
  },
  validate({ metadata, driverName, parameters = {} }) {
    const errors = [
      ...validateObjectMeta(metadata),
      ...validateProvisioner('driverName', driverName),
      ...validateParameters(parameters),
    ];
    if (Object.keys(parameters).length === 0) {
      errors.push(required('parameters', 'must contain at least one key/value pair'));
    }
    return errors;
  },
  validateUpdate: (next, previous) =>
    (['driverName', 'parameters'] as const)
      .filter((field) => !deepEqual([next[field]], [previous[field]]))
      .map((field) => forbidden(field, `updates to ${field} are forbidden.`)),
  warnings: () => [warning('parameters', 'change attributes of volumes')],
  columns: [NAME, text('DriverName', 'The driver that knows the attributes.'), AGE],
  row: (kind, nowMs) => [nameCell(kind), kind.driverName, ageCell(kind, nowMs)],
};

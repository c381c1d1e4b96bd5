/** ConfigMap: text and bytes by key, which become files or environment variables of pods. */
import type { ConfigMap } from '../../../protocol/kinds/types.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, NAME, nameCell, text } from './columns.ts';
import {
  base64Bytes,
  DATA_BYTES_MAX,
  validateImmutableUpdate,
  validateKeys,
} from './validate/config-data.ts';
import { invalidValue, tooLong } from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';

export const CONFIG_MAP: KindModule<ConfigMap> = {
  group: '',
  version: 'v1',
  kind: 'ConfigMap',
  plural: 'configmaps',
  singular: 'configmap',
  shortNames: ['cm'],
  categories: [],
  namespaced: true,
  message: 'io.k8s.api.core.v1.ConfigMap',
  storage: 'durable',
  subresources: {},
  hasGeneration: false,
  setDefaults() {
    // None: absent data is no data.
  },
  validate(map) {
    const { data = {}, binaryData = {} } = map;
    const errors = [
      ...validateObjectMeta(map.metadata),
      ...validateKeys('data', data),
      ...validateKeys('binaryData', binaryData),
    ];
    for (const key of Object.keys(data)) {
      if (!(key in binaryData)) continue;
      errors.push(invalidValue(`data[${key}]`, key, 'duplicate of key present in binaryData'));
    }
    let bytes = 0;
    for (const value of Object.values(data)) bytes += Buffer.byteLength(value);
    for (const value of Object.values(binaryData)) bytes += base64Bytes(value);
    if (bytes > DATA_BYTES_MAX) errors.push(tooLong('', DATA_BYTES_MAX));
    return errors;
  },
  validateUpdate: (next, previous) =>
    validateImmutableUpdate(next, previous, ['data', 'binaryData']),
  columns: [NAME, text('Data', 'Number of keys.'), AGE],
  row: (map, nowMs) => [
    nameCell(map),
    Object.keys(map.data ?? {}).length + Object.keys(map.binaryData ?? {}).length,
    ageCell(map, nowMs),
  ],
};

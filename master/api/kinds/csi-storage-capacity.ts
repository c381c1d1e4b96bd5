/** CSIStorageCapacity: how much room a CSI driver has left for a class, and where. Stored; the scheduler asks no such driver. */
import type { CSIStorageCapacity } from '../../../protocol/kinds/types.ts';
import { dnsSubdomainErrors } from '../../../protocol/names.ts';
import { validateLabelSelector } from '../../../protocol/selector.ts';
import { deepEqual } from '../equal.ts';
import type { KindModule } from '../kind.ts';
import { NAME, nameCell, text, UNSET } from './columns.ts';
import { warning } from './unsupported.ts';
import { eachReason, IMMUTABLE, invalidValue } from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { validateQuantity } from './validate/resources.ts';

export const CSI_STORAGE_CAPACITY: KindModule<CSIStorageCapacity> = {
  group: 'storage.k8s.io',
  version: 'v1',
  kind: 'CSIStorageCapacity',
  plural: 'csistoragecapacities',
  singular: 'csistoragecapacity',
  shortNames: [],
  categories: [],
  namespaced: true,
  message: 'io.k8s.api.storage.v1.CSIStorageCapacity',
  storage: 'durable',
  subresources: {},
  hasGeneration: false,
  setDefaults() {
    // None.
  },
  validate: ({ metadata, nodeTopology = {}, storageClassName, capacity = '0' }) => [
    ...validateObjectMeta(metadata),
    ...validateLabelSelector(nodeTopology, 'nodeTopology'),
    ...eachReason('storageClassName', storageClassName, dnsSubdomainErrors(storageClassName)),
    ...validateQuantity('capacity', capacity),
  ],
  /** What the driver was asked stays; what it answered may change. */
  validateUpdate: (next, previous) =>
    (['nodeTopology', 'storageClassName'] as const)
      .filter((field) => !deepEqual(next[field], previous[field]))
      .map((field) => invalidValue(field, next[field], IMMUTABLE)),
  warnings: () => [warning('capacity', 'look at the room that CSI drivers have')],
  columns: [
    NAME,
    text('StorageClassName', 'The class that it is about.'),
    text('Capacity', 'How much room is left.'),
  ],
  row: (capacity) => [nameCell(capacity), capacity.storageClassName, capacity.capacity ?? UNSET],
};

/** Lease: who holds a lock, renewed every few seconds by its holder. In memory only: the card is spared. */
import type { Lease } from '../../../protocol/kinds/types.ts';
import type { FieldError } from '../../../protocol/status.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, NAME, nameCell, text } from './columns.ts';
import { invalidValue, notNegative } from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';

export const LEASE: KindModule<Lease> = {
  group: 'coordination.k8s.io',
  version: 'v1',
  kind: 'Lease',
  plural: 'leases',
  singular: 'lease',
  shortNames: [],
  categories: [],
  namespaced: true,
  message: 'io.k8s.api.coordination.v1.Lease',
  storage: 'memory',
  subresources: {},
  hasGeneration: false,
  setDefaults() {
    // None.
  },
  validate: (lease) => [
    ...validateObjectMeta(lease.metadata),
    ...validateDuration(lease.spec?.leaseDurationSeconds),
    ...notNegative('spec.leaseTransitions', lease.spec?.leaseTransitions),
  ],
  columns: [NAME, text('Holder', 'Who holds it.'), AGE],
  row: (lease, nowMs) => [nameCell(lease), lease.spec?.holderIdentity ?? '', ageCell(lease, nowMs)],
};

function validateDuration(seconds: number | undefined): FieldError[] {
  if (seconds === undefined || seconds > 0) return [];
  return [invalidValue('spec.leaseDurationSeconds', seconds, 'must be greater than 0')];
}

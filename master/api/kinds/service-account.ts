/** ServiceAccount: what pods are known by (service-account-admission.ts, authn/account-tokens.ts). */
import type { ServiceAccount } from '../../../protocol/kinds/types.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, NAME, nameCell, text } from './columns.ts';
import { validateObjectMeta } from './validate/meta.ts';

export const SERVICE_ACCOUNT: KindModule<ServiceAccount> = {
  group: '',
  version: 'v1',
  kind: 'ServiceAccount',
  plural: 'serviceaccounts',
  singular: 'serviceaccount',
  shortNames: ['sa'],
  categories: [],
  namespaced: true,
  message: 'io.k8s.api.core.v1.ServiceAccount',
  storage: 'durable',
  subresources: {},
  hasGeneration: false,
  setDefaults() {
    // None.
  },
  validate: (account) => validateObjectMeta(account.metadata),
  columns: [NAME, text('Secrets', 'Number of Secrets that belong to it.'), AGE],
  row: (account, nowMs) => [
    nameCell(account),
    account.secrets?.length ?? 0,
    ageCell(account, nowMs),
  ],
};

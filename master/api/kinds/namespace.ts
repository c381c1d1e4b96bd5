/** Namespace: a room for names. Its end is the namespace controller's work; here it gets its label and phase. */
import type { Namespace } from '../../../protocol/kinds/types.ts';
import { dnsLabelErrors } from '../../../protocol/names.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, NAME, nameCell, text } from './columns.ts';
import { dropStatus, keepStatus } from './status.ts';
import { validateObjectMeta } from './validate/meta.ts';

const NAME_LABEL = 'kubernetes.io/metadata.name';

export const NAMESPACE: KindModule<Namespace> = {
  group: '',
  version: 'v1',
  kind: 'Namespace',
  plural: 'namespaces',
  singular: 'namespace',
  shortNames: ['ns'],
  categories: [],
  namespaced: false,
  message: 'io.k8s.api.core.v1.Namespace',
  storage: 'durable',
  subresources: { status: true },
  hasGeneration: false,
  setDefaults(namespace) {
    namespace.spec ??= {};
    const meta = namespace.metadata;
    if (meta?.name) meta.labels = { ...meta.labels, [NAME_LABEL]: meta.name };
  },
  prepareForCreate(namespace) {
    const others = (namespace.spec?.finalizers ?? []).filter((one) => one !== 'kubernetes');
    namespace.spec = { ...namespace.spec, finalizers: ['kubernetes', ...others] };
    dropStatus(namespace, { phase: 'Active' });
  },
  prepareForUpdate(next, previous) {
    // Spec holds the finalizers only, which change through the finalize subresource.
    if (previous.spec !== undefined) next.spec = previous.spec;
    keepStatus(next, previous);
  },
  validateName: (name) => dnsLabelErrors(name)[0],
  validate: (namespace) => validateObjectMeta(namespace.metadata),
  columns: [NAME, text('Status', 'Active, or Terminating while it is emptied.'), AGE],
  row: (namespace, nowMs) => [
    nameCell(namespace),
    namespace.status?.phase ?? '',
    ageCell(namespace, nowMs),
  ],
  selectableFields: (namespace) => ({ 'status.phase': namespace.status?.phase ?? '' }),
};

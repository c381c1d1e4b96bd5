/** ControllerRevision: one pod template in the history of a DaemonSet or StatefulSet. */
import type { ControllerRevision } from '../../../protocol/kinds/types.ts';
import { deepEqual } from '../equal.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, NAME, NONE, nameCell, text } from './columns.ts';
import { IMMUTABLE, invalidValue, notNegative, required } from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';

export const CONTROLLER_REVISION: KindModule<ControllerRevision> = {
  group: 'apps',
  version: 'v1',
  kind: 'ControllerRevision',
  plural: 'controllerrevisions',
  singular: 'controllerrevision',
  shortNames: [],
  categories: [],
  namespaced: true,
  message: 'io.k8s.api.apps.v1.ControllerRevision',
  storage: 'durable',
  subresources: {},
  hasGeneration: false,
  // The number is required on the wire; a manifest without one means 0.
  setDefaults(one) {
    one.revision ??= 0;
  },
  validate: (one) => [
    ...validateObjectMeta(one.metadata),
    ...(one.data === undefined ? [required('data', 'data is mandatory')] : []),
    ...notNegative('revision', one.revision),
  ],
  validateUpdate: (next, previous) =>
    deepEqual(next.data, previous.data) ? [] : [invalidValue('data', next.data, IMMUTABLE)],
  columns: [
    NAME,
    text('Controller', 'Whose template it is.'),
    text('Revision', 'Its number: the highest is the current one.'),
    AGE,
  ],
  row(one, nowMs) {
    const owner = one.metadata?.ownerReferences?.find(({ controller }) => controller === true);
    return [nameCell(one), ownerCell(owner), one.revision ?? 0, ageCell(one, nowMs)];
  },
};

/** `daemonset.apps/web`. */
function ownerCell(owner: { apiVersion: string; kind: string; name: string } | undefined): string {
  if (owner === undefined) return NONE;
  const slash = owner.apiVersion.indexOf('/');
  const group = slash < 0 ? '' : `.${owner.apiVersion.slice(0, slash)}`;
  return `${owner.kind.toLowerCase()}${group}/${owner.name}`;
}

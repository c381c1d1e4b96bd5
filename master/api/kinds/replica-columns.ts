/** How ReplicaSets and ReplicationControllers are printed: alike, but for the form of their selectors. */
import type { KubeObject } from '../../../protocol/kinds/meta.ts';
import type { PodTemplateSpec } from '../../../protocol/kinds/types.ts';
import type { Column } from '../kind.ts';
import {
  AGE,
  ageCell,
  containerNamesCell,
  count,
  imagesCell,
  NAME,
  nameCell,
  TEMPLATE_COLUMNS,
} from './columns.ts';

interface Replicated extends KubeObject {
  readonly spec?: { readonly replicas?: number; readonly template?: PodTemplateSpec };
  readonly status?: { readonly replicas?: number; readonly readyReplicas?: number };
}

export const REPLICA_COLUMNS: readonly Column[] = [
  NAME,
  count('Desired', 'How many pods are wanted.'),
  count('Current', 'How many pods there are.'),
  count('Ready', 'How many pods are ready.'),
  AGE,
  ...TEMPLATE_COLUMNS,
];

/** The cells under `REPLICA_COLUMNS`; `selector` is the last one. */
export function replicaRow(
  object: Replicated,
  selector: string,
  nowMs: number,
): (string | number)[] {
  const { spec, status } = object;
  return [
    nameCell(object),
    spec?.replicas ?? 0,
    status?.replicas ?? 0,
    status?.readyReplicas ?? 0,
    ageCell(object, nowMs),
    containerNamesCell(spec?.template?.spec?.containers),
    imagesCell(spec?.template?.spec?.containers),
    selector,
  ];
}

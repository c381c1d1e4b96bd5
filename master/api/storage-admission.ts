/**
 * Which storage class a claim gets that names none (Kubernetes' admission plugin DefaultStorageClass): the one that is marked
 * as default; of several the newest, then the first by name. An empty name is a wish too: no class at all.
 */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import type { PersistentVolumeClaim, StorageClass } from '../../protocol/kinds/types.ts';
import { DEFAULT_CLASS } from '../volumes/local-path.ts';
import type { AdmissionPlugin } from './admission.ts';
import { RESOURCES } from './client.ts';
import type { Kept } from './kept.ts';

export function defaultStorageClass(classes: Kept<StorageClass>): AdmissionPlugin {
  return {
    async mutate(_core, { operation, resource, object }) {
      const { group, resource: plural } = RESOURCES.persistentVolumeClaims;
      if (operation !== 'CREATE' || resource.module.group !== group) return;
      if (resource.module.plural !== plural) return;
      const { spec }: PersistentVolumeClaim = object;
      if (spec === undefined || spec.storageClassName !== undefined) return;
      const name = newestDefault(await classes.all(), DEFAULT_CLASS);
      if (name !== undefined) spec.storageClassName = name;
    },
  };
}

/** The name of the class that `annotation` marks as default; of several the newest, then the first by name. */
export function newestDefault(
  classes: readonly KubeObject[],
  annotation: string,
): string | undefined {
  const age = ({ metadata }: KubeObject): string => metadata?.creationTimestamp ?? '';
  const nameOf = ({ metadata }: KubeObject): string => metadata?.name ?? '';
  return classes
    .filter(({ metadata }) => metadata?.annotations?.[annotation] === 'true')
    .sort((a, b) => (age(a) === age(b) ? compare(nameOf(a), nameOf(b)) : compare(age(b), age(a))))
    .at(0)?.metadata?.name;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : 1;
}

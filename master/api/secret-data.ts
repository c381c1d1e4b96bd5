/** Secret: `stringData` is write-only; it folds into `data`, as base64 (Kubernetes: core/v1 Secret). */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import type { Resource } from './resources.ts';

export function foldStringData(object: KubeObject, resource: Resource): void {
  if (resource.module.group !== '' || resource.module.kind !== 'Secret') return;
  const strings: unknown = Reflect.get(object, 'stringData');
  Reflect.deleteProperty(object, 'stringData');
  if (typeof strings !== 'object' || strings === null) return;
  const data: unknown = Reflect.get(object, 'data');
  const merged: Record<string, unknown> =
    typeof data === 'object' && data !== null ? { ...data } : {};
  for (const [key, value] of Object.entries(strings)) {
    merged[key] = Buffer.from(String(value), 'utf8').toString('base64');
  }
  Object.assign(object, { data: merged });
}

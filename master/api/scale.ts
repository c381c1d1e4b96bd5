/** The scale subresource: any kind with replicas seen as an autoscaling/v1 Scale. */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import type { Scale } from '../../protocol/kinds/types.ts';
import { invalid } from '../../protocol/status.ts';
import { copyOf } from './copy.ts';
import type { BodyKind } from './input.ts';
import { noSuchResource, type Resource } from './resources.ts';

export const SCALE_KIND: BodyKind = {
  group: 'autoscaling',
  version: 'v1',
  kind: 'Scale',
  message: 'io.k8s.api.autoscaling.v1.Scale',
};

export function scaleOf(resource: Resource, object: KubeObject): Scale {
  const numbers = resource.module.scale?.get(object);
  if (numbers === undefined) throw noSuchResource();
  const meta = object.metadata ?? {};
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: {
      ...(meta.name === undefined ? {} : { name: meta.name }),
      ...(meta.namespace === undefined ? {} : { namespace: meta.namespace }),
      ...(meta.uid === undefined ? {} : { uid: meta.uid }),
      ...(meta.resourceVersion === undefined ? {} : { resourceVersion: meta.resourceVersion }),
      ...(meta.creationTimestamp === undefined
        ? {}
        : { creationTimestamp: meta.creationTimestamp }),
    },
    spec: { replicas: numbers.specReplicas },
    status: { replicas: numbers.statusReplicas, selector: numbers.selector },
  };
}

/** A copy of `current` with the replicas of `scale`, conditional on its resourceVersion if it has one. */
export function withScale(resource: Resource, current: KubeObject, scale: Scale): KubeObject {
  const replicas = scale.spec?.replicas ?? 0;
  if (replicas < 0) {
    throw invalid('autoscaling', 'Scale', current.metadata?.name ?? '', [
      {
        field: 'spec.replicas',
        reason: 'FieldValueInvalid',
        message: `Invalid value: ${replicas}: must be greater than or equal to 0`,
      },
    ]);
  }
  const copy = copyOf(current);
  copy.metadata = { ...copy.metadata };
  delete copy.metadata.resourceVersion;
  const wanted = scale.metadata?.resourceVersion;
  if (wanted !== undefined && wanted !== '') copy.metadata.resourceVersion = wanted;
  if (resource.module.scale === undefined) throw noSuchResource();
  resource.module.scale.set(copy, replicas);
  return copy;
}

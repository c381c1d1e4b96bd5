/**
 * The objects of the API as TypeScript interfaces: `Pod`, `PodSpec`, `Container`, `Node`, `Deployment`, ...
 * Generated (see firmware-scripts/gen-kinds.ts); this file is the name that other rooms import.
 *
 * A field without `?` is there in every object that came through protocol/kinds/decode.ts, which fills
 * Kubernetes' required fields with their zero value when the sender left them out (validation then
 * refuses what must not be empty). Where two groups have a type of the same name, the one of the older
 * group has the plain name (`Event` is core/v1) and the other one carries its group (`EventsV1Event`).
 */
export type * from './generated/types.ts';
export type { KubeObject, ObjectMeta, OwnerReference } from './meta.ts';

/**
 * What CRI has no words for and containerd offers on the same socket: taking an image from a file, the tasks below its containers, and
 * events (CRI has them from containerd 1.7 on). Numbers are those of containerd's api/services/*.proto.
 */
import type { Method } from './proto.ts';
import type { MessageTable } from './wire.ts';

const table = <const M extends MessageTable>(fields: M): M => fields;

function method<const Q extends MessageTable, const A extends MessageTable>(
  path: string,
  request: Q,
  answer: A,
): Method<Q, A> {
  return { path, request, answer };
}

export const WRITE_ACTION = { write: 1, commit: 2 } as const;

const descriptor = table({ mediaType: [1, 'string'], digest: [2, 'string'], size: [3, 'int'] });
const image = table({ name: [1, 'string'], labels: [2, 'map'], target: [3, descriptor] });
const written = table({ image: [1, image] });

/** The bodies of events that matter here. `id` is the container's, or that of a program run in it. */
export const TaskEvent = table({ containerId: [1, 'string'], id: [2, 'string'] });
export const ContainerEvent = table({ id: [1, 'string'] });

const SERVICES = '/containerd.services';

export const CONTAINERD = {
  createLease: method(
    `${SERVICES}.leases.v1.Leases/Create`,
    { id: [1, 'string'], labels: [3, 'map'] },
    { lease: [1, { id: [1, 'string'] }] },
  ),
  deleteLease: method(`${SERVICES}.leases.v1.Leases/Delete`, { id: [1, 'string'] }, {}),
  /** A stream on both sides. */
  writeContent: method(
    `${SERVICES}.content.v1.Content/Write`,
    {
      action: [1, 'int'],
      ref: [2, 'string'],
      total: [3, 'int'],
      expected: [4, 'string'],
      offset: [5, 'int'],
      data: [6, 'bytes'],
      labels: [7, 'map'],
    },
    { offset: [4, 'int'], digest: [6, 'string'] },
  ),
  createImage: method(`${SERVICES}.images.v1.Images/Create`, written, written),
  updateImage: method(`${SERVICES}.images.v1.Images/Update`, written, written),
  deleteTask: method(`${SERVICES}.tasks.v1.Tasks/Delete`, { containerId: [1, 'string'] }, {}),
  subscribe: method(
    `${SERVICES}.events.v1.Events/Subscribe`,
    { filters: [1, 'strings'] },
    {
      topic: [3, 'string'],
      event: [4, { typeUrl: [1, 'string'], value: [2, 'bytes'] }],
    },
  ),
} as const;

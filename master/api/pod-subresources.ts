/** What pods have beside themselves: binding (assign to a board, once) and eviction. */
import { rfc3339 } from '../../protocol/clock.ts';
import type { Binding, Pod } from '../../protocol/kinds/types.ts';
import { badRequest, conflict, invalid, notFound } from '../../protocol/status.ts';
import { RESOURCES } from './client.ts';
import { copyOf } from './copy.ts';
import type { Core, WriteOptions } from './core.ts';
import { encodeStored, type Stored } from './stored.ts';

const BINDING = { group: '', resource: 'pods/binding' };
const TRIES_MAX = 50;

export interface BindRequest {
  readonly namespace: string;
  readonly name: string;
  readonly binding: Binding;
}

/** Sets spec.nodeName and the condition PodScheduled; 409 when the pod has a board already or is going. */
export async function bindPod(
  core: Core,
  { namespace, name, binding }: BindRequest,
  options: WriteOptions,
): Promise<Stored> {
  const node = nodeOf(binding, name);
  const resource = core.table.get(RESOURCES.pods);
  for (let attempt = 0; attempt < TRIES_MAX; attempt += 1) {
    const current = await core.storage.read(resource, namespace, name);
    if (current === undefined) throw notFound(resource.ref, name);
    const pod = copyOf(core.storage.parsed(current)) as Pod;
    const uid = binding.metadata?.uid;
    if (uid !== undefined && uid !== '' && uid !== pod.metadata?.uid) {
      throw conflict(
        BINDING,
        name,
        `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${pod.metadata?.uid}`,
      );
    }
    assign(pod, node, name, rfc3339(core.clock.wallMs()));
    const annotations = binding.metadata?.annotations;
    if (annotations !== undefined) {
      pod.metadata = {
        ...pod.metadata,
        annotations: { ...pod.metadata?.annotations, ...annotations },
      };
    }
    if (options.dryRun === true) return { ...current, value: encodeStored(pod) };
    const stored = await core.storage.replace(current, pod);
    if (stored !== undefined) return stored;
  }
  throw conflict(resource.ref, name);
}

function nodeOf(binding: Binding, name: string): string {
  const { target } = binding;
  const bodyName = binding.metadata?.name ?? '';
  if (bodyName !== '' && bodyName !== name) {
    throw badRequest(
      `the name of the object (${bodyName}) does not match the name on the URL (${name})`,
    );
  }
  const kind = target?.kind ?? '';
  if (kind !== '' && kind !== 'Node') {
    throw invalid('', 'Binding', name, [
      {
        field: 'target.kind',
        reason: 'FieldValueNotSupported',
        message: `Unsupported value: "${kind}": supported values: "Node", ""`,
      },
    ]);
  }
  const node = target?.name ?? '';
  if (node === '') {
    throw invalid('', 'Binding', name, [
      { field: 'target.name', reason: 'FieldValueRequired', message: 'Required value' },
    ]);
  }
  return node;
}

function assign(pod: Pod, node: string, name: string, now: string): void {
  const { spec, metadata } = pod;
  if (spec === undefined) throw badRequest(`pod ${name} has no spec`);
  if (metadata?.deletionTimestamp !== undefined) {
    throw conflict(BINDING, name, `pod ${name} is being deleted, cannot be assigned to a host`);
  }
  if (spec.nodeName !== undefined && spec.nodeName !== '') {
    throw conflict(BINDING, name, `pod ${name} is already assigned to node "${spec.nodeName}"`);
  }
  if ((spec.schedulingGates ?? []).length > 0) {
    throw conflict(BINDING, name, `pod ${name} has non-empty .spec.schedulingGates`);
  }
  spec.nodeName = node;
  const status = { ...pod.status };
  const others = (status.conditions ?? []).filter((c) => c.type !== 'PodScheduled');
  status.conditions = [
    ...others,
    { type: 'PodScheduled', status: 'True', lastTransitionTime: now },
  ];
  pod.status = status;
}

/**
 * What PriorityClasses do to writes (Kubernetes' admission plugin Priority): a pod gets the number and the preemption
 * policy of the class that it names, or of the default class; nobody sets either by hand. At most one class is the default.
 */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import type { Pod, PriorityClass } from '../../protocol/kinds/types.ts';
import { type AdmissionPlugin, type AdmissionRequest, refused } from './admission.ts';
import { RESOURCES } from './client.ts';
import type { Core } from './core.ts';
import { listObjects } from './list.ts';
import { compileSelection } from './selection.ts';

const PREEMPT = 'PreemptLowerPriority';

export const PRIORITY_ADMISSION: AdmissionPlugin = {
  async mutate(core, request) {
    if (isOf(request, RESOURCES.pods)) await prioritize(core, request, request.object);
  },
  async review(core, request) {
    if (isOf(request, RESOURCES.priorityClasses)) await checkDefault(core, request);
  },
};

function isOf({ resource }: AdmissionRequest, id: { group: string; resource: string }): boolean {
  return resource.module.group === id.group && resource.module.plural === id.resource;
}

async function prioritize(core: Core, request: AdmissionRequest, { spec }: Pod): Promise<void> {
  if (spec === undefined) return;
  const named = spec.priorityClassName ?? '';
  const found = named === '' ? await defaultClass(core) : await readClass(core, named);
  if (found === undefined && named !== '') {
    throw refused(request, `no PriorityClass with name ${named} was found`);
  }
  const { metadata, value = 0, preemptionPolicy = PREEMPT } = found ?? {};
  if (spec.priority !== undefined && spec.priority !== value) {
    throw refused(
      request,
      `the integer value of priority (${spec.priority}) must not be provided in pod spec; priority ` +
        `admission controller computed ${value} from the given PriorityClass name`,
    );
  }
  const policy = spec.preemptionPolicy;
  if (policy !== undefined && policy !== '' && policy !== preemptionPolicy) {
    throw refused(
      request,
      `the string value of PreemptionPolicy (${policy}) must not be provided in pod spec; priority ` +
        `admission controller computed ${preemptionPolicy} from the given PriorityClass name`,
    );
  }
  if (metadata?.name !== undefined) spec.priorityClassName = metadata.name;
  spec.priority = value;
  spec.preemptionPolicy = preemptionPolicy;
}

async function readClass(core: Core, name: string): Promise<PriorityClass | undefined> {
  const resource = core.table.find(RESOURCES.priorityClasses);
  if (resource === undefined) return undefined;
  const stored = await core.storage.read(resource, '', name);
  return stored === undefined ? undefined : core.storage.parsed(stored);
}

/** The lowest, should there be several (a restored backup may hold them). */
async function defaultClass(core: Core): Promise<PriorityClass | undefined> {
  const defaults = (await classes(core)).filter(({ globalDefault }) => globalDefault === true);
  return defaults.sort((a, b) => (a.value ?? 0) - (b.value ?? 0))[0];
}

async function classes(core: Core): Promise<PriorityClass[]> {
  const resource = core.table.find(RESOURCES.priorityClasses);
  if (resource === undefined) return [];
  const { items } = await listObjects(core, compileSelection(resource, {}));
  return items.map((stored): KubeObject => core.storage.parsed(stored));
}

async function checkDefault(core: Core, request: AdmissionRequest): Promise<void> {
  const wanted: PriorityClass = request.object;
  if (wanted.globalDefault !== true) return;
  const other = await defaultClass(core);
  if (other === undefined || other.metadata?.name === request.name) return;
  throw refused(
    request,
    `PriorityClass ${other.metadata?.name} is already marked as default. Only one default can exist`,
  );
}

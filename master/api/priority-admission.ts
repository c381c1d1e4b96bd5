/**
 * What PriorityClasses do to writes (Kubernetes' admission plugin Priority): a pod gets the number and the preemption
 * policy of the class that it names, or of the default class; nobody sets either by hand. At most one class is the default.
 */
import type { Pod, PriorityClass } from '../../protocol/kinds/types.ts';
import { type AdmissionPlugin, type AdmissionRequest, refused } from './admission.ts';
import { RESOURCES } from './client.ts';
import type { Kept } from './kept.ts';

const PREEMPT = 'PreemptLowerPriority';

export function priorityAdmission(classes: Kept<PriorityClass>): AdmissionPlugin {
  return {
    async mutate(_core, request) {
      if (!isOf(request, RESOURCES.pods)) return;
      prioritize(request, request.object, await classes.all());
    },
    async review(_core, request) {
      if (!isOf(request, RESOURCES.priorityClasses)) return;
      checkDefault(request, request.object, await classes.all());
    },
  };
}

function isOf({ resource }: AdmissionRequest, id: { group: string; resource: string }): boolean {
  return resource.module.group === id.group && resource.module.plural === id.resource;
}

function prioritize(
  request: AdmissionRequest,
  { spec }: Pod,
  classes: readonly PriorityClass[],
): void {
  if (spec === undefined) return;
  const named = spec.priorityClassName ?? '';
  const found =
    named === '' ? defaultOf(classes) : classes.find(({ metadata }) => metadata?.name === named);
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

/** The lowest, should there be several (a restored backup may hold them). */
function defaultOf(classes: readonly PriorityClass[]): PriorityClass | undefined {
  return classes
    .filter(({ globalDefault }) => globalDefault === true)
    .sort((a, b) => (a.value ?? 0) - (b.value ?? 0))[0];
}

function checkDefault(
  request: AdmissionRequest,
  wanted: PriorityClass,
  classes: readonly PriorityClass[],
): void {
  if (wanted.globalDefault !== true) return;
  const other = defaultOf(classes);
  if (other === undefined || other.metadata?.name === request.name) return;
  throw refused(
    request,
    `PriorityClass ${other.metadata?.name} is already marked as default. Only one default can exist`,
  );
}

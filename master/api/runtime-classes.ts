/** RuntimeClass at the creation of a pod (Kubernetes: RuntimeClass admission): overhead and scheduling of the class reach it. */
import type { Pod, RuntimeClass } from '../../protocol/kinds/types.ts';
import { type AdmissionPlugin, refused } from './admission.ts';
import { deepEqual } from './equal.ts';
import type { Kept } from './kept.ts';

export function runtimeClasses(classes: Kept<RuntimeClass>): AdmissionPlugin {
  return {
    async mutate(_core, request) {
      const { module } = request.resource;
      if (module.group !== '' || module.plural !== 'pods') return;
      const { spec } = request.object as Pod;
      const name = spec?.runtimeClassName ?? '';
      if (spec === undefined) return;
      if (name === '') {
        if (Object.keys(spec.overhead ?? {}).length === 0) return;
        throw refused(
          request,
          'pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead',
        );
      }
      const found = (await classes.all()).find((one) => one.metadata?.name === name);
      if (found === undefined) {
        throw refused(request, `pod rejected: RuntimeClass ${JSON.stringify(name)} not found`);
      }
      const { overhead, scheduling } = found;
      if (spec.overhead !== undefined && !deepEqual(spec.overhead, overhead?.podFixed ?? {})) {
        const why = "pod's Overhead doesn't match RuntimeClass's defined Overhead";
        throw refused(request, `pod rejected: ${why}`);
      }
      if (overhead?.podFixed !== undefined) spec.overhead = { ...overhead.podFixed };
      for (const [key, value] of Object.entries(scheduling?.nodeSelector ?? {})) {
        const own = spec.nodeSelector?.[key];
        if (own !== undefined && own !== value) {
          const why = `conflict: runtimeClass.scheduling.nodeSelector[${key}] = ${value}; pod.spec.nodeSelector[${key}] = ${own}`;
          throw refused(request, `pod rejected: ${why}`);
        }
        spec.nodeSelector = { ...spec.nodeSelector, [key]: value };
      }
      const more = (scheduling?.tolerations ?? []).filter(
        (one) => !(spec.tolerations ?? []).some((own) => deepEqual(own, one)),
      );
      if (more.length > 0) spec.tolerations = [...(spec.tolerations ?? []), ...more];
    },
  };
}

/**
 * Which class an Ingress gets that names none (Kubernetes' admission plugin DefaultIngressClass): the one that is marked as
 * default. An Ingress with the annotation of old times names one.
 */
import type { Ingress, IngressClass } from '../../protocol/kinds/types.ts';
import { CLASS_ANNOTATION, DEFAULT_INGRESS_CLASS } from '../ingress/ingress-class.ts';
import type { AdmissionPlugin } from './admission.ts';
import { RESOURCES } from './client.ts';
import type { Kept } from './kept.ts';
import { newestDefault } from './storage-admission.ts';

export function defaultIngressClass(classes: Kept<IngressClass>): AdmissionPlugin {
  return {
    async mutate(_core, { operation, resource, object }) {
      const { group, resource: plural } = RESOURCES.ingresses;
      if (operation !== 'CREATE' || resource.module.group !== group) return;
      if (resource.module.plural !== plural) return;
      const { spec, metadata }: Ingress = object;
      if (spec === undefined || spec.ingressClassName !== undefined) return;
      if (metadata?.annotations?.[CLASS_ANNOTATION] !== undefined) return;
      const name = newestDefault(await classes.all(), DEFAULT_INGRESS_CLASS);
      if (name !== undefined) spec.ingressClassName = name;
    },
  };
}

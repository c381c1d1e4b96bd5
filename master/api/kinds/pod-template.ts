/** PodTemplate: a template on its own, for programs that make pods of it. Nothing here acts on one. */
import type { PodTemplate } from '../../../protocol/kinds/types.ts';
import { validateLabels } from '../../../protocol/selector.ts';
import type { KindModule } from '../kind.ts';
import { containerNamesCell, imagesCell, labelsCell, NAME, text } from './columns.ts';
import { defaultPodTemplate } from './defaults/pod-spec.ts';
import { podWarnings } from './unsupported.ts';
import { validateAnnotations, validateObjectMeta } from './validate/meta.ts';
import { validatePodSpec } from './validate/pod-spec.ts';

export const POD_TEMPLATE: KindModule<PodTemplate> = {
  group: '',
  version: 'v1',
  kind: 'PodTemplate',
  plural: 'podtemplates',
  singular: 'podtemplate',
  shortNames: [],
  categories: [],
  namespaced: true,
  message: 'io.k8s.api.core.v1.PodTemplate',
  storage: 'durable',
  subresources: {},
  hasGeneration: true,
  setDefaults(object) {
    object.template ??= {};
    defaultPodTemplate(object.template);
  },
  validate: (object) => [
    ...validateObjectMeta(object.metadata),
    ...validateLabels(object.template?.metadata?.labels ?? {}, 'template.metadata.labels'),
    ...validateAnnotations('template.metadata.annotations', object.template?.metadata?.annotations),
    ...validatePodSpec('template.spec', object.template?.spec ?? { containers: [] }),
  ],
  warnings: (object) => podWarnings('template.spec', object.template?.spec),
  columns: [
    NAME,
    text('Containers', 'Names of the containers in the template.'),
    text('Images', 'Images of the containers in the template.'),
    text('Pod Labels', 'Labels that its pods get.'),
  ],
  row: ({ metadata, template }) => [
    metadata?.name ?? '',
    containerNamesCell(template?.spec?.containers),
    imagesCell(template?.spec?.containers),
    labelsCell(template?.metadata?.labels),
  ],
};

/**
 * RuntimeClass: which runtime a pod wants, what that costs and where it is to be had. Overhead and scheduling reach the pods
 * (admission, runtime-class.ts); the boards do not choose a runtime by the handler yet, and the pod is told so.
 */
import type { RuntimeClass } from '../../../protocol/kinds/types.ts';
import { dnsLabelErrors } from '../../../protocol/names.ts';
import { validateLabels } from '../../../protocol/selector.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, NAME, nameCell, text } from './columns.ts';
import { eachReason, IMMUTABLE, invalidValue } from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { validateQuantity } from './validate/resources.ts';

export const RUNTIME_CLASS: KindModule<RuntimeClass> = {
  group: 'node.k8s.io',
  version: 'v1',
  kind: 'RuntimeClass',
  plural: 'runtimeclasses',
  singular: 'runtimeclass',
  shortNames: [],
  categories: [],
  namespaced: false,
  message: 'io.k8s.api.node.v1.RuntimeClass',
  storage: 'durable',
  subresources: {},
  hasGeneration: false,
  setDefaults() {
    // None.
  },
  validate: (runtime) => [
    ...validateObjectMeta(runtime.metadata),
    ...eachReason('handler', runtime.handler, dnsLabelErrors(runtime.handler)),
    ...Object.entries(runtime.overhead?.podFixed ?? {}).flatMap(([name, quantity]) =>
      validateQuantity(`overhead.podFixed[${name}]`, quantity),
    ),
    ...validateLabels(runtime.scheduling?.nodeSelector ?? {}, 'scheduling.nodeSelector'),
  ],
  validateUpdate: (next, previous) =>
    next.handler === previous.handler ? [] : [invalidValue('handler', next.handler, IMMUTABLE)],
  columns: [NAME, text('Handler', 'Name of the runtime on the boards.'), AGE],
  row: (runtime, nowMs) => [nameCell(runtime), runtime.handler, ageCell(runtime, nowMs)],
};

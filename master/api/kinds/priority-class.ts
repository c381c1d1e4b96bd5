/**
 * PriorityClass: a name for how important pods are. Two are reserved for the system itself; all others have at most
 * 1,000,000,000. What a class does to pods is in priority-admission.ts.
 */
import type { PriorityClass } from '../../../protocol/kinds/types.ts';
import type { FieldError } from '../../../protocol/status.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, count, flag, NAME, nameCell, text } from './columns.ts';
import { forbidden, IMMUTABLE, invalidValue, notSupported } from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';

const VALUE_MAX = 1_000_000_000;
const POLICIES: readonly string[] = ['Never', 'PreemptLowerPriority'];
const PREEMPT = 'PreemptLowerPriority';

/** Those that every cluster has. */
export const SYSTEM_CLASSES: readonly PriorityClass[] = [
  {
    metadata: { name: 'system-cluster-critical' },
    value: 2 * VALUE_MAX,
    description: 'For pods that the cluster cannot do without, but that may move to another board.',
  },
  {
    metadata: { name: 'system-node-critical' },
    value: 2 * VALUE_MAX + 1_000,
    description: 'For pods that a board cannot do without.',
  },
];

export const PRIORITY_CLASS: KindModule<PriorityClass> = {
  group: 'scheduling.k8s.io',
  version: 'v1',
  kind: 'PriorityClass',
  plural: 'priorityclasses',
  singular: 'priorityclass',
  shortNames: ['pc'],
  categories: [],
  namespaced: false,
  message: 'io.k8s.api.scheduling.v1.PriorityClass',
  storage: 'durable',
  subresources: {},
  hasGeneration: true,
  setDefaults(one) {
    one.value ??= 0;
    one.preemptionPolicy ??= PREEMPT;
  },
  validate: (one) => [...validateObjectMeta(one.metadata), ...validateValue(one)],
  validateUpdate(next, previous) {
    const errors: FieldError[] = [];
    if (next.value !== previous.value) {
      errors.push(forbidden('value', 'may not be changed in an update.'));
    }
    if (next.preemptionPolicy !== previous.preemptionPolicy) {
      errors.push(invalidValue('preemptionPolicy', next.preemptionPolicy, IMMUTABLE));
    }
    return errors;
  },
  columns: [
    NAME,
    count('Value', 'Pods of a higher value come first.'),
    flag('Global-Default', 'For pods that name no class.'),
    AGE,
    text('PreemptionPolicy', 'Whether pods of the class may push others out.'),
  ],
  row: (one, nowMs) => [
    nameCell(one),
    one.value ?? 0,
    one.globalDefault === true,
    ageCell(one, nowMs),
    one.preemptionPolicy ?? PREEMPT,
  ],
};

function validateValue(one: PriorityClass): FieldError[] {
  const errors: FieldError[] = [];
  const { preemptionPolicy = PREEMPT, value = 0 } = one;
  if (!POLICIES.includes(preemptionPolicy)) {
    errors.push(notSupported('preemptionPolicy', preemptionPolicy, POLICIES));
  }
  const name = one.metadata?.name ?? '';
  if (name.startsWith('system-')) {
    const why = systemTrouble(one);
    if (why !== undefined) {
      errors.push(
        forbidden(
          'metadata.name',
          `priority class names with 'system-' prefix are reserved for system use only. error: ${why}`,
        ),
      );
    }
  } else if (value > VALUE_MAX) {
    const why = `maximum allowed value of a user defined priority is ${VALUE_MAX}`;
    errors.push(forbidden('value', why));
  }
  return errors;
}

function systemTrouble({ metadata, value, globalDefault }: PriorityClass): string | undefined {
  const name = metadata?.name ?? '';
  const known = SYSTEM_CLASSES.find((one) => one.metadata?.name === name);
  if (known === undefined) return `${name} is not a known system priority class`;
  if (known.value !== value) return `value of ${name} PriorityClass must be ${known.value}`;
  return globalDefault === true
    ? `globalDefault of ${name} PriorityClass must be false`
    : undefined;
}

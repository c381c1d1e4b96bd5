/** CSINode: which CSI drivers a node has, and what it is called there. Stored; boards run no such drivers, and it says so. */
import type { CSINode, CSINodeDriver } from '../../../protocol/kinds/types.ts';
import { labelKeyErrors } from '../../../protocol/names.ts';
import type { FieldError } from '../../../protocol/status.ts';
import { deepEqual } from '../equal.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, count, NAME, nameCell } from './columns.ts';
import { csiWarnings } from './unsupported.ts';
import {
  duplicate,
  eachReason,
  IMMUTABLE,
  invalidValue,
  notNegative,
  required,
} from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';
import { validateDriverName } from './validate/storage.ts';

const NODE_ID_MAX = 192;

export const CSI_NODE: KindModule<CSINode> = {
  group: 'storage.k8s.io',
  version: 'v1',
  kind: 'CSINode',
  plural: 'csinodes',
  singular: 'csinode',
  shortNames: [],
  categories: [],
  namespaced: false,
  message: 'io.k8s.api.storage.v1.CSINode',
  storage: 'durable',
  subresources: {},
  hasGeneration: false,
  setDefaults(node) {
    node.spec ??= { drivers: [] };
    node.spec.drivers ??= [];
  },
  validate: ({ metadata, spec }) => [
    ...validateObjectMeta(metadata),
    ...validateDrivers('spec.drivers', spec.drivers),
  ],
  /** Drivers come and go; of one that stays only the number of volumes may change. */
  validateUpdate(next, previous) {
    const before = new Map(previous.spec.drivers.map((driver) => [driver.name, driver]));
    return next.spec.drivers
      .filter((driver) => {
        const old = before.get(driver.name);
        return old !== undefined && !deepEqual(identity(driver), identity(old));
      })
      .map((driver) => invalidValue('spec.drivers', driver, IMMUTABLE));
  },
  warnings: csiWarnings,
  columns: [NAME, count('Drivers', 'How many CSI drivers the node has.'), AGE],
  row: (node, nowMs) => [nameCell(node), node.spec?.drivers?.length ?? 0, ageCell(node, nowMs)],
};

function identity({ allocatable: _allocatable, ...rest }: CSINodeDriver): object {
  return rest;
}

function validateDrivers(path: string, drivers: readonly CSINodeDriver[]): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  for (const [index, driver] of drivers.entries()) {
    const at = `${path}[${index}]`;
    const { name, nodeID } = driver;
    errors.push(...validateDriverName(`${at}.name`, name));
    if (names.has(name)) errors.push(duplicate(`${at}.name`, name));
    names.add(name);
    if (nodeID === '') errors.push(required(`${at}.nodeID`));
    if (nodeID.length > NODE_ID_MAX) {
      const why = `must be ${NODE_ID_MAX} characters or less`;
      errors.push(invalidValue(`${at}.nodeID`, nodeID, why));
    }
    errors.push(
      ...notNegative(`${at}.allocatable.count`, driver.allocatable?.count),
      ...validateTopologyKeys(`${at}.topologyKeys`, driver.topologyKeys ?? []),
    );
  }
  return errors;
}

function validateTopologyKeys(field: string, keys: readonly string[]): FieldError[] {
  const doubled = keys.filter((key, index) => keys.indexOf(key) !== index);
  return [
    ...doubled.map((key) => duplicate(field, key)),
    ...keys.flatMap((key) => eachReason(field, key, labelKeyErrors(key))),
  ];
}

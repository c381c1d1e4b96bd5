/** Columns and cells that many kinds share: Name, Age, and lists of labels, containers and images. */
import type { KubeObject } from '../../../protocol/kinds/meta.ts';
import type { Container, LabelSelector } from '../../../protocol/kinds/types.ts';
import { formatLabelSelector, labelRequirements } from '../../../protocol/selector.ts';
import type { Column } from '../kind.ts';
import { ageSince } from './human-duration.ts';

export const NONE = '<none>';
export const UNKNOWN = '<unknown>';
export const UNSET = '<unset>';

const ACCESS_MODES: Readonly<Record<string, string>> = {
  ReadWriteOnce: 'RWO',
  ReadOnlyMany: 'ROX',
  ReadWriteMany: 'RWX',
  ReadWriteOncePod: 'RWOP',
};

export const NAME: Column = {
  name: 'Name',
  type: 'string',
  format: 'name',
  description: 'Unique within the namespace (or the cluster, for kinds without one).',
};

export const AGE: Column = {
  name: 'Age',
  type: 'string',
  description: 'Time since the object was created.',
};

export const CREATED_AT: Column = {
  name: 'Created At',
  type: 'date',
  description: 'When the object was created.',
};

/** A text column; `wide` shows it with `-o wide` only. */
export function text(name: string, description: string, wide?: 'wide'): Column {
  return { name, type: 'string', description, ...(wide === undefined ? {} : { priority: 1 }) };
}

export function count(name: string, description: string): Column {
  return { name, type: 'integer', description };
}

export function flag(name: string, description: string): Column {
  return { name, type: 'boolean', description };
}

export function nameCell(object: KubeObject): string {
  return object.metadata?.name ?? '';
}

export function ageCell(object: KubeObject, nowMs: number): string {
  return ageSince(object.metadata?.creationTimestamp, nowMs);
}

export function createdCell(object: KubeObject): string {
  return object.metadata?.creationTimestamp ?? '';
}

/** `app=web,tier=front`, sorted by key. */
export function labelsCell(labels: Record<string, string> | undefined): string {
  const pairs = Object.entries(labels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return pairs.length === 0 ? NONE : pairs.map(([key, value]) => `${key}=${value}`).join(',');
}

export function selectorCell(selector: LabelSelector | undefined): string {
  const shown = selectorText(selector);
  return shown === '' ? NONE : shown;
}

/** A label selector in the form of the query parameter: `app=web,tier in (a,b),!old`. */
export function selectorText(selector: LabelSelector | undefined): string {
  return selector === undefined ? '' : formatLabelSelector(labelRequirements(selector));
}

export function containerNamesCell(containers: readonly Container[] | undefined): string {
  return (containers ?? []).map((one) => one.name).join(',');
}

export function imagesCell(containers: readonly Container[] | undefined): string {
  return (containers ?? []).map((one) => one.image ?? '').join(',');
}

export const TEMPLATE_COLUMNS: readonly Column[] = [
  text('Containers', 'Names of the containers in the template.', 'wide'),
  text('Images', 'Images of the containers in the template.', 'wide'),
  text('Selector', 'Which pods belong to it.', 'wide'),
];

/** `RWO,ROX`: always in the same order. */
export function accessModesCell(modes: readonly string[] | undefined): string {
  const found = Object.entries(ACCESS_MODES).filter(([mode]) => modes?.includes(mode));
  return found.map(([, short]) => short).join(',');
}

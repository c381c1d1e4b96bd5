/** Event (core/v1): what happened to an object. Kept in memory only: a board's card is spared. */
import type { Event } from '../../../protocol/kinds/types.ts';
import type { FieldError } from '../../../protocol/status.ts';
import type { KindModule } from '../kind.ts';
import { text } from './columns.ts';
import { ageSince } from './human-duration.ts';
import { invalidValue } from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';

export const EVENT: KindModule<Event> = {
  group: '',
  version: 'v1',
  kind: 'Event',
  plural: 'events',
  singular: 'event',
  shortNames: ['ev'],
  categories: [],
  namespaced: true,
  message: 'io.k8s.api.core.v1.Event',
  storage: 'memory',
  subresources: {},
  hasGeneration: false,
  setDefaults() {
    // None.
  },
  validate: (event) => [...validateObjectMeta(event.metadata), ...validateNamespaces(event)],
  columns: [
    text('Last Seen', 'Time since it happened last.'),
    text('Type', 'Normal or Warning.'),
    text('Reason', 'Why, in one word, for programs.'),
    text('Object', 'What it happened to.'),
    text('Subobject', 'Which part of the object, as spec.containers{web}.', 'wide'),
    text('Source', 'Who reported it.', 'wide'),
    text('Message', 'What happened, for people.'),
    text('First Seen', 'Time since it happened first.', 'wide'),
    text('Count', 'How often it happened.', 'wide'),
    { ...text('Name', 'Unique within the namespace.', 'wide'), format: 'name' },
  ],
  row(event, nowMs) {
    const { involvedObject: object, source, series } = event;
    const first = ageSince(event.firstTimestamp ?? event.eventTime, nowMs);
    const lastTimestamp = series?.lastObservedTime ?? event.lastTimestamp;
    const kind = (object.kind ?? '').toLowerCase();
    const component = source?.component || event.reportingComponent || '';
    const host = source?.host || event.reportingInstance || '';
    return [
      lastTimestamp === undefined ? first : ageSince(lastTimestamp, nowMs),
      event.type ?? '',
      event.reason ?? '',
      object.name ? `${kind}/${object.name}` : kind,
      object.fieldPath ?? '',
      host === '' ? component : `${component}, ${host}`,
      (event.message ?? '').trim(),
      first,
      series?.count ?? (event.count || 1),
      event.metadata?.name ?? '',
    ];
  },
  selectableFields(event) {
    const object = event.involvedObject;
    return {
      'involvedObject.kind': object.kind ?? '',
      'involvedObject.namespace': object.namespace ?? '',
      'involvedObject.name': object.name ?? '',
      'involvedObject.uid': object.uid ?? '',
      'involvedObject.apiVersion': object.apiVersion ?? '',
      'involvedObject.resourceVersion': object.resourceVersion ?? '',
      'involvedObject.fieldPath': object.fieldPath ?? '',
      reason: event.reason ?? '',
      reportingComponent: event.reportingComponent || event.source?.component || '',
      source: event.source?.component || event.reportingComponent || '',
      type: event.type ?? '',
    };
  },
};

/** Events of objects without a namespace live in `default`. */
function validateNamespaces(event: Event): FieldError[] {
  const own = event.metadata?.namespace ?? '';
  const object = event.involvedObject.namespace ?? '';
  const fits = object === own || (object === '' && (own === 'default' || own === ''));
  if (fits) return [];
  return [invalidValue('involvedObject.namespace', object, 'does not match event.namespace')];
}

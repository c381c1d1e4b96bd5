/**
 * Event of events.k8s.io/v1: the same events as those of core/v1, under the newer names of their fields. New clients write
 * them here, `kubectl describe` reads them there.
 */
import type { KubeObject } from '../../../protocol/kinds/meta.ts';
import type { Event, EventsV1Event } from '../../../protocol/kinds/types.ts';
import type { FieldError } from '../../../protocol/status.ts';
import { deepEqual } from '../equal.ts';
import type { KindModule } from '../kind.ts';
import { EVENT } from './event.ts';
import { IMMUTABLE, invalidValue, required } from './validate/errors.ts';

const NOTE_BYTES_MAX = 1024;
const WORD_BYTES_MAX = 128;

function fromCore(event: Event): EventsV1Event {
  const { involvedObject, message, source, firstTimestamp, lastTimestamp, count } = event;
  const { reportingComponent, series, metadata, type, reason, ...same } = event;
  return present({
    metadata,
    eventTime: same.eventTime,
    series: series && { ...series, count: series.count ?? 0 },
    reportingController: reportingComponent,
    reportingInstance: same.reportingInstance,
    action: same.action,
    reason,
    regarding: involvedObject,
    related: same.related,
    note: message,
    type,
    deprecatedSource: source,
    deprecatedFirstTimestamp: firstTimestamp,
    deprecatedLastTimestamp: lastTimestamp,
    deprecatedCount: count,
  });
}

function toCore(event: EventsV1Event): Event {
  return present({
    metadata: event.metadata,
    involvedObject: event.regarding ?? {},
    reason: event.reason,
    message: event.note,
    source: event.deprecatedSource,
    firstTimestamp: event.deprecatedFirstTimestamp,
    lastTimestamp: event.deprecatedLastTimestamp,
    count: event.deprecatedCount,
    type: event.type,
    eventTime: event.eventTime,
    series: event.series,
    action: event.action,
    related: event.related,
    reportingComponent: event.reportingController,
    reportingInstance: event.reportingInstance,
  });
}

/** Without the fields that are not there. */
function present<T extends object>(object: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
}

const { version, kind, plural, singular, shortNames, categories } = EVENT;
const { namespaced, storage, subresources, hasGeneration, columns } = EVENT;
const SHARED = {
  ...{ version, kind, plural, singular, shortNames, categories },
  ...{ namespaced, storage, subresources, hasGeneration, columns },
};

export const EVENT_V1: KindModule<EventsV1Event> = {
  ...SHARED,
  group: 'events.k8s.io',
  message: 'io.k8s.api.events.v1.Event',
  view: {
    of: { group: '', plural: 'events' },
    fromStored: (object: KubeObject) => fromCore(object as Event),
    toStored: toCore,
  },
  setDefaults() {
    // None.
  },
  validate: (event) => EVENT.validate(toCore(event)),
  validateCreate: whole,
  validateUpdate: onlySeries,
  row: (event, nowMs) => EVENT.row(toCore(event), nowMs),
  selectableFields(event) {
    const core = EVENT.selectableFields?.(toCore(event)) ?? {};
    const fields = Object.entries(core).map(([path, value]) => [
      path
        .replace(/^involvedObject\./, 'regarding.')
        .replace('reportingComponent', 'reportingController'),
      value,
    ]);
    return Object.fromEntries(fields.filter(([path]) => path !== 'source'));
  },
};

/** What an old client may leave out, a new one must say. */
function whole(event: EventsV1Event): FieldError[] {
  const errors: FieldError[] = [];
  if (event.eventTime === undefined) errors.push(required('eventTime'));
  for (const field of ['reportingController', 'reportingInstance', 'action', 'reason'] as const) {
    const value = event[field] ?? '';
    if (value === '') errors.push(required(field));
    else if (value.length > WORD_BYTES_MAX) {
      errors.push(invalidValue(field, value, `can have at most ${WORD_BYTES_MAX} characters`));
    }
  }
  if (Buffer.byteLength(event.note ?? '') > NOTE_BYTES_MAX) {
    errors.push(invalidValue('message', '', `can have at most ${NOTE_BYTES_MAX} characters`));
  }
  if (event.type !== 'Normal' && event.type !== 'Warning') {
    errors.push(invalidValue('type', event.type ?? '', 'has invalid value: '));
  }
  for (const [field, name] of Object.entries(OLD_NAMES)) {
    if (Reflect.get(event, field) !== undefined) {
      errors.push(invalidValue(name, '', 'needs to be unset'));
    }
  }
  return errors;
}

const OLD_NAMES = {
  deprecatedFirstTimestamp: 'firstTimestamp',
  deprecatedLastTimestamp: 'lastTimestamp',
  deprecatedCount: 'count',
};

/** An event that happens again only grows its series. */
function onlySeries(next: EventsV1Event, previous: EventsV1Event): FieldError[] {
  const changed: FieldError[] = [];
  for (const [field, value] of Object.entries({ ...previous, ...next })) {
    if (['series', 'metadata', 'kind', 'apiVersion'].includes(field)) continue;
    if (deepEqual([Reflect.get(next, field)], [Reflect.get(previous, field)])) continue;
    changed.push(invalidValue(field, value, IMMUTABLE));
  }
  return changed;
}

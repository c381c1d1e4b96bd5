/**
 * The bytes of one event of a watch: a line of JSON, or a frame of protobuf. They are made once for all plain watches that
 * send the event.
 */
import { encodeProtobuf, encodeWatchFrame } from '../../protocol/kinds/protobuf-encode.ts';
import type { Status } from '../../protocol/status.ts';
import type { AnswerForm } from './negotiate.ts';
import { asBuffer, protobufFrame } from './protobuf.ts';
import { objectHead, type Stored, tailOf } from './stored.ts';
import {
  protobufMetadata,
  type TableContext,
  transformedBookmark,
  transformedText,
} from './table.ts';
import type { StoredEvent } from './watch.ts';

/** One event, in the parts that follow each other: a stored object is sent as it lies, without a copy. */
export type EventBytes = readonly Uint8Array[];

/** The bytes of the last event that was sent of some stored bytes; other watches mostly send the same one. */
interface SharedEvent {
  readonly type: string;
  readonly revision: number;
  readonly bytes: Buffer;
}

/**
 * One entry per recent event. Bounded by count: an event is as large as its object, and what matters is only that the
 * watches that get an event in the same moment share it.
 */
class SharedEvents {
  readonly #make: (type: string, stored: Stored) => Buffer;
  readonly #events = new Map<Uint8Array, SharedEvent>();

  constructor(make: (type: string, stored: Stored) => Buffer) {
    this.#make = make;
  }

  bytes(type: string, stored: Stored): Buffer {
    const { value, revision } = stored;
    const known = this.#events.get(value);
    if (known !== undefined && known.type === type && known.revision === revision) {
      return known.bytes;
    }
    const bytes = this.#make(type, stored);
    if (bytes.byteLength > SHARED_BYTES_MAX) return bytes;
    this.#events.delete(value);
    this.#events.set(value, { type, revision, bytes });
    if (this.#events.size > SHARED_MAX) {
      for (const oldest of this.#events.keys()) {
        this.#events.delete(oldest);
        break;
      }
    }
    return bytes;
  }
}

const SHARED_MAX = 64;
/** A larger one is made anew for each watch. */
const SHARED_BYTES_MAX = 16 * 1024;
const LINE_END = Buffer.from('}\n');

/** More at once are the beginning of a watch or a burst: nobody else is sent the same ones at that moment. */
const SHARED_BATCH_MAX = 4;

function lineParts(type: string, { resource, value, revision }: Stored): EventBytes {
  const head = `{"type":"${type}","object":${objectHead(resource, revision)}`;
  return [Buffer.from(head), tailOf(value), LINE_END];
}

const lines = new SharedEvents((type, stored) => Buffer.concat(lineParts(type, stored)));
const frames = new SharedEvents(protobufFrame);

/** For one watch: a Table has its columns in the first event only. */
export class EventEncoder {
  readonly #context: TableContext;
  #sentColumns = false;

  constructor(context: TableContext) {
    this.#context = context;
  }

  encode(events: readonly StoredEvent[]): EventBytes[] {
    const { form } = this.#context;
    const isLine = form.as === 'object' && form.format !== 'protobuf';
    const isMany = events.length > SHARED_BATCH_MAX;
    return events.map((event) =>
      isLine && isMany && event.type !== 'BOOKMARK'
        ? lineParts(event.type, event.stored)
        : [this.#event(event)],
    );
  }

  #event(event: StoredEvent): Buffer {
    const { form, registry } = this.#context;
    if (event.type === 'BOOKMARK') return this.#bookmark(event);
    const { type, stored } = event;
    const isProtobuf = form.format === 'protobuf';
    if (form.as === 'object') return (isProtobuf ? frames : lines).bytes(type, stored);
    if (isProtobuf) {
      const object = registry.core.storage.scanned(stored);
      return frameOf(type, protobufMetadata(object, form.version));
    }
    const text = transformedText(this.#context, stored, !this.#sentColumns);
    this.#sentColumns = true;
    return lineOf(type, text);
  }

  #bookmark(event: StoredEvent & { readonly type: 'BOOKMARK' }): Buffer {
    const { form, resource } = this.#context;
    const metadata = {
      resourceVersion: String(event.revision),
      ...(event.initialEventsEnd ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {}),
    };
    if (form.format === 'protobuf') {
      const object =
        form.as === 'object'
          ? encodeProtobuf(resource.apiVersion, resource.module.kind, { metadata })
          : protobufMetadata({ metadata }, form.version);
      return frameOf('BOOKMARK', object);
    }
    const text =
      form.as === 'object'
        ? `${resource.head}"metadata":${JSON.stringify(metadata)}}`
        : transformedBookmark(form, metadata);
    return lineOf('BOOKMARK', text);
  }
}

/** The last event of a watch that cannot go on. */
export function encodeError(form: AnswerForm, status: Status): Buffer {
  if (form.format !== 'protobuf') return lineOf('ERROR', JSON.stringify(status));
  return frameOf('ERROR', encodeProtobuf(status.apiVersion, status.kind, status));
}

function lineOf(type: string, object: string): Buffer {
  return Buffer.from(`{"type":"${type}","object":${object}}\n`);
}

function frameOf(type: string, object: Uint8Array): Buffer {
  return asBuffer(encodeWatchFrame(type, object));
}

/**
 * Writes Event objects: what `kubectl describe` and `kubectl get events` tell people about
 * decisions.
 *
 * Promises: `record` never blocks and never throws; the same event again raises its count instead
 * of making a new object; one noisy object cannot fill the queue (a bucket of 25 events, one more
 * every 5 minutes, as client-go's spam filter); the queue and the memory of known events are
 * bounded, and what was dropped is logged. Events are for people: nothing decides by them, and
 * losing one loses no work.
 */
import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import { type Clock, rfc3339 } from '../../protocol/clock.ts';
import type { Event, ObjectMeta } from '../../protocol/kinds/types.ts';
import { ApiError } from '../../protocol/status.ts';
import { type ApiClient, RESOURCES } from '../api/client.ts';

/** The object an event is about. Lists leave kind and apiVersion out, so the caller names them. */
export interface EventTarget {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
}

export type EventType = 'Normal' | 'Warning';

export interface EventRecorder {
  record(regarding: EventTarget, type: EventType, reason: string, message: string): void;
}

interface ApiEventRecorderOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
  /** Who reports, as in "default-scheduler". */
  readonly component: string;
  /** Makes the end of an event's name; must not repeat. */
  readonly nextId?: () => string;
}

const QUEUE_MAX = 1_000;
const KNOWN_MAX = 4_096;
const BURST = 25;
const REFILL_MS = 300_000;

interface Pending {
  readonly key: string;
  readonly event: Event;
}

interface Known {
  readonly name: string;
  count: number;
}

export class ApiEventRecorder implements EventRecorder {
  readonly #options: ApiEventRecorderOptions;
  readonly #queue: Pending[] = [];
  readonly #known = new Map<string, Known>();
  readonly #buckets = new Map<string, { tokens: number; atMs: number }>();
  #sending: Promise<void> | undefined;
  #dropped = 0;
  #stopped = false;

  constructor(options: ApiEventRecorderOptions) {
    this.#options = options;
  }

  record(regarding: EventTarget, type: EventType, reason: string, message: string): void {
    if (this.#stopped) return;
    const { clock, component } = this.#options;
    const { namespace, name, uid, resourceVersion } = regarding.metadata;
    if (!this.#takeToken(`${component}/${uid ?? name ?? ''}`) || this.#queue.length >= QUEUE_MAX) {
      this.#dropped += 1;
      return;
    }
    const now = rfc3339(clock.wallMs());
    const eventNamespace = namespace === undefined || namespace === '' ? 'default' : namespace;
    const event: Event = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { namespace: eventNamespace, name: `${name ?? 'unknown'}.${this.#nextId()}` },
      involvedObject: {
        apiVersion: regarding.apiVersion,
        kind: regarding.kind,
        ...(name === undefined ? {} : { name }),
        ...(namespace === undefined ? {} : { namespace }),
        ...(uid === undefined ? {} : { uid }),
        ...(resourceVersion === undefined ? {} : { resourceVersion }),
      },
      reason,
      message,
      type,
      source: { component },
      reportingComponent: component,
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
    };
    const key = JSON.stringify([regarding.kind, namespace, name, uid, type, reason, message]);
    this.#queue.push({ key, event });
    this.#sending ??= this.#send().finally(() => {
      this.#sending = undefined;
    });
  }

  /** Resolves when all that was recorded has been written, or given up. */
  async flush(): Promise<void> {
    while (this.#sending !== undefined) await this.#sending;
  }

  /** Refuses further events and waits for those under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.flush();
  }

  #nextId(): string {
    return this.#options.nextId?.() ?? randomBytes(8).toString('hex');
  }

  #takeToken(key: string): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    const bucket = this.#buckets.get(key) ?? { tokens: BURST, atMs: nowMs };
    const refilled = Math.floor((nowMs - bucket.atMs) / REFILL_MS);
    if (refilled > 0) {
      bucket.tokens = Math.min(BURST, bucket.tokens + refilled);
      bucket.atMs += refilled * REFILL_MS;
    }
    remember(this.#buckets, key, bucket);
    if (bucket.tokens === 0) return false;
    bucket.tokens -= 1;
    return true;
  }

  async #send(): Promise<void> {
    // Leave the caller's stack first: `record` is called from within decisions.
    await Promise.resolve();
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      try {
        await this.#write(next);
      } catch (error) {
        const { reason, involvedObject } = next.event;
        this.#options.log.warn(
          { err: error, reason, object: involvedObject.name },
          'could not write an event',
        );
      }
    }
    if (this.#dropped === 0) return;
    this.#options.log.warn({ dropped: this.#dropped }, 'too many events, some were not written');
    this.#dropped = 0;
  }

  async #write({ key, event }: Pending): Promise<void> {
    const { client } = this.#options;
    const known = this.#known.get(key);
    if (known !== undefined) {
      try {
        known.count += 1;
        await client.patch<Event>(
          RESOURCES.events,
          event.metadata?.namespace ?? 'default',
          known.name,
          { count: known.count, lastTimestamp: event.lastTimestamp },
        );
        return;
      } catch (error) {
        // Events expire: then this one starts anew.
        if (!(error instanceof ApiError) || error.reason !== 'NotFound') throw error;
        this.#known.delete(key);
      }
    }
    await client.create<Event>(RESOURCES.events, event);
    remember(this.#known, key, {
      name: event.metadata?.name ?? '',
      count: 1,
    });
  }
}

/** Sets and moves to the end; forgets the oldest beyond the bound. */
function remember<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= KNOWN_MAX) return;
  const [oldest] = map.keys();
  if (oldest !== undefined) map.delete(oldest);
}

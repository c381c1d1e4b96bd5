/**
 * A watch over HTTP: one line of JSON per event, as long as the client reads and the time it asked for has not passed.
 *
 * The start follows Kubernetes: no resourceVersion or "0" begins with the current objects as ADDED; a number goes on
 * after it; `sendInitialEvents=true` (WatchList) sends the current objects and a bookmark that ends them.
 * A client that does not read is cut after `slowMs`; meanwhile it costs one batch of events. Falling behind the
 * history is told inside the stream (ERROR with a 410 Status), where every client library looks for it.
 *
 * The bytes of an event are made once for all plain watches that send it.
 */
import { ApiError, badRequest, type FieldError, invalid } from '../../protocol/status.ts';
import { type ApiRequest, asApiError, drained, writeHead } from './answers.ts';
import type { ListOptions } from './client.ts';
import { parseRevision } from './list.ts';
import type { AnswerForm } from './negotiate.ts';
import type { Registry } from './registry.ts';
import type { Resource } from './resources.ts';
import { parseBoolean, parseInteger } from './routes.ts';
import { objectHead, type Stored, tailOf } from './stored.ts';
import { includeObject, type TableContext, transformedBookmark, transformedText } from './table.ts';
import type { StoredEvent, WatchStart } from './watch.ts';

export interface WatchLimits {
  /** Every so often a bookmark, for clients that want them. */
  readonly bookmarkMs: number;
  /** A client that takes nothing for so long is cut. */
  readonly slowMs: number;
  /** Without a `timeoutSeconds` of the client, a watch lives between this and twice this. */
  readonly lifetimeMs: number;
}

export const DEFAULT_WATCH_LIMITS: WatchLimits = {
  bookmarkMs: 60_000,
  slowMs: 30_000,
  lifetimeMs: 30 * 60_000,
};

export interface WatchRequest {
  readonly registry: Registry;
  readonly resource: Resource;
  readonly options: ListOptions;
  readonly form: AnswerForm;
  readonly limits: WatchLimits;
  /** Aborts when the server stops. */
  readonly stopping: AbortSignal;
}

export async function streamWatch(request: ApiRequest, watch: WatchRequest): Promise<void> {
  const { query, response, user } = request;
  const { registry, resource, options, limits } = watch;
  const abort = new AbortController();
  const stop = (): void => abort.abort();
  const start = watchStart(query, limits, abort.signal);
  const batches = await registry.watch(user, resource, options, start);
  response.once('close', stop);
  watch.stopping.addEventListener('abort', stop, { once: true });
  const timer = setTimeout(stop, lifetimeMs(query, registry, limits));
  timer.unref();
  try {
    writeHead(request, 200, contentTypeOf(watch.form), { 'Transfer-Encoding': 'chunked' });
    // Clients wait for the headers before they trust the watch.
    response.flushHeaders();
    const encoder = new EventEncoder(watch, includeObject(query));
    const bookmarks = parseBoolean(query.get('allowWatchBookmarks'));
    for await (const batch of batches) {
      const wanted = bookmarks ? batch : batch.filter((event) => event.type !== 'BOOKMARK');
      if (wanted.length === 0) continue;
      const open = response.write(encoder.encode(wanted));
      if (!open && !(await drained(response, limits.slowMs))) return;
    }
  } catch (error) {
    if (response.destroyed) return;
    const status = asApiError(error).toStatus();
    response.write(`${JSON.stringify({ type: 'ERROR', object: status })}\n`);
    if (!(error instanceof ApiError)) throw error;
  } finally {
    clearTimeout(timer);
    watch.stopping.removeEventListener('abort', stop);
    response.off('close', stop);
    abort.abort();
    response.end();
  }
}

function contentTypeOf(form: AnswerForm): string {
  if (form.as === 'object') return 'application/json';
  return `application/json;as=${form.as};g=meta.k8s.io;v=${form.version};stream=watch`;
}

/** Kubernetes: a random time between 30 and 60 minutes, so that the clients do not all come back at once. */
function lifetimeMs(query: URLSearchParams, registry: Registry, limits: WatchLimits): number {
  const seconds = parseInteger(query, 'timeoutSeconds') ?? 0;
  if (seconds > 0) return Math.min(seconds * 1000, 2 ** 31 - 1);
  return limits.lifetimeMs * (1 + registry.core.random.fraction());
}

function watchStart(query: URLSearchParams, limits: WatchLimits, signal: AbortSignal): WatchStart {
  const bookmarks = parseBoolean(query.get('allowWatchBookmarks'));
  const bookmarkMs = bookmarks ? limits.bookmarkMs : 0;
  const after = parseRevision(query.get('resourceVersion') ?? undefined);
  const initial = query.get('sendInitialEvents');
  checkInitialEvents(query, initial);
  if (initial !== null && parseBoolean(initial)) {
    // Started from the current state, which is never older than the revision that was asked for.
    return { markInitialEnd: bookmarks, bookmarkMs, signal };
  }
  const from = after === 0 ? {} : { after };
  return { ...from, markInitialEnd: false, bookmarkMs, signal };
}

/** The rules of WatchList (Kubernetes: ValidateListOptions); clients fall back to list and watch on a 422. */
function checkInitialEvents(query: URLSearchParams, initial: string | null): void {
  const match = query.get('resourceVersionMatch') ?? '';
  const errors: FieldError[] = [];
  if (initial === null) {
    if (match !== '') {
      errors.push(
        forbidden(
          'resourceVersionMatch',
          'resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
        ),
      );
    }
  } else if (match !== 'NotOlderThan') {
    errors.push(
      forbidden(
        'resourceVersionMatch',
        'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan',
      ),
    );
  }
  if (errors.length > 0) throw invalid('meta.k8s.io', 'ListOptions', '', errors);
  if (query.has('continue') && query.get('continue') !== '') {
    throw badRequest('continue is not allowed for a watch');
  }
}

function forbidden(field: string, why: string): FieldError {
  return { field, reason: 'FieldValueForbidden', message: `Forbidden: ${why}` };
}

/** The line of the last event that was sent of some stored bytes; other watches mostly send the same one. */
interface SharedLine {
  readonly type: string;
  readonly revision: number;
  readonly line: Buffer;
}

/**
 * One entry per recent event. Bounded by count: a line is as large as its object, and what matters is only that the
 * watches that get an event in the same moment share it.
 */
const shared = new Map<Uint8Array, SharedLine>();
const SHARED_MAX = 64;
/** A larger one is made anew for each watch. */
const SHARED_BYTES_MAX = 16 * 1024;

function plainLine(type: string, stored: Stored): Buffer {
  const known = shared.get(stored.value);
  if (known !== undefined && known.type === type && known.revision === stored.revision) {
    return known.line;
  }
  const head = objectHead(stored.resource, stored.revision);
  const line = Buffer.concat([
    Buffer.from(`{"type":"${type}","object":${head}`),
    tailOf(stored.value),
    LINE_END,
  ]);
  if (line.byteLength > SHARED_BYTES_MAX) return line;
  shared.delete(stored.value);
  shared.set(stored.value, { type, revision: stored.revision, line });
  if (shared.size > SHARED_MAX) {
    for (const oldest of shared.keys()) {
      shared.delete(oldest);
      break;
    }
  }
  return line;
}

const LINE_END = Buffer.from('}\n');

class EventEncoder {
  readonly #context: TableContext;
  #sentColumns = false;

  constructor(watch: WatchRequest, include: TableContext['include']) {
    const { registry, resource, form } = watch;
    this.#context = { registry, resource, form, include };
  }

  encode(events: readonly StoredEvent[]): Buffer {
    const parts = events.map((event) => this.#line(event));
    const [only] = parts;
    return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
  }

  #line(event: StoredEvent): Buffer {
    const { form } = this.#context;
    if (event.type === 'BOOKMARK') return this.#bookmark(event);
    if (form.as === 'object') return plainLine(event.type, event.stored);
    const text = transformedText(this.#context, event.stored, !this.#sentColumns);
    this.#sentColumns = true;
    return Buffer.from(`{"type":"${event.type}","object":${text}}\n`);
  }

  #bookmark(event: StoredEvent & { readonly type: 'BOOKMARK' }): Buffer {
    const { form, resource } = this.#context;
    const metadata = {
      resourceVersion: String(event.revision),
      ...(event.initialEventsEnd ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {}),
    };
    const object =
      form.as === 'object'
        ? `${resource.head}"metadata":${JSON.stringify(metadata)}}`
        : transformedBookmark(form, metadata);
    return Buffer.from(`{"type":"BOOKMARK","object":${object}}\n`);
  }
}

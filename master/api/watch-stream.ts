/**
 * A watch over HTTP: one line of JSON per event, as long as the client reads and the time it asked for has not passed. Over
 * a WebSocket (streams/watch-socket.ts) the same, one message per event.
 *
 * The start follows Kubernetes: no resourceVersion or "0" begins with the current objects as ADDED; a number goes on
 * after it; `sendInitialEvents=true` (WatchList) sends the current objects and a bookmark that ends them.
 * A client that does not read is cut after `slowMs`; meanwhile it costs one batch of events. Falling behind the
 * history is told inside the stream (ERROR with a 410 Status), where every client library looks for it.
 *
 * As protobuf, an event is a frame with its length before it instead of a line.
 */
import { ApiError, badRequest, type FieldError, invalid } from '../../protocol/status.ts';
import { type ApiRequest, asApiError, drained, writeHead } from './answers.ts';
import type { ListOptions, User } from './client.ts';
import { parseRevision } from './list.ts';
import type { AnswerForm } from './negotiate.ts';
import type { Registry } from './registry.ts';
import type { Resource } from './resources.ts';
import { parseBoolean, parseInteger } from './routes.ts';
import { writeParts } from './send-buffers.ts';
import { contentTypeOf, includeObject } from './table.ts';
import type { WatchStart } from './watch.ts';
import { type EventBytes, EventEncoder, encodeError } from './watch-events.ts';

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
  readonly user: User;
  readonly query: URLSearchParams;
  readonly registry: Registry;
  readonly resource: Resource;
  readonly options: ListOptions;
  readonly form: AnswerForm;
  readonly limits: WatchLimits;
  /** Aborts when the server stops. */
  readonly stopping: AbortSignal;
}

/** The client's end of a watch. */
export interface WatchSink {
  /** The watch is allowed and begins; `ended` is to be called when the client is gone. */
  begin(ended: () => void): void | Promise<void>;
  /** False when the client is gone, or has taken nothing for too long. */
  send(events: readonly EventBytes[]): Promise<boolean>;
  readonly isGone: boolean;
  end(): void;
}

export function streamWatch(request: ApiRequest, watch: WatchRequest): Promise<void> {
  return serveWatch(watch, answerSink(request, watch));
}

/** Throws what can still be answered with a Status; once the sink has begun, only what is no `ApiError`. */
export async function serveWatch(watch: WatchRequest, sink: WatchSink): Promise<void> {
  const { query, user, registry, resource, options, form, limits, stopping } = watch;
  const abort = new AbortController();
  const stop = (): void => abort.abort();
  const start = watchStart(query, limits, abort.signal);
  const batches = await registry.watch(user, resource, options, start);
  const timer = setTimeout(stop, lifetimeMs(query, registry, limits));
  timer.unref();
  stopping.addEventListener('abort', stop, { once: true });
  try {
    await sink.begin(stop);
    const encoder = new EventEncoder({ registry, resource, form, include: includeObject(query) });
    const bookmarks = parseBoolean(query.get('allowWatchBookmarks'));
    for await (const batch of batches) {
      const wanted = bookmarks ? batch : batch.filter((event) => event.type !== 'BOOKMARK');
      if (wanted.length === 0) continue;
      if (!(await sink.send(encoder.encode(wanted)))) return;
    }
  } catch (error) {
    if (sink.isGone) return;
    await sink.send([[encodeError(form, asApiError(error).toStatus())]]);
    if (!(error instanceof ApiError)) throw error;
  } finally {
    clearTimeout(timer);
    stopping.removeEventListener('abort', stop);
    abort.abort();
    sink.end();
  }
}

/** The answer to an ordinary GET. */
function answerSink(request: ApiRequest, { form, limits }: WatchRequest): WatchSink {
  const { response } = request;
  return {
    begin(ended) {
      response.once('close', ended);
      writeHead(request, 200, watchTypeOf(form), { 'Transfer-Encoding': 'chunked' });
      // Clients wait for the headers before they trust the watch.
      response.flushHeaders();
    },
    async send(events) {
      return writeParts(response, events.flat()) || drained(response, limits.slowMs);
    },
    get isGone() {
      return response.destroyed;
    },
    end: () => void response.end(),
  };
}

/** Kubernetes names the stream for all but plain JSON. */
function watchTypeOf(form: AnswerForm): string {
  const type = contentTypeOf(form);
  return type === 'application/json' ? type : `${type};stream=watch`;
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

/**
 * GET pods/NAME/log: checks what is asked and hands the bytes of a `LogSource` (the fleet link, which asks the pod's
 * board) on to the client, as fast as it reads.
 */
import type { Pod } from '../../protocol/kinds/types.ts';
import { ApiError, badRequest, type FieldError, invalid } from '../../protocol/status.ts';
import { type ApiRequest, sendText } from './answers.ts';
import { sendByteStream } from './byte-stream.ts';
import { parseBoolean, parseInteger } from './routes.ts';

/** PodLogOptions (core/v1), with the container found. */
export interface LogOptions {
  readonly container: string;
  readonly follow: boolean;
  readonly previous: boolean;
  readonly timestamps: boolean;
  readonly sinceSeconds?: number;
  /** RFC 3339. */
  readonly sinceTime?: string;
  readonly tailLines?: number;
  readonly limitBytes?: number;
}

export interface LogSource {
  /** Throws `ApiError` when there is no such log; the bytes end when the log does, or at `signal`. */
  open(pod: Pod, options: LogOptions, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
}

export async function sendPodLog(
  request: ApiRequest,
  pod: Pod,
  source: LogSource | undefined,
): Promise<void> {
  const options = logOptions(pod, request.query);
  // Kubernetes: a pod without a board has an empty log.
  if ((pod.spec?.nodeName ?? '') === '') return sendText(request, 200, '');
  if (source === undefined) {
    throw new ApiError(503, 'ServiceUnavailable', 'this master has no link to its boards for logs');
  }
  await sendByteStream(request, 'text/plain', (signal) => source.open(pod, options, signal));
}

function logOptions(pod: Pod, query: URLSearchParams): LogOptions {
  const sinceSeconds = parseInteger(query, 'sinceSeconds');
  const tailLines = parseInteger(query, 'tailLines');
  const limitBytes = parseInteger(query, 'limitBytes');
  const sinceTime = query.get('sinceTime') ?? '';
  const errors: FieldError[] = [];
  if (tailLines !== undefined && tailLines < 0) {
    errors.push(bad('tailLines', tailLines, 'must be greater than or equal to 0'));
  }
  if (limitBytes !== undefined && limitBytes < 1) {
    errors.push(bad('limitBytes', limitBytes, 'must be greater than 0'));
  }
  if (sinceSeconds !== undefined && sinceSeconds < 1) {
    errors.push(bad('sinceSeconds', sinceSeconds, 'must be greater than 0'));
  }
  if (sinceSeconds !== undefined && sinceTime !== '') {
    errors.push({
      field: 'sinceSeconds',
      reason: 'FieldValueForbidden',
      message: 'Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified',
    });
  }
  if (sinceTime !== '' && Number.isNaN(Date.parse(sinceTime))) {
    throw badRequest(`sinceTime: "${sinceTime}" is no time in RFC 3339`);
  }
  if (errors.length > 0) throw invalid('', 'PodLogOptions', pod.metadata?.name ?? '', errors);
  return {
    container: containerOf(pod, query.get('container') ?? ''),
    follow: query.has('follow') && parseBoolean(query.get('follow')),
    previous: query.has('previous') && parseBoolean(query.get('previous')),
    timestamps: query.has('timestamps') && parseBoolean(query.get('timestamps')),
    ...(sinceSeconds === undefined ? {} : { sinceSeconds }),
    ...(sinceTime === '' ? {} : { sinceTime }),
    ...(tailLines === undefined ? {} : { tailLines }),
    ...(limitBytes === undefined ? {} : { limitBytes }),
  };
}

function bad(field: string, value: number, why: string): FieldError {
  return { field, reason: 'FieldValueInvalid', message: `Invalid value: ${value}: ${why}` };
}

/** The container asked for, or the only one; 400 in Kubernetes' words when that is not clear. */
function containerOf(pod: Pod, wanted: string): string {
  const name = pod.metadata?.name ?? '';
  const init = (pod.spec?.initContainers ?? []).map((container) => container.name);
  const main = (pod.spec?.containers ?? []).map((container) => container.name);
  const ephemeral = (pod.spec?.ephemeralContainers ?? []).map((container) => container.name);
  if (wanted !== '') {
    if ([...init, ...main, ...ephemeral].includes(wanted)) return wanted;
    throw badRequest(`container ${wanted} is not valid for pod ${name}`);
  }
  const [only] = main;
  if (main.length === 1 && only !== undefined && init.length === 0) return only;
  if (main.length === 0) throw badRequest(`a container name must be specified for pod ${name}`);
  const others = init.length === 0 ? '' : ` or one of the init containers: [${init.join(' ')}]`;
  throw badRequest(
    `a container name must be specified for pod ${name}, choose one of: [${main.join(' ')}]${others}`,
  );
}

/** Hands bytes that come from a board on to the client, as fast as it reads. */
import { type ApiRequest, drained, writeHead } from './answers.ts';

/**
 * `open`: throws `ApiError` when there is nothing to send; its signal aborts when the client has gone or all is sent.
 */
export async function sendByteStream(
  request: ApiRequest,
  type: string,
  open: (signal: AbortSignal) => Promise<AsyncIterable<Uint8Array>>,
): Promise<void> {
  const { response } = request;
  const abort = new AbortController();
  const stop = (): void => abort.abort();
  response.once('close', stop);
  try {
    const bytes = await open(abort.signal);
    writeHead(request, 200, type);
    response.flushHeaders();
    for await (const chunk of bytes) {
      if (response.destroyed) return;
      if (!response.write(chunk) && !(await drained(response))) return;
    }
    response.end();
  } finally {
    response.off('close', stop);
    abort.abort();
  }
}

/** libpod's stream of events about our containers. */
import { answerLines, type CallOptions, type PodmanHttp } from './podman-http.ts';
import { readEvent } from './podman-read.ts';
import { LABELS, RuntimeError, type RuntimeEvent } from './runtime.ts';

type Open = (
  options: CallOptions & { readonly signal: AbortSignal },
) => ReturnType<PodmanHttp['stream']>;

/** As `Runtime.events` says; `open` asks for `GET /libpod/events`. */
export async function* podmanEvents(open: Open, signal: AbortSignal): AsyncIterable<RuntimeEvent> {
  // podman answers only with the first event, so "from now on" is said by time, not by the order of calls.
  const since = (Date.now() / 1000).toFixed(3);
  const filters = JSON.stringify({ type: ['container'], label: [`${LABELS.managed}=true`] });
  const query = { stream: true, since, filters };
  const answer = await open({ query, signal }).catch((error: unknown) => {
    if (signal.aborted) return undefined;
    throw error;
  });
  if (answer === undefined) return;
  for await (const line of answerLines(answer, signal)) {
    const event = readEvent(line);
    if (event !== undefined) yield event;
  }
  if (!signal.aborted) {
    throw new RuntimeError("podman's event stream broke off; list everything again");
  }
}

/** The stream of events about our containers, which podman and Docker have alike. */
import { answerLines, type CallOptions, type PodmanHttp } from './podman-http.ts';
import { LABELS, RuntimeError, type RuntimeEvent } from './runtime.ts';

export interface EventStream {
  readonly engine: string;
  /** Asks for it at `/events`. */
  readonly open: (
    options: CallOptions & { readonly signal: AbortSignal },
  ) => ReturnType<PodmanHttp['stream']>;
  /** Filters beside the one for our containers. */
  readonly filters?: Readonly<Record<string, readonly string[]>>;
  /** Undefined for a line that tells nothing of interest. */
  readonly read: (line: string) => RuntimeEvent | undefined;
}

/** As `Runtime.events` says. */
export async function* engineEvents(
  { engine, open, filters = {}, read }: EventStream,
  signal: AbortSignal,
): AsyncIterable<RuntimeEvent> {
  const ours = { type: ['container'], label: [`${LABELS.managed}=true`], ...filters };
  const query = {
    stream: true,
    // An engine may take a while to listen, and podman answers only with the first event: "from now on" is said by time.
    since: (Date.now() / 1000).toFixed(3),
    filters: JSON.stringify(ours),
  };
  const answer = await open({ query, signal }).catch((error: unknown) => {
    if (signal.aborted) return undefined;
    throw error;
  });
  if (answer === undefined) return;
  for await (const line of answerLines(answer, signal)) {
    const event = read(line);
    if (event !== undefined) yield event;
  }
  if (!signal.aborted) {
    throw new RuntimeError(`${engine}'s event stream broke off; list everything again`);
  }
}

/** Opens what a StreamRequest asks of the board itself. */
import type { MetricsRequest } from '../protocol/stream-requests.ts';
import type { ServedStream } from './link/stream-pump.ts';
import type { PageSources } from './metrics/pages.ts';

/** Throws what the measuring throws. */
export async function openMetrics(
  { page }: MetricsRequest,
  sources: PageSources,
): Promise<ServedStream> {
  // With the first scrape only: an agent idles for months, mostly without any.
  const { metricsPage } = await import('./metrics/pages.ts');
  const text = new TextEncoder().encode(await metricsPage(page, sources));
  return { type: 'bytes', bytes: once(text) };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

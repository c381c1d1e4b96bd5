/** Opens what a StreamRequest asks of the board itself. */

import type { Logger } from 'pino';
import type { MetricsRequest, ShellRequest } from '../protocol/stream-requests.ts';
import type { PtyLibrary } from './board-shell.ts';
import type { ServedStream } from './link/stream-pump.ts';
import type { PageSources } from './metrics/pages.ts';

export interface ShellContext {
  readonly node: string;
  readonly isAllowed: boolean;
  readonly log: Logger;
  /** Default: node-pty, when it is installed. */
  readonly loadPty?: () => Promise<PtyLibrary>;
  /** An event of the board. */
  readonly tell: (reason: string, message: string) => void;
}

/** Who opened a shell, and when it ended, stands in the log and in events of the Node. Throws ApiError. */
export async function openBoardShell(
  { user, term }: ShellRequest,
  { node, isAllowed, log, tell, ...own }: ShellContext,
  signal: AbortSignal,
): Promise<ServedStream> {
  const { loadNodePty, openShell } = await import('./board-shell.ts');
  const session = await openShell({ node, isAllowed, term, loadPty: own.loadPty ?? loadNodePty });
  log.warn({ user }, 'a shell on this board was opened');
  tell('ShellOpened', `${user} opened a shell on this board`);
  const closed = (): void => {
    log.warn({ user }, 'a shell on this board has ended');
    tell('ShellClosed', `the shell of ${user} on this board has ended`);
  };
  // Also aborted when all is over.
  if (signal.aborted) closed();
  else signal.addEventListener('abort', closed, { once: true });
  return { type: 'session', session };
}

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

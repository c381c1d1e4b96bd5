/** A watch of a real master, event by event, whatever becomes of the master meanwhile. */
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { text } from 'node:stream/consumers';
import { readKubeconfig } from '../../cli/kubeconfig.ts';
import type { Change } from './history.ts';
import { type ConfigMap, versionOf } from './history-clients.ts';

export interface WatchLine {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: ConfigMap & { readonly code?: number; readonly message?: string };
}

export interface WatchOptions {
  readonly kubeconfig: string;
  /** Throws when nothing has come for so long. */
  readonly silentMs: number;
  /** Ends it, without an error. */
  readonly signal?: AbortSignal;
}

export function changeOf({ type, object }: WatchLine): Change {
  const { tag, revision } = versionOf(object);
  return { type: type === 'DELETED' ? 'delete' : 'put', key: object.metadata.name, tag, revision };
}

/** The events until the stream breaks off; none at all when no master is there. Throws when the master refuses the watch. */
export async function* watchLines(options: WatchOptions, path: string): AsyncGenerator<WatchLine> {
  const { server, ca, cert, key, serverName } = readKubeconfig(options.kubeconfig);
  const call = request(new URL(path, server), {
    ca,
    cert,
    key,
    agent: false,
    ...(serverName === undefined ? {} : { servername: serverName }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  const stream = await new Promise<IncomingMessage | undefined>((resolve) => {
    call.once('response', resolve);
    call.on('error', () => resolve(undefined));
    call.end();
  });
  if (stream === undefined) return;
  let timedOut = false;
  call.setTimeout(options.silentMs, () => {
    timedOut = true;
    call.destroy();
  });
  try {
    // 503: it is going down.
    if (stream.statusCode === 503) return;
    if (stream.statusCode !== 200) throw new Error(`${path}: ${await text(stream)}`);
    stream.setEncoding('utf8');
    let rest = '';
    for await (const chunk of stream) {
      const parts = (rest + String(chunk)).split('\n');
      // What is cut off in the middle of a line is no event.
      rest = parts.pop() ?? '';
      for (const line of parts) yield JSON.parse(line) as WatchLine;
    }
  } catch (error) {
    // The master is killed in the middle of it: that is the end of the stream, and no error.
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code !== 'ECONNRESET' && code !== 'ABORT_ERR') throw error;
  } finally {
    call.destroy();
  }
  if (timedOut) throw new Error(`nothing came for ${options.silentMs} ms on ${path}`);
}

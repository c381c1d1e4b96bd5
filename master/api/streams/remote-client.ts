/**
 * Joins a client of exec or attach, whichever protocol it speaks, with the stream into the pod.
 *
 * Promises: the two directions do not wait for each other; each is as fast as its slower end, with one frame in flight;
 * the client is told how it ended, in the Status that Kubernetes' clients expect, before its connection closes; when either
 * end goes away the other is let go of.
 */
import { ApiError, type Status } from '../../../protocol/status.ts';
import { CHANNEL, decodeExit, encodeSize, type TerminalSize } from '../../../protocol/streams.ts';
import type { PodStream } from './source.ts';

export type ClientInput =
  | { readonly type: 'stdin'; readonly data: Uint8Array }
  | { readonly type: 'stdinEnd' }
  | { readonly type: 'resize'; readonly size: TerminalSize };

export interface RemoteClient {
  /** What the client sends, in order; undefined when it has gone. For one reader. */
  next(): Promise<ClientInput | undefined>;
  /** Resolves when it takes more. Rejects when it has gone. */
  write(stream: 'stdout' | 'stderr', data: Uint8Array): Promise<void>;
  /** Says how it ended, and closes. */
  finish(status: Status): Promise<void>;
  /** Ends the connection at once. */
  destroy(): void;
}

const CLOSE_STDIN = new Uint8Array([CHANNEL.stdin]);

/**
 * Resolves when both ends are let go of. Never rejects: what went wrong is told to the client. `signal` is the one that
 * ends `pod`.
 */
export async function joinClient(
  client: RemoteClient,
  pod: PodStream,
  signal: AbortSignal,
): Promise<void> {
  let clientGone = false;
  const input = passInput(client, pod).then(
    () => {
      clientGone = true;
      pod.close();
    },
    // The pod's side is over: what it said before is still to be handed on.
    () => undefined,
  );
  try {
    const status = await passOutput(client, pod, signal).catch(failureStatus);
    if (!clientGone) await client.finish(status);
  } catch {
    // The client went away while it was told.
  } finally {
    pod.close();
    client.destroy();
    await input;
  }
}

/** Until the client goes away. Rejects when the pod's side is over. */
async function passInput(client: RemoteClient, pod: PodStream): Promise<void> {
  for (;;) {
    const input = await client.next();
    switch (input?.type) {
      case undefined:
        return;
      case 'stdin':
        await pod.send(CHANNEL.stdin, input.data);
        break;
      case 'stdinEnd':
        await pod.send(CHANNEL.close, CLOSE_STDIN);
        break;
      case 'resize':
        await pod.send(CHANNEL.resize, encodeSize(input.size));
        break;
      default: {
        const never: never = input;
        return never;
      }
    }
  }
}

async function passOutput(
  client: RemoteClient,
  pod: PodStream,
  signal: AbortSignal,
): Promise<Status> {
  for await (const { channel, data } of pod.frames()) {
    if (channel === CHANNEL.exit) return exitStatus(decodeExit(data));
    await client.write(channel === CHANNEL.stderr ? 'stderr' : 'stdout', data);
  }
  if (signal.aborted) {
    throw new ApiError(503, 'ServiceUnavailable', 'the master is shutting down');
  }
  // An attach has no exit code of its own.
  return exitStatus(0);
}

/**
 * As Kubernetes' remotecommand v4 reports an end: success, or the exit code as a cause of the reason NonZeroExitCode,
 * which clients turn into their own exit code.
 */
export function exitStatus(code: number | undefined): Status {
  const head = { kind: 'Status', apiVersion: 'v1', metadata: {} } as const;
  if (code === 0) return { ...head, status: 'Success' };
  if (code === undefined) {
    return failureStatus(new ApiError(502, 'BadGateway', 'the board sent no exit code'));
  }
  return {
    ...head,
    status: 'Failure',
    message: `command terminated with non-zero exit code: exit status ${code}`,
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
  };
}

export function failureStatus(error: unknown): Status {
  if (error instanceof ApiError) return error.toStatus();
  const message = `Internal error occurred: ${error instanceof Error ? error.message : error}`;
  return new ApiError(500, 'InternalError', message).toStatus();
}

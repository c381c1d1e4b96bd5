/**
 * Joins what was opened on the board (a log, a process, a connection to a port) with the stream to the master.
 *
 * Promises: never faster than the other side takes it, in both directions and independent of each other: each frame
 * waits until the one before has left for the kernel, and input is read from the master only when the process has
 * taken what came before.
 */
import { StreamBroken, type StreamSocket } from '../../protocol/stream-socket.ts';
import { CHANNEL, decodeSize, encodeExit, type StreamFrame } from '../../protocol/streams.ts';
import type { ExecSession } from '../runtime/runtime.ts';

export type ServedStream =
  | {
      readonly type: 'bytes';
      readonly bytes: AsyncIterable<Uint8Array>;
      readonly limitBytes?: number;
    }
  | { readonly type: 'session'; readonly session: ExecSession };

const NOTHING = new Uint8Array(0);
const STDOUT = new Uint8Array([CHANNEL.stdout]);

/** Resolves when the source has ended and all of it was sent, the end as well; rejects when either side breaks. */
export async function pumpStream(
  socket: StreamSocket,
  served: ServedStream,
  signal: AbortSignal,
): Promise<void> {
  if (served.type === 'session') return pumpSession(socket, served.session, signal);
  await socket.send(CHANNEL.ready, NOTHING);
  let left = served.limitBytes ?? Number.POSITIVE_INFINITY;
  for await (const chunk of served.bytes) {
    if (signal.aborted) return;
    const bytes = chunk.length > left ? chunk.subarray(0, left) : chunk;
    left -= bytes.length;
    await socket.send(CHANNEL.stdout, bytes);
    if (left <= 0) break;
  }
  await socket.send(CHANNEL.close, STDOUT);
}

async function pumpSession(
  socket: StreamSocket,
  session: ExecSession,
  signal: AbortSignal,
): Promise<void> {
  const leave = (): void => session.close();
  signal.addEventListener('abort', leave, { once: true });
  try {
    if (signal.aborted) return;
    await socket.send(CHANNEL.ready, NOTHING);
    pumpInput(socket, session).catch(leave);
    for await (const { stream, data } of session.output) {
      await socket.send(stream === 'stderr' ? CHANNEL.stderr : CHANNEL.stdout, data);
    }
    if (signal.aborted) return;
    const code = await session.exitCode();
    if (code === undefined) await socket.send(CHANNEL.close, STDOUT);
    else await socket.send(CHANNEL.exit, encodeExit(code));
  } finally {
    signal.removeEventListener('abort', leave);
    leave();
  }
}

/** Until the master's side ends. Rejects when it broke off or makes no sense. */
async function pumpInput(socket: StreamSocket, session: ExecSession): Promise<void> {
  let takesInput = true;
  for (;;) {
    const frame = await socket.next();
    if (frame === undefined) return;
    switch (frame.channel) {
      case CHANNEL.stdin:
        // A process that reads no more may go on writing; its input is dropped.
        if (takesInput) takesInput = await isTaken(session, frame.data);
        break;
      case CHANNEL.close:
        if (frame.data[0] === CHANNEL.stdin) session.endInput();
        break;
      case CHANNEL.resize:
        await resize(session, frame);
        break;
      default:
        throw new StreamBroken(`the master sent a frame of the unknown channel ${frame.channel}`);
    }
  }
}

async function isTaken(session: ExecSession, data: Uint8Array): Promise<boolean> {
  try {
    await session.write(data);
    return true;
  } catch {
    return false;
  }
}

async function resize(session: ExecSession, { data }: StreamFrame): Promise<void> {
  const size = decodeSize(data);
  if (size === undefined) throw new StreamBroken('the master sent a size that is none');
  await session.resize(size);
}

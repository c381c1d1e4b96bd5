/**
 * One connection of a port-forward: from the board to a port of one of its own pods, and nowhere else. The address is what
 * the board itself gave the pod; a pod on the board's network is reached at the board's loopback, as Kubernetes does it.
 */
import { connect, type Socket } from 'node:net';
import { ApiError } from '../protocol/status.ts';
import type { ExecSession } from './runtime/runtime.ts';
import type { OutputPart } from './runtime/stream-demux.ts';

export interface PortTarget {
  readonly podName: string;
  /** Of the pod, or 127.0.0.1. */
  readonly host: string;
  readonly port: number;
}

const CONNECT_TIMEOUT_MS = 10_000;

/** Throws ApiError with what the user should read when nobody answers. */
export function openPort(target: PortTarget, signal: AbortSignal): Promise<ExecSession> {
  const { podName, host, port } = target;
  const socket = connect({ host, port, noDelay: true });
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      socket.destroy();
      const message = `port ${port} of pod "${podName}" (${host}): ${why}`;
      reject(new ApiError(502, 'BadGateway', message));
    };
    const timer = setTimeout(
      () => fail(`no answer within ${CONNECT_TIMEOUT_MS / 1000} s`),
      CONNECT_TIMEOUT_MS,
    );
    const settle = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    };
    const abort = (): void => {
      settle();
      fail('given up');
    };
    signal.addEventListener('abort', abort, { once: true });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      settle();
      const isRefused = error.code === 'ECONNREFUSED';
      fail(isRefused ? `connection refused: ${NOBODY_LISTENS}` : error.message);
    });
    socket.once('connect', () => {
      settle();
      resolve(portSession(socket));
    });
    if (signal.aborted) abort();
  });
}

const NOBODY_LISTENS = "nothing listens there on the pod's own address";

function portSession(socket: Socket): ExecSession {
  // A reset shows as the end of the output or as a failed write.
  socket.on('error', () => undefined);
  return {
    output: read(socket),
    write: (data) =>
      new Promise((resolve, reject) => {
        socket.write(data, (error) => (error ? reject(error) : resolve()));
      }),
    endInput: () => socket.end(),
    resize: async () => undefined,
    exitCode: async () => undefined,
    close: () => socket.destroy(),
  };
}

async function* read(socket: Socket): AsyncGenerator<OutputPart> {
  try {
    for await (const data of socket as AsyncIterable<Buffer>) yield { stream: 'stdout', data };
  } catch (cause) {
    // Destroyed by us, or reset by the pod: the connection is over either way.
    if (!socket.destroyed) throw cause;
  }
}

/**
 * One client connection of a service, from accept to close.
 *
 * Behaves as a direct connection does: half-close passes through in both directions, a reset is passed on as a
 * reset, a slow reader holds back only its own sender, and an idle connection stays open as long as both sides
 * want. A backend that refuses is skipped before a byte of the client was read, so nothing is lost.
 */
import net from 'node:net';
import { type BufferBudget, ReadBuffer } from './read-buffer.ts';
import type { Backend } from './service-table.ts';

export interface ForwardOptions {
  /** The next backend to try; undefined when there is none left. */
  readonly nextBackend: (tried: ReadonlySet<Backend>) => Backend | undefined;
  readonly connectTimeoutMs: number;
  readonly keepAliveMs: number;
  readonly budget: BufferBudget;
  /** A connection to this backend begins, ... */
  readonly onOpen: (backend: Backend) => void;
  /** ... and is over, whether it was ever made or not. */
  readonly onClosed: (backend: Backend) => void;
  /** No backend took the connection; the client was reset. */
  readonly onRefused: (reason: string) => void;
}

/** `client` comes from a server with `pauseOnConnect` and `allowHalfOpen`. */
export function forward(client: net.Socket, options: ForwardOptions): void {
  const tried = new Set<Backend>();
  let reason = 'there is no backend';
  const tryNext = (): void => {
    if (client.destroyed) return;
    const backend = options.nextBackend(tried);
    if (backend === undefined) {
      client.resetAndDestroy();
      options.onRefused(reason);
      return;
    }
    tried.add(backend);
    connect(client, backend, options, (error) => {
      reason = error.message;
      tryNext();
    });
  };
  // Until a backend has it, a client that goes away is only noted.
  client.on('error', () => client.destroy());
  tryNext();
}

function connect(
  client: net.Socket,
  backend: Backend,
  options: ForwardOptions,
  onFailed: (error: Error) => void,
): void {
  const buffer = new ReadBuffer(options.budget);
  let connected = false;
  let waiting = false;
  options.onOpen(backend);
  const onWritten = (): void => {
    if (!waiting || client.writableLength > 0) return;
    waiting = false;
    upstream.resume();
  };
  const upstream = net.connect({
    host: backend.ip,
    port: backend.port,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: options.keepAliveMs,
    onread: {
      buffer: () => buffer.current,
      callback: (bytes, filled) => {
        client.write(filled.subarray(0, bytes), onWritten);
        buffer.noteRead(bytes);
        // What the kernel did not take at once still lies in the buffer: no read before it is gone.
        if (client.writableLength === 0) return true;
        waiting = true;
        return false;
      },
    },
  });
  const timer = setTimeout(() => {
    upstream.destroy(new Error(`${backend.ip}:${backend.port} did not answer in time`));
  }, options.connectTimeoutMs);
  upstream.on('error', (error) => {
    clearTimeout(timer);
    if (connected) client.resetAndDestroy();
    else onFailed(error);
  });
  upstream.on('connect', () => {
    clearTimeout(timer);
    connected = true;
    if (client.destroyed) {
      upstream.destroy();
    } else {
      join(client, upstream);
    }
  });
  upstream.on('close', () => {
    clearTimeout(timer);
    buffer.release();
    options.onClosed(backend);
    if (connected && !client.writableEnded) client.destroy();
  });
}

function join(client: net.Socket, upstream: net.Socket): void {
  client.removeAllListeners('error');
  client.on('error', () => upstream.resetAndDestroy());
  client.on('data', (chunk: Buffer) => {
    if (!upstream.write(chunk)) client.pause();
  });
  upstream.on('drain', () => client.resume());
  client.on('end', () => upstream.end());
  upstream.on('end', () => client.end());
  client.on('close', () => {
    if (!upstream.writableEnded) upstream.destroy();
  });
  client.resume();
}

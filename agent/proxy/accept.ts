/** Connections as Node's handles, before a `net.Socket` is made of them. */
import net from 'node:net';
import type { TcpHandle } from './tcp-handle.ts';

interface ListeningHandle {
  setNoDelay: (enable: boolean) => void;
  setKeepAlive: (enable: boolean, seconds: number) => void;
  onconnection: (error: number, handle: TcpHandle | undefined) => void;
}

/** For a server that listens: it emits no connections any more, and knows of none. */
export function onAccepted(
  server: net.Server,
  keepAliveMs: number,
  callback: (handle: TcpHandle) => void,
): void {
  const { _handle } = server as unknown as { _handle: ListeningHandle };
  // On Linux connections inherit these, so that each one needs no calls of its own.
  _handle.setNoDelay(true);
  _handle.setKeepAlive(true, Math.ceil(keepAliveMs / 1000));
  const { onconnection } = _handle;
  _handle.onconnection = (error, handle) => {
    if (error === 0 && handle !== undefined) callback(handle);
    else onconnection.call(_handle, error, handle);
  };
}

/** The socket of an accepted connection: paused, and open when the other side has ended. */
export function socketOf(handle: TcpHandle): net.Socket {
  const options = { handle, allowHalfOpen: true, pauseOnCreate: true };
  return new net.Socket(options as net.SocketConstructorOpts);
}

/**
 * Node lets a socket read into our buffer (`onread`) when it connects, not when it was accepted. So the sockets of accepted
 * connections are made here, like connecting ones. `_handle` and `onconnection` are not in Node's documentation, but have been
 * there since its first releases, and the tests run on every release we support.
 */
import net from 'node:net';

interface Reading {
  readonly buffer: () => Uint8Array;
  /** False: read no more before `resume()`. */
  readonly callback: (bytes: number, buffer: Uint8Array) => boolean;
}

/** Makes the socket of a connection: paused, and open when the other side has ended. To be called once. */
export type Accepted = (onread?: Reading) => net.Socket;

interface Handle {
  setNoDelay: (enable: boolean) => void;
  setKeepAlive: (enable: boolean, seconds: number) => void;
  onconnection: (error: number, handle: object | undefined) => void;
}

/** For a server that listens: it emits no connections any more, and knows of none. */
export function onAccepted(
  server: net.Server,
  keepAliveMs: number,
  callback: (accepted: Accepted) => void,
): void {
  const { _handle } = server as unknown as { _handle: Handle };
  // On Linux connections inherit these, so that each one needs no calls of its own.
  _handle.setNoDelay(true);
  _handle.setKeepAlive(true, Math.ceil(keepAliveMs / 1000));
  const { onconnection } = _handle;
  _handle.onconnection = (error, handle) => {
    if (error !== 0) {
      onconnection.call(_handle, error, handle);
      return;
    }
    callback((onread) => {
      const options = { handle, allowHalfOpen: true, pauseOnCreate: true, onread };
      return new net.Socket(options as net.SocketConstructorOpts);
    });
  };
}

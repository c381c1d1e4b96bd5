/** A connection between boards is pinged, because a board whose plug is pulled says nothing. */
import type { Http2Session } from 'node:http2';

/** Ends a session on which nothing came, not even the answer to a ping, until the next one is due. */
export function watchLiveness(session: Http2Session, pingMs: number): void {
  let waiting = false;
  let received = 0;
  const look = (): void => {
    if (session.destroyed) return;
    const { bytesRead } = session.socket;
    if (waiting && bytesRead === received) {
      session.destroy(new Error(`the other board has not answered for ${pingMs / 1000} s`));
      return;
    }
    received = bytesRead;
    if (waiting) return;
    waiting = session.ping(() => {
      waiting = false;
    });
  };
  // This process may have stood still: what came meanwhile is read first.
  const timer = setInterval(() => setImmediate(look), pingMs);
  timer.unref();
  session.once('close', () => clearInterval(timer));
}

/** The end of a forwarded connection that is a pod of another board, reached through that board's agent. */
import type { RelayedSocket } from '../relay/relayed-socket.ts';
import type { End, EndOwner } from './end.ts';

export class RelayedEnd implements End {
  peer: End | undefined;
  readonly #socket: RelayedSocket;
  readonly #owner: EndOwner;
  #writes = 0;
  #isClosed = false;

  /** The owner is told how it went. */
  constructor(owner: EndOwner, socket: RelayedSocket) {
    this.#owner = owner;
    this.#socket = socket;
    socket.on('connect', () => {
      if (!this.#isClosed) owner.connected(this);
    });
    socket.on('end', () => {
      if (!this.#isClosed) owner.ended(this);
    });
    socket.on('error', (error) => {
      if (this.#isClosed) return;
      if (socket.connecting) owner.refused(this, error.message);
      else owner.failed(this);
    });
    socket.on('close', () => this.close());
  }

  /** Boards look after the connection between them. */
  keepAlive(): void {}

  join(peer: End): void {
    this.peer = peer;
    this.#socket.on('data', (chunk: Buffer) => {
      if (!peer.write(chunk)) this.#socket.pause();
    });
  }

  write(bytes: Uint8Array): boolean {
    this.#writes++;
    this.#socket.write(bytes, () => {
      this.#writes--;
      if (this.#writes === 0 && !this.#isClosed) this.peer?.resume();
    });
    return this.#writes === 0;
  }

  resume(): void {
    if (!this.#isClosed) this.#socket.resume();
  }

  /** Where the pod has said all, too, it closes by itself. */
  finish(): void {
    if (!this.#isClosed) this.#socket.end();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.destroy();
    this.#owner.closed(this);
  }

  /** What is not over is told as a reset anyway. */
  reset(): void {
    this.close();
  }
}

/** The end of a forwarded connection that is a TCP socket of the kernel, as Node's handle. */
import { getSystemErrorName } from 'node:util';
import type { End, EndOwner } from './end.ts';
import { type BufferPool, ReadBuffer } from './read-buffer.ts';
import {
  bytesRead,
  ConnectRequest,
  type HandleAddress,
  isWriting,
  newTcpHandle,
  type Request,
  ShutdownRequest,
  type TcpHandle,
  WriteRequest,
} from './tcp-handle.ts';

interface OwnedHandle extends TcpHandle {
  end: TcpEnd;
}

const EOF = -4095;

/** Most writes are over at once, and then the request was not used. */
let spare = new WriteRequest();

// A class with shared callbacks and not closures: there are thousands of them, and the bundler's `keepNames` makes each
// named closure dearer.
export class TcpEnd implements End {
  peer: End | undefined;
  readonly #handle: OwnedHandle;
  readonly #owner: EndOwner;
  readonly #buffer: ReadBuffer;
  #writes = 0;
  #hasEnded = false;
  /** A shutdown is under way, ... */
  #isFinishing = false;
  /** ... and over. */
  #hasFinished = false;
  #isClosed = false;

  /** `handle`: of a connection that was accepted; otherwise it is to be connected. */
  constructor(owner: EndOwner, pool: BufferPool, handle: TcpHandle = newTcpHandle()) {
    this.#owner = owner;
    this.#buffer = new ReadBuffer(pool);
    this.#handle = Object.assign(handle, { end: this });
  }

  /** Where it is; empty when it is connected no more. */
  get remote(): HandleAddress {
    const address: HandleAddress = {};
    this.#handle.getpeername(address);
    return address;
  }

  /** Where it came to. */
  get local(): HandleAddress {
    const address: HandleAddress = {};
    this.#handle.getsockname(address);
    return address;
  }

  /** The owner is told how it went. */
  connect(ip: string, port: number): void {
    const request = new ConnectRequest();
    request.oncomplete = onConnected;
    this.#handle.setNoDelay(true);
    const status = ip.includes(':')
      ? this.#handle.connect6(request, ip, port)
      : this.#handle.connect(request, ip, port);
    if (status !== 0) this.connected(status);
  }

  connected(status: number): void {
    if (this.#isClosed) return;
    if (status === 0) this.#owner.connected(this);
    else this.#owner.refused(this, getSystemErrorName(status));
  }

  keepAlive(seconds: number): void {
    this.#handle.setKeepAlive(true, seconds);
  }

  join(peer: End): void {
    this.peer = peer;
    this.#handle.useUserBuffer(this.#buffer.current);
    this.#handle.onread = onread;
    this.#handle.readStart();
  }

  /** `status`: how many bytes were read, or an error. Gives what the next read goes into. */
  read(status: number): Uint8Array | undefined {
    if (status > 0) {
      if (this.peer?.write(this.#buffer.take(status)) === false) this.#handle.readStop();
      return this.#buffer.current;
    }
    if (status === EOF) {
      this.#hasEnded = true;
      this.#owner.ended(this);
      if (this.#hasFinished) this.close();
    } else if (status < 0) this.#owner.failed(this);
    return undefined;
  }

  write(bytes: Uint8Array): boolean {
    const request = spare;
    const status = this.#handle.writeBuffer(request, bytes);
    if (status === 0 && !isWriting()) return true;
    spare = new WriteRequest();
    if (status === 0) {
      request.bytes = bytes;
      request.oncomplete = onWritten;
      this.#writes++;
    } else this.#owner.failed(this);
    return false;
  }

  written(status: number): void {
    this.#writes--;
    if (this.#isClosed) return;
    if (status < 0) this.#owner.failed(this);
    else if (this.#writes === 0) this.peer?.resume();
  }

  resume(): void {
    if (!this.#isClosed && !this.#hasEnded) this.#handle.readStart();
  }

  /** Where this end has said all, too, closing says it with one call instead of three. */
  finish(): void {
    if (this.#isClosed || this.#isFinishing) return;
    if (this.#hasEnded && this.#writes === 0) {
      this.close();
      return;
    }
    this.#isFinishing = true;
    const request = new ShutdownRequest();
    request.oncomplete = onFinished;
    if (this.#handle.shutdown(request) !== 0) this.finished();
  }

  finished(): void {
    this.#hasFinished = true;
    if (this.#hasEnded) this.close();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#handle.close();
    this.#onClosed();
  }

  reset(): void {
    if (this.#isClosed) return;
    if (this.#isFinishing && !this.#hasFinished) this.#handle.close();
    else this.#handle.reset();
    this.#onClosed();
  }

  #onClosed(): void {
    this.#isClosed = true;
    this.#buffer.release();
    this.#owner.closed(this);
  }
}

function onread(this: TcpHandle): Uint8Array | undefined {
  return (this as OwnedHandle).end.read(bytesRead());
}

const onConnected: Request['oncomplete'] = (status, handle) =>
  (handle as OwnedHandle).end.connected(status);

const onWritten: Request['oncomplete'] = (status, handle) =>
  (handle as OwnedHandle).end.written(status);

const onFinished: Request['oncomplete'] = (_, handle) => (handle as OwnedHandle).end.finished();

/**
 * Node's own TCP handles, the floor below `net.Socket`. Most of what a connection costs beside the kernel is the two streams
 * that a socket is: without them it is two thirds of the CPU and a third of the memory (bench/README.md, "proxy"). Node's
 * documentation deprecates `process.binding`, its releases keep it, and the proxy's tests run on each release that we support.
 *
 * Calls give 0 or libuv's negative error number. A handle that nobody closes is never collected.
 */
export interface TcpHandle {
  /** Called for each read, with the handle as `this`; what it gives is what the next read goes into. */
  onread: (this: TcpHandle) => Uint8Array | undefined;
  /** What the first read goes into. To be called once. */
  useUserBuffer: (buffer: Uint8Array) => number;
  readStart: () => number;
  readStop: () => number;
  writeBuffer: (request: Request, bytes: Uint8Array) => number;
  /** After what is written. */
  shutdown: (request: Request) => number;
  connect: (request: Request, ip: string, port: number) => number;
  connect6: (request: Request, ip: string, port: number) => number;
  setNoDelay: (enable: boolean) => number;
  setKeepAlive: (enable: boolean, seconds: number) => number;
  getpeername: (out: HandleAddress) => number;
  getsockname: (out: HandleAddress) => number;
  close: () => void;
  /** Closes with a reset. Not while a shutdown is under way. */
  reset: () => number;
}

export interface HandleAddress {
  address?: string;
  port?: number;
}

/** Something that takes its time. Of one use. */
export interface Request {
  oncomplete: (status: number, handle: TcpHandle) => void;
  /** What is written must not be collected before. */
  bytes?: Uint8Array;
}

interface Bindings {
  tcp_wrap: {
    readonly TCP: new (kind: number) => TcpHandle;
    readonly TCPConnectWrap: new () => Request;
    readonly constants: { readonly SOCKET: number };
  };
  stream_wrap: {
    readonly WriteWrap: new () => Request;
    readonly ShutdownWrap: new () => Request;
    readonly streamBaseState: Int32Array;
    readonly kReadBytesOrError: number;
    readonly kLastWriteWasAsync: number;
  };
}

/** Throws an Error that says which Node.js to use. */
function binding<Name extends keyof Bindings>(name: Name): Bindings[Name] {
  const { binding } = process as unknown as { binding: (name: Name) => Bindings[Name] };
  try {
    return binding(name);
  } catch (cause) {
    throw new Error(`Node.js ${process.version} has no ${name}: use 20, 22, 24 or 26`, { cause });
  }
}

const { TCP, TCPConnectWrap, constants } = binding('tcp_wrap');
const { streamBaseState, kReadBytesOrError, kLastWriteWasAsync, ...stream } =
  binding('stream_wrap');

export const ConnectRequest = TCPConnectWrap;
export const WriteRequest = stream.WriteWrap;
export const ShutdownRequest = stream.ShutdownWrap;

export function newTcpHandle(): TcpHandle {
  return new TCP(constants.SOCKET);
}

/** Of the read that calls: bytes, or a negative error number. */
export function bytesRead(): number {
  return streamBaseState[kReadBytesOrError] ?? 0;
}

/** Whether the last write is still under way; false: the kernel has all of it. */
export function isWriting(): boolean {
  return streamBaseState[kLastWriteWasAsync] !== 0;
}

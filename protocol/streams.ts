/**
 * The streams that a board opens to the master on request: logs, exec, attach, and the connections of port-forward.
 *
 * A WebSocket to `/pier/v1/streams/<id>` of the API server, with the board's certificate; the id comes from the
 * StreamRequest and is good for one dial of that board. Binary frames; the first byte is the channel, as in
 * Kubernetes' own channel protocol:
 *
 *   0 stdin (master to board)    1 stdout, the log, or what a port sends    2 stderr
 *   3 error: JSON StreamFailure, the last frame
 *   4 resize (master to board): columns and rows, two 16-bit numbers, big-endian
 *   5 ready: empty, the first frame when the board could open what was asked
 *   6 exit: the exit code of an exec, 32 bits, big-endian; its last frame
 *   255 close: one byte, the channel that has ended: 0 from the master, the end of stdin; 1 from the board, the last
 *     frame of all but an exec
 *
 * A board that cannot open it sends 3 instead of 5. After the board's last frame it is the master that closes, when it
 * has read all: a board that closed could not know whether a slow reader has got the end.
 * Back-pressure is TCP's: a side that does not read is not sent to (stream-socket.ts).
 */
export const STREAM_PATH = '/pier/v1/streams/';
export const CHANNEL = {
  stdin: 0,
  stdout: 1,
  stderr: 2,
  error: 3,
  resize: 4,
  ready: 5,
  exit: 6,
  close: 255,
} as const;
/** Of one frame. Longer data is cut into several. */
export const STREAM_FRAME_BYTES_MAX = 64 * 1024;
const ERROR_CODE_MIN = 400;
const ERROR_CODE_MAX = 599;

/** Why a stream could not be opened or broke, in the API's terms (metav1.Status). */
export interface StreamFailure {
  readonly code: number;
  readonly reason: string;
  readonly message: string;
}

export interface StreamFrame {
  readonly channel: number;
  readonly data: Uint8Array;
}

export function encodeFrame(channel: number, data: Uint8Array): Uint8Array {
  const frame = new Uint8Array(data.length + 1);
  frame[0] = channel;
  frame.set(data, 1);
  return frame;
}

/** Undefined for an empty frame, which has no meaning. The data is a view into `frame`. */
export function decodeFrame(frame: Uint8Array): StreamFrame | undefined {
  const channel = frame[0];
  return channel === undefined ? undefined : { channel, data: frame.subarray(1) };
}

/** In characters. */
export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** The data of a resize frame. Numbers are cut to 16 bits, as the kernel's winsize has them. */
export function encodeSize({ columns, rows }: TerminalSize): Uint8Array {
  return new Uint8Array([columns >> 8, columns, rows >> 8, rows]);
}

/** Undefined for what is no size. */
export function decodeSize(data: Uint8Array): TerminalSize | undefined {
  if (data.length !== 4) return undefined;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  return { columns: view.getUint16(0), rows: view.getUint16(2) };
}

/** The data of an exit frame. */
export function encodeExit(code: number): Uint8Array {
  return new Uint8Array([code >> 24, code >> 16, code >> 8, code]);
}

/** Undefined for what is no exit code. */
export function decodeExit(data: Uint8Array): number | undefined {
  if (data.length !== 4) return undefined;
  return new DataView(data.buffer, data.byteOffset, data.byteLength).getInt32(0);
}

/** The data of an error frame. */
export function encodeFailure(failure: StreamFailure): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(failure));
}

/** What cannot be read is a failure too, and says so. */
export function decodeFailure(data: Uint8Array): StreamFailure {
  const text = new TextDecoder().decode(data);
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) {
      const { code, reason, message } = value as Partial<Record<keyof StreamFailure, unknown>>;
      const isCode = typeof code === 'number' && code >= ERROR_CODE_MIN && code <= ERROR_CODE_MAX;
      if (isCode && typeof reason === 'string' && typeof message === 'string') {
        return { code, reason, message };
      }
    }
  } catch {
    // Falls through to the answer for all that is no failure as described above.
  }
  return {
    code: 500,
    reason: 'InternalError',
    message: `the board failed: ${text.slice(0, 200)}`,
  };
}

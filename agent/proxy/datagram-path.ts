/** The way that the datagrams of one flow take to a backend and back. */
import dgram from 'node:dgram';
import type { Backend } from './service-table.ts';

/** What the kernel says of a backend that takes nothing: it may say so to whoever sends next. */
const REFUSALS: ReadonlySet<string> = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH']);

export interface DatagramEvents {
  /** Datagrams can be sent from now on. */
  readonly onOpen: () => void;
  readonly onMessage: (bytes: Buffer) => void;
  /** The backend takes nothing. May be told more than once. */
  readonly onError: () => void;
}

export interface DatagramPath {
  send(bytes: Buffer): void;
  /** Nothing is told after it. */
  close(): void;
}

/** A way that is not the direct one; undefined for a backend that has none. */
export type OpenDatagrams = (backend: Backend, events: DatagramEvents) => DatagramPath | undefined;

export function directPath({ ip, port }: Backend, events: DatagramEvents): DatagramPath {
  let isOpen = true;
  const socket = dgram.createSocket('udp4');
  socket.on('message', events.onMessage);
  // Connected, so that the kernel tells when nobody listens there (ICMP) and lets no others in.
  const failed = (): void => {
    if (isOpen) events.onError();
  };
  socket.on('error', failed);
  socket.connect(port, ip, () => {
    if (isOpen) events.onOpen();
  });
  return {
    send: (bytes) =>
      socket.send(bytes, (error) => {
        if (error !== null && 'code' in error && REFUSALS.has(String(error.code))) failed();
      }),
    close: () => {
      isOpen = false;
      socket.close();
    },
  };
}

/**
 * One client's datagrams to one backend and back. UDP has no beginning and no end: a flow begins with a client's first
 * datagram and is over when nothing has passed for a while.
 */
import dgram from 'node:dgram';
import type { Backend } from './service-table.ts';

export interface UdpClient {
  readonly address: string;
  readonly port: number;
}

export interface UdpFlowOptions {
  readonly client: UdpClient;
  /** The next backend to try; undefined when there is none left. */
  readonly nextBackend: (tried: ReadonlySet<Backend>) => Backend | undefined;
  /** Datagrams kept until the backend's socket is ready or the backend has said something. */
  readonly waitingMax: number;
  readonly onReply: (bytes: Buffer) => void;
  readonly onOpen: (backend: Backend) => void;
  readonly onClosed: (backend: Backend) => void;
  /** No backend takes anything; the flow is over. */
  readonly onRefused: () => void;
}

export class UdpFlow {
  readonly #options: UdpFlowOptions;
  readonly #tried = new Set<Backend>();
  #socket: dgram.Socket | undefined;
  #connected = false;
  /** Sent again to another backend when this one turns out not to listen. Empty once it has answered. */
  #waiting: Buffer[] = [];
  #closed = false;
  backend: Backend | undefined;
  /** Whether the backend has said anything. */
  replied = false;
  /** When something passed last; set by the owner. */
  lastMs = 0;

  constructor(options: UdpFlowOptions) {
    this.#options = options;
    this.#next();
  }

  get client(): UdpClient {
    return this.#options.client;
  }

  send(bytes: Buffer): void {
    if (this.#closed) return;
    if (!this.replied && this.#waiting.length < this.#options.waitingMax) this.#waiting.push(bytes);
    if (this.#connected) this.#socket?.send(bytes, ignore);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#leave();
  }

  #next(): void {
    this.#leave();
    const backend = this.#options.nextBackend(this.#tried);
    if (backend === undefined) {
      this.#closed = true;
      this.#options.onRefused();
      return;
    }
    this.#tried.add(backend);
    this.backend = backend;
    this.#options.onOpen(backend);
    const socket = dgram.createSocket('udp4');
    this.#socket = socket;
    socket.on('message', (bytes) => {
      this.replied = true;
      this.#waiting = [];
      this.#options.onReply(bytes);
    });
    // Connected, so that the kernel tells when nobody listens there (ICMP) and lets no others in.
    socket.on('error', () => {
      if (this.#socket === socket && !this.#closed) this.#next();
    });
    socket.connect(backend.port, backend.ip, () => {
      if (this.#socket !== socket) return;
      this.#connected = true;
      for (const bytes of this.#waiting) socket.send(bytes, ignore);
    });
  }

  #leave(): void {
    const { backend } = this;
    this.backend = undefined;
    this.#connected = false;
    this.#socket?.close();
    this.#socket = undefined;
    if (backend !== undefined) this.#options.onClosed(backend);
  }
}

/** With a callback a failed send is told by it: what matters of it arrives as an error of the socket. */
function ignore(): void {}

/**
 * One client's datagrams to one backend and back. UDP has no beginning and no end: a flow begins with a client's first
 * datagram and is over when nothing has passed for a while.
 */
import type { ByteBudget } from './byte-budget.ts';
import type { DatagramEvents, DatagramPath } from './datagram-path.ts';
import type { Backend } from './service-table.ts';

export interface UdpClient {
  readonly address: string;
  readonly port: number;
}

export interface UdpFlowOptions {
  readonly client: UdpClient;
  /** The next backend to try; undefined when there is none left. */
  readonly nextBackend: (tried: ReadonlySet<Backend>) => Backend | undefined;
  readonly open: (backend: Backend, events: DatagramEvents) => DatagramPath;
  /**
   * Datagrams kept until the backend's socket is ready or the backend has said something: at most so many, none longer than so many
   * milliseconds (a backend that does not listen is told of at once), and those of all flows together within the budget.
   */
  readonly waitingMax: number;
  readonly waitingMs: number;
  readonly budget: ByteBudget;
  /** Monotonic. */
  readonly nowMs: () => number;
  readonly onReply: (bytes: Buffer) => void;
  readonly onOpen: (backend: Backend) => void;
  readonly onClosed: (backend: Backend) => void;
  /** No backend takes anything; the flow is over. */
  readonly onRefused: () => void;
}

interface Waiting {
  readonly bytes: Buffer;
  readonly atMs: number;
  /** Against the budget. */
  readonly isCounted: boolean;
}

export class UdpFlow {
  readonly #options: UdpFlowOptions;
  readonly #tried = new Set<Backend>();
  #path: DatagramPath | undefined;
  #connected = false;
  /** Sent again to another backend when this one turns out not to listen. Empty once it has answered. */
  #waiting: Waiting[] = [];
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
    this.#keep(bytes);
    if (this.#connected) this.#path?.send(bytes);
  }

  /** Lets go of what nobody will send again; call it now and then. */
  dropOld(): void {
    const { waitingMs, nowMs } = this.#options;
    const young = this.#waiting.findIndex(({ atMs }) => nowMs() - atMs < waitingMs);
    this.#forget(young === -1 ? this.#waiting.length : young);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#leave();
    this.#forget(this.#waiting.length);
  }

  #next(): void {
    this.#leave();
    const backend = this.#options.nextBackend(this.#tried);
    if (backend === undefined) {
      this.#closed = true;
      this.#forget(this.#waiting.length);
      this.#options.onRefused();
      return;
    }
    this.#tried.add(backend);
    this.backend = backend;
    this.#options.onOpen(backend);
    const path = this.#options.open(backend, {
      onMessage: (bytes) => {
        this.replied = true;
        this.#forget(this.#waiting.length);
        this.#options.onReply(bytes);
      },
      onError: () => {
        if (this.#path === path && !this.#closed) this.#next();
      },
      onOpen: () => {
        if (this.#path !== path) return;
        this.#connected = true;
        this.dropOld();
        for (const { bytes } of this.#waiting) path.send(bytes);
        this.#waiting = this.#waiting.filter(({ isCounted }) => isCounted);
      },
    });
    this.#path = path;
  }

  #keep(bytes: Buffer): void {
    if (this.replied) return;
    const { waitingMax, budget, nowMs } = this.#options;
    this.dropOld();
    if (this.#waiting.length >= waitingMax) this.#forget(1);
    const isCounted = budget.take(bytes.length);
    // Without room it is kept only until the backend's socket is there, which takes a moment.
    if (!isCounted && this.#connected) return;
    this.#waiting.push({ bytes, atMs: nowMs(), isCounted });
  }

  /** Of those that wait the first ones. */
  #forget(count: number): void {
    for (const { bytes, isCounted } of this.#waiting.splice(0, count)) {
      if (isCounted) this.#options.budget.give(bytes.length);
    }
  }

  #leave(): void {
    const { backend } = this;
    this.backend = undefined;
    this.#connected = false;
    this.#path?.close();
    this.#path = undefined;
    if (backend !== undefined) this.#options.onClosed(backend);
  }
}

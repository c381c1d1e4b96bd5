/** One flow of datagrams to a pod of another board and back, through that board's agent. */
import type { ClientHttp2Stream } from 'node:http2';
import type { DatagramEvents, DatagramPath } from '../proxy/datagram-path.ts';
import { CapsuleReader, datagramCapsule } from './capsules.ts';
import { refusalReason } from './target.ts';

export class RelayedDatagrams implements DatagramPath {
  readonly #bytesMax: number;
  readonly #events: DatagramEvents;
  readonly #reader = new CapsuleReader();
  #stream: ClientHttp2Stream | undefined;
  #isOver = false;

  /** `bytesMax`: what may wait to be sent; datagrams beyond it are dropped, as UDP lets them be. */
  constructor(opening: Promise<ClientHttp2Stream>, bytesMax: number, events: DatagramEvents) {
    this.#bytesMax = bytesMax;
    this.#events = events;
    opening.then(
      (stream) => this.#follow(stream),
      () => this.#failed(),
    );
  }

  send(bytes: Buffer): void {
    const stream = this.#stream;
    if (this.#isOver || stream === undefined || stream.writableLength > this.#bytesMax) return;
    stream.write(datagramCapsule(bytes));
  }

  close(): void {
    this.#isOver = true;
    this.#stream?.destroy(new Error('the flow is over'));
  }

  #follow(stream: ClientHttp2Stream): void {
    this.#stream = stream;
    stream.on('error', () => {});
    stream.on('close', () => this.#failed());
    if (this.#isOver) this.close();
    stream.on('response', (headers) => {
      if (refusalReason(headers) !== undefined) stream.destroy(new Error('refused'));
      else if (!this.#isOver) this.#events.onOpen();
    });
    stream.on('data', (chunk: Buffer) => {
      try {
        for (const bytes of this.#reader.read(chunk)) {
          if (!this.#isOver) this.#events.onMessage(bytes);
        }
      } catch (error) {
        stream.destroy(error instanceof Error ? error : new Error(String(error)));
      }
    });
  }

  #failed(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#events.onError();
  }
}

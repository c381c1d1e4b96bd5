/** A small SPDY client for tests, as Kubernetes' clients behave: opens streams, reads what comes on each. */
import type { Duplex } from 'node:stream';
import {
  dataFrame,
  ping,
  rstStream,
  SpdyParser,
  synStream,
} from '../../../protocol/spdy/frames.ts';
import { HeaderPacker } from '../../../protocol/spdy/headers.ts';

export interface PeerStream {
  readonly id: number;
  /** All that came so far. */
  text: string;
  /** The server ends it, or resets it. */
  state: 'open' | 'ended' | 'reset';
}

export class SpdyPeer {
  readonly #transport: Duplex;
  readonly #packer = new HeaderPacker();
  readonly #streams = new Map<number, PeerStream>();
  #nextId = 1;
  pongs = 0;

  constructor(transport: Duplex) {
    this.#transport = transport;
    // Tests end connections in the middle of a write.
    transport.on('error', () => undefined);
    const parser = new SpdyParser();
    transport.on('data', (chunk: Buffer) => {
      for (const frame of parser.push(chunk)) {
        if (frame.type === 'ping') this.pongs += 1;
        if (frame.type !== 'data' && frame.type !== 'reset') continue;
        const stream = this.#streams.get(frame.id);
        if (stream === undefined) continue;
        if (frame.type === 'reset') stream.state = 'reset';
        else {
          stream.text += Buffer.from(frame.data).toString('utf8');
          if (frame.fin) stream.state = 'ended';
        }
      }
    });
    // It was read piece by piece before.
    transport.resume();
  }

  open(headers: Readonly<Record<string, string>>): PeerStream {
    const id = this.#nextId;
    this.#nextId += 2;
    const stream: PeerStream = { id, text: '', state: 'open' };
    this.#streams.set(id, stream);
    this.#transport.write(synStream(id, this.#packer.pack(new Map(Object.entries(headers)))));
    return stream;
  }

  send(stream: PeerStream, data: string | Uint8Array, fin = false): void {
    this.#transport.write(dataFrame(stream.id, Buffer.from(data), fin));
  }

  ping(id: number): void {
    this.#transport.write(ping(id));
  }

  reset(stream: PeerStream): void {
    this.#transport.write(rstStream(stream.id, 5));
  }
}

/** What a raw connection answers before it is SPDY: the head, when `marker` has come. */
export function readHead(socket: Duplex): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const take = (): void => {
      for (;;) {
        // Byte by byte: what follows belongs to SPDY.
        const byte: Buffer | null = socket.read(1);
        if (byte === null) return;
        text += byte.toString('latin1');
        if (!text.endsWith('\r\n\r\n')) continue;
        socket.off('readable', take);
        resolve(text);
        return;
      }
    };
    socket.on('readable', take);
    socket.once('close', () => reject(new Error(`closed after ${JSON.stringify(text)}`)));
  });
}

/**
 * A manifest and the payloads it names, as retained messages. Remembers the digest of each so that only
 * what changed goes out.
 *
 * Order: payloads first, then the manifest, then what nobody names any more is cleared: a reader that holds
 * the manifest finds all of its payloads. A failed publish leaves the rest for the next call.
 */
import type { Bus } from '../broker/bus.ts';

export interface Payload {
  readonly topic: string;
  readonly digest: string;
  /** Called only when it has to go out. */
  readonly encode: () => Uint8Array | Promise<Uint8Array>;
}

const NOTHING = new Uint8Array(0);

export class TopicPublisher {
  readonly #bus: Bus;
  #published = new Map<string, string>();
  #manifestDigest = '';

  constructor(bus: Bus) {
    this.#bus = bus;
  }

  /** Is this manifest out already, with all its payloads? */
  holds(manifestDigest: string): boolean {
    return this.#manifestDigest === manifestDigest;
  }

  /** Number of messages published. */
  async publish(payloads: readonly Payload[], manifest: Payload): Promise<number> {
    let count = 0;
    const wanted = new Set<string>();
    for (const { topic, digest, encode } of payloads) {
      wanted.add(topic);
      if (this.#published.get(topic) === digest) continue;
      await this.#bus.publish(topic, await encode(), { retain: true });
      this.#published.set(topic, digest);
      count += 1;
    }
    if (!this.holds(manifest.digest)) {
      await this.#bus.publish(manifest.topic, await manifest.encode(), { retain: true });
      this.#manifestDigest = manifest.digest;
      count += 1;
    }
    for (const topic of this.#published.keys()) {
      if (wanted.has(topic)) continue;
      await this.#bus.publish(topic, NOTHING, { retain: true });
      this.#published.delete(topic);
      count += 1;
    }
    return count;
  }

  /** The broker may have lost what was retained: everything is to go out again. */
  forget(): void {
    this.#published = new Map();
    this.#manifestDigest = '';
  }
}

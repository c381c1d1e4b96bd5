/**
 * What the agent still has to tell the master, bounded. Pure bookkeeping, no I/O.
 *
 * - State (facts, the status of a pod): only the latest per topic is kept, at most 2,048 topics.
 * - Happenings (events): in order, at most 256; the oldest are dropped and counted.
 * - At most 32 messages are in flight; what was in flight when the connection broke is sent again, unless
 *   something newer for the same topic waits.
 */
const TOPICS_MAX = 2_048;
const QUEUE_MAX = 256;
const WINDOW = 32;

export interface OutgoingMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly kind: 'state' | 'happening';
}

export class Outbox {
  readonly #state = new Map<string, OutgoingMessage>();
  #queue: OutgoingMessage[] = [];
  readonly #inFlight = new Set<OutgoingMessage>();
  #dropped = 0;

  put(message: OutgoingMessage): void {
    if (message.kind === 'happening') {
      this.#queue.push(message);
      this.#trimQueue();
      return;
    }
    // Deleted first: the newest goes to the end, so that one busy pod does not starve the others.
    this.#state.delete(message.topic);
    this.#state.set(message.topic, message);
    if (this.#state.size <= TOPICS_MAX) return;
    const oldest = this.#state.keys().next().value;
    if (oldest !== undefined) this.#state.delete(oldest);
    this.#dropped += 1;
  }

  /** The next message to send, now in flight; undefined when there is none or the window is full. */
  next(): OutgoingMessage | undefined {
    if (this.#inFlight.size >= WINDOW) return undefined;
    const state = this.#state.values().next().value;
    const message = state ?? this.#queue.shift();
    if (message === undefined) return undefined;
    if (state !== undefined) this.#state.delete(state.topic);
    this.#inFlight.add(message);
    return message;
  }

  /** The broker has it. */
  acknowledge(message: OutgoingMessage): void {
    this.#inFlight.delete(message);
  }

  /** The connection is gone: nobody knows what of the flight arrived. */
  reset(): void {
    const lost = [...this.#inFlight];
    this.#inFlight.clear();
    this.#queue = [...lost.filter((message) => message.kind === 'happening'), ...this.#queue];
    this.#trimQueue();
    for (const message of lost) {
      if (message.kind === 'state' && !this.#state.has(message.topic)) this.put(message);
    }
  }

  /** How many messages were given up since the last call. */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }

  get size(): number {
    return this.#state.size + this.#queue.length + this.#inFlight.size;
  }

  #trimQueue(): void {
    const excess = this.#queue.length - QUEUE_MAX;
    if (excess <= 0) return;
    this.#queue.splice(0, excess);
    this.#dropped += excess;
  }
}

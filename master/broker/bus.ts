/**
 * What the fleet link needs of an MQTT broker, and nothing more: the embedded one (broker.ts) today, an
 * external Mosquitto behind a client of its own later.
 *
 * Promises of every implementation: a message from a board reaches the handlers only if the board may
 * publish there (permissions.ts, or the same rules as the broker's ACL); messages of one board arrive in
 * the order sent; nothing published here survives a restart of the broker for certain: see `onReset`.
 */
export interface BusMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  /** The board that the topic belongs to; checked against its certificate. */
  readonly node: string;
}

export interface PublishOptions {
  /** Kept for boards that connect later. An empty payload clears what was kept. */
  readonly retain: boolean;
}

export interface Bus {
  /** Resolves when the broker has taken it (not: when a board has read it). */
  publish(topic: string, payload: Uint8Array, options: PublishOptions): Promise<void>;
  /** Calls `handler` for each message of a board; the returned function ends that. */
  onMessage(handler: (message: BusMessage) => void): () => void;
  /** Calls `handler` when retained messages may be lost and have to be published again. */
  onReset(handler: () => void): () => void;
  /** Cuts the board's connection, if it has one. Its last will is published. */
  disconnect(node: string): void;
}

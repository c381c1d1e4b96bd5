/** One end of a forwarded connection, the client's or the backend's, whatever it is made of. */
export interface End {
  /** The other end, once both are joined. */
  readonly peer: End | undefined;
  keepAlive(seconds: number): void;
  /** From now on what is read here is written to `peer`, and no more is read before that is written. */
  join(peer: End): void;
  /** False: not all of it is written, so `bytes` have to stay as they are; the peer is told when to read on. */
  write(bytes: Uint8Array): boolean;
  /** Reads on: what was read before is written. */
  resume(): void;
  /** The peer has said all. */
  finish(): void;
  close(): void;
  reset(): void;
}

/** Who is told what happens to an end. */
export interface EndOwner {
  connected(end: End): void;
  /** It could not be connected. */
  refused(end: End, reason: string): void;
  /** It has said all, and may still be written to. */
  ended(end: End): void;
  /** It was reset, or cannot be written to. */
  failed(end: End): void;
  /** By us; nothing comes after this. */
  closed(end: End): void;
}

/**
 * The broker and its cables, message by message. As over TCP the messages of one connection arrive in order or not at all;
 * a cut cable holds them until it is mended or one side gives the connection up. Copies of a message may come again, late,
 * while its connection lives (MQTT's "at least once"). The broker lives and dies with its master.
 */
import type { Bus, BusMessage, PublishOptions } from '../../../master/broker/bus.ts';
import { encodeMessage } from '../../../protocol/codec.ts';
import { MESSAGE_VERSION, Online } from '../../../protocol/messages.ts';
import { clusterTopics, nodeTopics } from '../../../protocol/topics.ts';
import type { Chance } from './chance.ts';
import type { ProcessTimers, SimTime } from './time.ts';

const PING = '$ping';
const PONG = '$pong';
const KEEPALIVE_MS = 5_000;
/** MQTT: a client that was silent for one and a half times its keep-alive is gone. */
const SILENT_MS = 7_500;
const WATCHDOG_MS = 15_000;
const CLUSTER = clusterTopics.all.slice(0, -1);

/** What can be wrong with the way of one board. */
export interface Cable {
  /** One way only: what a bad contact or a firewall does. */
  cut: 'none' | 'both' | 'up' | 'down';
  /** On top of the usual few milliseconds. */
  slowMs: number;
  duplicates: number;
}

export interface NetworkParts {
  readonly time: SimTime;
  readonly chance: Chance;
}

type Way = 'up' | 'down';

function isCut({ cut }: Cable, way: Way): boolean {
  return cut === 'both' || cut === way;
}

interface Packet {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly atMs: number;
}

/** One direction of a connection: first in, first out. */
class Lane {
  readonly #parts: NetworkParts;
  readonly #cable: Cable;
  readonly #way: Way;
  readonly #after: (delayMs: number, run: () => void) => void;
  readonly #deliver: (topic: string, payload: Uint8Array) => void;
  readonly #queue: Packet[] = [];
  #isArmed = false;
  #lastMs = 0;
  closed = false;

  constructor(
    parts: NetworkParts,
    [cable, way]: readonly [Cable, Way],
    after: (delayMs: number, run: () => void) => void,
    deliver: (topic: string, payload: Uint8Array) => void,
  ) {
    this.#parts = parts;
    this.#cable = cable;
    this.#way = way;
    this.#after = after;
    this.#deliver = deliver;
  }

  send(topic: string, payload: Uint8Array): void {
    if (this.closed) return;
    const { time, chance } = this.#parts;
    const latencyMs = chance.between(1, 20) + chance.between(0, this.#cable.slowMs);
    this.#lastMs = Math.max(this.#lastMs, time.monotonicMs() + latencyMs);
    this.#queue.push({ topic, payload, atMs: this.#lastMs });
    if (chance.happens(this.#cable.duplicates)) {
      this.#after(chance.between(20, 5_000), () => {
        if (!this.closed && !isCut(this.#cable, this.#way)) this.#deliver(topic, payload);
      });
    }
    this.#arm();
  }

  #arm(): void {
    const [head] = this.#queue;
    if (this.#isArmed || head === undefined || this.closed) return;
    this.#isArmed = true;
    const delayMs = head.atMs - this.#parts.time.monotonicMs();
    this.#after(isCut(this.#cable, this.#way) ? Math.max(delayMs, 200) : delayMs, () => {
      this.#isArmed = false;
      if (this.closed) return;
      if (!isCut(this.#cable, this.#way)) {
        this.#queue.shift();
        this.#deliver(head.topic, head.payload);
      }
      this.#arm();
    });
  }
}

/** What the board has to do with its connection. */
export interface WireHandlers {
  readonly onMessage: (topic: string, payload: Uint8Array) => void;
  readonly onClosed: () => void;
}

interface WireOptions {
  readonly broker: SimBroker;
  readonly node: string;
  readonly session: string;
  readonly cable: Cable;
  readonly handlers: WireHandlers;
}

/** One connection of a board. Made by `SimBroker.connect`. */
export class Wire {
  readonly node: string;
  readonly session: string;
  readonly #options: WireOptions;
  readonly #parts: NetworkParts;
  readonly #up: Lane;
  readonly #down: Lane;
  #boardOpen = true;
  #brokerOpen = true;
  heardMs: number;
  #boardHeardMs: number;

  constructor(options: WireOptions, parts: NetworkParts, timers: ProcessTimers) {
    const { node, session, cable } = options;
    this.node = node;
    this.session = session;
    this.#options = options;
    this.#parts = parts;
    this.heardMs = parts.time.monotonicMs();
    this.#boardHeardMs = this.heardMs;
    // What goes up is read by the master's process, which may stand still.
    this.#up = new Lane(
      parts,
      [cable, 'up'],
      (ms, run) => void timers.after(ms, run),
      (topic, payload) => this.#fromBoard(topic, payload),
    );
    this.#down = new Lane(
      parts,
      [cable, 'down'],
      (ms, run) => void parts.time.after(ms, run),
      (topic, payload) => this.#toBoard(topic, payload),
    );
    this.#ping();
    this.#watch(timers);
  }

  /** Board to master. */
  send(topic: string, payload: Uint8Array): void {
    if (this.#boardOpen) this.#up.send(topic, payload);
  }

  /** Master to board. */
  push(topic: string, payload: Uint8Array): void {
    if (this.#brokerOpen) this.#down.send(topic, payload);
  }

  /** The board's side is gone; with a word (its process ended) or without (its power did). */
  dropByBoard(withWord: boolean): void {
    this.#boardOpen = false;
    this.#down.closed = true;
    this.#up.closed = true;
    const { cable, broker } = this.#options;
    if (!withWord) return;
    this.#parts.time.after(this.#parts.chance.between(1, 20), () => {
      if (!isCut(cable, 'up')) broker.close(this);
    });
  }

  /** The broker's side is gone. */
  dropByBroker(withWord: boolean): void {
    this.#brokerOpen = false;
    this.#up.closed = true;
    this.#down.closed = true;
    if (!withWord) return;
    this.#parts.time.after(this.#parts.chance.between(1, 20), () => {
      if (!isCut(this.#options.cable, 'down')) this.#closeOnBoard();
    });
  }

  #closeOnBoard(): void {
    if (!this.#boardOpen) return;
    this.#boardOpen = false;
    this.#down.closed = true;
    this.#up.closed = true;
    this.#options.handlers.onClosed();
  }

  #fromBoard(topic: string, payload: Uint8Array): void {
    if (!this.#brokerOpen) return;
    this.heardMs = this.#parts.time.monotonicMs();
    if (topic === PING) this.push(PONG, payload);
    else this.#options.broker.receive(this, topic, payload);
  }

  #toBoard(topic: string, payload: Uint8Array): void {
    if (!this.#boardOpen) return;
    this.#boardHeardMs = this.#parts.time.monotonicMs();
    if (topic !== PONG) this.#options.handlers.onMessage(topic, payload);
  }

  #ping(): void {
    this.#parts.time.after(KEEPALIVE_MS, () => {
      if (!this.#boardOpen) return;
      if (this.#parts.time.monotonicMs() - this.#boardHeardMs > WATCHDOG_MS) {
        this.dropByBoard(true);
        this.#options.handlers.onClosed();
        return;
      }
      this.send(PING, new Uint8Array(0));
      this.#ping();
    });
  }

  #watch(timers: ProcessTimers): void {
    timers.after(SILENT_MS / 3, () => {
      if (!this.#brokerOpen) return;
      if (this.#parts.time.monotonicMs() - this.heardMs > SILENT_MS)
        this.#options.broker.close(this);
      else this.#watch(timers);
    });
  }
}

export class SimBroker implements Bus {
  readonly #parts: NetworkParts;
  readonly #timers: ProcessTimers;
  readonly #retained = new Map<string, Uint8Array>();
  readonly #wires = new Map<string, Wire>();
  readonly #handlers = new Set<(message: BusMessage) => void>();

  constructor(parts: NetworkParts, timers: ProcessTimers) {
    this.#parts = parts;
    this.#timers = timers;
  }

  /** Undefined when another connection of that name seems alive (master/broker/broker.ts). */
  connect(options: Omit<WireOptions, 'broker'>): Wire | undefined {
    const current = this.#wires.get(options.node);
    if (current !== undefined) {
      const silentMs = this.#parts.time.monotonicMs() - current.heardMs;
      if (current.session !== options.session && silentMs <= KEEPALIVE_MS + 1_000) return undefined;
      this.close(current);
    }
    const wire = new Wire({ ...options, broker: this }, this.#parts, this.#timers);
    this.#wires.set(options.node, wire);
    for (const [topic, payload] of this.#retained) {
      if (mayRead(options.node, topic)) wire.push(topic, payload);
    }
    return wire;
  }

  async publish(topic: string, payload: Uint8Array, { retain }: PublishOptions): Promise<void> {
    if (retain && payload.length === 0) this.#retained.delete(topic);
    else if (retain) this.#retained.set(topic, payload);
    for (const wire of this.#wires.values()) {
      if (mayRead(wire.node, topic)) wire.push(topic, payload);
    }
    await this.#timers.pause(this.#parts.chance.between(0, 2));
  }

  onMessage(handler: (message: BusMessage) => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  onReset(): () => void {
    return () => {};
  }

  disconnect(node: string): void {
    const wire = this.#wires.get(node);
    if (wire !== undefined) this.close(wire);
  }

  receive(wire: Wire, topic: string, payload: Uint8Array): void {
    if (this.#timers.isDead || this.#wires.get(wire.node) !== wire) return;
    for (const handler of this.#handlers) handler({ topic, payload, node: wire.node });
  }

  /** Ends a connection; its last will is told. */
  close(wire: Wire): void {
    if (this.#timers.isDead || this.#wires.get(wire.node) !== wire) return;
    const will = { v: MESSAGE_VERSION, online: false, session: wire.session } as const;
    this.receive(wire, nodeTopics(wire.node).online, encodeMessage(Online, will));
    this.#wires.delete(wire.node);
    wire.dropByBroker(true);
  }

  /** The master's process is gone; `withWord`: its kernel still says so to the boards. */
  die(withWord: boolean): void {
    for (const wire of this.#wires.values()) wire.dropByBroker(withWord);
    this.#wires.clear();
  }
}

function mayRead(node: string, topic: string): boolean {
  const { allDesired, request } = nodeTopics(node);
  return (
    topic.startsWith(CLUSTER) || topic.startsWith(allDesired.slice(0, -1)) || topic === request
  );
}

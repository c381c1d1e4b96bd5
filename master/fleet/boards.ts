/**
 * The boards as the master hears them: sessions, heartbeats, facts; and their Node objects kept true to that.
 *
 * Promises:
 * - Messages of an older session, late and doubled ones are dropped: a last will that comes after the next
 *   start says nothing about it (RELIABILITY F39).
 * - A lost connection makes the node's conditions Unknown at once, silence after 15 s on the monotonic clock.
 *   After a start of the master boards get 30 s to come back; a master that itself stood still (SIGSTOP,
 *   a slow disk) gives them that time again: its own stall is nobody's death.
 * - The API is written only when something changes; what fails is tried again.
 * - A board that is connected has a Node: whoever deletes it gets a new one, and the pods that went with the old one stop.
 */
import type { Logger } from 'pino';
import { type Clock, rfc3339 } from '../../protocol/clock.ts';
import { decodeMessage } from '../../protocol/codec.ts';
import type { Node, Pod } from '../../protocol/kinds/types.ts';
import { Heartbeat, NodeFacts, Online } from '../../protocol/messages.ts';
import { ApiError } from '../../protocol/status.ts';
import { type ApiClient, RESOURCES } from '../api/client.ts';
import { deepEqual } from '../api/equal.ts';
import type { MetricsSource } from '../api/metrics.ts';
import type { Informer } from '../informer/informer.ts';
import type { Timers } from '../informer/timers.ts';
import { type BoardTrouble, nextTrouble, troubleDiffers } from './board-trouble.ts';
import { nodeMetrics, podMetrics } from './metrics.ts';
import {
  type BoardHealth,
  labelPatch,
  newNode,
  statusPatch,
  type Versions,
} from './node-object.ts';

export interface BoardsOptions {
  readonly client: ApiClient;
  readonly nodes: Informer<Node>;
  readonly pods: Informer<Pod>;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: Logger;
  readonly versions: Versions;
  /** The board's facts came: its key is known. */
  readonly onFacts: (node: string, facts: NodeFacts) => void;
  /** What a heartbeat measured; undefined when the board has fallen silent. */
  readonly onUsage: (node: string, heartbeat: Heartbeat | undefined) => void;
}

const TICK_MS = 1_000;
const SILENT_AFTER_MS = 15_000;
const START_GRACE_MS = 30_000;
/** A tick that comes so late says that this process stood still. */
const STALL_MS = 5_000;
const RETRY_MS = 1_000;
/** The same patch again so soon means that the API keeps it in another form: no endless writing. */
const SAME_PATCH_MS = 60_000;

interface Board {
  session: string | undefined;
  /** Undefined until something was heard in this life of the master. */
  connected: boolean | undefined;
  heardMs: number;
  sequence: number;
  facts: NodeFacts | undefined;
  heartbeat: Heartbeat | undefined;
  trouble: BoardTrouble;
  receivedWallMs: number;
  receivedMs: number;
  /** As last told to the API, to see changes cheaply. */
  state: BoardHealth['state'];
  writing: boolean;
  dirty: boolean;
  readonly lastPatches: Map<
    'labels' | 'status',
    { readonly value: unknown; readonly atMs: number }
  >;
}

export class Boards {
  readonly #options: BoardsOptions;
  readonly #boards = new Map<string, Board>();
  #lastTickMs: number;
  #cancelTick: (() => void) | undefined;
  readonly #cancelRetries = new Set<() => void>();
  #unsubscribe: (() => void) | undefined;
  #stopped = false;

  constructor(options: BoardsOptions) {
    this.#options = options;
    this.#lastTickMs = options.clock.monotonicMs();
  }

  /** Call when the nodes have synced. */
  start(): void {
    this.#lastTickMs = this.#options.clock.monotonicMs();
    this.#unsubscribe = this.#options.nodes.onChange(({ type, object }) => {
      const name = object.metadata?.name ?? '';
      // What was written to the Node of before says nothing of the next one.
      if (type === 'deleted') this.#boardOf(name).lastPatches.clear();
      this.#mark(name);
    });
    this.#scheduleTick();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelTick?.();
    this.#unsubscribe?.();
    for (const cancel of this.#cancelRetries) cancel();
  }

  publicKeyOf(node: string): Uint8Array | undefined {
    return this.#boards.get(node)?.facts?.publicKey;
  }

  /** Is this the board's session of now? */
  isCurrent(node: string, session: string): boolean {
    return this.#boards.get(node)?.session === session;
  }

  isConnected(node: string): boolean {
    return this.#boards.get(node)?.connected === true;
  }

  readonly metrics: MetricsSource = {
    nodes: () => this.#nodeMetrics(),
    pods: (namespace) => this.#podMetrics(namespace),
  };

  /** Throws MessageError for a payload that does not fit. */
  receiveOnline(node: string, payload: Uint8Array): void {
    const { online, session } = decodeMessage(Online, payload);
    const board = this.#boardOf(node);
    if (!online) {
      // The will of a session that has been followed by another.
      if (board.session !== undefined && board.session !== session) return;
      board.connected = false;
      this.#check(node, board);
      return;
    }
    if (board.session !== session) {
      board.session = session;
      board.sequence = -1;
      board.heartbeat = undefined;
    }
    board.connected = true;
    board.heardMs = this.#options.clock.monotonicMs();
    this.#check(node, board);
  }

  receiveFacts(node: string, payload: Uint8Array): void {
    const facts = decodeMessage(NodeFacts, payload);
    const board = this.#boardOf(node);
    if (board.session !== facts.session) return;
    board.heardMs = this.#options.clock.monotonicMs();
    board.facts = facts;
    this.#mark(node);
    this.#options.onFacts(node, facts);
  }

  receiveHeartbeat(node: string, payload: Uint8Array): void {
    const heartbeat = decodeMessage(Heartbeat, payload);
    const board = this.#boardOf(node);
    if (board.session !== heartbeat.session || heartbeat.sequence <= board.sequence) return;
    const before = board.heartbeat;
    board.sequence = heartbeat.sequence;
    board.heardMs = this.#options.clock.monotonicMs();
    board.receivedWallMs = this.#options.clock.wallMs();
    board.receivedMs = board.heardMs;
    board.heartbeat = heartbeat;
    const trouble = nextTrouble(board.trouble, heartbeat, board.heardMs);
    const isTroubleNews = troubleDiffers(board.trouble, trouble);
    board.trouble = trouble;
    this.#options.onUsage(node, heartbeat);
    // It lives: whatever a lost connection said before.
    board.connected = true;
    const isNews = before === undefined || conditionsDiffer(before, heartbeat);
    if (isNews || isTroubleNews) this.#mark(node);
    this.#check(node, board);
  }

  health(node: string): BoardHealth {
    const board = this.#boards.get(node);
    if (board === undefined) return { state: 'unseen' };
    const silentMs = this.#options.clock.monotonicMs() - board.heardMs;
    if (board.connected === false) return { state: 'offline' };
    if (board.connected === undefined) {
      return silentMs < START_GRACE_MS ? { state: 'unseen' } : silence(silentMs);
    }
    if (silentMs > SILENT_AFTER_MS) return silence(silentMs);
    return { state: 'online', heartbeat: board.heartbeat, trouble: board.trouble };
  }

  #boardOf(name: string): Board {
    let board = this.#boards.get(name);
    if (board === undefined) {
      board = {
        session: undefined,
        connected: undefined,
        heardMs: this.#options.clock.monotonicMs(),
        sequence: -1,
        facts: undefined,
        heartbeat: undefined,
        trouble: {},
        receivedWallMs: 0,
        receivedMs: 0,
        state: 'unseen',
        writing: false,
        dirty: false,
        lastPatches: new Map(),
      };
      this.#boards.set(name, board);
    }
    return board;
  }

  #scheduleTick(): void {
    this.#cancelTick = this.#options.timers.after(TICK_MS, () => {
      this.#tick();
      this.#scheduleTick();
    });
  }

  #tick(): void {
    const nowMs = this.#options.clock.monotonicMs();
    const gapMs = nowMs - this.#lastTickMs;
    this.#lastTickMs = nowMs;
    if (gapMs > STALL_MS) {
      this.#options.log.warn({ gapMs }, 'the master stood still; boards get that time again');
      for (const board of this.#boards.values()) board.heardMs += gapMs;
    }
    for (const [name, board] of this.#boards) this.#check(name, board);
  }

  /** Writes when the board's state has become another. */
  #check(name: string, board: Board): void {
    const { state } = this.health(name);
    if (state === board.state) return;
    this.#options.log.info({ node: name, from: board.state, to: state }, 'board changed its state');
    board.state = state;
    if (state !== 'online') this.#options.onUsage(name, undefined);
    this.#mark(name);
  }

  #mark(name: string): void {
    const board = this.#boardOf(name);
    board.dirty = true;
    if (board.writing || this.#stopped) return;
    board.writing = true;
    this.#write(name, board)
      .catch((error: unknown) => {
        board.lastPatches.clear();
        this.#retry(name, error);
      })
      .finally(() => {
        board.writing = false;
        if (board.dirty) this.#mark(name);
      });
  }

  #retry(name: string, error: unknown): void {
    this.#options.log.warn({ err: error, node: name }, 'node could not be written, trying again');
    const cancel = this.#options.timers.after(RETRY_MS, () => {
      this.#cancelRetries.delete(cancel);
      this.#mark(name);
    });
    this.#cancelRetries.add(cancel);
  }

  async #write(name: string, board: Board): Promise<void> {
    const { client, nodes, clock, versions } = this.#options;
    while (board.dirty && !this.#stopped) {
      board.dirty = false;
      const node = nodes.get('', name);
      if (node === undefined) {
        // What the informer then reports brings us here again, for the status. A board that is away and was
        // forgotten stays so until it comes back.
        if (board.facts !== undefined && this.health(name).state === 'online') {
          await this.#create(name, board.facts);
        }
        return;
      }
      const labels = board.facts === undefined ? undefined : labelPatch(node, board.facts);
      if (labels !== undefined && this.#isNew(board, 'labels', labels)) {
        await client.patch(RESOURCES.nodes, '', name, labels);
      }
      const context = { now: rfc3339(clock.wallMs()), versions };
      const status = statusPatch(node, board.facts, this.health(name), context);
      if (status !== undefined && this.#isNew(board, 'status', status)) {
        await client.patch(RESOURCES.nodes, '', name, status, 'status');
      }
    }
  }

  async #create(name: string, facts: NodeFacts): Promise<void> {
    try {
      await this.#options.client.create(RESOURCES.nodes, newNode(name, facts));
      this.#options.log.info({ node: name }, 'board joined');
    } catch (error) {
      // The informer has not shown it yet, but will.
      if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
    }
  }

  /** False for what was written a moment ago already and shall not be written for ever. */
  #isNew(board: Board, kind: 'labels' | 'status', patch: Record<string, unknown>): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    const value = withoutTimes(patch);
    const last = board.lastPatches.get(kind);
    if (last !== undefined && nowMs - last.atMs < SAME_PATCH_MS && deepEqual(last.value, value)) {
      return false;
    }
    board.lastPatches.set(kind, { value, atMs: nowMs });
    return true;
  }

  #nodeMetrics(): ReturnType<MetricsSource['nodes']> {
    const found: ReturnType<MetricsSource['nodes']> = [];
    for (const [name, { heartbeat, receivedWallMs, receivedMs, state }] of this.#boards) {
      const node = this.#options.nodes.get('', name);
      if (heartbeat === undefined || state !== 'online' || node === undefined) continue;
      const labels = node.metadata?.labels ?? {};
      found.push(nodeMetrics(name, { heartbeat, receivedWallMs, receivedMs }, labels));
    }
    return found;
  }

  #podMetrics(wanted: string | undefined): ReturnType<MetricsSource['pods']> {
    const found: ReturnType<MetricsSource['pods']> = [];
    for (const [node, { heartbeat, receivedWallMs, receivedMs, state }] of this.#boards) {
      if (heartbeat === undefined || state !== 'online') continue;
      const measured = { heartbeat, receivedWallMs, receivedMs };
      const pods = podMetrics(measured, (namespace, name, uid) => {
        if (wanted !== undefined && namespace !== wanted) return undefined;
        const pod = this.#options.pods.get(namespace, name);
        const isBound = pod?.metadata?.uid === uid && pod.spec?.nodeName === node;
        return isBound ? (pod.metadata?.labels ?? {}) : undefined;
      });
      found.push(...pods);
    }
    return found;
  }
}

function silence(silentMs: number): BoardHealth {
  return { state: 'silent', seconds: Math.floor(silentMs / 1_000) };
}

function conditionsDiffer(a: Heartbeat, b: Heartbeat): boolean {
  return (
    a.memoryPressure !== b.memoryPressure ||
    a.diskPressure !== b.diskPressure ||
    a.pidPressure !== b.pidPressure ||
    a.runtimeReady !== b.runtimeReady ||
    a.runtimeMessage !== b.runtimeMessage
  );
}

/** Times alone are no reason to write again. */
function withoutTimes(patch: unknown): unknown {
  return JSON.parse(
    JSON.stringify(patch, (key, value: unknown) =>
      key === 'lastHeartbeatTime' || key === 'lastTransitionTime' ? undefined : value,
    ),
  );
}

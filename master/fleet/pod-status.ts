/**
 * Pod reports of boards, written to the API as pod status.
 *
 * Promises (RELIABILITY A2): a board can only speak of pods that are bound to it, by uid; a pod that has ended does
 * not come back to life; late and doubled reports are dropped; of several reports that wait only the latest
 * is written, and only if it changes something. A pod that is being deleted and of which the board has
 * nothing left is removed from the API. What fails is tried again until it works or does not matter any more.
 *
 * While a board is silent the node lifecycle controller marks its pods not ready; it may do so a moment after the board is
 * back and has reported. So the last report of each pod is kept, and told again as long as the API disagrees.
 */

import type { Logger } from 'pino';
import { type Clock, rfc3339 } from '../../protocol/clock.ts';
import { decodeMessage } from '../../protocol/codec.ts';
import type { Node, Pod, PodCondition, PodStatus } from '../../protocol/kinds/types.ts';
import { PodReport } from '../../protocol/messages.ts';
import { hasEnded } from '../../protocol/pod-phase.ts';
import { ApiError } from '../../protocol/status.ts';
import { type ApiClient, RESOURCES } from '../api/client.ts';
import { deepEqual } from '../api/equal.ts';
import { BOARD_SILENT_REASON } from '../controllers/pods.ts';
import type { Informer } from '../informer/informer.ts';
import { BY_NODE } from '../informer/shared.ts';
import type { Timers } from '../informer/timers.ts';
import { gatedConditions } from './readiness-gates.ts';

export interface PodStatusOptions {
  readonly client: ApiClient;
  readonly pods: Informer<Pod>;
  readonly nodes: Informer<Node>;
  readonly timers: Timers;
  readonly clock: Clock;
  readonly log: Logger;
  /** Is this the session of the board that runs now? */
  readonly isCurrent: (node: string, session: string) => boolean;
}

const RETRY_MS = 1_000;
const CONFLICT_RETRY_MS = 20;

interface Entry {
  readonly node: string;
  session: string;
  sequence: number;
  /** What the board said last; it holds until it says something else. */
  last: PodReport | undefined;
  /** What has still to be written. */
  waiting: PodReport | undefined;
  writing: boolean;
}

/**
 * The status to store, or undefined when nothing changes. Conditions that the board does not speak of
 * (PodScheduled, DisruptionTarget) and what the API has set stay. `now`: RFC 3339, for display.
 */
export function mergePodStatus(pod: Pod, reported: PodStatus, now: string): PodStatus | undefined {
  const current = pod.status ?? {};
  if (hasEnded(current) && !hasEnded(reported)) return undefined;
  const told = new Set((reported.conditions ?? []).map(({ type }) => type));
  const kept = (current.conditions ?? []).filter(({ type }) => !told.has(type));
  const conditions: PodCondition[] = gatedConditions(
    pod,
    [...kept, ...(reported.conditions ?? [])],
    now,
  );
  const merged: PodStatus = {
    ...reported,
    ...(conditions.length === 0 ? {} : { conditions }),
    ...(current.qosClass === undefined ? {} : { qosClass: current.qosClass }),
    ...(current.nominatedNodeName === undefined
      ? {}
      : { nominatedNodeName: current.nominatedNodeName }),
  };
  return deepEqual(merged, current) ? undefined : merged;
}

function isMarkedSilent(pod: Pod): boolean {
  return (pod.status?.conditions ?? []).some(
    ({ type, status, reason }) =>
      type === 'Ready' && status === 'False' && reason === BOARD_SILENT_REASON,
  );
}

function isReady(node: Node | undefined): boolean {
  return (node?.status?.conditions ?? []).some(
    ({ type, status }) => type === 'Ready' && status === 'True',
  );
}

export class PodStatusWriter {
  readonly #options: PodStatusOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #cancelRetries = new Set<() => void>();
  readonly #unsubscribe: (() => void)[] = [];
  #stopped = false;

  constructor(options: PodStatusOptions) {
    this.#options = options;
  }

  /** Call when the pods have synced. */
  start(): void {
    const { pods, nodes } = this.#options;
    this.#unsubscribe.push(
      pods.onChange(({ type, object }) => {
        if (type === 'deleted') this.#entries.delete(object.metadata?.uid ?? '');
        else this.#restore(object);
        if (type === 'modified' && object.spec?.readinessGates !== undefined) this.#regate(object);
      }),
      nodes.onChange(({ type, object }) => {
        if (type === 'deleted' || !isReady(object)) return;
        for (const pod of pods.byIndex(BY_NODE, object.metadata?.name ?? '')) this.#restore(pod);
      }),
    );
  }

  stop(): void {
    this.#stopped = true;
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    for (const cancel of this.#cancelRetries) cancel();
  }

  /** Throws MessageError for a payload that does not fit. */
  receive(node: string, payload: Uint8Array): void {
    const report = decodeMessage(PodReport, payload);
    const { uid, namespace, name, session, sequence } = report;
    if (!this.#options.isCurrent(node, session)) return;
    const pod = this.#options.pods.get(namespace, name);
    if (pod?.metadata?.uid !== uid) {
      // Gone from the API already (force-deleted), or another life of the name.
      this.#options.log.debug(
        { node, pod: `${namespace}/${name}`, uid },
        'report of an unknown pod',
      );
      return;
    }
    if (pod.spec?.nodeName !== node) {
      const bound = pod.spec?.nodeName ?? 'no board';
      this.#options.log.warn(
        { node, pod: `${namespace}/${name}`, bound },
        'a board reported a pod that is not bound to it: dropped',
      );
      return;
    }
    const entry = this.#entryOf(uid, node, session);
    if (sequence <= entry.sequence) return;
    entry.sequence = sequence;
    entry.last = report;
    entry.waiting = report;
    this.#kick(uid, entry);
  }

  /** The board answers and has reported, but the API says of this pod that it does not: tell it again. */
  #restore(pod: Pod): void {
    const uid = pod.metadata?.uid ?? '';
    const entry = this.#entries.get(uid);
    if (entry?.last === undefined || !isMarkedSilent(pod)) return;
    if (!this.#options.isCurrent(entry.node, entry.session)) return;
    if (!isReady(this.#options.nodes.getByKey(entry.node))) return;
    entry.waiting ??= entry.last;
    this.#kick(uid, entry);
  }

  /** Someone may have opened or closed a readiness gate: what the board said last is looked at again. */
  #regate(pod: Pod): void {
    const uid = pod.metadata?.uid ?? '';
    const entry = this.#entries.get(uid);
    if (entry?.last === undefined || entry.last.gone || isMarkedSilent(pod)) return;
    if (mergePodStatus(pod, entry.last.status, '') === undefined) return;
    entry.waiting ??= entry.last;
    this.#kick(uid, entry);
  }

  #entryOf(uid: string, node: string, session: string): Entry {
    const known = this.#entries.get(uid);
    if (known !== undefined && known.node === node && known.session === session) return known;
    const entry: Entry = {
      node,
      session,
      sequence: -1,
      last: undefined,
      waiting: undefined,
      writing: false,
    };
    this.#entries.set(uid, entry);
    return entry;
  }

  #kick(uid: string, entry: Entry): void {
    if (entry.writing || this.#stopped || this.#entries.get(uid) !== entry) return;
    const report = entry.waiting;
    if (report === undefined) return;
    entry.waiting = undefined;
    entry.writing = true;
    const next = (): void => {
      entry.writing = false;
      this.#kick(uid, entry);
    };
    this.#write(report).then(next, (error: unknown) => {
      const waitMs = this.#failed(entry, report, error);
      if (waitMs === undefined) {
        next();
        return;
      }
      // Until then it counts as writing: what comes meanwhile waits, the latest wins.
      entry.waiting ??= report;
      const cancel = this.#options.timers.after(waitMs, () => {
        this.#cancelRetries.delete(cancel);
        next();
      });
      this.#cancelRetries.add(cancel);
    });
  }

  async #write(report: PodReport): Promise<void> {
    const { client, pods, log } = this.#options;
    const { namespace, name, uid } = report;
    const pod = pods.get(namespace, name);
    if (pod?.metadata?.uid !== uid) return;
    if (report.gone) {
      if (pod.metadata.deletionTimestamp === undefined) {
        log.warn(
          { pod: `${namespace}/${name}` },
          'a board has nothing left of a pod that should run',
        );
        return;
      }
      await client.delete(RESOURCES.pods, namespace, name, {
        gracePeriodSeconds: 0,
        preconditions: { uid },
      });
      return;
    }
    // The API decodes it strictly against the table of kinds: a wrong field is refused there.
    const status = mergePodStatus(pod, report.status, rfc3339(this.#options.clock.wallMs()));
    if (status === undefined) return;
    await client.update<Pod>(RESOURCES.pods, { ...pod, status }, 'status');
  }

  /** After how many milliseconds to try again; undefined: not at all. */
  #failed(entry: Entry, report: PodReport, error: unknown): number | undefined {
    const reason = error instanceof ApiError ? error.reason : undefined;
    const pod = `${report.namespace}/${report.name}`;
    switch (reason) {
      case 'NotFound':
        // Gone meanwhile, or another life of the name: nothing is left to say.
        return undefined;
      case 'Invalid':
      case 'BadRequest':
        this.#options.log.error({ err: error, pod, node: entry.node }, 'pod status refused');
        return undefined;
      case 'Conflict':
        // Someone else wrote; the informer shows it in a moment.
        return CONFLICT_RETRY_MS;
      default:
        this.#options.log.warn({ err: error, pod }, 'pod status not written, trying again');
        return RETRY_MS;
    }
  }
}

/**
 * What the agent tells the master about pods, volumes and services, as messages of this session. A message that does not
 * fit the protocol is logged and dropped: it must not end the agent.
 */
import type { Logger } from 'pino';
import {
  MESSAGE_VERSION,
  type NodeEvent,
  type PodReport,
  type VolumeReport,
} from '../protocol/messages.ts';
import type { PodEvent } from './pods/pod-steps.ts';
import type { PodStatusReport } from './pods/pod-worker.ts';
import { kindOf, type ServiceProblem } from './proxy/service-table.ts';

const MESSAGE_CHARS_MAX = 1024;

export interface ReporterOptions {
  readonly session: string;
  readonly node: string;
  readonly log: Logger;
  readonly publishPod: (message: PodReport) => void;
  readonly publishEvent: (message: NodeEvent) => void;
  readonly publishVolume: (message: VolumeReport) => void;
}

export class Reporter {
  readonly #options: ReporterOptions;
  #sequence = 0;

  constructor(options: ReporterOptions) {
    this.#options = options;
  }

  pod({ uid, namespace, name, status, gone }: PodStatusReport): void {
    const { session, publishPod, log } = this.#options;
    this.#sequence++;
    const sequence = this.#sequence;
    const message = { v: MESSAGE_VERSION, session, sequence, uid, namespace, name, gone } as const;
    log.debug({ pod: `${namespace}/${name}`, phase: status.phase, gone }, 'pod reported');
    this.#send(() => publishPod({ ...message, status: { ...status } }));
  }

  /** A volume whose directory had to go; `problem` when it is still there. */
  volume(name: string, problem: string | undefined): void {
    const { session, publishVolume } = this.#options;
    const why = problem === undefined ? {} : { problem: problem.slice(0, MESSAGE_CHARS_MAX) };
    this.#send(() => publishVolume({ v: MESSAGE_VERSION, session, name, ...why }));
  }

  podEvent({ uid, namespace, name, container, type, reason, message }: PodEvent): void {
    const fieldPath = container === undefined ? {} : { fieldPath: `spec.containers{${container}}` };
    const level = type === 'Warning' ? 'warn' : 'info';
    this.#options.log[level]({ pod: `${namespace}/${name}`, container, reason }, message);
    this.#event({ kind: 'Pod', namespace, name, uid, ...fieldPath }, { type, reason, message });
  }

  /** Many boards serve the same, so the words name this one. */
  serviceProblem({ service, reason, message }: ServiceProblem): void {
    const { namespace, name, podUid } = service;
    const kind = kindOf(service);
    const involved = { kind, namespace, name, uid: podUid ?? '' };
    const text = `${this.#options.node}: ${message}`;
    this.#event(involved, { type: 'Warning', reason, message: text });
  }

  /** About this board itself. */
  node(reason: string, message: string, type: NodeEvent['type'] = 'Warning'): void {
    const { node } = this.#options;
    // Kubernetes gives events of a node the node's name for a uid.
    const involved = { kind: 'Node', namespace: '', name: node, uid: node };
    this.#event(involved, { type, reason, message });
  }

  #event(
    involved: NodeEvent['involved'],
    { type, reason, message }: Pick<NodeEvent, 'type' | 'reason' | 'message'>,
  ): void {
    const { session, publishEvent } = this.#options;
    const text = message.slice(0, MESSAGE_CHARS_MAX);
    const event = { v: MESSAGE_VERSION, session, involved, type, reason, message: text } as const;
    this.#send(() => publishEvent(event));
  }

  #send(publish: () => void): void {
    try {
      publish();
    } catch (error) {
      this.#options.log.error({ err: error }, 'message to the master does not fit the protocol');
    }
  }
}

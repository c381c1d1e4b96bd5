/**
 * What boards say of directories that they were told to remove: then the PersistentVolume goes too. A board that could not
 * says why, and tries again.
 */
import type { Logger } from 'pino';
import { decodeMessage } from '../../protocol/codec.ts';
import type { Node, PersistentVolume } from '../../protocol/kinds/types.ts';
import { VolumeReport } from '../../protocol/messages.ts';
import { ApiError } from '../../protocol/status.ts';
import { type ApiClient, RESOURCES } from '../api/client.ts';
import type { EventRecorder } from '../controllers/events.ts';
import type { Informer } from '../informer/informer.ts';
import { PV_PROTECTION } from '../volumes/local-path.ts';
import { volumesToRemove } from './desired-volumes.ts';

export interface VolumeRemovalOptions {
  readonly client: ApiClient;
  readonly nodes: Informer<Node>;
  readonly volumes: Informer<PersistentVolume>;
  readonly events: EventRecorder;
  readonly log: Logger;
  /** Is this the board's session of now? */
  readonly isCurrent: (node: string, session: string) => boolean;
}

export class VolumeRemoval {
  readonly #options: VolumeRemovalOptions;

  constructor(options: VolumeRemovalOptions) {
    this.#options = options;
  }

  /** Throws MessageError for a payload that does not fit. */
  receive(nodeName: string, payload: Uint8Array): void {
    const { session, name, problem } = decodeMessage(VolumeReport, payload);
    const { nodes, volumes, events, log, isCurrent } = this.#options;
    const node = nodes.get('', nodeName);
    const volume = volumes.get('', name);
    // Late, or about a volume that was never to go: nothing is removed on a board's word alone.
    if (!isCurrent(nodeName, session) || node === undefined || volume === undefined) return;
    if (volumesToRemove(node, [volume]).length === 0) return;
    if (problem !== undefined) {
      const { metadata = {} } = volume;
      const target = { apiVersion: 'v1', kind: 'PersistentVolume', metadata };
      events.record(target, 'Warning', 'VolumeFailedDelete', `${nodeName}: ${problem}`);
      return;
    }
    log.info({ node: nodeName, volume: name }, 'the directory of a volume was removed');
    this.#forget(volume).catch((error: unknown) => {
      if (error instanceof ApiError && error.reason === 'NotFound') return;
      // The board is asked again with its next connection.
      log.warn({ err: error, volume: name }, 'volume could not be deleted');
    });
  }

  async #forget({ metadata = {} }: PersistentVolume): Promise<void> {
    const { client } = this.#options;
    const { name = '', uid = '' } = metadata;
    const id = RESOURCES.persistentVolumes;
    const left = await client.delete<PersistentVolume>(id, '', name, { preconditions: { uid } });
    const finalizers = left?.metadata?.finalizers ?? [];
    if (!finalizers.includes(PV_PROTECTION)) return;
    const others = finalizers.filter((one) => one !== PV_PROTECTION);
    await client.patch(id, '', name, { metadata: { uid, finalizers: others } });
  }
}

/**
 * Keeps the retained desired state on the broker equal to what the API wants. Watches through informers, computes
 * with desired-pods.ts and desired-services.ts, publishes only what changed.
 *
 * Promises:
 * - Nothing goes out before every informer has synced: an empty manifest from a master that has not read yet
 *   would empty the boards.
 * - A board's state goes out once the board has said its key in this life of the master. Retained messages
 *   live no longer than we do, so a board that is away misses nothing.
 * - A manifest's revision is the store's, and a manifest of other content always has a higher one.
 * - Changes are gathered for a few milliseconds; what fails is tried again.
 */
import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import type { Clock } from '../../protocol/clock.ts';
import { digestOf, encodeMessage } from '../../protocol/codec.ts';
import type { ConfigMap, PersistentVolume, Pod, Secret } from '../../protocol/kinds/types.ts';
import {
  BoardRoute,
  ClusterManifest,
  DesiredService,
  Manifest,
  MESSAGE_VERSION,
} from '../../protocol/messages.ts';
import { ApiError } from '../../protocol/status.ts';
import { clusterTopics, nodeTopics } from '../../protocol/topics.ts';
import { type ApiClient, RESOURCES } from '../api/client.ts';
import type { Bus } from '../broker/bus.ts';
import { foreignSlices, servicesOfSlice } from '../controllers/foreign-slices.ts';
import { joinKey, keyOf, splitKey } from '../informer/informer.ts';
import { BY_CLAIM, BY_NAMESPACE, BY_NODE } from '../informer/shared.ts';
import type { Timers } from '../informer/timers.ts';
import type { AddressPool } from '../load-balancer/address-pool.ts';
import { boardOf } from '../volumes/binding.ts';
import { isLocalPath, isReachableFrom } from '../volumes/local-path.ts';
import { DesiredIngresses } from './desired-ingresses.ts';
import { configReferences, desiredOfNode, isSameForBoard } from './desired-pods.ts';
import { boardRoute, desiredService } from './desired-services.ts';
import type { FleetInformers } from './fleet-informers.ts';
import { nodePayloads } from './node-payloads.ts';
import { PodTokens } from './pod-tokens.ts';
import { type Payload, TopicPublisher } from './topic-publisher.ts';

export interface DesiredSyncOptions {
  readonly informers: FleetInformers;
  readonly client: ApiClient;
  readonly bus: Bus;
  readonly log: Logger;
  readonly timers: Timers;
  readonly clock: Clock;
  readonly clusterId: string;
  readonly epoch: number;
  readonly addressPool?: AddressPool | undefined;
  /** SPKI DER of a board's key, once the board has said it. */
  readonly publicKeyOf: (node: string) => Uint8Array | undefined;
}

const GATHER_MS = 5;
const RETRY_MS = 1_000;
const NUDGE_ANNOTATION = 'pier.local/nudge';

export function digest(value: unknown): string {
  return digestOf(value, (bytes) => createHash('sha256').update(bytes).digest());
}

interface Board {
  readonly publisher: TopicPublisher;
  /** Of the last manifest that went out. */
  lastRevision: number;
  lastDigest: string;
}

interface NodeBoard extends Board {
  readonly tokens: PodTokens;
}

export class DesiredSync {
  readonly #options: DesiredSyncOptions;
  readonly #boards = new Map<string, NodeBoard>();
  readonly #cluster: Board;
  readonly #ingresses: DesiredIngresses;
  readonly #services = new Map<string, DesiredService>();
  readonly #dirtyNodes = new Set<string>();
  readonly #dirtyServices = new Set<string>();
  #clusterDirty = false;
  #cancelTimer: (() => void) | undefined;
  #work: Promise<void> | undefined;
  readonly #unsubscribe: (() => void)[] = [];
  #started = false;
  #stopped = false;
  #failed = false;

  constructor(options: DesiredSyncOptions) {
    this.#options = options;
    this.#cluster = newBoard(options.bus);
    this.#ingresses = new DesiredIngresses(options.informers, digest);
  }

  /** Call when all informers have synced. Throws when one has not. */
  start(): void {
    const { informers, bus } = this.#options;
    for (const informer of Object.values(informers)) {
      if (!informer.hasSynced) {
        throw new Error(`the desired state of boards needs all ${informer.id.resource} first`);
      }
    }
    this.#started = true;
    this.#watch(informers);
    this.#unsubscribe.push(bus.onReset(() => this.#reset()));
    this.#clusterDirty = true;
    this.#schedule(GATHER_MS);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelTimer?.();
    for (const { tokens } of this.#boards.values()) tokens.stop();
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    await this.#work;
  }

  /** The board connected, or its key became known. */
  markBoard(node: string): void {
    this.#dirtyNodes.add(node);
    this.#schedule(GATHER_MS);
  }

  #watch(informers: FleetInformers): void {
    this.#unsubscribe.push(
      informers.pods.onChange((change) => {
        const previous = change.type === 'modified' ? change.previous : undefined;
        this.#podChanged(change.object, change.type === 'deleted', previous);
      }),
      informers.nodes.onChange(({ object }) => {
        this.#clusterDirty = true;
        this.markBoard(object.metadata?.name ?? '');
      }),
      informers.services.onChange(({ object }) => this.#markService(keyOf(object))),
      informers.endpoints.onChange(({ object }) => this.#markService(keyOf(object))),
      informers.endpointSlices.onChange((change) => {
        for (const key of servicesOfSlice(change)) this.#markService(key);
      }),
      informers.configMaps.onChange(({ object }) => this.#configChanged('configmap', object)),
      informers.secrets.onChange(({ object }) => this.#configChanged('secret', object)),
      informers.persistentVolumeClaims.onChange(({ object }) => this.#claimChanged(keyOf(object))),
      informers.persistentVolumes.onChange(({ object }) => this.#volumeChanged(object)),
      ...this.#ingresses.watch((node) => this.markBoard(node)),
    );
  }

  #podChanged(pod: Pod, deleted: boolean, previous: Pod | undefined): void {
    if (previous === undefined || !isSameForBoard(pod, previous)) {
      for (const node of new Set([pod.spec?.nodeName ?? '', previous?.spec?.nodeName ?? ''])) {
        if (node !== '') this.markBoard(node);
      }
    }
    // Endpoints say the rest; only pods on their way out are looked up here (desired-services.ts).
    if (pod.metadata?.deletionTimestamp === undefined && !deleted) return;
    const namespace = pod.metadata?.namespace ?? '';
    for (const service of this.#options.informers.services.byIndex(BY_NAMESPACE, namespace)) {
      this.#markService(keyOf(service));
    }
  }

  #configChanged(kind: 'configmap' | 'secret', object: ConfigMap | Secret): void {
    const { name, namespace } = object.metadata ?? {};
    const { pods } = this.#options.informers;
    for (const pod of pods.byIndex(BY_NAMESPACE, namespace ?? '')) {
      const node = pod.spec?.nodeName ?? '';
      if (node === '' || this.#dirtyNodes.has(node)) continue;
      const uses = configReferences(pod).some((one) => one.kind === kind && one.name === name);
      if (uses) this.markBoard(node);
    }
  }

  #claimChanged(key: string): void {
    for (const { spec } of this.#options.informers.pods.byIndex(BY_CLAIM, key)) {
      if ((spec?.nodeName ?? '') !== '') this.markBoard(spec?.nodeName ?? '');
    }
  }

  /** Pods may wait for it, or a board be told to remove it. */
  #volumeChanged(volume: PersistentVolume): void {
    const { namespace = '', name = '' } = volume.spec?.claimRef ?? {};
    this.#claimChanged(joinKey(namespace, name));
    if (!isLocalPath(volume)) return;
    for (const node of this.#options.informers.nodes.list()) {
      if (isReachableFrom(volume, boardOf(node))) this.markBoard(node.metadata?.name ?? '');
    }
  }

  #markService(key: string): void {
    this.#dirtyServices.add(key);
    this.#schedule(GATHER_MS);
  }

  #reset(): void {
    this.#cluster.publisher.forget();
    this.#clusterDirty = true;
    for (const [node, board] of this.#boards) {
      board.publisher.forget();
      this.#dirtyNodes.add(node);
    }
    this.#schedule(GATHER_MS);
  }

  #schedule(delayMs: number): void {
    if (this.#stopped || !this.#started || this.#cancelTimer !== undefined) return;
    // While a round is under way it looks again at its end.
    if (this.#work !== undefined) return;
    this.#cancelTimer = this.#options.timers.after(delayMs, () => {
      this.#cancelTimer = undefined;
      this.#work = this.#round().finally(() => {
        this.#work = undefined;
        if (this.#isDirty) this.#schedule(this.#failed ? RETRY_MS : GATHER_MS);
      });
    });
  }

  get #isDirty(): boolean {
    return this.#clusterDirty || this.#dirtyNodes.size > 0 || this.#dirtyServices.size > 0;
  }

  async #round(): Promise<void> {
    this.#failed = false;
    if (this.#clusterDirty || this.#dirtyServices.size > 0) {
      this.#clusterDirty = false;
      const done = await this.#attempt('the cluster', async () => this.#publishCluster());
      // What changes meanwhile makes it dirty as well: never the other way round.
      if (!done) this.#clusterDirty = true;
    }
    for (const node of [...this.#dirtyNodes]) {
      if (this.#stopped) return;
      this.#dirtyNodes.delete(node);
      const done = await this.#attempt(`board ${node}`, async () => this.#publishNode(node));
      if (!done) this.#dirtyNodes.add(node);
    }
  }

  async #attempt(what: string, action: () => Promise<void>): Promise<boolean> {
    try {
      await action();
      return true;
    } catch (error) {
      this.#failed = true;
      this.#options.log.error({ err: error, what }, 'desired state could not be published');
      return false;
    }
  }

  /** Everything up to here is in the view. */
  get #revision(): number {
    const revisions = Object.values(this.#options.informers).map((informer) => informer.revision);
    return Math.max(...revisions);
  }

  async #publishNode(name: string): Promise<void> {
    const { informers, publicKeyOf, clusterId, epoch, log } = this.#options;
    const node = informers.nodes.get('', name);
    const publicKey = publicKeyOf(name);
    // Without a Node object nothing is said: that is no order to stop anything.
    if (node === undefined || publicKey === undefined) return;
    const revision = this.#revision;
    const pods = informers.pods.byIndex(BY_NODE, name);
    const desired = desiredOfNode({
      node,
      pods,
      configMap: (namespace, configName) => informers.configMaps.get(namespace, configName),
      secret: (namespace, secretName) => informers.secrets.get(namespace, secretName),
      claim: (namespace, claim) => informers.persistentVolumeClaims.get(namespace, claim),
      volume: (volume) => informers.persistentVolumes.get('', volume),
      volumes: informers.persistentVolumes.list(),
      ingresses: this.#ingresses.of(name),
      publicKey,
      digest,
    });
    const board = this.#boardOf(name);
    board.tokens.follow(pods);
    const manifestDigest = digest(desired.content);
    if (board.publisher.holds(manifestDigest) && !board.tokens.isDue) return;
    if (!(await this.#mayPublish(board, revision, manifestDigest, name))) return;
    const { content } = desired;
    const manifest: Payload = {
      topic: nodeTopics(name).manifest,
      digest: manifestDigest,
      encode: () =>
        encodeMessage(Manifest, { v: MESSAGE_VERSION, clusterId, epoch, revision, ...content }),
    };
    const payloads = nodePayloads(name, desired, publicKey, board.tokens);
    const count = await board.publisher.publish(payloads, manifest);
    board.lastRevision = revision;
    board.lastDigest = manifestDigest;
    if (!this.#stopped) board.tokens.wait();
    log.debug({ node: name, revision, pods: content.pods.length, count }, 'manifest published');
  }

  async #publishCluster(): Promise<void> {
    const { informers, clusterId, epoch, log } = this.#options;
    const dirty = [...this.#dirtyServices];
    this.#dirtyServices.clear();
    const revision = this.#revision;
    for (const key of dirty) this.#updateService(key);
    const boards = informers.nodes
      .list()
      .map((node) => boardRoute(node, digest))
      .filter((route) => route !== undefined)
      .sort((a, b) => (a.node < b.node ? -1 : 1));
    const services = [...this.#services].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one);
    const content = {
      services: services.map((one) => ({
        namespace: one.namespace,
        name: one.name,
        digest: one.digest,
      })),
      boards: boards.map((one) => ({ node: one.node, digest: one.digest })),
    };
    const manifestDigest = digest(content);
    if (this.#cluster.publisher.holds(manifestDigest)) return;
    if (!(await this.#mayPublish(this.#cluster, revision, manifestDigest, boards[0]?.node))) return;
    const payloads: Payload[] = [
      ...services.map((one) => ({
        topic: clusterTopics.service(one.namespace, one.name),
        digest: one.digest,
        encode: () => encodeMessage(DesiredService, one),
      })),
      ...boards.map((one) => ({
        topic: clusterTopics.board(one.node),
        digest: one.digest,
        encode: () => encodeMessage(BoardRoute, one),
      })),
    ];
    const count = await this.#cluster.publisher.publish(payloads, {
      topic: clusterTopics.manifest,
      digest: manifestDigest,
      encode: () =>
        encodeMessage(ClusterManifest, {
          v: MESSAGE_VERSION,
          clusterId,
          epoch,
          revision,
          ...content,
        }),
    });
    this.#cluster.lastRevision = revision;
    this.#cluster.lastDigest = manifestDigest;
    log.debug({ revision, services: services.length, count }, 'cluster manifest published');
  }

  #updateService(key: string): void {
    const { namespace, name } = splitKey(key);
    const { informers, addressPool } = this.#options;
    const service = informers.services.get(namespace, name);
    if (service === undefined) {
      this.#services.delete(key);
      return;
    }
    const endpoints = informers.endpoints.get(namespace, name);
    const pods = informers.pods.byIndex(BY_NAMESPACE, namespace);
    const slices = foreignSlices(informers.endpointSlices.byIndex(BY_NAMESPACE, namespace), name);
    const view = { service, endpoints, slices, pods, digest, addressPool };
    this.#services.set(key, desiredService(view));
  }

  /**
   * Informers run side by side: one may bring revision 99 after another's 100 went out. Boards would take
   * other content of the same revision for known. Then a real write moves the store's revision, and its
   * event brings us here again. Rare, and the only write that this class makes.
   */
  async #mayPublish(
    board: Board,
    revision: number,
    manifestDigest: string,
    node: string | undefined,
  ): Promise<boolean> {
    if (revision > board.lastRevision || manifestDigest === board.lastDigest) return true;
    if (node === undefined) return false;
    const annotations = { [NUDGE_ANNOTATION]: String(revision) };
    const patch = { metadata: { annotations } };
    await this.#options.client.patch(RESOURCES.nodes, '', node, patch).catch((error: unknown) => {
      // The Node is gone meanwhile: that was a write, too, and its event brings us here as well.
      if (!(error instanceof ApiError) || error.reason !== 'NotFound') throw error;
    });
    return false;
  }

  #boardOf(name: string): NodeBoard {
    let board = this.#boards.get(name);
    if (board === undefined) {
      const onDue = () => this.markBoard(name);
      const tokens = new PodTokens({ ...this.#options, node: name, onDue });
      board = { ...newBoard(this.#options.bus), tokens };
      this.#boards.set(name, board);
    }
    return board;
  }
}

function newBoard(bus: Bus): Board {
  return { publisher: new TopicPublisher(bus), lastRevision: -1, lastDigest: '' };
}

/**
 * What this board should run, on its own disk: manifest, pods, ConfigMaps, Secrets (sealed), Ingresses,
 * services and the other boards.
 *
 * Promises: the disk is written only when the content changes; pods are written before anything is told
 * about them, services a moment later (endpoints change often and losing a second of them costs nothing).
 * A disk that fails is logged and the content used all the same. A damaged file is set aside and the rest
 * used; what was lost is never taken for "should not run" (`DesiredView.complete`, `lostPods`).
 */
import { createHash } from 'node:crypto';
import path from 'node:path';
import type { Logger } from 'pino';
import { decodeCbor } from '../../protocol/codec.ts';
import type { DesiredIngress } from '../../protocol/ingress.ts';
import { decodeObject } from '../../protocol/kinds/decode.ts';
import type { Pod } from '../../protocol/kinds/types.ts';
import type {
  BoardRoute,
  ClusterManifest,
  DesiredConfig,
  DesiredPod,
  DesiredService,
  Manifest,
} from '../../protocol/messages.ts';
import { type BoardPod, boardPod } from '../plan/board-pod.ts';
import type { ConfigLookup } from '../plan/environment.ts';
import { Ledger, type Outcome } from './ledger.ts';
import {
  CLUSTER_FORMAT,
  type ClusterPayload,
  clusterManifest,
  keyOf,
  NODE_FORMAT,
  type NodePayload,
  nodeManifest,
} from './payloads.ts';
import type { PodTokens } from './pod-tokens.ts';
import type { Order } from './state-file.ts';
import { StateStore } from './state-store.ts';

export interface DesiredView {
  readonly node: Manifest['node'] | undefined;
  /** By uid. */
  readonly pods: ReadonlyMap<string, BoardPod>;
  /** Every pod of the engine that is neither in `pods` nor in `lostPods` has to go; only if true. */
  readonly complete: boolean;
  /** Pods that the manifest names and whose spec was lost or cannot be read: leave them as they are. */
  readonly lostPods: ReadonlySet<string>;
  readonly configs: ConfigLookup;
  /** Changes whenever a ConfigMap or Secret changes. */
  readonly configsDigest: string;
  readonly services: readonly DesiredService[];
  readonly boards: readonly BoardRoute[];
  /** What this board serves as HTTP; undefined when others do. */
  readonly ingresses: readonly DesiredIngress[] | undefined;
  /** Directories of volumes that must go. */
  readonly removeVolumes: NonNullable<Manifest['removeVolumes']>;
}

export interface DesiredStateOptions {
  readonly directory: string;
  readonly clusterId: string;
  readonly node: string;
  readonly log: Logger;
  readonly waitingPayloadsMax: number;
  /** Services are written at most once in so many milliseconds. */
  readonly clusterWriteDelayMs: number;
  /** Opens a sealed Secret with the board's key. */
  readonly openSecret: (namespace: string, name: string, sealed: Uint8Array) => Promise<Uint8Array>;
  /** The service account tokens of its pods. */
  readonly tokens: PodTokens;
  /** A manifest was not obeyed; for an event. Called once per reason. */
  readonly onRefused: (reason: string) => void;
}

export type DesiredChange = 'pods' | 'cluster';

type ConfigData = Readonly<Record<string, Uint8Array>>;
interface OpenSecret {
  readonly digest: string;
  readonly data: ConfigData;
}

export class DesiredState {
  readonly #options: DesiredStateOptions;
  readonly #log: Logger;
  readonly #node: Ledger<Manifest, NodePayload>;
  readonly #cluster: Ledger<ClusterManifest, ClusterPayload>;
  readonly #nodeStore: StateStore<Manifest, NodePayload>;
  readonly #clusterStore: StateStore<ClusterManifest, ClusterPayload>;
  readonly #listeners = new Set<(change: DesiredChange) => void>();
  readonly #tokens: PodTokens;
  /** Messages that may hold newer tokens. */
  readonly #renewed: DesiredPod[] = [];
  #secrets = new Map<string, OpenSecret>();
  readonly #pods = new Map<
    string,
    { readonly digest: string; readonly pod: BoardPod | undefined }
  >();
  #view: DesiredView;
  #work: Promise<void> = Promise.resolve();
  #clusterTimer: NodeJS.Timeout | undefined;
  #lastRefusal = '';

  constructor(options: DesiredStateOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#tokens = options.tokens;
    const { clusterId, node, waitingPayloadsMax, directory, log } = options;
    this.#node = new Ledger({ clusterId, node, waitingPayloadsMax });
    this.#cluster = new Ledger({ clusterId, node, waitingPayloadsMax });
    // By cluster: a board that joins another one must not measure its manifests by the old one's.
    const root = path.join(directory, encodeURIComponent(clusterId));
    this.#nodeStore = new StateStore(path.join(root, 'node'), NODE_FORMAT, log);
    this.#clusterStore = new StateStore(path.join(root, 'cluster'), CLUSTER_FORMAT, log);
    this.#view = this.#makeView();
  }

  /** Reads the disk. Never throws for what it finds there: damage costs only what is damaged. */
  async load(): Promise<void> {
    await this.#nodeStore.load(this.#node, this.#options.clusterId);
    await this.#clusterStore.load(this.#cluster, this.#options.clusterId);
    await this.#openSecrets();
    await this.#tokens.load(this.#podMessages());
    this.#view = this.#makeView();
    const { pods, services, complete } = this.#view;
    this.#log.info({ pods: pods.size, services: services.length, complete }, 'desired state read');
  }

  current(): DesiredView {
    return this.#view;
  }

  /** What to tell the master that is held. */
  holds(): (Order & { clusterId: string }) | undefined {
    const manifest = this.#node.manifest;
    if (manifest === undefined) return undefined;
    const { clusterId, epoch, revision } = manifest;
    return { clusterId, epoch, revision };
  }

  /** Calls back after every change; returns what ends it. */
  onChange(listener: (change: DesiredChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  offerManifest(message: Manifest): void {
    this.#settle('pods', this.#node.offerManifest(nodeManifest(message)));
  }

  offerPod(message: DesiredPod): void {
    if (this.#offerNode({ type: 'pod', message }).type !== 'same') return;
    // After a master's restart they come for all pods at once: taken together.
    if (this.#renewed.push(message) === 1) this.#queue(() => this.#adoptTokens());
  }

  offerConfig(message: DesiredConfig): void {
    this.#offerNode({ type: 'config', message });
  }

  offerIngress(message: DesiredIngress): void {
    this.#offerNode({ type: 'ingress', message });
  }

  offerClusterManifest(message: ClusterManifest): void {
    this.#settle('cluster', this.#cluster.offerManifest(clusterManifest(message)));
  }

  offerService(message: DesiredService): void {
    this.#offerCluster({ type: 'service', message });
  }

  offerBoard(message: BoardRoute): void {
    this.#offerCluster({ type: 'board', message });
  }

  /** Waits until everything accepted so far is on the disk and told. */
  async flush(): Promise<void> {
    await this.#work;
    if (this.#clusterTimer !== undefined) this.#writeCluster();
    await this.#work;
  }

  #offerNode(payload: NodePayload): Outcome {
    const { digest } = payload.message;
    const outcome = this.#node.offerPayload(keyOf(payload), digest, payload);
    this.#settle('pods', outcome);
    return outcome;
  }

  #offerCluster(payload: ClusterPayload): void {
    const { digest } = payload.message;
    this.#settle('cluster', this.#cluster.offerPayload(keyOf(payload), digest, payload));
  }

  #settle(change: DesiredChange, outcome: Outcome): void {
    switch (outcome.type) {
      case 'refuse':
        if (outcome.reason === this.#lastRefusal) return;
        this.#lastRefusal = outcome.reason;
        this.#log.warn({ reason: outcome.reason }, 'manifest not obeyed');
        this.#options.onRefused(outcome.reason);
        return;
      case 'wait':
      case 'same':
        return;
      case 'accept':
      case 'filled':
        this.#lastRefusal = '';
        if (change === 'pods') this.#queue(() => this.#adoptNode());
        else this.#adoptCluster();
        return;
      default: {
        const never: never = outcome;
        throw new Error(`unknown outcome ${String(never)}`);
      }
    }
  }

  async #adoptNode(): Promise<void> {
    await this.#nodeStore.save(this.#node);
    await this.#openSecrets();
    const pods = this.#podMessages();
    this.#tokens.keepOnly(new Set(pods.map(({ uid }) => uid)));
    await this.#tokens.take(pods);
    this.#publish('pods');
  }

  async #adoptTokens(): Promise<void> {
    let isNew = false;
    while (this.#renewed.length > 0) {
      if (await this.#tokens.take(this.#renewed.splice(0))) isNew = true;
    }
    if (isNew) this.#publish('pods');
  }

  #podMessages(): DesiredPod[] {
    return [...this.#node.items.values()].flatMap(({ payload }) =>
      payload.type === 'pod' ? [payload.message] : [],
    );
  }

  #adoptCluster(): void {
    this.#publish('cluster');
    this.#clusterTimer ??= setTimeout(
      () => this.#writeCluster(),
      this.#options.clusterWriteDelayMs,
    ).unref();
  }

  #writeCluster(): void {
    clearTimeout(this.#clusterTimer);
    this.#clusterTimer = undefined;
    this.#queue(() => this.#clusterStore.save(this.#cluster));
  }

  /** One at a time, in order. */
  #queue(job: () => Promise<void>): void {
    this.#work = this.#work.then(job).catch((error: unknown) => {
      this.#log.error({ err: error }, 'desired state could not be taken in');
    });
  }

  #publish(change: DesiredChange): void {
    this.#view = this.#makeView();
    for (const listener of this.#listeners) listener(change);
  }

  async #openSecrets(): Promise<void> {
    const secrets = new Map<string, OpenSecret>();
    for (const [key, { digest, payload }] of this.#node.items) {
      if (payload.type !== 'config' || payload.message.sealed === undefined) continue;
      const known = this.#secrets.get(key);
      const { namespace, name, sealed } = payload.message;
      try {
        const data =
          known?.digest === digest
            ? known.data
            : readConfigData(decodeCbor(await this.#options.openSecret(namespace, name, sealed)));
        secrets.set(key, { digest, data });
      } catch (error) {
        // The pods that need it wait and say so; all others go on.
        this.#log.error({ err: error, secret: `${namespace}/${name}` }, 'secret cannot be opened');
      }
    }
    this.#secrets = secrets;
  }

  /** The same object for the same digest. Undefined for what is no pod: it is left as it is. */
  #readPod(digest: string, { uid, pod: json, claims }: DesiredPod): BoardPod | undefined {
    const known = this.#pods.get(uid);
    const tokens = this.#tokens.of(uid);
    if (known?.digest === digest) {
      if (known.pod === undefined || tokens === undefined || known.pod.tokens === tokens) {
        return known.pod;
      }
      const renewed = { ...known.pod, tokens };
      this.#pods.set(uid, { digest, pod: renewed });
      return renewed;
    }
    const { object, errors } = decodeObject<Pod>('io.k8s.api.core.v1.Pod', json);
    // A field that only a newer master knows is no reason not to run the pod; a wrong type is.
    const pod = errors.length === 0 ? boardPod(object, claims, tokens) : undefined;
    if (pod === undefined) this.#log.error({ uid, errors }, 'pod of the master is not readable');
    this.#pods.set(uid, { digest, pod });
    return pod;
  }

  #makeView(): DesiredView {
    for (const uid of this.#pods.keys()) {
      if (!this.#node.items.has(`pod/${uid}`)) this.#pods.delete(uid);
    }
    const pods = new Map<string, BoardPod>();
    const lostPods = new Set<string>();
    const configs = new Map<string, ConfigData>();
    const configDigests: string[] = [];
    const ingresses: DesiredIngress[] = [];
    for (const key of this.#node.manifest?.items.keys() ?? []) {
      if (key.startsWith('pod/') && !this.#node.items.has(key)) lostPods.add(key.slice(4));
    }
    for (const [key, { digest, payload }] of this.#node.items) {
      if (payload.type === 'pod') {
        const pod = this.#readPod(digest, payload.message);
        if (pod === undefined) lostPods.add(payload.message.uid);
        else pods.set(pod.uid, pod);
      } else if (payload.type === 'ingress') {
        ingresses.push(payload.message);
      } else {
        const data = payload.message.data ?? this.#secrets.get(key)?.data;
        if (data !== undefined) configs.set(key, data);
        configDigests.push(`${key}=${digest}`);
      }
    }
    const services: DesiredService[] = [];
    const boards: BoardRoute[] = [];
    for (const { payload } of this.#cluster.items.values()) {
      if (payload.type === 'service') services.push(payload.message);
      else boards.push(payload.message);
    }
    const digests = configDigests.sort().join('\n');
    return {
      node: this.#node.manifest?.message.node,
      pods,
      complete: this.#node.manifest !== undefined,
      lostPods,
      configs: (kind, namespace, name) => configs.get(`${kind}/${namespace}/${name}`),
      configsDigest: createHash('sha256').update(digests).digest('hex'),
      services,
      boards,
      ingresses: this.#node.manifest?.message.ingresses === undefined ? undefined : ingresses,
      removeVolumes: this.#node.manifest?.message.removeVolumes ?? [],
    };
  }
}

function readConfigData(value: unknown): ConfigData {
  if (typeof value !== 'object' || value === null) throw new Error('the secret holds no data');
  const data: Record<string, Uint8Array> = {};
  for (const [key, bytes] of Object.entries(value)) {
    if (!(bytes instanceof Uint8Array)) throw new Error(`the secret's key ${key} holds no bytes`);
    data[key] = bytes;
  }
  return data;
}

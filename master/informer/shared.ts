/**
 * One informer per kind for the whole master, so that scheduler and controllers share a single copy
 * of each object. Promises: `start` is idempotent per kind; `stop` stops all of them. Indexes that
 * more than one reader needs are declared here.
 */
import type { Logger } from 'pino';
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import type {
  CertificateSigningRequest,
  ControllerRevision,
  CronJob,
  DaemonSet,
  Deployment,
  EndpointSlice,
  Endpoints,
  HorizontalPodAutoscaler,
  Ingress,
  IngressClass,
  Job,
  Namespace,
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  PodDisruptionBudget,
  ReplicaSet,
  ReplicationController,
  Service,
  StatefulSet,
  StorageClass,
} from '../../protocol/kinds/types.ts';
import { type ApiClient, RESOURCES, type ResourceId } from '../api/client.ts';
import { claimNames } from '../volumes/binding.ts';
import { type IndexFunction, Informer, joinKey } from './informer.ts';
import type { Timers } from './timers.ts';

export const BY_NAMESPACE = 'namespace';
export const BY_OWNER_UID = 'ownerUid';
export const BY_NODE = 'node';
/** Pods by the claims that their volumes are, each as namespace/name. */
export const BY_CLAIM = 'claim';

const byNamespace: IndexFunction<KubeObject> = (object) => [object.metadata?.namespace ?? ''];
const byOwnerUid: IndexFunction<KubeObject> = (object) =>
  (object.metadata?.ownerReferences ?? []).map((owner) => owner.uid);
const byNode: IndexFunction<Pod> = (pod) =>
  pod.spec?.nodeName === undefined || pod.spec.nodeName === '' ? [] : [pod.spec.nodeName];
const byClaim: IndexFunction<Pod> = ({ metadata, spec }) =>
  claimNames(spec?.volumes).map((name) => joinKey(metadata?.namespace ?? '', name));

interface InformerSource {
  readonly client: ApiClient;
  readonly log: Logger;
  readonly timers?: Timers;
}

/** The informers that the master's own parts share. Build one, pass it to all, stop it last. */
export class SharedInformers {
  readonly pods: Informer<Pod>;
  readonly nodes: Informer<Node>;
  readonly namespaces: Informer<Namespace>;
  readonly services: Informer<Service>;
  readonly endpoints: Informer<Endpoints>;
  readonly endpointSlices: Informer<EndpointSlice>;
  readonly deployments: Informer<Deployment>;
  readonly replicaSets: Informer<ReplicaSet>;
  readonly replicationControllers: Informer<ReplicationController>;
  readonly daemonSets: Informer<DaemonSet>;
  readonly statefulSets: Informer<StatefulSet>;
  readonly controllerRevisions: Informer<ControllerRevision>;
  readonly jobs: Informer<Job>;
  readonly cronJobs: Informer<CronJob>;
  readonly podDisruptionBudgets: Informer<PodDisruptionBudget>;
  readonly persistentVolumes: Informer<PersistentVolume>;
  readonly persistentVolumeClaims: Informer<PersistentVolumeClaim>;
  readonly storageClasses: Informer<StorageClass>;
  readonly horizontalPodAutoscalers: Informer<HorizontalPodAutoscaler>;
  readonly ingresses: Informer<Ingress>;
  readonly ingressClasses: Informer<IngressClass>;
  readonly certificateSigningRequests: Informer<CertificateSigningRequest>;
  readonly #metadata = new Map<string, Informer<KubeObject>>();
  readonly #source: InformerSource;
  #started = false;

  constructor(source: InformerSource) {
    this.#source = source;
    const common = { [BY_NAMESPACE]: byNamespace, [BY_OWNER_UID]: byOwnerUid };
    const make = <T extends KubeObject>(
      id: ResourceId,
      indexes: Readonly<Record<string, IndexFunction<T>>>,
    ): Informer<T> => new Informer<T>({ ...source, id, indexes });
    this.pods = make<Pod>(RESOURCES.pods, {
      ...common,
      [BY_NODE]: byNode,
      [BY_CLAIM]: byClaim,
    });
    this.nodes = make<Node>(RESOURCES.nodes, {});
    this.namespaces = make<Namespace>(RESOURCES.namespaces, {});
    this.services = make<Service>(RESOURCES.services, common);
    this.endpoints = make<Endpoints>(RESOURCES.endpoints, common);
    this.endpointSlices = make<EndpointSlice>(RESOURCES.endpointSlices, common);
    this.deployments = make<Deployment>(RESOURCES.deployments, common);
    this.replicaSets = make<ReplicaSet>(RESOURCES.replicaSets, common);
    this.replicationControllers = make<ReplicationController>(
      RESOURCES.replicationControllers,
      common,
    );
    this.daemonSets = make<DaemonSet>(RESOURCES.daemonSets, common);
    this.statefulSets = make<StatefulSet>(RESOURCES.statefulSets, common);
    this.controllerRevisions = make<ControllerRevision>(RESOURCES.controllerRevisions, common);
    this.jobs = make<Job>(RESOURCES.jobs, common);
    this.cronJobs = make<CronJob>(RESOURCES.cronJobs, common);
    this.podDisruptionBudgets = make<PodDisruptionBudget>(RESOURCES.podDisruptionBudgets, common);
    this.persistentVolumes = make<PersistentVolume>(RESOURCES.persistentVolumes, {});
    this.persistentVolumeClaims = make<PersistentVolumeClaim>(
      RESOURCES.persistentVolumeClaims,
      common,
    );
    this.storageClasses = make<StorageClass>(RESOURCES.storageClasses, {});
    this.horizontalPodAutoscalers = make<HorizontalPodAutoscaler>(
      RESOURCES.horizontalPodAutoscalers,
      common,
    );
    this.ingresses = make<Ingress>(RESOURCES.ingresses, common);
    this.ingressClasses = make<IngressClass>(RESOURCES.ingressClasses, {});
    this.certificateSigningRequests = make<CertificateSigningRequest>(
      RESOURCES.certificateSigningRequests,
      {},
    );
  }

  /**
   * A metadata-only informer for a kind whose content nobody here reads: for garbage collection.
   */
  metadataOf(id: ResourceId): Informer<KubeObject> {
    const key = `${id.group}/${id.resource}`;
    let informer = this.#metadata.get(key);
    if (informer === undefined) {
      informer = new Informer<KubeObject>({
        ...this.#source,
        id,
        indexes: { [BY_NAMESPACE]: byNamespace, [BY_OWNER_UID]: byOwnerUid },
        transform: (object) => (object.metadata === undefined ? {} : { metadata: object.metadata }),
      });
      this.#metadata.set(key, informer);
      if (this.#started) informer.start();
    }
    return informer;
  }

  /** Starts all informers and resolves when those that exist by now have listed once. */
  async start(): Promise<void> {
    this.#started = true;
    for (const informer of this.#all()) informer.start();
    await Promise.all(this.#all().map((informer) => informer.whenSynced()));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#all().map((informer) => informer.stop()));
  }

  #all(): { start(): void; stop(): Promise<void>; whenSynced(): Promise<void> }[] {
    return [
      this.pods,
      this.nodes,
      this.namespaces,
      this.services,
      this.endpoints,
      this.endpointSlices,
      this.deployments,
      this.replicaSets,
      this.replicationControllers,
      this.daemonSets,
      this.statefulSets,
      this.controllerRevisions,
      this.jobs,
      this.cronJobs,
      this.podDisruptionBudgets,
      this.persistentVolumes,
      this.persistentVolumeClaims,
      this.storageClasses,
      this.horizontalPodAutoscalers,
      this.ingresses,
      this.ingressClasses,
      this.certificateSigningRequests,
      ...this.#metadata.values(),
    ];
  }
}

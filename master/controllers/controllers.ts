/**
 * Composition of the controllers: builds them over one set of informers and starts a runner for
 * each.
 */
import type { Logger } from 'pino';
import type { Clock } from '../../protocol/clock.ts';
import { type ApiClient, RESOURCES, type ResourceId } from '../api/client.ts';
import type { MetricsSource } from '../api/metrics.ts';
import { SharedInformers } from '../informer/shared.ts';
import { systemTimers, type Timers } from '../informer/timers.ts';
import type { AddressPool } from '../load-balancer/address-pool.ts';
import { namespaceAccessController, roleAggregationController } from './access-controllers.ts';
import { certificateController, type SignRequest } from './certificates.ts';
import {
  ingressStatusController,
  namespaceController,
  nodeIpamController,
  nodeLifecycleController,
  podGarbageController,
} from './cluster-controllers.ts';
import { disruptionController, staleDisruptionController } from './disruption-controller.ts';
import { ApiEventRecorder } from './events.ts';
import { garbageController, type OwnedKind } from './garbage-controller.ts';
import { horizontalController } from './horizontal-controller.ts';
import { cronJobController, jobController } from './job-controllers.ts';
import { loadBalancerController } from './load-balancer-controller.ts';
import { DEFAULT_LIFECYCLE_OPTIONS, type LifecycleOptions } from './node-lifecycle.ts';
import { ObservedPodTimes } from './observed-times.ts';
import { quotaController } from './quota-controller.ts';
import { type RebalanceOptions, rebalanceController } from './rebalance-controller.ts';
import { type Controller, type QueueFigures, Runner } from './runner.ts';
import { daemonSetController, statefulSetController } from './set-controllers.ts';
import { volumeController } from './volume-controllers.ts';
import {
  deploymentController,
  endpointSliceController,
  endpointsController,
  replicaSetController,
  replicationController,
} from './workload-controllers.ts';

export interface ControllerOptions {
  readonly lifecycle: LifecycleOptions;
  /** Boards get their /24 out of this. */
  readonly clusterCidr: string;
  /** How many ended pods stay to be looked at. */
  readonly terminatedPodsMax: number;
  /** Emptied when a namespace is deleted and its pods are gone, in this order: owners before what they own. */
  readonly namespacedResources: readonly ResourceId[];
  /** Kinds beyond the built-in ones whose objects are collected when their owners are gone. */
  readonly ownedKinds: readonly OwnedKind[];
  /** PEM: every namespace has it in the ConfigMap `kube-root-ca.crt`. */
  readonly caCertificate?: string;
}

export const DEFAULT_CONTROLLER_OPTIONS: ControllerOptions = {
  lifecycle: DEFAULT_LIFECYCLE_OPTIONS,
  clusterCidr: '10.42.0.0/16',
  terminatedPodsMax: 500,
  namespacedResources: [
    RESOURCES.cronJobs,
    RESOURCES.daemonSets,
    RESOURCES.statefulSets,
    RESOURCES.controllerRevisions,
    RESOURCES.jobs,
    RESOURCES.deployments,
    RESOURCES.replicaSets,
    RESOURCES.replicationControllers,
    RESOURCES.horizontalPodAutoscalers,
    RESOURCES.podDisruptionBudgets,
    RESOURCES.services,
    RESOURCES.endpoints,
    RESOURCES.endpointSlices,
    RESOURCES.pods,
    RESOURCES.persistentVolumeClaims,
    RESOURCES.configMaps,
    RESOURCES.secrets,
    RESOURCES.serviceAccounts,
    RESOURCES.podTemplates,
    RESOURCES.ingresses,
    RESOURCES.networkPolicies,
    RESOURCES.limitRanges,
    RESOURCES.resourceQuotas,
    RESOURCES.roleBindings,
    RESOURCES.roles,
    RESOURCES.leases,
    RESOURCES.events,
  ],
  ownedKinds: [
    { id: RESOURCES.configMaps, kind: 'ConfigMap' },
    { id: RESOURCES.secrets, kind: 'Secret' },
    { id: RESOURCES.serviceAccounts, kind: 'ServiceAccount' },
  ],
};

export interface ControllersConfig {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
  /** Shared with the scheduler; started here, stopped by whoever made it. Made here when absent. */
  readonly informers?: SharedInformers;
  readonly options?: Partial<ControllerOptions>;
  readonly timers?: Timers;
  /** What pods use, for autoscalers; without it they say that there are no metrics. */
  readonly metrics?: MetricsSource;
  /** Signs client certificates; without it approved requests for them wait. */
  readonly signRequest?: SignRequest;
  /** LAN addresses for LoadBalancer services; without it they have the boards' own. */
  readonly addressPool?: AddressPool;
  /** Moves pods so that boards become free, or says so, or neither. */
  readonly rebalance?: RebalanceOptions;
  /** Makes the ends of events' names. */
  readonly nextEventId?: () => string;
}

export interface RunningControllers {
  readonly informers: SharedInformers;
  /** Resolves when all caches are loaded and every controller works. */
  readonly ready: Promise<void>;
  /** For `/metrics`. */
  queues(): QueueFigures[];
  /** Lets the reconciliations under way end. */
  stop(): Promise<void>;
}

export function startControllers(config: ControllersConfig): RunningControllers {
  const { client, clock, log } = config;
  const timers = config.timers ?? systemTimers;
  const options = { ...DEFAULT_CONTROLLER_OPTIONS, ...config.options };
  const informers = config.informers ?? new SharedInformers({ client, log, timers });
  const times = new ObservedPodTimes(informers.pods, clock);
  const controllers: Controller[] = [
    deploymentController(informers),
    replicaSetController(informers, times),
    replicationController(informers, times),
    endpointsController(informers),
    endpointSliceController(informers),
    horizontalController(informers, times, config.metrics),
    daemonSetController(informers, times),
    statefulSetController(informers, times),
    jobController(informers, times),
    cronJobController(informers),
    loadBalancerController(informers, config.addressPool),
    ingressStatusController(informers),
    nodeLifecycleController(informers, options.lifecycle),
    nodeIpamController(informers, options.clusterCidr),
    podGarbageController(informers, times, options.terminatedPodsMax),
    garbageController(informers, options.ownedKinds),
    disruptionController(informers),
    staleDisruptionController(informers),
    namespaceController(informers, client, options.namespacedResources),
    namespaceAccessController(informers, client, options.caCertificate),
    roleAggregationController(informers, client),
    quotaController(informers, client, options.namespacedResources),
    volumeController(informers, client),
    certificateController(informers, config.signRequest),
  ];
  const { rebalance } = config;
  if (rebalance !== undefined) {
    controllers.push(rebalanceController(informers, rebalance));
  }
  const started = controllers.map((controller) => {
    const part = log.child({ part: controller.name });
    const component = controller.name;
    const nextId = config.nextEventId;
    const own = nextId === undefined ? {} : { nextId };
    const events = new ApiEventRecorder({ client, clock, log: part, component, ...own });
    return { events, runner: new Runner(controller, { client, clock, log: part, events, timers }) };
  });
  const ready = Promise.all([
    informers.start(),
    ...started.map(({ runner }) => runner.start()),
  ]).then(() => undefined);
  return {
    informers,
    ready,
    queues: () => started.map(({ runner }) => runner.figures),
    async stop() {
      times.stop();
      await Promise.all(started.map(({ runner }) => runner.stop()));
      await Promise.all(started.map(({ events }) => events.stop()));
      if (config.informers === undefined) await informers.stop();
    },
  };
}

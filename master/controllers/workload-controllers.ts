/**
 * Deployment, ReplicaSet, ReplicationController, Endpoints and EndpointSlices as the runner drives them: which changes touch which keys,
 * and how a view is gathered from the caches. The decisions are in the pure files of the same
 * names.
 */
import type {
  Deployment,
  Pod,
  ReplicaSet,
  ReplicationController,
} from '../../protocol/kinds/types.ts';
import { matchesLabelSelector } from '../../protocol/selector.ts';
import { type Informer, joinKey, keyOf, splitKey } from '../informer/informer.ts';
import { BY_NAMESPACE, BY_OWNER_UID, type SharedInformers } from '../informer/shared.ts';
import type { Action, Now } from './actions.ts';
import { reconcileDeployment } from './deployment.ts';
import { reconcileEndpointSlices, SERVICE_NAME } from './endpoint-slices.ts';
import { reconcileEndpoints } from './endpoints.ts';
import { ownerKey, ownerKeys, versionsOf } from './keys.ts';
import { FirstSeen } from './observed-times.ts';
import { controllerOf, isPodActive, type PodTimes } from './pods.ts';
import { REPLICATION_CONTROLLER, reconcileReplicaSet } from './replicaset.ts';
import { type Controller, watchOf } from './runner.ts';

const WORKERS = 4;

export function deploymentController(informers: SharedInformers): Controller {
  const { deployments, replicaSets, pods } = informers;
  const progress = new FirstSeen();
  const keysOfSet = (one: ReplicaSet): string[] => ownerKeys(deployments, 'Deployment', one);
  const ownSets = (deployment: Deployment): ReplicaSet[] =>
    replicaSets.byIndex(BY_OWNER_UID, deployment.metadata?.uid ?? '');
  return {
    name: 'deployment-controller',
    workers: WORKERS,
    watches: [
      watchOf(deployments, ({ type, object }) => {
        if (type === 'deleted') progress.forget(object.metadata?.uid ?? '');
        return [keyOf(object)];
      }),
      watchOf(replicaSets, (change) => versionsOf(change).flatMap(keysOfSet)),
      // Recreate waits until the last old pod is gone; nobody else needs to hear of pods.
      watchOf(pods, ({ type, object }) => {
        if (type !== 'deleted' && isPodActive(object)) return [];
        const setKey = ownerKey(object, 'ReplicaSet');
        const set = setKey === undefined ? undefined : replicaSets.getByKey(setKey);
        return set === undefined ? [] : keysOfSet(set);
      }),
    ],
    reconcile(key: string, now: Now): Action[] {
      const deployment = deployments.getByKey(key);
      if (deployment === undefined) return [];
      const condition = deployment.status?.conditions?.find(({ type }) => type === 'Progressing');
      const isRecreate = deployment.spec?.strategy?.type === 'Recreate';
      const view = {
        deployment,
        replicaSets: replicaSets.byIndex(BY_NAMESPACE, deployment.metadata?.namespace ?? ''),
        pods: isRecreate
          ? ownSets(deployment).flatMap((one) =>
              pods.byIndex(BY_OWNER_UID, one.metadata?.uid ?? ''),
            )
          : [],
        progressSinceMs: progress.since(
          deployment.metadata?.uid ?? '',
          `${condition?.reason} ${condition?.lastUpdateTime}`,
          now.monotonicMs,
        ),
      };
      return reconcileDeployment(view, now);
    },
  };
}

export function replicaSetController(informers: SharedInformers, times: PodTimes): Controller {
  const { replicaSets, pods } = informers;
  const keysOfPod = (pod: Pod): string[] => ownerKeys(replicaSets, 'ReplicaSet', pod);
  const relatedPods = (replicaSet: ReplicaSet): Pod[] => {
    const owner = controllerOf(replicaSet);
    const siblings =
      owner === undefined ? [replicaSet] : replicaSets.byIndex(BY_OWNER_UID, owner.uid);
    return siblings.flatMap((one) => pods.byIndex(BY_OWNER_UID, one.metadata?.uid ?? ''));
  };
  return {
    name: 'replicaset-controller',
    workers: WORKERS,
    watches: [
      watchOf(replicaSets, ({ object }) => [keyOf(object)]),
      watchOf(pods, (change) => versionsOf(change).flatMap(keysOfPod)),
    ],
    reconcile(key, now, lastFailure): Action[] {
      const replicaSet = replicaSets.getByKey(key);
      if (replicaSet === undefined) return [];
      const near = pods.byIndex(BY_NAMESPACE, replicaSet.metadata?.namespace ?? '');
      const related = relatedPods(replicaSet);
      return reconcileReplicaSet({ replicaSet, pods: near, related, times, lastFailure }, now);
    },
  };
}

/** With its selector in the form of a ReplicaSet's. */
export function asReplicaSet({ spec, ...rest }: ReplicationController): ReplicaSet {
  return { ...rest, spec: { ...spec, selector: { matchLabels: spec?.selector ?? {} } } };
}

export function replicationController(informers: SharedInformers, times: PodTimes): Controller {
  const { replicationControllers, pods } = informers;
  const asSets: Pick<Informer<ReplicaSet>, 'byIndex'> = {
    byIndex: (index, value) => replicationControllers.byIndex(index, value).map(asReplicaSet),
  };
  const keysOfPod = (pod: Pod): string[] => ownerKeys(asSets, REPLICATION_CONTROLLER.kind, pod);
  return {
    name: 'replication-controller',
    workers: WORKERS,
    watches: [
      watchOf(replicationControllers, ({ object }) => [keyOf(object)]),
      watchOf(pods, (change) => versionsOf(change).flatMap(keysOfPod)),
    ],
    reconcile(key, now, lastFailure): Action[] {
      const controller = replicationControllers.getByKey(key);
      if (controller === undefined) return [];
      const near = pods.byIndex(BY_NAMESPACE, controller.metadata?.namespace ?? '');
      const related = pods.byIndex(BY_OWNER_UID, controller.metadata?.uid ?? '');
      return reconcileReplicaSet(
        {
          ...{ replicaSet: asReplicaSet(controller), kind: REPLICATION_CONTROLLER },
          ...{ pods: near, related, times, lastFailure },
        },
        now,
      );
    },
  };
}

/** The keys of the Services that select a pod. */
function selectingKeys({ services }: SharedInformers, pod: Pod): string[] {
  const labels = pod.metadata?.labels ?? {};
  return services
    .byIndex(BY_NAMESPACE, pod.metadata?.namespace ?? '')
    .filter(({ spec }) => Object.keys(spec?.selector ?? {}).length > 0)
    .filter(({ spec }) => matchesLabelSelector({ matchLabels: spec?.selector ?? {} }, labels))
    .map((service) => keyOf(service));
}

export function endpointsController(informers: SharedInformers): Controller {
  const { services, endpoints, pods } = informers;
  return {
    name: 'endpoint-controller',
    workers: WORKERS,
    watches: [
      watchOf(services, ({ object }) => [keyOf(object)]),
      watchOf(endpoints, ({ object }) => [keyOf(object)]),
      watchOf(pods, (change) => versionsOf(change).flatMap((pod) => selectingKeys(informers, pod))),
    ],
    reconcile(key): Action[] {
      const { namespace, name } = splitKey(key);
      return reconcileEndpoints({
        namespace,
        name,
        service: services.getByKey(key),
        endpoints: endpoints.getByKey(key),
        pods: pods.byIndex(BY_NAMESPACE, namespace),
      });
    },
  };
}

export function endpointSliceController(informers: SharedInformers): Controller {
  const { services, endpoints, endpointSlices, pods } = informers;
  return {
    name: 'endpointslice-controller',
    workers: WORKERS,
    watches: [
      watchOf(services, ({ object }) => [keyOf(object)]),
      // Those of a Service without a selector are mirrored.
      watchOf(endpoints, ({ object }) => {
        const selector = services.getByKey(keyOf(object))?.spec?.selector ?? {};
        return Object.keys(selector).length === 0 ? [keyOf(object)] : [];
      }),
      watchOf(endpointSlices, (change) =>
        versionsOf(change).flatMap(({ metadata }) => {
          const name = metadata?.labels?.[SERVICE_NAME];
          return name === undefined ? [] : [joinKey(metadata?.namespace ?? '', name)];
        }),
      ),
      watchOf(pods, (change) => versionsOf(change).flatMap((pod) => selectingKeys(informers, pod))),
    ],
    reconcile(key): Action[] {
      const { namespace, name } = splitKey(key);
      return reconcileEndpointSlices({
        namespace,
        name,
        service: services.getByKey(key),
        endpoints: endpoints.getByKey(key),
        slices: endpointSlices
          .byIndex(BY_NAMESPACE, namespace)
          .filter(({ metadata }) => metadata?.labels?.[SERVICE_NAME] === name),
        pods: pods.byIndex(BY_NAMESPACE, namespace),
      });
    },
  };
}

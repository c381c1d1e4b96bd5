/** HorizontalPodAutoscalers as the runner drives them: their targets, the pods of those, and what these use. */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import type { HorizontalPodAutoscaler, LabelSelector, Pod } from '../../protocol/kinds/types.ts';
import { matchesLabelSelector } from '../../protocol/selector.ts';
import { notFound } from '../../protocol/status.ts';
import type { MetricsSource } from '../api/metrics.ts';
import { type Informer, keyOf } from '../informer/informer.ts';
import { BY_NAMESPACE, type SharedInformers } from '../informer/shared.ts';
import { type HorizontalMemory, reconcileHorizontal, type ScaleTarget } from './horizontal.ts';
import type { PodSample } from './horizontal-metrics.ts';
import type { ObservedPodTimes } from './observed-times.ts';
import { type Controller, type Watch, watchOf } from './runner.ts';
import { asReplicaSet } from './workload-controllers.ts';

interface Scalable extends KubeObject {
  spec?: { replicas?: number; selector?: LabelSelector };
}

/** A kind that can be scaled. */
interface TargetKind {
  readonly group: string;
  readonly kind: string;
  get(namespace: string, name: string): Scalable | undefined;
  readonly informer: Pick<Informer<Scalable>, 'id'>;
  watch(keysOf: (kind: string, object: Scalable) => string[]): Watch;
}

function targetKind<T extends KubeObject>(
  informer: Informer<T>,
  kind: string,
  asScalable: (object: T) => Scalable,
): TargetKind {
  return {
    group: informer.id.group,
    kind,
    informer,
    get(namespace, name) {
      const found = informer.get(namespace, name);
      return found && asScalable(found);
    },
    // How many it has is looked at every few seconds; only that it came or went is news.
    watch: (keysOf) =>
      watchOf(informer, ({ type, object }) => (type === 'modified' ? [] : keysOf(kind, object))),
  };
}

export function horizontalController(
  informers: SharedInformers,
  times: ObservedPodTimes,
  metrics: MetricsSource | undefined,
): Controller {
  const { horizontalPodAutoscalers: autoscalers, pods } = informers;
  const kinds = [
    targetKind(informers.deployments, 'Deployment', (one) => one),
    targetKind(informers.replicaSets, 'ReplicaSet', (one) => one),
    targetKind(informers.statefulSets, 'StatefulSet', (one) => one),
    targetKind(informers.replicationControllers, 'ReplicationController', asReplicaSet),
  ];
  /** By uid; an entry goes with its autoscaler. */
  const memories = new Map<string, HorizontalMemory>();
  const near = (namespace: string) => autoscalers.byIndex(BY_NAMESPACE, namespace);
  const keysOfTarget = (kind: string, { metadata = {} }: Scalable): string[] =>
    near(metadata.namespace ?? '')
      .filter(({ spec: { scaleTargetRef: to } }) => to.kind === kind && to.name === metadata.name)
      .map(keyOf);

  return {
    name: 'horizontal-pod-autoscaler',
    workers: 2,
    watches: [
      watchOf(autoscalers, (change) => {
        const { type, object } = change;
        if (type === 'deleted') memories.delete(object.metadata?.uid ?? '');
        // Its own status is no news.
        const isNews =
          type !== 'modified' ||
          change.previous.metadata?.generation !== object.metadata?.generation;
        return isNews ? [keyOf(object)] : [];
      }),
      ...kinds.map((one) => one.watch(keysOfTarget)),
      // Nothing to do at once, but the caches must be there.
      watchOf(pods, () => []),
    ],
    reconcile(key, now, lastFailure) {
      const autoscaler = autoscalers.getByKey(key);
      if (autoscaler === undefined || autoscaler.metadata?.deletionTimestamp !== undefined) {
        return [];
      }
      const { namespace = '', uid = '' } = autoscaler.metadata ?? {};
      const target = targetOf(kinds, autoscaler);
      const chosen =
        'missing' in target
          ? []
          : pods
              .byIndex(BY_NAMESPACE, namespace)
              .filter(({ metadata }) => matchesLabelSelector(target.selector, metadata?.labels));
      const result = reconcileHorizontal(
        {
          autoscaler,
          target,
          samples: samplesOf(chosen, metrics, times, now.monotonicMs),
          rivals: rivalsOf(autoscaler, near(namespace)),
          lastFailure,
        },
        memories.get(uid),
        now,
      );
      if (result.memory === undefined) memories.delete(uid);
      else memories.set(uid, result.memory);
      return result.actions;
    },
  };
}

function groupOf(apiVersion = ''): string {
  return apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
}

function targetOf(
  kinds: readonly TargetKind[],
  { metadata, spec }: HorizontalPodAutoscaler,
): ScaleTarget | { missing: string } {
  const { kind, name, apiVersion } = spec.scaleTargetRef;
  const group = groupOf(apiVersion);
  const own = kinds.find((one) => one.kind === kind && one.group === group);
  if (own === undefined) {
    return { missing: `no matches for kind "${kind}" in group "${group}" that can be scaled` };
  }
  const { id } = own.informer;
  const object = own.get(metadata?.namespace ?? '', name);
  if (object === undefined) return { missing: notFound(id, name).message };
  return {
    id,
    name,
    resourceVersion: object.metadata?.resourceVersion,
    replicas: object.spec?.replicas ?? 1,
    selector: object.spec?.selector,
  };
}

/** Others that scale the same thing. */
function rivalsOf(
  { metadata, spec }: HorizontalPodAutoscaler,
  all: readonly HorizontalPodAutoscaler[],
): string[] {
  const { kind, name, apiVersion } = spec.scaleTargetRef;
  return all
    .filter((one) => one.metadata?.uid !== metadata?.uid)
    .filter(({ spec: { scaleTargetRef: to } }) => to.kind === kind && to.name === name)
    .filter(({ spec: { scaleTargetRef: to } }) => groupOf(to.apiVersion) === groupOf(apiVersion))
    .map((one) => one.metadata?.name ?? '');
}

function samplesOf(
  pods: readonly Pod[],
  metrics: MetricsSource | undefined,
  times: ObservedPodTimes,
  nowMs: number,
): PodSample[] {
  const namespace = pods[0]?.metadata?.namespace;
  const measured = new Map(
    namespace === undefined ? [] : metrics?.pods(namespace).map((one) => [one.name, one] as const),
  );
  return pods.map((pod) => {
    const uid = pod.metadata?.uid ?? '';
    const found = measured.get(pod.metadata?.name ?? '');
    return {
      pod,
      firstSeenMs: times.firstSeenMs(uid) ?? nowMs,
      readySinceMs: times.readySinceMs(uid),
      wasReady: times.wasReady(uid),
      usage: found && { ...found.measured, containers: found.containers },
    };
  });
}

/** The pods that a Job makes and takes away. Pure. */
import type { Container, Job, Pod } from '../../protocol/kinds/types.ts';
import { RESOURCES } from '../api/client.ts';
import type { Action } from './actions.ts';
import type { EventTarget } from './events.ts';
import {
  COMPLETION_INDEX,
  indexOf,
  isIndexed,
  isTracked,
  TRACKING_FINALIZER,
} from './job-tally.ts';
import { announcePod, deletePod, podFromTemplate } from './ownership.ts';
import { inVictimOrder, type PodTimes } from './pods.ts';

/** Creates in one reconciliation; the rest follows in the next. */
const BURST_MAX = 500;
const INDEX_VARIABLE = 'JOB_COMPLETION_INDEX';

export function targetOf(job: Job): EventTarget {
  return { apiVersion: 'batch/v1', kind: 'Job', metadata: job.metadata ?? {} };
}

/** `taken`: indexes that have succeeded or have a pod. */
export function createPods(job: Job, wanted: number, taken: ReadonlySet<number>): Action[] {
  const many = Math.min(wanted, BURST_MAX);
  const pods = isIndexed(job)
    ? freeIndexes(job.spec?.completions ?? 0, many, taken).map((index) => indexedPod(job, index))
    : Array.from({ length: many }, () => plainPod(job));
  const announce = announcePod(targetOf(job), 'create');
  return pods.map((object) => ({ type: 'create', id: RESOURCES.pods, object, announce }));
}

function freeIndexes(completions: number, many: number, taken: ReadonlySet<number>): number[] {
  const free: number[] = [];
  for (let index = 0; index < completions && free.length < many; index += 1) {
    if (!taken.has(index)) free.push(index);
  }
  return free;
}

function plainPod(job: Job): Pod {
  return podFromTemplate(job.spec?.template, targetOf(job), {
    generateName: `${job.metadata?.name ?? ''}-`,
    finalizers: [TRACKING_FINALIZER],
  });
}

/** Kubernetes: the index is in the name, the hostname, a label, an annotation and the environment. */
function indexedPod(job: Job, index: number): Pod {
  const name = `${job.metadata?.name ?? ''}-${index}`;
  const pod = podFromTemplate(job.spec?.template, targetOf(job), {
    generateName: `${name}-`,
    labels: { [COMPLETION_INDEX]: String(index) },
    annotations: { [COMPLETION_INDEX]: String(index) },
    finalizers: [TRACKING_FINALIZER],
  });
  if (pod.spec === undefined) return pod;
  const { initContainers, containers, hostname } = pod.spec;
  return {
    ...pod,
    spec: {
      ...pod.spec,
      hostname: hostname === undefined || hostname === '' ? name : hostname,
      ...(initContainers === undefined ? {} : { initContainers: initContainers.map(withIndex) }),
      containers: containers.map(withIndex),
    },
  };
}

function withIndex(container: Container): Container {
  const env = container.env ?? [];
  if (env.some(({ name }) => name === INDEX_VARIABLE)) return container;
  const fieldPath = `metadata.annotations['${COMPLETION_INDEX}']`;
  const variable = { name: INDEX_VARIABLE, valueFrom: { fieldRef: { fieldPath } } };
  return { ...container, env: [...env, variable] };
}

/** Pods of indexes that there are no more, and all but the first of several with the same index. */
export function superfluous(job: Job, active: readonly Pod[]): Pod[] {
  if (!isIndexed(job)) return [];
  const seen = new Set<number>();
  return [...active]
    .sort((a, b) => ((a.metadata?.name ?? '') < (b.metadata?.name ?? '') ? -1 : 1))
    .filter((pod) => {
      const index = indexOf(pod, job.spec?.completions ?? 0);
      if (index === undefined || seen.has(index)) return true;
      seen.add(index);
      return false;
    });
}

/** Those that least is lost with: not started, not ready, young; of an Indexed Job the highest indexes. */
export function firstToGo(job: Job, active: readonly Pod[], times: PodTimes): Pod[] {
  const ordered = inVictimOrder(active, active, times);
  if (!isIndexed(job)) return ordered;
  const completions = job.spec?.completions ?? 0;
  return ordered.sort((a, b) => (indexOf(b, completions) ?? 0) - (indexOf(a, completions) ?? 0));
}

/** Takes the finalizer away, so that the pod may go. */
export function release(pod: Pod): Action[] {
  if (!isTracked(pod)) return [];
  const finalizers = (pod.metadata?.finalizers ?? []).filter((one) => one !== TRACKING_FINALIZER);
  const { namespace = '', name = '', uid } = pod.metadata ?? {};
  const mergePatch = { metadata: { finalizers, ...(uid === undefined ? {} : { uid }) } };
  return [{ type: 'patch', id: RESOURCES.pods, namespace, name, mergePatch }];
}

/** Deletes pods whose end must not count: the Job has no more use for them. */
export function dismiss(job: Job, pods: readonly Pod[]): Action[] {
  return pods.flatMap((pod) => [...release(pod), deletePod(pod, targetOf(job))]);
}

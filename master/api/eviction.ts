/**
 * POST pods/NAME/eviction: a delete that PodDisruptionBudgets may refuse, so that `kubectl drain` takes no more pods of an app
 * away than it can spare. Words and codes are those of Kubernetes ("API-initiated Eviction").
 *
 * A budget is spent in its status before the pod is deleted, by a write that fails when anybody was faster: two evictions
 * cannot both take the last disruption. What a failed delete has spent comes back by itself after two minutes
 * (master/controllers/disruption.ts).
 */
import { rfc3339 } from '../../protocol/clock.ts';
import type { Condition, Pod, PodDisruptionBudget } from '../../protocol/kinds/types.ts';
import { matchesLabelSelector } from '../../protocol/selector.ts';
import { ApiError, conflict, notFound } from '../../protocol/status.ts';
import { type DeleteOptions, RESOURCES } from './client.ts';
import { copyOf } from './copy.ts';
import type { Core } from './core.ts';
import { type DeleteResult, deleteObject } from './delete.ts';
import { withDisruption } from './disruption.ts';
import { listObjects } from './list.ts';
import { compileSelection } from './selection.ts';
import type { Stored } from './stored.ts';

export interface EvictRequest {
  readonly namespace: string;
  readonly name: string;
  readonly options: DeleteOptions;
  readonly dryRun: boolean;
}

const TRIES_MAX = 20;
const DISRUPTED_MAX = 2_000;
const RETRY_SECONDS = 10;
const REFUSAL = "Cannot evict pod as it would violate the pod's disruption budget.";

/** Throws `ApiError`: 404, 409 for preconditions, 429 while a budget does not allow it, 500 when two budgets claim the pod. */
export async function evictPod(core: Core, request: EvictRequest): Promise<DeleteResult> {
  const { namespace, name, options, dryRun } = request;
  const resource = core.table.get(RESOURCES.pods);
  const stored = await core.storage.read(resource, namespace, name);
  if (stored === undefined) throw notFound(resource.ref, name);
  const pod: Pod = core.storage.parsed(stored);
  checkUid(pod, options);
  if (!needsNoBudget(pod)) await spendBudget(core, pod, dryRun);
  if (!dryRun) await tellEviction(core, stored);
  // The budget was spent for this life of the pod, not for another of its name.
  const uid = pod.metadata?.uid;
  const preconditions = { ...options.preconditions, ...(uid === undefined ? {} : { uid }) };
  const target = { resource, namespace, name };
  return deleteObject(core, { ...target, options: { ...options, preconditions }, dryRun });
}

/** Nothing when the pod says so already, or changes all the time: the eviction is not held up by it. */
async function tellEviction(core: Core, first: Stored): Promise<void> {
  let stored: Stored | undefined = first;
  for (let attempt = 0; attempt < TRIES_MAX && stored !== undefined; attempt += 1) {
    const pod: Pod = copyOf(core.storage.parsed(stored));
    const conditions = withDisruption(pod.status, {
      reason: 'EvictionByEvictionAPI',
      message: 'Eviction API: evicting',
      timestamp: rfc3339(core.clock.wallMs()),
    });
    if (conditions === undefined) return;
    const next: Pod = { ...pod, status: { ...pod.status, conditions } };
    if ((await core.storage.replace(stored, next)) !== undefined) return;
    const { namespace = '', name = '' } = pod.metadata ?? {};
    const now = await core.storage.read(stored.resource, namespace, name);
    const isSame =
      now !== undefined && core.storage.scanned(now).metadata?.uid === pod.metadata?.uid;
    stored = isSame ? now : undefined;
  }
}

function checkUid(pod: Pod, { preconditions }: DeleteOptions): void {
  const have = pod.metadata?.uid ?? '';
  const want = preconditions?.uid;
  if (want === undefined || want === have) return;
  const why = `Precondition failed: UID in precondition: ${want}, UID in object meta: ${have}`;
  throw conflict({ group: '', resource: 'pods' }, pod.metadata?.name ?? '', why);
}

/** It does no work (any more, or not yet). */
function needsNoBudget({ metadata, status }: Pod): boolean {
  const phase = status?.phase ?? 'Pending';
  return (
    ['Succeeded', 'Failed', 'Pending'].includes(phase) || metadata?.deletionTimestamp !== undefined
  );
}

async function spendBudget(core: Core, pod: Pod, dryRun: boolean): Promise<void> {
  for (let attempt = 0; attempt < TRIES_MAX; attempt += 1) {
    const budgets = await budgetsOf(core, pod);
    if (budgets.length > 1) {
      throw new ApiError(
        500,
        'InternalError',
        'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.',
      );
    }
    const [stored] = budgets;
    if (stored === undefined) return;
    const budget: PodDisruptionBudget = core.storage.parsed(stored);
    if (mayGoUnready(pod, budget)) return;
    const name = pod.metadata?.name ?? '';
    const next = spent(budget, name, rfc3339(core.clock.wallMs()));
    if (dryRun || (await core.storage.replace(stored, next)) !== undefined) return;
  }
  throw tooMany(`the disruption budget changes too often to be spent now`, RETRY_SECONDS);
}

async function budgetsOf(core: Core, pod: Pod): Promise<Stored[]> {
  const resource = core.table.find(RESOURCES.podDisruptionBudgets);
  if (resource === undefined) return [];
  const { namespace = '', labels } = pod.metadata ?? {};
  const { items } = await listObjects(core, compileSelection(resource, { namespace }));
  return items.filter((stored) => {
    const { spec }: PodDisruptionBudget = core.storage.parsed(stored);
    return matchesLabelSelector(spec?.selector, labels);
  });
}

/** A pod that is not ready helps nobody: it may go while the others suffice, or always when the budget says so. */
function mayGoUnready(pod: Pod, { spec, status }: PodDisruptionBudget): boolean {
  const isReady = (pod.status?.conditions ?? []).some(
    ({ type, status: state }) => type === 'Ready' && state === 'True',
  );
  if (isReady) return false;
  if (spec?.unhealthyPodEvictionPolicy === 'AlwaysAllow') return true;
  const desired = status?.desiredHealthy ?? 0;
  return desired > 0 && (status?.currentHealthy ?? 0) >= desired;
}

/** The budget with one disruption less. */
function spent(budget: PodDisruptionBudget, pod: string, now: string): PodDisruptionBudget {
  const name = budget.metadata?.name ?? '';
  const status = { ...budget.status };
  if ((status.observedGeneration ?? 0) < (budget.metadata?.generation ?? 0)) {
    throw tooMany(
      `The disruption budget ${name} is still being processed by the server.`,
      RETRY_SECONDS,
    );
  }
  const allowed = status.disruptionsAllowed ?? 0;
  if (allowed < 0) throw forbidden(pod, 'pdb disruptions allowed is negative');
  if (Object.keys(status.disruptedPods ?? {}).length > DISRUPTED_MAX) {
    const why = 'DisruptedPods map too big - too many evictions not confirmed by PDB controller';
    throw forbidden(pod, why);
  }
  if (allowed === 0) throw tooMany(whyNone(budget), 0);
  const next = copyOf(budget) as PodDisruptionBudget;
  next.status = {
    ...status,
    disruptionsAllowed: allowed - 1,
    disruptedPods: { ...status.disruptedPods, [pod]: now },
    conditions: allowed > 1 ? (status.conditions ?? []) : noneLeft(budget, now),
  };
  return next;
}

function whyNone({ metadata, status }: PodDisruptionBudget): string {
  const name = metadata?.name ?? '';
  const failed = status?.conditions?.find(({ reason }) => reason === 'SyncFailed');
  if (failed !== undefined) {
    return (
      `The disruption budget ${name} does not allow evicting pods currently because it failed sync: ` +
      `${failed.message}`
    );
  }
  const { desiredHealthy = 0, currentHealthy = 0 } = status ?? {};
  return (
    `The disruption budget ${name} needs ${desiredHealthy} healthy pods and has ` +
    `${currentHealthy} currently`
  );
}

function noneLeft({ metadata, status }: PodDisruptionBudget, now: string): Condition[] {
  const others = (status?.conditions ?? []).filter(({ type }) => type !== 'DisruptionAllowed');
  return [
    ...others,
    {
      type: 'DisruptionAllowed',
      status: 'False',
      reason: 'InsufficientPods',
      message: '',
      lastTransitionTime: now,
      observedGeneration: metadata?.generation ?? 0,
    },
  ];
}

function tooMany(cause: string, retryAfterSeconds: number): ApiError {
  return new ApiError(429, 'TooManyRequests', REFUSAL, {
    causes: [{ reason: 'DisruptionBudget', message: cause }],
    ...(retryAfterSeconds === 0 ? {} : { retryAfterSeconds }),
  });
}

function forbidden(pod: string, why: string): ApiError {
  return new ApiError(403, 'Forbidden', `pods ${JSON.stringify(pod)} is forbidden: ${why}`, {
    name: pod,
    kind: 'pods',
  });
}

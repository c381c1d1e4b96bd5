/**
 * Carries out the actions of one reconciliation through the API. No retries here: what fails is
 * reported to the runner, which tries the whole key again later.
 *
 * Promises: actions run in order; neighbouring creates (or deletes) run side by side in growing
 * batches (1, 2, 4, ... 16: when the first fails, the rest is not even tried). After a failure only
 * requeueAfter and statuses marked `evenAfterFailure` are still carried out.
 */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import { ApiError } from '../../protocol/status.ts';
import type { ApiClient, ResourceId } from '../api/client.ts';
import type { Action, Announcement } from './actions.ts';
import { tellDisruption } from './disruption-target.ts';
import type { EventRecorder } from './events.ts';

const BATCH_MAX = 16;

/** What a cache must show before the key may be decided on again. */
export type Expectation =
  | { readonly type: 'revision'; readonly id: ResourceId; readonly revision: number }
  | {
      readonly type: 'gone';
      readonly id: ResourceId;
      readonly namespace: string;
      readonly name: string;
      readonly uid: string;
    };

export interface Outcome {
  readonly expectations: readonly Expectation[];
  readonly requeueAfterMs: number | undefined;
  readonly failure: unknown;
}

interface Executor {
  readonly client: ApiClient;
  readonly events: EventRecorder;
}

export async function execute(executor: Executor, actions: readonly Action[]): Promise<Outcome> {
  const expectations: Expectation[] = [];
  let requeueAfterMs: number | undefined;
  let failure: unknown;
  for (const run of groupRuns(actions)) {
    const [first] = run;
    if (first === undefined) continue;
    if (first.type === 'requeueAfter') {
      requeueAfterMs = Math.min(requeueAfterMs ?? first.delayMs, first.delayMs);
      continue;
    }
    const isForced = first.type === 'updateStatus' && first.evenAfterFailure === true;
    if (failure !== undefined && !isForced) continue;
    if (first.type === 'event') {
      executor.events.record(first.regarding, first.eventType, first.reason, first.message);
      continue;
    }
    const failed = await executeRun(executor, run, expectations);
    failure ??= failed;
  }
  return { expectations, requeueAfterMs, failure };
}

/** Neighbours of the same kind of action that may run side by side. */
function groupRuns(actions: readonly Action[]): Action[][] {
  const runs: Action[][] = [];
  for (const action of actions) {
    const last = runs.at(-1);
    const parallel = action.type === 'create' || action.type === 'delete';
    if (parallel && last?.[0]?.type === action.type) last.push(action);
    else runs.push([action]);
  }
  return runs;
}

/** The first failure, or undefined. */
async function executeRun(
  executor: Executor,
  run: readonly Action[],
  expectations: Expectation[],
): Promise<unknown> {
  let batch = 1;
  for (let at = 0; at < run.length; at += batch, batch = Math.min(BATCH_MAX, batch * 2)) {
    const results = await Promise.allSettled(
      run.slice(at, at + batch).map((action) => executeOne(executor, action)),
    );
    let failure: unknown;
    for (const result of results) {
      if (result.status === 'rejected') failure ??= result.reason;
      else if (result.value !== undefined) expectations.push(result.value);
    }
    if (failure !== undefined) return failure;
  }
  return undefined;
}

async function executeOne(executor: Executor, action: Action): Promise<Expectation | undefined> {
  const { client } = executor;
  switch (action.type) {
    case 'create': {
      const created = await announced(executor, action.announce, undefined, () =>
        client.create(action.id, action.object),
      );
      return seen(action.id, created);
    }
    case 'update':
      return seen(action.id, await client.update(action.id, action.object));
    case 'updateStatus':
      return seen(action.id, await writeStatus(client, action.id, action.object));
    case 'patch':
      return seen(
        action.id,
        await client.patch(
          action.id,
          action.namespace,
          action.name,
          action.mergePatch,
          action.subresource,
        ),
      );
    case 'delete':
      return executeDelete(executor, action);
    case 'evict':
      return executeEviction(executor, action);
    case 'event':
    case 'requeueAfter':
      return undefined;
    default:
      return action satisfies never;
  }
}

/**
 * An object with a resourceVersion is written only if nobody was faster (a pod's status has two writers). One without gets its
 * status put into the current state: a status PUT carries labels and annotations along (as in Kubernetes), and the
 * controller's copy of those may be older than what an action before this one wrote.
 */
async function writeStatus(
  client: ApiClient,
  id: ResourceId,
  object: KubeObject,
): Promise<KubeObject> {
  const { namespace = '', name = '', uid, resourceVersion } = object.metadata ?? {};
  if (resourceVersion !== undefined) return client.update(id, object, 'status');
  const current = await client.get(id, namespace, name);
  // Another uid makes the write fail: the status belongs to an object that is gone.
  const metadata = { ...current.metadata, ...(uid === undefined ? {} : { uid }) };
  const status: unknown = Reflect.get(object, 'status');
  return client.update(id, { ...current, metadata, ...{ status } }, 'status');
}

function seen(id: ResourceId, object: KubeObject): Expectation | undefined {
  const revision = Number(object.metadata?.resourceVersion);
  return Number.isFinite(revision) ? { type: 'revision', id, revision } : undefined;
}

async function executeDelete(
  executor: Executor,
  action: Extract<Action, { type: 'delete' }>,
): Promise<Expectation | undefined> {
  const { client } = executor;
  const { id, namespace, name, uid } = action;
  for (const owner of action.unlessExists ?? []) {
    if (await exists(client, owner.id, owner.namespace, owner.name, owner.uid)) return undefined;
  }
  try {
    if (action.disruption !== undefined) await tellDisruption(client, action, action.disruption);
    const lingering = await announced(executor, action.announce, name, () =>
      client.delete(id, namespace, name, { ...action.options, preconditions: { uid } }),
    );
    if (lingering === undefined) return { type: 'gone', id, namespace, name, uid };
    return seen(id, lingering);
  } catch (error) {
    // Gone already, which is what was wanted.
    if (error instanceof ApiError && error.reason === 'NotFound') {
      return { type: 'gone', id, namespace, name, uid };
    }
    throw error;
  }
}

async function executeEviction(
  executor: Executor,
  { namespace, name, uid, announce }: Extract<Action, { type: 'evict' }>,
): Promise<undefined> {
  try {
    await announced(executor, announce, name, async () => {
      await executor.client.evict(namespace, name, uid);
      return undefined;
    });
  } catch (error) {
    if (error instanceof ApiError && error.reason === 'TooManyRequests') return;
    throw error;
  }
}

async function exists(
  client: ApiClient,
  id: ResourceId,
  namespace: string,
  name: string,
  uid: string,
): Promise<boolean> {
  try {
    const object = await client.get(id, namespace, name);
    return object.metadata?.uid === uid;
  } catch (error) {
    if (error instanceof ApiError && error.reason === 'NotFound') return false;
    throw error;
  }
}

async function announced<T extends KubeObject | undefined>(
  { events }: Executor,
  announce: Announcement | undefined,
  knownName: string | undefined,
  work: () => Promise<T>,
): Promise<T> {
  try {
    const result = await work();
    if (announce?.success !== undefined) {
      const name = knownName ?? result?.metadata?.name ?? '';
      const { reason, message } = announce.success;
      events.record(
        announce.regarding,
        'Normal',
        reason,
        message.replace('{name}', () => name),
      );
    }
    return result;
  } catch (error) {
    if (announce?.failure !== undefined && !isGone(error)) {
      const text = error instanceof Error ? error.message : String(error);
      const { reason, message } = announce.failure;
      events.record(
        announce.regarding,
        'Warning',
        reason,
        message.replace('{error}', () => text),
      );
    }
    throw error;
  }
}

function isGone(error: unknown): boolean {
  return error instanceof ApiError && error.reason === 'NotFound';
}

/**
 * What the store has said to be done, in the order of revisions: the measure of everything else. It reads the store's own
 * watch and outlives the lives of the master, so it knows when one of them forgets something.
 */

import { prefixEnd, type StoreEvent } from '../../../master/store/store.ts';
import type { WalStore } from '../../../master/store/wal-store.ts';
import type { KubeObject } from '../../../protocol/kinds/meta.ts';
import type {
  CronJob,
  DaemonSet,
  Deployment,
  Endpoints,
  Job,
  Node,
  Pod,
  PodDisruptionBudget,
  ReplicaSet,
  ResourceQuota,
  Service,
  StatefulSet,
} from '../../../protocol/kinds/types.ts';
import type { ProcessTimers } from './time.ts';

const ROOT = '/registry/';

export interface Kinds {
  'core/pods': Pod;
  'core/nodes': Node;
  'core/services': Service;
  'core/resourcequotas': ResourceQuota;
  'core/endpoints': Endpoints;
  'apps/deployments': Deployment;
  'apps/replicasets': ReplicaSet;
  'apps/statefulsets': StatefulSet;
  'apps/daemonsets': DaemonSet;
  'apps/controllerrevisions': KubeObject;
  'batch/jobs': Job;
  'batch/cronjobs': CronJob;
  'policy/poddisruptionbudgets': PodDisruptionBudget;
}

/** One committed change of one object. */
export interface Change {
  /** "core/pods" and the like. */
  readonly kind: string;
  /** "pods default/web-1", for people. */
  readonly what: string;
  readonly revision: number;
  readonly before: KubeObject | undefined;
  readonly after: KubeObject | undefined;
}

interface Known {
  readonly revision: number;
  readonly object: KubeObject;
  readonly text: string;
}

export class Witness {
  readonly #kinds = new Map<string, Map<string, Known>>();
  readonly #onChange: (change: Change) => void;
  readonly #onLoss: (message: string) => void;
  revision = 0;
  writes = 0;

  constructor(onChange: (change: Change) => void, onLoss: (message: string) => void) {
    this.#onChange = onChange;
    this.#onLoss = onLoss;
  }

  list<K extends keyof Kinds>(kind: K): Kinds[K][] {
    return [...this.#of(kind).values()].map(({ object }) => object as Kinds[K]);
  }

  get<K extends keyof Kinds>(kind: K, namespace: string, name: string): Kinds[K] | undefined {
    const key = namespace === '' ? name : `${namespace}/${name}`;
    return this.#of(kind).get(key)?.object as Kinds[K] | undefined;
  }

  /** Of any kind; the key is "namespace/name", or the name. */
  getAny(kind: string, key: string): KubeObject | undefined {
    return this.#of(kind).get(key)?.object;
  }

  /** Every object there is, with its kind. */
  *all(): Generator<{ readonly kind: string; readonly key: string; readonly object: KubeObject }> {
    for (const [kind, objects] of this.#kinds) {
      for (const [key, { object }] of objects) yield { kind, key, object };
    }
  }

  /** The store was opened anew: what was acknowledged must be there. Follows it from there on, until its process ends. */
  async follow(store: WalStore, timers: ProcessTimers): Promise<void> {
    if (store.revision < this.revision) {
      this.#onLoss(`the store came back at revision ${store.revision}, after ${this.revision}`);
    }
    const range = { start: ROOT, end: prefixEnd(ROOT) };
    const { kvs } = await store.range(range);
    const present = new Set<string>();
    for (const { key, value, modRevision } of kvs) {
      present.add(key);
      const known = this.#find(key);
      if (modRevision <= this.revision && known?.text !== textOf(value)) {
        this.#onLoss(`${key} of revision ${modRevision} is not what was acknowledged`);
      }
      // Written, but not told to anybody before the end: in which order is not known any more.
      if (modRevision > this.revision) this.#take(key, value, modRevision);
    }
    const gone = [...this.all()].map(({ kind, key }) => `${ROOT}${kind}/${key}`);
    for (const key of gone.filter((one) => !present.has(one))) {
      if (store.revision === this.revision) this.#onLoss(`${key} was acknowledged and is lost`);
      const { kind, key: name } = partsOf(key);
      this.#of(kind).delete(name);
    }
    this.revision = Math.max(this.revision, store.revision);
    void this.#watch(store, timers);
  }

  async #watch(store: WalStore, timers: ProcessTimers): Promise<void> {
    const range = { start: ROOT, end: prefixEnd(ROOT) };
    for await (const batch of store.watch({ ...range, startRevision: this.revision + 1 })) {
      if (timers.isDead) return;
      for (const event of batch.events) this.#apply(event);
      this.revision = Math.max(this.revision, batch.revision);
    }
  }

  #apply({ type, kv }: StoreEvent): void {
    if (type === 'delete') {
      this.#forget(kv.key, kv.modRevision);
      return;
    }
    const { kind, key } = partsOf(kv.key);
    const before = this.#of(kind).get(key);
    if (before !== undefined && before.revision >= kv.modRevision) {
      this.#onLoss(`${kv.key} went from revision ${before.revision} to ${kv.modRevision}`);
    }
    const object = this.#take(kv.key, kv.value, kv.modRevision);
    this.writes += 1;
    this.#onChange({
      kind,
      what: `${kind} ${key}`,
      revision: kv.modRevision,
      before: before?.object,
      after: object,
    });
  }

  #forget(storeKey: string, revision: number): void {
    const { kind, key } = partsOf(storeKey);
    const before = this.#of(kind).get(key);
    this.#of(kind).delete(key);
    this.writes += 1;
    const what = `${kind} ${key}`;
    this.#onChange({ kind, what, revision, before: before?.object, after: undefined });
  }

  #take(storeKey: string, value: Uint8Array, revision: number): KubeObject {
    const { kind, key } = partsOf(storeKey);
    const text = textOf(value);
    const object: KubeObject = JSON.parse(text);
    this.#of(kind).set(key, { revision, object, text });
    return object;
  }

  #find(storeKey: string): Known | undefined {
    const { kind, key } = partsOf(storeKey);
    return this.#of(kind).get(key);
  }

  #of(kind: string): Map<string, Known> {
    let objects = this.#kinds.get(kind);
    if (objects === undefined) {
      objects = new Map();
      this.#kinds.set(kind, objects);
    }
    return objects;
  }
}

/** "/registry/core/pods/default/web-1" is "core/pods" and "default/web-1". */
function partsOf(storeKey: string): { kind: string; key: string } {
  const [group, plural, ...rest] = storeKey.slice(ROOT.length).split('/');
  return { kind: `${group}/${plural}`, key: rest.join('/') };
}

function textOf(value: Uint8Array): string {
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('utf8');
}

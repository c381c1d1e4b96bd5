/**
 * The API layer without a wire: authorize, then read or write. The HTTP edge and the in-process client call the same
 * methods; there is no other way to the stores.
 *
 * Every method authorizes first and throws `ApiError` for expected failures. Answers are stored bytes
 * (stored.ts); whoever wants objects parses them.
 */
import { type KeyObject, randomUUID } from 'node:crypto';
import { type Clock, systemClock } from '../../protocol/clock.ts';
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import type { Binding, Pod, ServiceAccount } from '../../protocol/kinds/types.ts';
import { ApiError, methodNotSupported, notFound } from '../../protocol/status.ts';
import type { Timers } from '../informer/timers.ts';
import { makeServiceAccountKey } from '../pki/service-account-key.ts';
import type { Store } from '../store/store.ts';
import type { AdmissionPlugin } from './admission.ts';
import { ServiceAllocator } from './allocator.ts';
import { AccountTokens } from './authn/account-tokens.ts';
import { type Authorizer, createAuthorizer, forbiddenResource } from './authorizer.ts';
import { certificateRules } from './certificate-admission.ts';
import { type DeleteOptions, type ListOptions, RESOURCES, type User } from './client.ts';
import { type Core, ObjectStorage, type Randomness, type WriteOptions } from './core.ts';
import { createObject } from './create.ts';
import { type DeleteResult, deleteObject } from './delete.ts';
import { evictPod } from './eviction.ts';
import { defaultIngressClass } from './ingress-admission.ts';
import { Kept } from './kept.ts';
import type { KindModule } from './kind.ts';
import { type ListPage, listObjects, placeOf, type StoredList } from './list.ts';
import { bindPod } from './pod-subresources.ts';
import { priorityAdmission } from './priority-admission.ts';
import { pullSecrets } from './pull-secrets.ts';
import { limitRanger } from './quota/limits.ts';
import { quotaGuard } from './quota/quota-guard.ts';
import { escalationCheck } from './rbac/escalation.ts';
import { RbacPolicy } from './rbac/policy.ts';
import { noSuchResource, type Resource, ResourceTable } from './resources.ts';
import { runtimeClasses } from './runtime-classes.ts';
import { compileSelection } from './selection.ts';
import { serviceAccounts } from './service-account-admission.ts';
import { defaultStorageClass } from './storage-admission.ts';
import type { Stored } from './stored.ts';
import { updateObject, type WritePart } from './update.ts';
import { type StoredEvent, type WatchStart, watchObjects } from './watch.ts';

export interface RegistryOptions {
  readonly store: Store;
  /** For kinds with storage 'memory' (events). */
  readonly memoryStore: Store;
  readonly modules: readonly KindModule[];
  readonly clock?: Clock;
  readonly random?: Randomness;
  /** For the bookmarks of watches. */
  readonly timers?: Timers;
  /** What the garbage collector can do beside 'Background'. */
  readonly propagationPolicies?: readonly ('Foreground' | 'Orphan')[];
  /** Bytes of values that are kept parsed. */
  readonly cacheBytesMax?: number;
  /**
   * Without ServiceAccount, pods get no account and no token of it: for where no controller makes the account `default` of
   * each namespace (kube-apiserver: --disable-admission-plugins).
   */
  readonly disableAdmissionPlugins?: readonly 'ServiceAccount'[];
  /** P-256, signs the tokens of service accounts. Absent: a new one, and tokens end with this process. */
  readonly serviceAccountKey?: KeyObject;
}

/** One object, or with an empty name all of its kind (in the namespace, if one is given). */
export interface ObjectPath {
  readonly resource: Resource;
  readonly namespace: string;
  readonly name: string;
}

export interface UpdateOptions extends WriteOptions {
  /** 'update' or 'patch': what is authorized. */
  readonly verb: 'update' | 'patch';
  /** As authorized: '' for the object itself, 'status', 'approval', 'scale', 'finalize'. */
  readonly subresource: string;
  readonly part: WritePart;
  readonly triesMax?: number;
}

/** A bookmark that is due is no reason for a process to stay. */
const BOOKMARK_TIMERS: Timers = {
  after(delayMs, callback) {
    const handle = setTimeout(callback, delayMs).unref();
    return () => clearTimeout(handle);
  },
};

/** Reads what is allocated already: call once before use. */
export async function createRegistry(options: RegistryOptions): Promise<Registry> {
  const random = options.random ?? { uuid: () => randomUUID(), fraction: Math.random };
  const table = new ResourceTable(options.modules);
  const admission: AdmissionPlugin[] = [];
  const core: Core = {
    table,
    storage: new ObjectStorage({
      durable: options.store,
      memory: options.memoryStore,
      ...(options.cacheBytesMax === undefined ? {} : { cacheBytesMax: options.cacheBytesMax }),
    }),
    clock: options.clock ?? systemClock,
    random,
    timers: options.timers ?? BOOKMARK_TIMERS,
    allocator: new ServiceAllocator({ random: () => random.fraction() }),
    propagationPolicies: new Set(['Background', ...(options.propagationPolicies ?? [])]),
    admission,
  };
  await claimAllocated(core);
  const registry = new Registry(core, options.serviceAccountKey ?? makeServiceAccountKey());
  const accounts = new Kept<ServiceAccount>(core, RESOURCES.serviceAccounts);
  const hasAccounts = options.disableAdmissionPlugins?.includes('ServiceAccount') !== true;
  admission.push(
    priorityAdmission(new Kept(core, RESOURCES.priorityClasses)),
    ...(hasAccounts ? [serviceAccounts(accounts)] : []),
    pullSecrets(accounts),
    defaultStorageClass(new Kept(core, RESOURCES.storageClasses)),
    defaultIngressClass(new Kept(core, RESOURCES.ingressClasses)),
    runtimeClasses(new Kept(core, RESOURCES.runtimeClasses)),
    limitRanger(new Kept(core, RESOURCES.limitRanges)),
    escalationCheck(registry.policy, registry.authorizer),
    certificateRules(registry.authorizer),
    quotaGuard(new Kept(core, RESOURCES.resourceQuotas)),
  );
  return registry;
}

/** Addresses and ports of the objects that are there are taken. */
async function claimAllocated(core: Core): Promise<void> {
  for (const resource of core.table.all) {
    if (resource.module.release === undefined) continue;
    const list = await listObjects(core, compileSelection(resource, {}));
    for (const stored of list.items) {
      const object = core.storage.scanned(stored);
      core.allocator.claim(ServiceAllocator.holdings(resource.module, object));
    }
  }
}

export class Registry {
  readonly core: Core;
  readonly policy: RbacPolicy;
  readonly authorizer: Authorizer;
  readonly tokens: AccountTokens;

  constructor(core: Core, serviceAccountKey: KeyObject) {
    this.core = core;
    this.policy = new RbacPolicy(core);
    this.tokens = new AccountTokens(core, serviceAccountKey);
    this.authorizer = createAuthorizer(
      (namespace, name) => this.#podNode(namespace, name),
      this.policy,
    );
  }

  get table(): ResourceTable {
    return this.core.table;
  }

  /** The shared parsed form of an answer: frozen by agreement. */
  parsed(stored: Stored): KubeObject {
    return this.core.storage.parsed(stored);
  }

  /** Throws Forbidden in Kubernetes' words when the user may not. */
  async authorize(
    user: User,
    verb: string,
    path: ObjectPath,
    more: { readonly subresource?: string; readonly fieldSelector?: string } = {},
  ): Promise<void> {
    const { group, plural } = path.resource.module;
    const what = {
      verb,
      group,
      resource: plural,
      subresource: more.subresource ?? '',
      namespace: path.namespace,
      name: path.name,
      ...(more.fieldSelector === undefined ? {} : { fieldSelector: more.fieldSelector }),
    };
    const decision = await this.authorizer.authorize(user, what);
    if (!decision.allowed) throw forbiddenResource(user, what, decision.reason);
  }

  async get(user: User, path: ObjectPath, subresource = ''): Promise<Stored> {
    await this.authorize(user, 'get', path, { subresource });
    const stored = await this.core.storage.read(path.resource, path.namespace, path.name);
    if (stored === undefined) throw notFound(path.resource.ref, path.name);
    return stored;
  }

  async list(
    user: User,
    resource: Resource,
    options: ListOptions,
    page: ListPage = {},
  ): Promise<StoredList> {
    await this.authorize(user, 'list', collection(resource, options), options);
    return listObjects(this.core, compileSelection(resource, options), page);
  }

  /** Authorizes at once; the events come when the result is iterated. */
  async watch(
    user: User,
    resource: Resource,
    options: ListOptions,
    start: WatchStart,
  ): Promise<AsyncGenerator<StoredEvent[], void, undefined>> {
    await this.authorize(user, 'watch', collection(resource, options), options);
    return watchObjects(this.core, compileSelection(resource, options), start);
  }

  /** `object` is decoded and now belongs to this call. */
  async create(
    user: User,
    path: { readonly resource: Resource; readonly namespace: string },
    object: KubeObject,
    options: WriteOptions = {},
  ): Promise<Stored> {
    await this.authorize(user, 'create', { ...path, name: '' });
    return createObject(this.core, { ...path, user, object }, options);
  }

  /** `change` makes the object as it should be from the current one, which it must not change. */
  async update(
    user: User,
    path: ObjectPath,
    change: (current: KubeObject) => KubeObject | Promise<KubeObject>,
    options: UpdateOptions,
  ): Promise<Stored> {
    const { verb, subresource, part, triesMax } = options;
    await this.authorize(user, verb, path, { subresource });
    const { subresources } = path.resource.module;
    if ((part === 'status' || part === 'approval') && subresources[part] !== true) {
      throw noSuchResource();
    }
    return updateObject(
      this.core,
      { ...path, user, part, change, ...(triesMax === undefined ? {} : { triesMax }) },
      options,
    );
  }

  async delete(
    user: User,
    path: ObjectPath,
    options: DeleteOptions = {},
    dryRun = false,
  ): Promise<DeleteResult> {
    await this.authorize(user, 'delete', path);
    return deleteObject(this.core, { ...path, options, dryRun });
  }

  /** POST pods/NAME/eviction: a delete that disruption budgets may refuse. */
  async evict(
    user: User,
    path: ObjectPath,
    options: DeleteOptions,
    dryRun: boolean,
  ): Promise<DeleteResult> {
    await this.authorize(user, 'create', path, { subresource: 'eviction' });
    const { namespace, name } = path;
    return evictPod(this.core, { namespace, name, options, dryRun });
  }

  /** Deletes all that the selectors match, one by one; what is gone meanwhile is no error. */
  async deleteCollection(
    user: User,
    resource: Resource,
    selection: ListOptions,
    options: DeleteOptions & { readonly dryRun?: boolean } = {},
  ): Promise<StoredList> {
    await this.authorize(user, 'deletecollection', collection(resource, selection));
    if (resource.module.plural === 'namespaces' && resource.module.group === '') {
      throw methodNotSupported(resource.ref, 'deletecollection');
    }
    const list = await listObjects(this.core, compileSelection(resource, selection));
    const items: Stored[] = [];
    for (const stored of list.items) {
      const place = placeOf(stored);
      try {
        const dryRun = options.dryRun === true;
        const done = await deleteObject(this.core, { resource, ...place, options, dryRun });
        items.push(done.stored);
      } catch (error) {
        if (!(error instanceof ApiError && error.code === 404)) throw error;
      }
    }
    return { items, revision: list.revision };
  }

  /** POST pods/NAME/binding. */
  async bind(
    user: User,
    namespace: string,
    name: string,
    binding: Binding,
    options: WriteOptions = {},
  ): Promise<Stored> {
    const resource = this.core.table.get(RESOURCES.pods);
    await this.authorize(user, 'create', { resource, namespace, name }, { subresource: 'binding' });
    return bindPod(this.core, { namespace, name, binding }, options);
  }

  async #podNode(namespace: string, name: string): Promise<string | undefined> {
    const resource = this.core.table.find(RESOURCES.pods);
    if (resource === undefined) return undefined;
    const stored = await this.core.storage.read(resource, namespace, name);
    if (stored === undefined) return undefined;
    const pod = this.core.storage.scanned(stored) as Pod;
    return pod.spec?.nodeName;
  }
}

function collection(resource: Resource, options: ListOptions): ObjectPath {
  return { resource, namespace: options.namespace ?? '', name: '' };
}

/**
 * The people and programs that use the cluster: each act is one request, or a few, as kubectl would send them. Acts are sent
 * and not waited for; what the API refuses (Conflict, NotFound, a budget) is part of the history.
 */

import { type DeleteOptions, RESOURCES, type ResourceId } from '../../../master/api/client.ts';
import type { KubeObject } from '../../../protocol/kinds/meta.ts';
import type { Pod, PodTemplateSpec, ReplicaSet } from '../../../protocol/kinds/types.ts';
import { ApiError } from '../../../protocol/status.ts';
import type { Chance } from './chance.ts';
import { ADMIN, type RunningMaster } from './master.ts';
import type { Witness } from './witness.ts';
import * as workload from './workload.ts';

const { NAMESPACE } = workload;
/** So many of each fit on the boards together. */
const REST_REPLICAS = 3;
const TAINT = 'example.org/maintenance';
const REVISION = 'deployment.kubernetes.io/revision';

export interface UserParts {
  readonly chance: Chance;
  readonly witness: Witness;
  readonly master: () => RunningMaster | undefined;
  /** Nobody pushes others out. */
  readonly isCalm: boolean;
  readonly note: (line: string) => void;
  /** A pod was taken away by hand. */
  readonly onViolence: () => void;
  readonly onEvict: (pod: Pod) => void;
  readonly onEvicted: (pod: Pod) => void;
  readonly onNotEvicted: (pod: Pod) => void;
}

/** Whatever has a pod template. */
interface Templated extends KubeObject {
  readonly spec?: { readonly template?: PodTemplateSpec };
}

type Act = readonly [weight: number, run: () => void];

export class Users {
  readonly #parts: UserParts;
  readonly #acts: readonly Act[];
  #jobs = 0;

  constructor(parts: UserParts) {
    this.#parts = parts;
    this.#acts = [
      [6, () => this.#makeOrDelete()],
      [8, () => this.#scale()],
      [8, () => this.#changeImage()],
      [2, () => this.#undo()],
      [2, () => this.#pauseOrResume()],
      [2, () => this.#changeStrategy()],
      [4, () => this.#makeJob()],
      [2, () => this.#changeJob()],
      [2, () => this.#changeCronJob()],
      [2, () => this.#deletePod()],
      [4, () => this.#budgetOrService()],
      [3, () => this.#cordon()],
      [3, () => this.#drain()],
      [2, () => this.#namespace()],
      [2, () => this.#settings()],
      [2, () => this.#label()],
      [2, () => this.#taint()],
    ];
  }

  /** What has to be there before anybody acts. */
  prepare(): void {
    const quota = {
      metadata: { name: 'all', namespace: NAMESPACE },
      spec: { hard: { pods: '45' } },
    };
    this.#create(RESOURCES.resourceQuotas, quota);
    const metadata = { name: workload.URGENT };
    this.#create(RESOURCES.priorityClasses, { metadata, ...{ value: 1_000 } });
  }

  /** One act of somebody. */
  act(): void {
    const total = this.#acts.reduce((sum, [weight]) => sum + weight, 0);
    let at = this.#parts.chance.between(0, total);
    for (const [weight, run] of this.#acts) {
      at -= weight;
      if (at < 0) {
        run();
        return;
      }
    }
  }

  /** Everything that can come to rest shall: few replicas, good images, nothing paused, suspended or cordoned. */
  calmDown(): void {
    const { witness } = this.#parts;
    for (const { metadata } of witness.list('batch/cronjobs')) {
      this.#patch(RESOURCES.cronJobs, metadata?.name, { spec: { suspend: true } });
    }
    for (const { metadata, spec } of witness.list('batch/jobs')) {
      if (spec?.suspend) this.#patch(RESOURCES.jobs, metadata?.name, { spec: { suspend: false } });
    }
    for (const one of witness.list('apps/deployments')) {
      const isGood = imageOf(one) !== 'bad:1' && one.spec?.paused !== true;
      if (!isGood) this.#setImage(RESOURCES.deployments, one, 'app:9', { paused: null });
    }
    for (const one of witness.list('apps/statefulsets')) {
      if (imageOf(one) === 'bad:1') this.#setImage(RESOURCES.statefulSets, one, 'app:9', {});
    }
    for (const { metadata, spec } of witness.list('apps/deployments')) {
      if ((spec?.replicas ?? 1) <= REST_REPLICAS) continue;
      this.#patch(RESOURCES.deployments, metadata?.name, { spec: { replicas: REST_REPLICAS } });
    }
    for (const { metadata, spec } of witness.list('apps/statefulsets')) {
      const updateStrategy = { type: 'RollingUpdate', rollingUpdate: { partition: 0 } };
      this.#patch(RESOURCES.statefulSets, metadata?.name, { spec: { updateStrategy } });
      if ((spec?.replicas ?? 1) <= REST_REPLICAS) continue;
      this.#patch(RESOURCES.statefulSets, metadata?.name, { spec: { replicas: REST_REPLICAS } });
    }
    for (const one of witness.list('apps/daemonsets')) {
      if (imageOf(one) === 'bad:1') this.#setImage(RESOURCES.daemonSets, one, 'app:9', {});
    }
    for (const { metadata, spec } of witness.list('core/nodes')) {
      if (spec?.unschedulable) this.#setUnschedulable(metadata?.name ?? '', null);
      const taints = spec?.taints ?? [];
      const others = taints.filter(({ key }) => key !== TAINT);
      if (others.length < taints.length)
        this.#patchNode(metadata?.name, { spec: { taints: others } });
    }
    this.#deleteStrays();
  }

  /** What was orphaned on purpose, and nobody has adopted. */
  #deleteStrays(): void {
    const { witness } = this.#parts;
    const isStray = ({ metadata }: KubeObject): boolean =>
      (metadata?.ownerReferences ?? []).length === 0;
    for (const set of witness.list('apps/replicasets').filter(isStray)) {
      this.#delete(RESOURCES.replicaSets, set.metadata?.name);
    }
    for (const pod of witness.list('core/pods').filter(isStray)) this.#removePod(pod);
    for (const job of witness.list('batch/jobs').filter(isStray)) {
      if (job.metadata?.name?.startsWith('tick-')) this.#delete(RESOURCES.jobs, job.metadata.name);
    }
  }

  /** Kubernetes' documented way out of a broken rollout of a StatefulSet: its pods are deleted by hand. */
  deleteBroken(): void {
    for (const pod of this.#parts.witness.list('core/pods')) {
      const isOfSet = pod.metadata?.ownerReferences?.[0]?.kind === 'StatefulSet';
      if (isOfSet && pod.spec?.containers?.[0]?.image === 'bad:1') this.#removePod(pod);
    }
  }

  /** Sends a request; what comes of it goes into the history. */
  #send(what: string, work: (master: RunningMaster) => Promise<unknown>): void {
    const { note } = this.#parts;
    const master = this.#parts.master();
    if (master === undefined) {
      note(`${what}: no master`);
      return;
    }
    note(what);
    work(master).catch((error: unknown) => {
      if (!(error instanceof ApiError)) throw error;
      note(`${what}: ${error.reason} ${error.message}`);
      const isOurs =
        error.code === 500 || error.reason === 'Invalid' || error.reason === 'BadRequest';
      if (isOurs) throw error;
    });
  }

  #create(id: ResourceId, object: KubeObject): void {
    this.#send(`create ${id.resource} ${object.metadata?.name}`, ({ client }) =>
      client.create(id, object),
    );
  }

  #patch(id: ResourceId, name: string | undefined, patch: Record<string, unknown>): void {
    this.#send(`patch ${id.resource} ${name} ${JSON.stringify(patch)}`, ({ client }) =>
      client.patch(id, NAMESPACE, name ?? '', patch),
    );
  }

  #delete(id: ResourceId, name: string | undefined, options: DeleteOptions = {}): void {
    this.#send(`delete ${id.resource} ${name} ${JSON.stringify(options)}`, ({ client }) =>
      client.delete(id, NAMESPACE, name ?? '', options),
    );
  }

  #makeOrDelete(): void {
    const { chance, witness } = this.#parts;
    const propagationPolicy = chance.happens(0.15)
      ? 'Orphan'
      : chance.one('Background', 'Foreground');
    const [kind, name] = chance.one<[string, string]>(
      ['deployment', workload.APPS[chance.int(0, 2)] ?? 'web'],
      ['statefulset', workload.SETS[chance.int(0, 1)] ?? 'db'],
      ['daemonset', workload.DAEMONS[chance.int(0, 1)] ?? 'probe'],
      ['cronjob', 'tick'],
    );
    // Deleted less often than made.
    const mayDelete = chance.happens(0.4);
    switch (kind) {
      case 'deployment':
        if (witness.get('apps/deployments', NAMESPACE, name) === undefined) {
          this.#create(RESOURCES.deployments, workload.deployment(name, chance));
        } else if (mayDelete) this.#delete(RESOURCES.deployments, name, { propagationPolicy });
        break;
      case 'statefulset':
        if (witness.get('apps/statefulsets', NAMESPACE, name) === undefined) {
          this.#create(RESOURCES.statefulSets, workload.statefulSet(name, chance));
        } else if (mayDelete) this.#delete(RESOURCES.statefulSets, name, { propagationPolicy });
        break;
      case 'daemonset':
        if (witness.get('apps/daemonsets', NAMESPACE, name) === undefined) {
          this.#create(RESOURCES.daemonSets, workload.daemonSet(name, chance));
        } else if (mayDelete) this.#delete(RESOURCES.daemonSets, name, { propagationPolicy });
        break;
      default:
        if (witness.get('batch/cronjobs', NAMESPACE, name) === undefined) {
          this.#create(RESOURCES.cronJobs, workload.cronJob(name, chance));
        } else if (mayDelete) this.#delete(RESOURCES.cronJobs, name, { propagationPolicy });
    }
  }

  #scale(): void {
    const { chance, witness } = this.#parts;
    const replicas = chance.int(0, 6);
    if (chance.happens(0.6)) {
      const one = chance.pick(witness.list('apps/deployments'));
      if (one !== undefined)
        this.#patch(RESOURCES.deployments, one.metadata?.name, { spec: { replicas } });
      return;
    }
    const one = chance.pick(witness.list('apps/statefulsets'));
    if (one !== undefined)
      this.#patch(RESOURCES.statefulSets, one.metadata?.name, { spec: { replicas } });
  }

  #changeImage(): void {
    const { chance, witness } = this.#parts;
    const image = chance.happens(0.12) ? 'bad:1' : `app:${chance.int(1, 8)}`;
    const kind = chance.int(0, 3);
    if (kind <= 1) {
      const one = chance.pick(witness.list('apps/deployments'));
      if (one !== undefined) this.#setImage(RESOURCES.deployments, one, image, {});
    } else if (kind === 2) {
      const one = chance.pick(witness.list('apps/statefulsets'));
      if (one !== undefined) this.#setImage(RESOURCES.statefulSets, one, image, {});
    } else {
      const one = chance.pick(witness.list('apps/daemonsets'));
      if (one !== undefined) this.#setImage(RESOURCES.daemonSets, one, image, {});
    }
  }

  #setImage(id: ResourceId, one: Templated, image: string, more: Record<string, unknown>): void {
    const { template } = one.spec ?? {};
    const containers = (template?.spec?.containers ?? []).map((had) => ({ ...had, image }));
    this.#patch(id, one.metadata?.name, { spec: { ...more, template: { spec: { containers } } } });
  }

  /** As `kubectl rollout undo`: the template of the ReplicaSet of the revision before. */
  #undo(): void {
    const { chance, witness } = this.#parts;
    const one = chance.pick(witness.list('apps/deployments'));
    if (one === undefined || one.spec?.paused === true) return;
    const revisionOf = (set: ReplicaSet): number =>
      Number(set.metadata?.annotations?.[REVISION] ?? 0);
    const sets = witness
      .list('apps/replicasets')
      .filter(({ metadata }) =>
        metadata?.ownerReferences?.some(({ uid }) => uid === one.metadata?.uid),
      )
      .sort((a, b) => revisionOf(b) - revisionOf(a));
    const spec = sets[1]?.spec?.template?.spec;
    if (spec !== undefined)
      this.#patch(RESOURCES.deployments, one.metadata?.name, { spec: { template: { spec } } });
  }

  #pauseOrResume(): void {
    const { chance, witness } = this.#parts;
    const one = chance.pick(witness.list('apps/deployments'));
    const paused = one?.spec?.paused === true ? null : true;
    if (one !== undefined)
      this.#patch(RESOURCES.deployments, one.metadata?.name, { spec: { paused } });
  }

  #changeStrategy(): void {
    const { chance, witness } = this.#parts;
    const one = chance.pick(witness.list('apps/deployments'));
    if (one === undefined) return;
    const strategy = workload.strategy(chance);
    const isRecreate = strategy?.type === 'Recreate';
    this.#patch(RESOURCES.deployments, one.metadata?.name, {
      spec: { strategy: isRecreate ? { type: 'Recreate', rollingUpdate: null } : strategy },
    });
  }

  #makeJob(): void {
    this.#jobs += 1;
    const { chance, isCalm } = this.#parts;
    const isUrgent = !isCalm && chance.happens(0.15);
    this.#create(RESOURCES.jobs, workload.job(`job-${this.#jobs}`, chance, isUrgent));
  }

  /** A namespace with something in it, which goes as a whole. */
  #namespace(): void {
    const { witness, chance } = this.#parts;
    const namespace = 'team';
    const deployment = workload.deployment('side', chance);
    if (witness.getAny('core/namespaces', namespace) === undefined) {
      this.#create(RESOURCES.namespaces, { metadata: { name: namespace } });
    } else if (witness.get('apps/deployments', namespace, 'side') === undefined) {
      const metadata = { ...deployment.metadata, namespace };
      const replicas = Math.min(REST_REPLICAS, deployment.spec?.replicas ?? 1);
      const spec = deployment.spec && { ...deployment.spec, replicas };
      this.#create(RESOURCES.deployments, { ...deployment, metadata, ...(spec && { spec }) });
    } else {
      this.#send(`delete namespace ${namespace}`, ({ client }) =>
        client.delete(RESOURCES.namespaces, '', namespace),
      );
    }
  }

  #settings(): void {
    const { witness, chance } = this.#parts;
    const name = workload.SETTINGS;
    const data = { value: String(chance.int(0, 1_000)) };
    if (witness.getAny('core/configmaps', `${NAMESPACE}/${name}`) === undefined) {
      this.#create(RESOURCES.configMaps, { metadata: { name, namespace: NAMESPACE }, ...{ data } });
    } else if (chance.happens(0.3)) this.#delete(RESOURCES.configMaps, name);
    else this.#patch(RESOURCES.configMaps, name, { data });
  }

  #changeJob(): void {
    const { chance, witness } = this.#parts;
    const one = chance.pick(witness.list('batch/jobs'));
    if (one === undefined) return;
    const name = one.metadata?.name;
    const propagationPolicy = chance.one('Background', 'Foreground');
    chance.one(
      () => this.#patch(RESOURCES.jobs, name, { spec: { suspend: one.spec?.suspend !== true } }),
      () => this.#patch(RESOURCES.jobs, name, { spec: { parallelism: chance.int(0, 4) } }),
      () => this.#delete(RESOURCES.jobs, name, { propagationPolicy }),
    )();
  }

  #changeCronJob(): void {
    const { chance, witness } = this.#parts;
    const one = chance.pick(witness.list('batch/cronjobs'));
    if (one === undefined) return;
    const suspend = one.spec?.suspend !== true;
    this.#patch(RESOURCES.cronJobs, one.metadata?.name, { spec: { suspend } });
  }

  #deletePod(): void {
    const pod = this.#parts.chance.pick(this.#parts.witness.list('core/pods'));
    if (pod !== undefined) this.#removePod(pod);
  }

  #removePod(pod: Pod): void {
    this.#parts.onViolence();
    this.#delete(RESOURCES.pods, pod.metadata?.name);
  }

  #budgetOrService(): void {
    const { chance, witness } = this.#parts;
    const app = chance.one(...workload.APPS, ...workload.SETS);
    if (chance.happens(0.5)) {
      if (witness.get('core/services', NAMESPACE, app) === undefined) {
        this.#create(RESOURCES.services, workload.service(app));
      } else if (chance.happens(0.2)) this.#delete(RESOURCES.services, app);
    } else if (witness.get('policy/poddisruptionbudgets', NAMESPACE, app) === undefined) {
      this.#create(RESOURCES.podDisruptionBudgets, workload.budget(app, chance));
    } else if (chance.happens(0.2)) this.#delete(RESOURCES.podDisruptionBudgets, app);
  }

  #cordon(): void {
    const { chance, witness } = this.#parts;
    const node = chance.pick(witness.list('core/nodes'));
    if (node === undefined) return;
    this.#setUnschedulable(
      node.metadata?.name ?? '',
      node.spec?.unschedulable === true ? null : true,
    );
  }

  /** Boards come to the edge and leave it. */
  #label(): void {
    const { chance, witness } = this.#parts;
    const node = chance.pick(witness.list('core/nodes'));
    const isEdge = node?.metadata?.labels?.[workload.EDGE_LABEL] !== undefined;
    const labels = { [workload.EDGE_LABEL]: isEdge ? null : 'yes' };
    this.#patchNode(node?.metadata?.name, { metadata: { labels } });
  }

  /** Drives everything away, or lets it come back. Others' taints stay. */
  #taint(): void {
    const { chance, witness } = this.#parts;
    const node = chance.pick(witness.list('core/nodes'));
    if (node === undefined) return;
    const { resourceVersion: _none, ...metadata } = node.metadata ?? {};
    const taints = node.spec?.taints ?? [];
    const others = taints.filter(({ key }) => key !== TAINT);
    const effect = chance.one('NoSchedule', 'NoExecute');
    const isTainted = others.length < taints.length;
    if (!isTainted) this.#parts.onViolence();
    this.#patchNode(metadata.name, {
      spec: { taints: isTainted ? others : [...others, { key: TAINT, effect }] },
    });
  }

  /** The board is gone for good, people say. */
  forgetBoard(name: string): void {
    this.#send(`delete node ${name}`, ({ client }) => client.delete(RESOURCES.nodes, '', name));
  }

  #patchNode(name: string | undefined, patch: Record<string, unknown>): void {
    if (name === undefined) return;
    this.#send(`patch node ${name} ${JSON.stringify(patch)}`, ({ client }) =>
      client.patch(RESOURCES.nodes, '', name, patch),
    );
  }

  #setUnschedulable(name: string, unschedulable: true | null): void {
    this.#send(`${unschedulable === null ? 'uncordon' : 'cordon'} ${name}`, ({ client }) =>
      client.patch(RESOURCES.nodes, '', name, { spec: { unschedulable } }),
    );
  }

  /** As `kubectl drain`: cordons, then asks for the eviction of each pod; what a budget refuses stays. */
  #drain(): void {
    const { chance, witness } = this.#parts;
    const node = chance.pick(witness.list('core/nodes'))?.metadata?.name;
    if (node === undefined) return;
    this.#parts.onViolence();
    this.#setUnschedulable(node, true);
    for (const pod of witness.list('core/pods')) {
      const isDaemon = pod.metadata?.ownerReferences?.[0]?.kind === 'DaemonSet';
      if (pod.spec?.nodeName === node && !isDaemon) this.#evict(pod);
    }
  }

  #evict(pod: Pod): void {
    const name = pod.metadata?.name ?? '';
    this.#parts.onEvict(pod);
    this.#send(`evict ${name}`, async ({ registry }) => {
      const resource = registry.table.get(RESOURCES.pods);
      try {
        await registry.evict(ADMIN, { resource, namespace: NAMESPACE, name }, {}, false);
        this.#parts.onEvicted(pod);
      } catch (error) {
        // Two budgets never cover one pod here.
        if (!(error instanceof ApiError) || error.code !== 429) throw error;
        this.#parts.onNotEvicted(pod);
        this.#parts.note(`evict ${name}: the budget says no`);
      }
    });
  }
}

function imageOf({ spec }: Templated): string | undefined {
  return spec?.template?.spec?.containers?.[0]?.image;
}

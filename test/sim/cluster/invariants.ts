/**
 * What must hold after every single write, whatever breaks meanwhile. A control loop decides on what it has seen: where a
 * bound moves (somebody scales), the old bound counts for a moment too (`WINDOW_MS`).
 */
import type { KubeObject } from '../../../protocol/kinds/meta.ts';
import type {
  Deployment,
  Job,
  Node,
  ObjectReference,
  Pod,
  ReplicaSet,
  StatefulSet,
} from '../../../protocol/kinds/types.ts';
import { milliValue, value } from '../../../protocol/quantity.ts';
import { matchesLabelSelector } from '../../../protocol/selector.ts';
import type { Change, Witness } from './witness.ts';

const WINDOW_MS = 5_000;
/** After the master stood still or was started: what it does was decided before. */
const LONG_WINDOW_MS = 90_000;
/** What was asked for by hand is done by then. */
const PARDON_MS = 10_000;

export interface InvariantParts {
  readonly nowMs: () => number;
  /** When the master last stood still, or was started. */
  readonly lastStallMs: () => number;
  /** No faults in this run: the strategies' bounds on what is available hold too. */
  readonly isCalm: boolean;
  readonly onBroken: (message: string) => void;
}

export class Invariants {
  readonly #witness: Witness;
  readonly #parts: InvariantParts;
  readonly #bounds = new Map<string, { readonly atMs: number; readonly value: number }[]>();
  /** Deployments whose pods were all available since the last change that may take some away. */
  readonly #full = new Set<string>();
  readonly #unsureUntilMs = new Map<string, number>();
  #pardonedUntilMs = 0;
  /** Uids of pods whose eviction was asked for. */
  readonly #evicting = new Set<string>();
  /** By key: until when a pod of that name was ready. */
  readonly #lastReadyMs = new Map<string, number>();
  /** Since when more than half of the boards are not ready. */
  #mostGoneSinceMs = Number.POSITIVE_INFINITY;
  readonly #nodeGoneMs = new Map<string, number>();
  /** By app: when one of its ready pods was last lost otherwise. */
  readonly #disruptedMs = new Map<string, number>();

  constructor(witness: Witness, parts: InvariantParts) {
    this.#witness = witness;
    this.#parts = parts;
  }

  check(change: Change): void {
    this.#checkMetadata(change);
    switch (change.kind) {
      case 'core/pods':
        this.#checkPod(change);
        break;
      case 'apps/replicasets':
        this.#checkReplicaSet(change);
        break;
      case 'apps/deployments':
        this.#noteDeployment(change.before, change.after);
        break;
      case 'batch/jobs':
        this.#checkJob(change);
        break;
      case 'core/nodes':
        if (change.after === undefined) this.#noteNodeGone(change.before);
        this.#noteReadiness();
        break;
      default:
    }
  }

  #broken(what: string): void {
    this.#parts.onBroken(what);
  }

  #checkMetadata({ what, before, after }: Change): void {
    const [old, now] = [before?.metadata, after?.metadata];
    if (now === undefined || old === undefined || old.uid !== now.uid) {
      if (old !== undefined && now !== undefined) this.#broken(`${what} changed its uid`);
      return;
    }
    if ((now.generation ?? 0) < (old.generation ?? 0)) {
      this.#broken(`${what} went from generation ${old.generation} to ${now.generation}`);
    }
    if (old.creationTimestamp !== now.creationTimestamp) {
      this.#broken(`${what} changed its creationTimestamp`);
    }
    if (old.deletionTimestamp !== undefined && now.deletionTimestamp === undefined) {
      this.#broken(`${what} is not being deleted any more`);
    }
  }

  #checkPod({ what, before, after }: Change): void {
    const [old, pod] = [before as Pod | undefined, after as Pod | undefined];
    this.#noteDisruption(old, pod);
    if (old !== undefined && isReady(old)) this.#lastReadyMs.set(keyOf(old), this.#parts.nowMs());
    if (pod === undefined) {
      if (this.#parts.isCalm && old !== undefined) this.#checkAvailable(old);
      return;
    }
    const node = pod.spec?.nodeName ?? '';
    const oldNode = old?.spec?.nodeName ?? '';
    if (oldNode !== '' && node !== oldNode)
      this.#broken(`${what} moved from ${oldNode} to ${node}`);
    if (node !== '' && oldNode === '') this.#checkFits(what, node);
    if (isOver(old) && !isOver(pod)) this.#broken(`${what} had ended and lives again`);
    if (old === undefined) this.#checkCreated(what, pod);
    else if (this.#parts.isCalm) this.#checkAvailable(pod);
  }

  #noteReadiness(): void {
    const nodes = this.#witness.list('core/nodes');
    const gone = nodes.filter((node) => !isNodeReady(node)).length;
    if (gone <= nodes.length / 2) this.#mostGoneSinceMs = Number.POSITIVE_INFINITY;
    else this.#mostGoneSinceMs = Math.min(this.#mostGoneSinceMs, this.#parts.nowMs());
  }

  /** While most boards are gone nothing is moved because of it: then it is the network, or the master. */
  checkTaintEviction({ namespace = '', name = '', uid }: ObjectReference): void {
    const pod = this.#witness.get('core/pods', namespace, name);
    const node = this.#witness.get('core/nodes', '', pod?.spec?.nodeName ?? '');
    if (pod?.metadata?.uid !== uid || node === undefined || isNodeReady(node)) return;
    const isTaintedByHand = node.spec?.taints?.some(
      ({ key, effect }) => effect === 'NoExecute' && !key.startsWith('node.kubernetes.io/'),
    );
    if (isTaintedByHand || this.#parts.nowMs() - this.#mostGoneSinceMs < this.#windowMs()) return;
    this.#broken(`pod ${name} was taken from ${node.metadata?.name} while most boards are gone`);
  }

  #noteNodeGone(node: KubeObject | undefined): void {
    this.#nodeGoneMs.set(node?.metadata?.name ?? '', this.#parts.nowMs());
  }

  #checkFits(what: string, nodeName: string): void {
    const node: Node | undefined = this.#witness.get('core/nodes', '', nodeName);
    if (node === undefined) {
      // As with kube-scheduler, a binding may be on its way while the node goes.
      const goneMs = this.#nodeGoneMs.get(nodeName) ?? Number.NEGATIVE_INFINITY;
      if (this.#parts.nowMs() - goneMs < this.#windowMs()) return;
      this.#broken(`${what} was bound to ${nodeName}, which does not exist`);
      return;
    }
    const pods = this.#witness
      .list('core/pods')
      .filter((pod) => pod.spec?.nodeName === nodeName && !isOver(pod));
    const { cpu, memory, pods: count } = node.status?.allocatable ?? {};
    const used = { cpu: 0, memory: 0 };
    for (const { spec } of pods) {
      for (const { resources } of spec?.containers ?? []) {
        used.cpu += milliValue(resources?.requests?.cpu ?? '0');
        used.memory += value(resources?.requests?.memory ?? '0');
      }
    }
    const isOverfull =
      used.cpu > milliValue(cpu ?? '0') ||
      used.memory > value(memory ?? '0') ||
      pods.length > value(count ?? '0');
    if (isOverfull) {
      const text = `${used.cpu}m of ${cpu}, ${used.memory} of ${memory}, ${pods.length} of ${count} pods`;
      this.#broken(`${what} was bound to ${nodeName}, which is full: ${text}`);
    }
  }

  #checkCreated(what: string, pod: Pod): void {
    const owner = pod.metadata?.ownerReferences?.find(({ controller }) => controller === true);
    const namespace = pod.metadata?.namespace ?? '';
    if (owner?.kind === 'ReplicaSet') {
      const set = this.#witness.get('apps/replicasets', namespace, owner.name);
      if (set?.metadata?.uid !== owner.uid) return;
      const active = this.#activeOf(owner.uid).length;
      const allowed = this.#bound(`replicas ${owner.uid}`, set.spec?.replicas ?? 1);
      if (active > allowed) {
        this.#broken(`${what} is pod ${active} of ${owner.name}, which has ${allowed} replicas`);
      }
    }
    if (owner?.kind === 'StatefulSet') {
      const set = this.#witness.get('apps/statefulsets', namespace, owner.name);
      if (set?.metadata?.uid === owner.uid) this.#checkOrder(what, pod, set);
    }
    if (owner?.kind === 'Job') {
      const job = this.#witness.get('batch/jobs', namespace, owner.name);
      if (job?.metadata?.uid === owner.uid) this.#checkJobPod(what, job);
    }
  }

  /** OrderedReady: the next pod is made when all before it are ready, or were a moment ago. */
  #checkOrder(what: string, pod: Pod, { metadata, spec }: StatefulSet): void {
    if (spec?.podManagementPolicy === 'Parallel') return;
    const ordinal = Number(pod.metadata?.name?.split('-').at(-1));
    for (let at = 0; at < ordinal; at += 1) {
      const [namespace, name] = [metadata?.namespace ?? '', `${metadata?.name}-${at}`];
      const before = this.#witness.get('core/pods', namespace, name);
      const readyMs = this.#lastReadyMs.get(`${namespace}/${name}`) ?? Number.NEGATIVE_INFINITY;
      const isReadyNow = before !== undefined && isReady(before);
      if (isReadyNow || this.#parts.nowMs() - readyMs < LONG_WINDOW_MS) continue;
      this.#broken(`${what} was made before ${name} is ready (OrderedReady)`);
    }
  }

  /** Recreate: nothing of an old ReplicaSet lives when the new one gets its pods. */
  #checkRecreate(what: string, set: ReplicaSet, deployment: Deployment): void {
    const uid = deployment.metadata?.uid;
    // The strategy may have changed a moment ago, and a paused Deployment is only scaled.
    if (this.#bound(`rolling ${uid}`, isRolling(deployment)) > 0) return;
    for (const other of this.#setsOf(deployment)) {
      if (other.metadata?.uid === set.metadata?.uid) continue;
      const [living] = this.#podsOf(other.metadata?.uid ?? '').filter((pod) => !isOver(pod));
      if (living === undefined) continue;
      this.#broken(`${what} gets pods before ${living.metadata?.name} has ended (Recreate)`);
    }
  }

  /** What has pods goes only with its living Deployment, or with the namespace. */
  #checkNotCollected(what: string, old: ReplicaSet | undefined, set: ReplicaSet | undefined): void {
    const isDeleted = set === undefined || set.metadata?.deletionTimestamp !== undefined;
    if (old === undefined || !isDeleted || (old.spec?.replicas ?? 1) === 0) return;
    const owner = this.#deploymentOf(old)?.metadata;
    const namespace = this.#witness.getAny('core/namespaces', old.metadata?.namespace ?? '');
    const isGoing = [owner, namespace?.metadata].some(
      (one) => one?.deletionTimestamp !== undefined,
    );
    if (owner !== undefined && !isGoing) this.#broken(`${what} was deleted though its owner lives`);
  }

  #checkReplicaSet({ what, before, after }: Change): void {
    const [old, set] = [before as ReplicaSet | undefined, after as ReplicaSet | undefined];
    if (old?.metadata?.deletionTimestamp === undefined) this.#checkNotCollected(what, old, set);
    if (set === undefined) return;
    const uid = set.metadata?.uid ?? '';
    this.#bound(`replicas ${uid}`, set.spec?.replicas ?? 1);
    const deployment = this.#deploymentOf(set);
    if (deployment === undefined) return;
    const had = old?.spec?.replicas ?? 0;
    if ((set.spec?.replicas ?? 1) <= had) return;
    if (had === 0) this.#checkRecreate(what, set, deployment);
    const total = this.#setsOf(deployment).reduce((sum, one) => sum + (one.spec?.replicas ?? 1), 0);
    const allowed = this.#bound(`size ${deployment.metadata?.uid}`, sizeMax(deployment));
    if (total > allowed) {
      this.#broken(`${what} was scaled up: ${total} replicas in all, ${allowed} are allowed`);
    }
  }

  #noteDeployment(before: KubeObject | undefined, after: KubeObject | undefined): void {
    const [old, deployment] = [before as Deployment | undefined, after as Deployment | undefined];
    const uid = deployment?.metadata?.uid ?? old?.metadata?.uid ?? '';
    if (deployment === undefined) {
      this.#full.delete(uid);
      return;
    }
    this.#bound(`size ${uid}`, sizeMax(deployment));
    this.#bound(`rolling ${uid}`, isRolling(deployment));
    const isSameSize =
      old?.spec?.replicas === deployment.spec?.replicas &&
      JSON.stringify(old?.spec?.strategy) === JSON.stringify(deployment.spec?.strategy);
    if (isSameSize && deployment.metadata?.deletionTimestamp === undefined) return;
    this.#full.delete(uid);
    this.#unsureUntilMs.set(uid, this.#parts.nowMs() + WINDOW_MS);
  }

  /** Without faults a rolling update takes no more away than maxUnavailable. */
  #checkAvailable(pod: Pod): void {
    const owner = pod.metadata?.ownerReferences?.find(({ kind }) => kind === 'ReplicaSet');
    const set = this.#witness.get(
      'apps/replicasets',
      pod.metadata?.namespace ?? '',
      owner?.name ?? '',
    );
    const deployment = set === undefined ? undefined : this.#deploymentOf(set);
    if (deployment === undefined || deployment.spec?.strategy?.type === 'Recreate') return;
    const uid = deployment.metadata?.uid ?? '';
    const available = this.#setsOf(deployment)
      .flatMap((one) => this.#podsOf(one.metadata?.uid ?? ''))
      .filter(isHealthy).length;
    const replicas = deployment.spec?.replicas ?? 1;
    const unsureUntilMs = Math.max(this.#pardonedUntilMs, this.#unsureUntilMs.get(uid) ?? 0);
    if (available >= replicas) {
      if (this.#parts.nowMs() > unsureUntilMs) this.#full.add(uid);
    } else if (this.#full.has(uid) && available < replicas - unavailableMax(deployment)) {
      this.#full.delete(uid);
      this.#broken(
        `deployment ${deployment.metadata?.name} has ${available} pods available of ${replicas}, ` +
          `${unavailableMax(deployment)} may be missing`,
      );
    }
  }

  /** Somebody took pods away by hand: the deployment's own bound says nothing until it is whole again. */
  pardon(): void {
    this.#full.clear();
    this.#pardonedUntilMs = this.#parts.nowMs() + PARDON_MS;
  }

  #checkJobPod(what: string, job: Job): void {
    const uid = job.metadata?.uid ?? '';
    const active = this.#activeOf(uid).length;
    const parallelism = this.#bound(`parallelism ${uid}`, job.spec?.parallelism ?? 1);
    if (active > parallelism) {
      this.#broken(`${what} is active pod ${active} of a job with parallelism ${parallelism}`);
    }
    const { completions } = job.spec ?? {};
    const succeeded = job.status?.succeeded ?? 0;
    if (completions !== undefined && active + succeeded > completions) {
      this.#broken(`${what}: ${active} active and ${succeeded} succeeded of ${completions}`);
    }
    if (isJobOver(job)) this.#broken(`${what} was made for a job that has ended`);
  }

  #checkJob({ what, before, after }: Change): void {
    const [old, job] = [before as Job | undefined, after as Job | undefined];
    if (job === undefined) return;
    this.#bound(`parallelism ${job.metadata?.uid}`, job.spec?.parallelism ?? 1);
    if (old === undefined) return;
    const count = ({ status }: Job): [number, number] => [
      status?.succeeded ?? 0,
      status?.failed ?? 0,
    ];
    const [hadSucceeded, hadFailed] = count(old);
    const [succeeded, failed] = count(job);
    if (succeeded < hadSucceeded)
      this.#broken(`${what} lost successes: ${hadSucceeded} > ${succeeded}`);
    if (failed < hadFailed) this.#broken(`${what} lost failures: ${hadFailed} > ${failed}`);
    if (isJobOver(old) && !isJobOver(job)) this.#broken(`${what} had ended and goes on`);
    const { completions } = job.spec ?? {};
    const indexed = job.spec?.completionMode === 'Indexed';
    if (indexed && completions !== undefined && succeeded > completions) {
      this.#broken(`${what} has ${succeeded} of ${completions} indexes`);
    }
  }

  /** Somebody asks for the eviction of the pod. */
  willEvict(pod: Pod): void {
    this.#evicting.add(pod.metadata?.uid ?? '');
  }

  /** It was refused. Should the pod have been lost in the meantime, that was no eviction. */
  notEvicted(pod: Pod): void {
    const { uid = '', namespace = '', name = '', labels } = pod.metadata ?? {};
    this.#evicting.delete(uid);
    const now: Pod | undefined = this.#witness.get('core/pods', namespace, name);
    if (now !== undefined && isHealthy(now)) return;
    this.#disruptedMs.set(labels?.app ?? '', this.#parts.nowMs());
  }

  /** A ready pod stopped being so, and no eviction was the cause: budgets learn that a moment later. */
  #noteDisruption(old: Pod | undefined, pod: Pod | undefined): void {
    if (old === undefined || !isHealthy(old) || (pod !== undefined && isHealthy(pod))) return;
    if (this.#evicting.has(old.metadata?.uid ?? '')) return;
    this.#disruptedMs.set(old.metadata?.labels?.app ?? '', this.#parts.nowMs());
  }

  /** The eviction of a pod was granted: what the budgets promise must still be there. */
  checkEvicted(pod: Pod): void {
    const { namespace, labels, name } = pod.metadata ?? {};
    const disruptedMs = this.#disruptedMs.get(labels?.app ?? '') ?? Number.NEGATIVE_INFINITY;
    if (!isHealthy(pod) || this.#parts.nowMs() - disruptedMs < this.#windowMs()) return;
    for (const budget of this.#witness.list('policy/poddisruptionbudgets')) {
      if (budget.metadata?.namespace !== namespace) continue;
      if (!matchesLabelSelector(budget.spec?.selector, labels)) continue;
      const healthy = this.#witness
        .list('core/pods')
        .filter(
          (one) =>
            one.metadata?.namespace === namespace &&
            matchesLabelSelector(budget.spec?.selector, one.metadata?.labels) &&
            isHealthy(one),
        ).length;
      const { minAvailable } = budget.spec ?? {};
      if (typeof minAvailable !== 'number' || healthy >= minAvailable) continue;
      this.#broken(
        `eviction of ${name}: ${healthy} healthy pods, the budget wants ${minAvailable}`,
      );
    }
  }

  #podsOf(uid: string): Pod[] {
    return this.#witness
      .list('core/pods')
      .filter(
        ({ metadata }) => metadata?.ownerReferences?.some((owner) => owner.uid === uid) === true,
      );
  }

  #activeOf(uid: string): Pod[] {
    return this.#podsOf(uid).filter(
      (pod) => !isOver(pod) && pod.metadata?.deletionTimestamp === undefined,
    );
  }

  #setsOf(deployment: Deployment): ReplicaSet[] {
    const uid = deployment.metadata?.uid;
    return this.#witness
      .list('apps/replicasets')
      .filter(
        ({ metadata }) => metadata?.ownerReferences?.some((owner) => owner.uid === uid) === true,
      );
  }

  #deploymentOf(set: ReplicaSet): Deployment | undefined {
    const owner = set.metadata?.ownerReferences?.find(({ kind }) => kind === 'Deployment');
    const namespace = set.metadata?.namespace ?? '';
    const found = this.#witness.get('apps/deployments', namespace, owner?.name ?? '');
    return found?.metadata?.uid === owner?.uid ? found : undefined;
  }

  /** The largest value that this bound had within the window. */
  #bound(name: string, now: number): number {
    const nowMs = this.#parts.nowMs();
    const values = this.#bounds.get(name) ?? [];
    if (values.at(-1)?.value !== now) values.push({ atMs: nowMs, value: now });
    const sinceMs = nowMs - this.#windowMs();
    // The last one that was set before the window held in it too.
    const first = Math.max(
      0,
      values.findLastIndex(({ atMs }) => atMs <= sinceMs),
    );
    this.#bounds.set(name, values.slice(-20));
    return Math.max(...values.slice(first).map((one) => one.value));
  }

  #windowMs(): number {
    const isRecent = this.#parts.nowMs() - this.#parts.lastStallMs() < LONG_WINDOW_MS;
    return isRecent ? LONG_WINDOW_MS : WINDOW_MS;
  }
}

export function isOver(pod: Pod | undefined): boolean {
  return pod?.status?.phase === 'Succeeded' || pod?.status?.phase === 'Failed';
}

function isHealthy(pod: Pod): boolean {
  return isReady(pod) && !isOver(pod) && pod.metadata?.deletionTimestamp === undefined;
}

function keyOf({ metadata }: KubeObject): string {
  return `${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`;
}

function isNodeReady({ status }: Node): boolean {
  return status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true;
}

export function isReady(pod: Pod): boolean {
  return (pod.status?.conditions ?? []).some(
    ({ type, status }) => type === 'Ready' && status === 'True',
  );
}

export function isJobOver(job: Job): boolean {
  return (job.status?.conditions ?? []).some(
    ({ type, status }) => (type === 'Complete' || type === 'Failed') && status === 'True',
  );
}

function part(
  given: number | string | undefined,
  total: number,
  round: (x: number) => number,
): number {
  if (typeof given !== 'string') return given ?? 0;
  return round((Number.parseInt(given, 10) / 100) * total);
}

function isRolling({ spec }: Deployment): 0 | 1 {
  return spec?.strategy?.type === 'Recreate' && spec.paused !== true ? 0 : 1;
}

/** Kubernetes: maxSurge is rounded up. */
function sizeMax({ spec }: Deployment): number {
  const replicas = spec?.replicas ?? 1;
  if (spec?.strategy?.type === 'Recreate') return replicas;
  return replicas + part(spec?.strategy?.rollingUpdate?.maxSurge, replicas, Math.ceil);
}

/** Kubernetes: maxUnavailable is rounded down; one, when both come to nothing. */
function unavailableMax({ spec }: Deployment): number {
  const replicas = spec?.replicas ?? 1;
  const { maxSurge, maxUnavailable } = spec?.strategy?.rollingUpdate ?? {};
  const missing = part(maxUnavailable, replicas, Math.floor);
  return missing === 0 && part(maxSurge, replicas, Math.ceil) === 0 ? 1 : missing;
}

/**
 * What is left to do before the cluster is what its objects ask for: a list of sentences, empty when it has come to rest. Only
 * for a cluster without faults, in which everything fits.
 */
import type { KubeObject } from '../../../protocol/kinds/meta.ts';
import type { Pod } from '../../../protocol/kinds/types.ts';
import { matchesLabelSelector } from '../../../protocol/selector.ts';
import type { SimBoard } from './board.ts';
import { isJobOver, isOver, isReady } from './invariants.ts';
import type { Witness } from './witness.ts';

/** The kinds whose objects own others, by the name in ownerReferences. */
const OWNER_KINDS: Readonly<Record<string, string>> = {
  ReplicaSet: 'apps/replicasets',
  Deployment: 'apps/deployments',
  StatefulSet: 'apps/statefulsets',
  DaemonSet: 'apps/daemonsets',
  Job: 'batch/jobs',
  CronJob: 'batch/cronjobs',
};

export function unsettled(witness: Witness, boards: readonly SimBoard[]): string[] {
  return [
    ...owners(witness),
    ...nodes(witness, boards),
    ...deployments(witness),
    ...statefulSets(witness),
    ...daemonSets(witness),
    ...jobs(witness),
    ...pods(witness),
    ...onBoards(witness, boards),
    ...services(witness, boards),
    ...budgets(witness),
    ...quotas(witness),
  ];
}

function nameOf({ metadata }: KubeObject): string {
  return `${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`;
}

function podsOf(witness: Witness, owner: KubeObject): Pod[] {
  const uid = owner.metadata?.uid;
  return witness
    .list('core/pods')
    .filter(({ metadata }) => metadata?.ownerReferences?.some((one) => one.uid === uid) === true);
}

/** Nobody is left without its owner, and nothing is on its way out. */
function* owners(witness: Witness): Generator<string> {
  for (const { kind, key, object } of witness.all()) {
    if (object.metadata?.deletionTimestamp !== undefined) yield `${kind} ${key} is being deleted`;
    for (const owner of object.metadata?.ownerReferences ?? []) {
      const ownerKind = OWNER_KINDS[owner.kind];
      if (ownerKind === undefined) continue;
      let isThere = false;
      for (const one of witness.all()) {
        isThere ||= one.kind === ownerKind && one.object.metadata?.uid === owner.uid;
      }
      if (!isThere) yield `${kind} ${key} is an orphan of ${owner.kind} ${owner.name}`;
    }
  }
}

function* nodes(witness: Witness, boards: readonly SimBoard[]): Generator<string> {
  for (const node of witness.list('core/nodes')) {
    const ready = node.status?.conditions?.find(({ type }) => type === 'Ready');
    if (ready?.status !== 'True') yield `node ${nameOf(node)} is not ready`;
    if ((node.spec?.taints ?? []).length > 0) yield `node ${nameOf(node)} has taints`;
    if ((node.spec?.podCIDR ?? '') === '') yield `node ${nameOf(node)} has no pod addresses`;
    const { internalIp } = boards.find(({ name }) => name === node.metadata?.name) ?? {};
    const isThere = node.status?.addresses?.some(({ address }) => address === internalIp);
    if (isThere !== true) yield `node ${nameOf(node)} is not at ${internalIp}`;
  }
}

function* deployments(witness: Witness): Generator<string> {
  for (const one of witness.list('apps/deployments')) {
    const { replicas = 1 } = one.spec ?? {};
    const { status = {}, metadata } = one;
    const name = `deployment ${nameOf(one)}`;
    if (status.observedGeneration !== metadata?.generation) yield `${name} was not observed`;
    for (const field of [
      'replicas',
      'updatedReplicas',
      'readyReplicas',
      'availableReplicas',
    ] as const) {
      if ((status[field] ?? 0) !== replicas)
        yield `${name}: ${field} ${status[field]} of ${replicas}`;
    }
    const sets = witness
      .list('apps/replicasets')
      .filter((set) => set.metadata?.ownerReferences?.some(({ uid }) => uid === metadata?.uid));
    const active = sets.filter((set) => (set.spec?.replicas ?? 1) > 0);
    const living = sets.flatMap((set) => podsOf(witness, set)).filter((pod) => !isOver(pod));
    if (active.length > 1) yield `${name} has ${active.length} active ReplicaSets`;
    if (living.length !== replicas) yield `${name} has ${living.length} pods of ${replicas}`;
    const image = one.spec?.template?.spec?.containers?.[0]?.image;
    const isOld = living.some(({ spec }) => spec?.containers?.[0]?.image !== image);
    if (isOld) yield `${name} has pods of another image than ${image}`;
    const kept = one.spec?.revisionHistoryLimit ?? 10;
    const old = sets.length - Math.max(1, active.length);
    if (old > kept) yield `${name} keeps ${old} old ReplicaSets, ${kept} are asked for`;
  }
}

function* statefulSets(witness: Witness): Generator<string> {
  for (const one of witness.list('apps/statefulsets')) {
    const { replicas = 1 } = one.spec ?? {};
    const { status, metadata } = one;
    const name = `statefulset ${nameOf(one)}`;
    if (status?.observedGeneration !== metadata?.generation) yield `${name} was not observed`;
    for (const field of ['readyReplicas', 'availableReplicas'] as const) {
      if ((status?.[field] ?? 0) !== replicas)
        yield `${name}: ${field} ${status?.[field]} of ${replicas}`;
    }
    if ((status?.replicas ?? 0) !== replicas) yield `${name}: ${status?.replicas} of ${replicas}`;
    if (replicas > 0 && status?.currentRevision !== status?.updateRevision) {
      yield `${name} is between two revisions`;
    }
    const names = podsOf(witness, one)
      .map((pod) => pod.metadata?.name ?? '')
      .sort();
    const wanted = Array.from({ length: replicas }, (_, at) => `${metadata?.name}-${at}`);
    if (names.join() !== wanted.join()) yield `${name} has ${names.join()}`;
    const image = one.spec?.template?.spec?.containers?.[0]?.image;
    const isOld = podsOf(witness, one).some(({ spec }) => spec?.containers?.[0]?.image !== image);
    if (isOld) yield `${name} has pods of another image than ${image}`;
  }
}

function* daemonSets(witness: Witness): Generator<string> {
  for (const one of witness.list('apps/daemonsets')) {
    const matchLabels = one.spec?.template?.spec?.nodeSelector ?? {};
    const boards = witness
      .list('core/nodes')
      .filter(({ metadata }) => matchesLabelSelector({ matchLabels }, metadata?.labels))
      .map(({ metadata }) => metadata?.name ?? '')
      .sort();
    const name = `daemonset ${nameOf(one)}`;
    const { status, metadata } = one;
    if (status?.observedGeneration !== metadata?.generation) yield `${name} was not observed`;
    const living = podsOf(witness, one).filter((pod) => !isOver(pod));
    const places = living.map(({ spec }) => spec?.nodeName ?? '').sort();
    if (places.join() !== boards.join()) yield `${name} runs on ${places.join()}`;
    const counts = [
      status?.desiredNumberScheduled,
      status?.currentNumberScheduled,
      status?.numberReady,
      status?.updatedNumberScheduled ?? 0,
      status?.numberAvailable ?? 0,
    ];
    if (counts.some((count) => count !== boards.length)) {
      yield `${name} counts ${counts.join()} of ${boards.length}`;
    }
  }
}

function* jobs(witness: Witness): Generator<string> {
  for (const one of witness.list('batch/jobs')) {
    if (!isJobOver(one) && (one.spec?.parallelism ?? 1) > 0) yield `job ${nameOf(one)} goes on`;
    if ((one.status?.active ?? 0) > 0) yield `job ${nameOf(one)} counts active pods`;
  }
}

function* pods(witness: Witness): Generator<string> {
  for (const pod of witness.list('core/pods')) {
    if ((pod.spec?.nodeName ?? '') === '') yield `pod ${nameOf(pod)} has no board`;
    else if (!isOver(pod) && !isReady(pod)) yield `pod ${nameOf(pod)} is not ready`;
  }
}

/** Every board runs exactly the pods that the API says are on it. */
function* onBoards(witness: Witness, boards: readonly SimBoard[]): Generator<string> {
  for (const board of boards) {
    const wanted = new Set(
      witness
        .list('core/pods')
        .filter((pod) => pod.spec?.nodeName === board.name)
        .map(({ metadata }) => metadata?.uid),
    );
    for (const { uid, name, phase } of board.pods) {
      if (!wanted.delete(uid)) yield `${board.name} still has pod ${name} (${phase})`;
    }
    for (const uid of wanted) yield `${board.name} does not have pod ${uid}`;
  }
}

function* services(witness: Witness, boards: readonly SimBoard[]): Generator<string> {
  for (const service of witness.list('core/services')) {
    const { selector } = service.spec ?? {};
    if (selector === undefined) continue;
    const name = nameOf(service);
    const ready = witness
      .list('core/pods')
      .filter((pod) => isReady(pod) && !isOver(pod))
      .filter(({ metadata }) => matchesLabelSelector({ matchLabels: selector }, metadata?.labels))
      .map((pod) => pod.status?.podIP ?? '');
    const wanted = ready.sort().join();
    const [namespace = '', own = ''] = name.split('/');
    const subsets = witness.get('core/endpoints', namespace, own)?.subsets ?? [];
    const listed = subsets.flatMap(({ addresses = [] }) => addresses.map(({ ip }) => ip));
    if (listed.sort().join() !== wanted)
      yield `service ${name} leads to ${listed} and not to ${wanted}`;
    for (const board of boards) {
      const known = board.agent?.services.get(`service/${name}`);
      const told =
        known?.type === 'service'
          ? known.message.endpoints.filter((one) => one.ready).map(({ ip }) => ip)
          : [];
      if (told.sort().join() !== wanted) yield `${board.name} forwards ${name} to ${told}`;
    }
  }
}

function* quotas(witness: Witness): Generator<string> {
  for (const quota of witness.list('core/resourcequotas')) {
    const { namespace } = quota.metadata ?? {};
    const counted = witness
      .list('core/pods')
      .filter((pod) => pod.metadata?.namespace === namespace && !isOver(pod)).length;
    const { used, hard } = quota.status ?? {};
    if (used?.pods !== String(counted))
      yield `quota ${nameOf(quota)} counts ${used?.pods} of ${counted} pods`;
    if (hard?.pods !== quota.spec?.hard?.pods) yield `quota ${nameOf(quota)} was not observed`;
  }
}

function* budgets(witness: Witness): Generator<string> {
  for (const one of witness.list('policy/poddisruptionbudgets')) {
    const healthy = witness
      .list('core/pods')
      .filter((pod) => isReady(pod) && !isOver(pod))
      .filter(({ metadata }) => matchesLabelSelector(one.spec?.selector, metadata?.labels)).length;
    const {
      currentHealthy = 0,
      desiredHealthy = 0,
      disruptionsAllowed = 0,
      expectedPods = 0,
    } = one.status ?? {};
    const name = `budget ${nameOf(one)}`;
    if (currentHealthy !== healthy)
      yield `${name} counts ${currentHealthy} of ${healthy} healthy pods`;
    const allowed = expectedPods === 0 ? 0 : Math.max(0, healthy - desiredHealthy);
    if (disruptionsAllowed !== allowed)
      yield `${name} allows ${disruptionsAllowed}, not ${allowed}`;
  }
}

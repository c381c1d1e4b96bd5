/** The claims of a StatefulSet's pods, as Kubernetes documents them. */
import t from 'tap';
import type { Action } from '../../../master/controllers/actions.ts';
import { reconcileStatefulSet } from '../../../master/controllers/statefulset.ts';
import type {
  ObjectMeta,
  PersistentVolumeClaim,
  Pod,
  StatefulSet,
  StatefulSetSpec,
} from '../../../protocol/kinds/types.ts';
import { NO_TIMES, NOW, ofType, pod, template } from './objects.ts';

const WISH = { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } };

function set(spec: Partial<StatefulSetSpec> = {}): StatefulSet {
  return {
    metadata: { name: 'db', namespace: 'default', uid: 's', generation: 1 },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: 'web' } },
      template: template('v1'),
      podManagementPolicy: 'Parallel',
      volumeClaimTemplates: [{ metadata: { name: 'data', labels: { tier: 'hot' } }, spec: WISH }],
      ...spec,
    },
    status: { replicas: 0 },
  };
}

function member(ordinal: number): Pod {
  return pod(`db-${ordinal}`, {
    owner: [{ apiVersion: 'apps/v1', kind: 'StatefulSet', name: 'db', uid: 's', controller: true }],
  });
}

const claimOf = (ordinal: number, more: ObjectMeta = {}): PersistentVolumeClaim => ({
  metadata: { name: `data-db-${ordinal}`, namespace: 'default', uid: `c${ordinal}`, ...more },
  spec: WISH,
});

function grow(one: StatefulSet, claims: PersistentVolumeClaim[], pods: Pod[] = []): Action[] {
  return reconcileStatefulSet({ set: one, pods, claims, revisions: [], times: NO_TIMES }, NOW);
}

const made = (actions: readonly Action[]): string[] =>
  ofType(actions, 'create')
    .filter(({ id }) => id.resource !== 'controllerrevisions')
    .map(({ object }) => object.metadata?.name ?? '');

t.test('each pod of a StatefulSet has claims of its own, made before it', async (t) => {
  const actions = grow(set(), []);
  t.same(made(actions), ['data-db-0', 'db-0', 'data-db-1', 'db-1']);
  const objects = ofType(actions, 'create').map(({ object }) => object);
  t.match(
    objects.find(({ metadata }) => metadata?.name === 'data-db-0'),
    { metadata: { namespace: 'default', labels: { app: 'web', tier: 'hot' } } },
  );
  t.match(
    objects.find(({ metadata }) => metadata?.name === 'db-1'),
    { spec: { volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data-db-1' } }] } },
  );
  t.same(
    made(grow(set(), [claimOf(0)])),
    ['db-0', 'data-db-1', 'db-1'],
    'kept ones are used again',
  );
  const going = claimOf(0, { deletionTimestamp: NOW.timestamp });
  t.same(made(grow(set({ replicas: 1 }), [going])), [], 'one that is going is waited for');
});

t.test('claims follow their pods only if the retention policy says so', async (t) => {
  const owners = (policy: Record<string, string>) => {
    const one = set({ replicas: 1, persistentVolumeClaimRetentionPolicy: policy });
    const actions = grow(one, [claimOf(0), claimOf(1)], [member(0), member(1)]);
    return ofType(actions, 'update').map(({ object }) => {
      const [owner] = object.metadata?.ownerReferences ?? [];
      return `${object.metadata?.name} of ${owner?.kind} ${owner?.name}`;
    });
  };
  t.same(owners({ whenDeleted: 'Retain', whenScaled: 'Retain' }), []);
  t.same(owners({ whenDeleted: 'Delete', whenScaled: 'Retain' }), [
    'data-db-0 of StatefulSet db',
    'data-db-1 of StatefulSet db',
  ]);
  t.same(owners({ whenDeleted: 'Retain', whenScaled: 'Delete' }), ['data-db-1 of Pod db-1']);
  const back = claimOf(0, {
    ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: 'db-0', uid: 'x', controller: true }],
  });
  t.match(ofType(grow(set({ replicas: 1 }), [back], [member(0)]), 'update'), [
    { object: { metadata: { ownerReferences: [] } } },
  ]);
});

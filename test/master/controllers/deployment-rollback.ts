/** Automatic rollback of Deployments: the decision in tables, and once through the real API and controllers. */
import t from 'tap';
import { RESOURCES } from '../../../master/api/client.ts';
import type { Action } from '../../../master/controllers/actions.ts';
import { reconcileDeployment } from '../../../master/controllers/deployment.ts';
import type { Deployment, Event, ReplicaSet } from '../../../protocol/kinds/types.ts';
import { until } from '../../support/fake-api.ts';
import { deployment, NOW, ofType, replicaSet, template } from './objects.ts';
import { addBoard, startWhole } from './whole-fixture.ts';

const ASKED = { 'pier.local/auto-rollback': 'true' };
const COMPLETE = { annotations: { 'pier.local/was-complete': 'true' } };

function progress(reason: string, set: string) {
  const message = `ReplicaSet "${set}" has done something.`;
  const status = reason === 'ProgressDeadlineExceeded' ? 'False' : 'True';
  return { conditions: [{ type: 'Progressing', status, reason, message }] };
}

function asking(spec: object, status: object, annotations: Record<string, string> = ASKED) {
  const one = deployment(spec, status);
  return { ...one, metadata: { ...one.metadata, annotations } };
}

function decide(one: Deployment, replicaSets: ReplicaSet[], progressSinceMs = 0): Action[] {
  return reconcileDeployment({ deployment: one, replicaSets, pods: [], progressSinceMs }, NOW);
}

/** The image that the Deployment is taken back to, if it is. */
function backTo(actions: readonly Action[]): string | undefined {
  const [update] = ofType(actions, 'update');
  return (update?.object as Deployment | undefined)?.spec?.template.spec?.containers[0]?.image;
}

t.test('a failed revision goes back to the last complete one, once', async (t) => {
  const v2 = { template: template('v2') };
  const failed = progress('ProgressDeadlineExceeded', 'web-v2');
  const sets = [
    replicaSet('v0', 0, { revision: 1, ...COMPLETE }),
    replicaSet('v1', 3, { revision: 2, ...COMPLETE }),
    replicaSet('broken', 0, { revision: 3 }),
    replicaSet('v2', 1, { revision: 4, available: 0 }),
  ];
  const led = { ...ASKED, 'pier.local/rolled-back-to': 'web-v2 revision 4' };
  const earlier = { ...ASKED, 'pier.local/rolled-back-to': 'web-v2 revision 2' };
  const table: [string, Deployment, ReplicaSet[], string | undefined][] = [
    ['to the newest complete one', asking(v2, failed), sets, 'v1'],
    ['not unless it is asked for', asking(v2, failed, {}), sets, undefined],
    [
      'not when it says false',
      asking(v2, failed, { 'pier.local/auto-rollback': 'false' }),
      sets,
      undefined,
    ],
    ['not while it is paused', asking({ ...v2, paused: true }, failed), sets, undefined],
    ['not from where a rollback led to', asking(v2, failed, led), sets, undefined],
    ['again after a rollback of an earlier revision', asking(v2, failed, earlier), sets, 'v1'],
    [
      'not by the condition of another',
      asking(v2, progress('ProgressDeadlineExceeded', 'web-broken')),
      sets,
      undefined,
    ],
    ['not while it goes on', asking(v2, progress('ReplicaSetUpdated', 'web-v2')), sets, undefined],
    ['nowhere to go', asking(v2, failed), sets.slice(2), undefined],
    [
      'also from one that was complete once',
      asking({}, progress('ProgressDeadlineExceeded', 'web-v1')),
      sets.slice(0, 2),
      'v0',
    ],
  ];
  for (const [name, one, owned, image] of table) t.equal(backTo(decide(one, owned)), image, name);
});

t.test('a rollback replaces the template and says why', async (t) => {
  const cause = { 'kubernetes.io/change-cause': 'newer is better' };
  const spec = { template: template('v2'), progressDeadlineSeconds: 30 };
  const one = asking(spec, progress('ProgressDeadlineExceeded', 'web-v2'), { ...ASKED, ...cause });
  const sets = [
    replicaSet('v1', 3, { revision: 1, ...COMPLETE }),
    replicaSet('v2', 1, { revision: 2, available: 0 }),
  ];
  const actions = decide(one, sets);
  const why =
    'Rolled back to revision 1 automatically: revision 2 exceeded its progress deadline of 30 s';
  const object = ofType(actions, 'update')[0]?.object as Deployment;
  t.same(object.spec?.template, template('v1'), 'without the label of its ReplicaSet');
  t.same(object.metadata?.annotations, {
    ...ASKED,
    'pier.local/rolled-back-to': 'web-v1 revision 3',
    'pier.local/rolled-back-because': why,
  });
  t.match(ofType(actions, 'event'), [{ reason: 'DeploymentRollback', message: why }]);
  t.equal(actions.length, 2, 'and takes no other step');

  const patches = ofType(decide({ ...one, ...object }, sets), 'patch');
  const patch = patches.find(({ name }) => name === 'web-v1');
  t.same(patch?.mergePatch.metadata, {
    annotations: {
      ...ASKED,
      'deployment.kubernetes.io/revision': '3',
      'kubernetes.io/change-cause': why,
    },
  });
  const third = { ...object, spec: { ...object.spec, template: template('v3') } };
  const [made] = ofType(decide({ ...one, ...third }, sets), 'create');
  const inherited = made?.object.metadata?.annotations ?? {};
  t.notOk('kubernetes.io/change-cause' in inherited, 'the next revision does not inherit it');
  t.notOk('pier.local/rolled-back-because' in inherited);
});

t.test(
  'what was complete is marked, also when the wish comes with the next template',
  async (t) => {
    const marks = (actions: readonly Action[]) =>
      ofType(actions, 'patch').flatMap(({ name, mergePatch }) => {
        const text = JSON.stringify(mergePatch);
        return text.includes('was-complete') ? [name] : [];
      });
    const done = progress('NewReplicaSetAvailable', 'web-v1');
    const v1 = replicaSet('v1', 3);
    t.same(marks(decide(asking({}, done), [v1])), ['web-v1']);
    t.same(marks(decide(asking({ template: template('v2') }, done), [v1])), ['web-v1']);
    t.same(marks(decide(asking({}, done), [replicaSet('v1', 3, COMPLETE)])), [], 'once');
    t.same(marks(decide(deployment({}, done), [v1])), [], 'only where it is asked for');
  },
);

t.test('it is said once that there is nothing to go back to', async (t) => {
  const sets = [replicaSet('v1', 3, { available: 0 })];
  const counts = { replicas: 3, updatedReplicas: 3 };
  const late = asking(
    { progressDeadlineSeconds: 10 },
    { ...counts, ...progress('ReplicaSetUpdated', 'web-v1') },
  );
  t.match(ofType(decide(late, sets), 'event'), [{ reason: 'DeploymentRollbackRevisionNotFound' }]);
  const known = asking({}, { ...counts, ...progress('ProgressDeadlineExceeded', 'web-v1') });
  t.same(ofType(decide(known, sets), 'event'), []);
});

t.test('a Deployment rolls itself back, and its history and an event tell it', async (t) => {
  const { client, isBroken } = await startWhole(t);
  const namespace = 'default';
  const get = () => client.get<Deployment>(RESOURCES.deployments, namespace, 'web');
  const imageOf = (one: Deployment) => one.spec?.template.spec?.containers[0]?.image;
  const reasonOf = (one: Deployment) =>
    one.status?.conditions?.find(({ type }) => type === 'Progressing')?.reason;
  const web = (image: string, asks: string): Deployment => ({
    ...{ apiVersion: 'apps/v1', kind: 'Deployment' },
    metadata: { name: 'web', namespace, annotations: { 'pier.local/auto-rollback': asks } },
    spec: {
      replicas: 2,
      progressDeadlineSeconds: 1,
      selector: { matchLabels: { app: 'web' } },
      template: template(image),
    },
  });
  await addBoard(client, 'a');
  await t.rejects(client.create<Deployment>(RESOURCES.deployments, web('good:1', 'yes')), {
    reason: 'Invalid',
    message:
      'Deployment.apps "web" is invalid: metadata.annotations[pier.local/auto-rollback]: ' +
      'Unsupported value: "yes": supported values: "false", "true"',
  });
  await client.create<Deployment>(RESOURCES.deployments, web('good:1', 'true'));
  const isDone = async () => reasonOf(await get()) === 'NewReplicaSetAvailable';
  await until('the first revision is complete', isDone, 60_000);
  isBroken.add('bad:1');
  const bad = { spec: { template: template('bad:1') } };
  await client.patch(RESOURCES.deployments, namespace, 'web', bad);
  await until('it went back', async () => imageOf(await get()) === 'good:1', 60_000);
  await until('it is complete again', isDone, 60_000);
  const sets = (await client.list<ReplicaSet>(RESOURCES.replicaSets, { namespace })).items;
  const why =
    'Rolled back to revision 1 automatically: revision 2 exceeded its progress deadline of 1 s';
  t.same(
    sets
      .map(({ metadata, spec }) => [
        metadata?.annotations?.['deployment.kubernetes.io/revision'],
        metadata?.annotations?.['kubernetes.io/change-cause'],
        spec?.replicas,
      ])
      .sort(),
    [
      ['2', undefined, 0],
      ['3', why, 2],
    ],
    'the history tells it',
  );
  const events = (await client.list<Event>(RESOURCES.events, { namespace })).items;
  t.match(
    events.filter(({ reason }) => reason === 'DeploymentRollback'),
    [{ type: 'Warning', message: why, involvedObject: { name: 'web' } }],
  );
});

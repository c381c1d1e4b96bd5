/** Deployment and ReplicaSet. */
import t from 'tap';
import {
  CREATED,
  cells,
  created,
  deploymentYaml,
  errorsOf,
  GOOD,
  moduleOf,
  updated,
  updateErrors,
  warningsOf,
} from './manifest.ts';

t.test('deployment', async (t) => {
  t.test('defaults', async (t) => {
    const object = created('Deployment', deploymentYaml(GOOD));
    t.match(object, {
      spec: {
        replicas: 1,
        strategy: {
          type: 'RollingUpdate',
          rollingUpdate: { maxUnavailable: '25%', maxSurge: '25%' },
        },
        revisionHistoryLimit: 10,
        progressDeadlineSeconds: 600,
        template: { spec: { restartPolicy: 'Always' } },
      },
    });
    t.notMatch(object, { spec: { template: { spec: { enableServiceLinks: true } } } });
    t.strictSame(moduleOf('Deployment').validate(object), []);
  });

  t.test('errors', async (t) => {
    const cases: [string, string][] = [
      [
        deploymentYaml(GOOD).replace('labels: {app: web}', 'labels: {app: other}'),
        'spec.template.metadata.labels: Invalid value: {"app":"other"}: `selector` does not match template `labels`',
      ],
      [
        deploymentYaml(GOOD).replace('selector: {matchLabels: {app: web}}', ''),
        'spec.selector: Required value',
      ],
      [
        deploymentYaml(GOOD).replace('{matchLabels: {app: web}}', '{}'),
        'spec.selector: Invalid value: {}: empty selector is invalid for deployment',
      ],
      [
        deploymentYaml('{restartPolicy: Never, containers: [{name: a, image: b}]}'),
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
      ],
      [
        deploymentYaml(GOOD, 'replicas: -1'),
        'spec.replicas: Invalid value: -1: must be greater than or equal to 0',
      ],
      [
        deploymentYaml(GOOD, 'strategy: {type: Fast}'),
        'spec.strategy.type: Unsupported value: "Fast": supported values: "Recreate", "RollingUpdate"',
      ],
      [
        deploymentYaml(GOOD, 'strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}'),
        'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0',
      ],
      [
        deploymentYaml(GOOD, 'strategy: {rollingUpdate: {maxSurge: lots}}'),
        `spec.strategy.rollingUpdate.maxSurge: Invalid value: "lots": a valid percent string must be a numeric string followed by an ending '%'`,
      ],
      [
        deploymentYaml(GOOD, 'minReadySeconds: 600'),
        'spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds',
      ],
    ];
    for (const [yaml, expected] of cases) {
      t.equal((errorsOf('Deployment', yaml)[0] ?? '').slice(0, expected.length), expected);
    }
  });

  t.test('the selector never changes', async (t) => {
    const after = deploymentYaml(GOOD).replaceAll('app: web', 'app: other');
    t.strictSame(updateErrors('Deployment', deploymentYaml(GOOD), after), [
      'spec.selector: Invalid value: {"matchLabels":{"app":"other"}}: field is immutable',
    ]);
  });

  t.test('an update keeps the status', async (t) => {
    const previous = created('Deployment', deploymentYaml(GOOD));
    Reflect.set(previous, 'status', { replicas: 3 });
    const next = updated('Deployment', `${deploymentYaml(GOOD)}status: {replicas: 9}`, previous);
    t.match(next, { status: { replicas: 3 } });
  });

  t.test('cells and scale', async (t) => {
    const object = created('Deployment', deploymentYaml(GOOD, 'replicas: 3'));
    Reflect.set(object, 'status', { replicas: 3, readyReplicas: 2, updatedReplicas: 3 });
    t.strictSame(cells('Deployment', object), {
      Name: 'web',
      Ready: '2/3',
      'Up-to-date': 3,
      Available: 0,
      Age: '10m',
      Containers: 'a',
      Images: 'nginx',
      Selector: 'app=web',
    });
    const scale = moduleOf('Deployment').scale;
    t.strictSame(scale?.get(object), { specReplicas: 3, statusReplicas: 3, selector: 'app=web' });
    scale?.set(object, 5);
    t.match(object, { spec: { replicas: 5 } });
  });
});

t.test('replica set', async (t) => {
  const object = created('ReplicaSet', deploymentYaml(GOOD));
  t.match(object, { spec: { replicas: 1 }, status: { replicas: 0 } });
  t.match(cells('ReplicaSet', object), { Desired: 1, Current: 0, Ready: 0, Selector: 'app=web' });
  t.strictSame(errorsOf('ReplicaSet', 'spec: {selector: {matchLabels: {a: b}}}'), [
    'spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`',
    'spec.template.spec.containers: Required value',
  ]);
  const owner =
    'ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: "1", controller: true}]';
  const probed = deploymentYaml('{runtimeClassName: x, containers: [{name: a, image: b}]}');
  t.equal(warningsOf('ReplicaSet', probed).length, 1);
  t.strictSame(warningsOf('ReplicaSet', probed.replace('{name: web', `{${owner}, name: web`)), []);
});

t.test('replication controller', async (t) => {
  const rc = (more = '', labels = '{app: web}') => `
metadata: {name: web, creationTimestamp: '${CREATED}'}
spec:
  ${more}
  template:
    metadata: {labels: ${labels}}
    spec: ${GOOD}
`;
  const object = created('ReplicationController', rc());
  t.match(object, {
    metadata: { labels: { app: 'web' } },
    spec: {
      replicas: 1,
      selector: { app: 'web' },
      template: { spec: { restartPolicy: 'Always' } },
    },
    status: { replicas: 0 },
  });
  t.strictSame(cells('ReplicationController', object), {
    Name: 'web',
    Desired: 1,
    Current: 0,
    Ready: 0,
    Age: '10m',
    Containers: 'a',
    Images: 'nginx',
    Selector: 'app=web',
  });
  t.match(moduleOf('ReplicationController').scale?.get(object), { selector: 'app=web' });
  t.strictSame(errorsOf('ReplicationController', rc('selector: {app: other}')), [
    'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`',
  ]);
  t.strictSame(errorsOf('ReplicationController', 'spec: {replicas: -1}'), [
    'spec.selector: Required value',
    'spec.replicas: Invalid value: -1: must be greater than or equal to 0',
    'spec.template: Required value',
  ]);
  t.strictSame(updateErrors('ReplicationController', rc(), rc('', '{app: new}')), []);
});

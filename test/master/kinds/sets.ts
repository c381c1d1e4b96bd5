/** DaemonSet, StatefulSet and ControllerRevision. */
import t from 'tap';
import {
  cells,
  created,
  deploymentYaml,
  errorsOf,
  GOOD,
  moduleOf,
  updateErrors,
} from './manifest.ts';

const rolling = (limits: string) =>
  deploymentYaml(GOOD, `updateStrategy: {rollingUpdate: {${limits}}}`);

t.test('daemon set', async (t) => {
  const object = created('DaemonSet', deploymentYaml(GOOD));
  t.match(object, {
    spec: {
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 1, maxSurge: 0 } },
      revisionHistoryLimit: 10,
    },
    status: { desiredNumberScheduled: 0 },
  });
  t.strictSame(moduleOf('DaemonSet').validate(object), []);
  const at = 'spec.updateStrategy';
  const cases: [string, string][] = [
    [
      deploymentYaml(GOOD).replace('{matchLabels: {app: web}}', '{}'),
      'spec.selector: Invalid value: {}: empty selector is invalid for daemonset',
    ],
    [
      deploymentYaml('{restartPolicy: Never, containers: [{name: a, image: b}]}'),
      'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
    ],
    [
      deploymentYaml('{activeDeadlineSeconds: 3, containers: [{name: a, image: b}]}'),
      'spec.template.spec.activeDeadlineSeconds: Invalid value: 3: must not be specified',
    ],
    [
      deploymentYaml(GOOD, 'updateStrategy: {type: Fast}'),
      `${at}.type: Unsupported value: "Fast": supported values: "OnDelete", "RollingUpdate"`,
    ],
    [
      rolling('maxUnavailable: 0'),
      `${at}.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0`,
    ],
    [
      rolling('maxSurge: 1'),
      `${at}.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero`,
    ],
    [
      rolling('maxUnavailable: 101%'),
      `${at}.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%`,
    ],
  ];
  for (const [yaml, expected] of cases) t.equal(errorsOf('DaemonSet', yaml)[0], expected);
  t.strictSame(errorsOf('DaemonSet', rolling('maxUnavailable: 0, maxSurge: 25%')), []);
  const other = deploymentYaml(GOOD).replaceAll('app: web', 'app: other');
  t.match(updateErrors('DaemonSet', deploymentYaml(GOOD), other), [
    /^spec\.selector: .*immutable$/,
  ]);
  Reflect.set(object, 'status', {
    desiredNumberScheduled: 3,
    currentNumberScheduled: 3,
    numberReady: 2,
    updatedNumberScheduled: 1,
    numberAvailable: 2,
  });
  t.strictSame(cells('DaemonSet', object), {
    Name: 'web',
    Desired: 3,
    Current: 3,
    Ready: 2,
    'Up-to-date': 1,
    Available: 2,
    'Node Selector': '<none>',
    Age: '10m',
    Containers: 'a',
    Images: 'nginx',
    Selector: 'app=web',
  });
});

t.test('controller revision', async (t) => {
  const owner = '{apiVersion: apps/v1, kind: DaemonSet, name: web, uid: "1", controller: true}';
  const yaml = (data: string) => `
metadata: {name: web-1, ownerReferences: [${owner}]}
${data}
revision: 3`;
  const object = created('ControllerRevision', yaml('data: {spec: {a: 1}}'));
  t.match(object, { data: { spec: { a: 1 } } }, 'kept as it is');
  t.match(cells('ControllerRevision', object), { Controller: 'daemonset.apps/web', Revision: 3 });
  t.strictSame(errorsOf('ControllerRevision', yaml('')), [
    'data: Required value: data is mandatory',
  ]);
  t.match(updateErrors('ControllerRevision', yaml('data: {a: 1}'), yaml('data: {a: 2}')), [
    /^data: Invalid value: \{"a":2\}: field is immutable$/,
  ]);
});

t.test('stateful set', async (t) => {
  const object = created('StatefulSet', deploymentYaml(GOOD));
  t.match(object, {
    spec: {
      replicas: 1,
      podManagementPolicy: 'OrderedReady',
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 0 } },
      persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Retain', whenScaled: 'Retain' },
      revisionHistoryLimit: 10,
    },
    status: { replicas: 0 },
  });
  t.strictSame(moduleOf('StatefulSet').validate(object), []);
  const strategy = (text: string) => deploymentYaml(GOOD, `updateStrategy: ${text}`);
  const at = 'spec.updateStrategy';
  const cases: [string, string][] = [
    [
      deploymentYaml(GOOD, 'podManagementPolicy: Fast'),
      `spec.podManagementPolicy: Invalid value: "Fast": must be 'OrderedReady' or 'Parallel'`,
    ],
    [
      strategy('{type: Fast}'),
      `${at}: Invalid value: {"type":"Fast"}: must be 'RollingUpdate' or 'OnDelete'`,
    ],
    [
      strategy('{type: OnDelete, rollingUpdate: {partition: 1}}'),
      `${at}.rollingUpdate: Invalid value: {"partition":1}: only allowed for updateStrategy 'RollingUpdate'`,
    ],
    [
      strategy('{rollingUpdate: {partition: -1}}'),
      `${at}.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0`,
    ],
    [
      deploymentYaml(GOOD, 'ordinals: {start: -1}'),
      'spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0',
    ],
    [
      deploymentYaml(GOOD, 'volumeClaimTemplates: [{metadata: {name: disk}}]'),
      'spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 access mode is required',
    ],
  ];
  for (const [yaml, expected] of cases) t.equal(errorsOf('StatefulSet', yaml)[0], expected);
  const wish = '{accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}';
  const mounting =
    '{containers: [{name: a, image: b, volumeMounts: [{name: disk, mountPath: /d}]}]}';
  const templates = `volumeClaimTemplates: [{metadata: {name: disk}, spec: ${wish}}]`;
  t.strictSame(errorsOf('StatefulSet', deploymentYaml(mounting, templates)), []);
  t.match(errorsOf('StatefulSet', deploymentYaml(mounting)), [
    /volumeMounts\[0\]\.name: Not found/,
  ]);
  const change = (more: string) =>
    updateErrors('StatefulSet', deploymentYaml(GOOD), deploymentYaml(GOOD, more));
  t.strictSame(change('replicas: 3\n  minReadySeconds: 1\n  ordinals: {start: 1}'), []);
  t.match(change('serviceName: other'), [
    /^spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', .* and 'minReadySeconds' are forbidden$/,
  ]);
  Reflect.set(object, 'status', { replicas: 1, readyReplicas: 1 });
  t.strictSame(cells('StatefulSet', object), {
    Name: 'web',
    Ready: '1/1',
    Age: '10m',
    Containers: 'a',
    Images: 'nginx',
  });
  const scale = moduleOf('StatefulSet').scale;
  t.strictSame(scale?.get(object), { specReplicas: 1, statusReplicas: 1, selector: 'app=web' });
});

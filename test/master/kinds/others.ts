/** Node, Namespace, ConfigMap, Secret, Event. */
import t from 'tap';
import {
  CREATED,
  cells,
  created,
  decoded,
  errorsOf,
  moduleOf,
  updated,
  updateErrors,
} from './manifest.ts';

t.test('config maps and secrets', async (t) => {
  t.test('keys can be file names', async (t) => {
    t.match(
      errorsOf('ConfigMap', 'data: {"a/b": x}')[0],
      /^data\[a\/b\]: Invalid value: "a\/b": a valid config key must consist of/,
    );
    t.strictSame(errorsOf('ConfigMap', 'data: {"..": x}'), [
      `data[..]: Invalid value: "..": must not be '..'`,
    ]);
    t.strictSame(errorsOf('ConfigMap', 'data: {a: x}\nbinaryData: {a: eA==}'), [
      'data[a]: Invalid value: "a": duplicate of key present in binaryData',
    ]);
  });

  t.test('are bounded', async (t) => {
    const big = 'x'.repeat(1024 * 1024 + 1);
    t.strictSame(errorsOf('Secret', `stringData: {a: ${big}}`), [
      'data: Too long: may not be more than 1048576 bytes',
    ]);
    t.equal(errorsOf('ConfigMap', `data: {a: ${big}}`).length, 1);
  });

  t.test('immutable means it', async (t) => {
    const before = 'immutable: true\ndata: {a: x}';
    t.strictSame(updateErrors('ConfigMap', before, 'immutable: true\ndata: {a: y}'), [
      'data: Forbidden: field is immutable when `immutable` is set',
    ]);
    t.strictSame(updateErrors('ConfigMap', before, 'data: {a: x}'), [
      'immutable: Forbidden: field is immutable when `immutable` is set',
    ]);
    t.strictSame(updateErrors('ConfigMap', before, before), []);
  });

  t.test('stringData folds into data and is never shown', async (t) => {
    const object = created('Secret', 'data: {a: eA==, b: eA==}\nstringData: {a: hello}');
    t.strictSame(object, { type: 'Opaque', data: { a: 'aGVsbG8=', b: 'eA==' } });
  });

  t.test('types of secrets have their keys', async (t) => {
    t.strictSame(errorsOf('Secret', 'type: kubernetes.io/tls\nstringData: {tls.crt: x}'), [
      'data[tls.key]: Required value',
    ]);
    t.strictSame(
      errorsOf(
        'Secret',
        'type: kubernetes.io/dockerconfigjson\nstringData: {.dockerconfigjson: nope}',
      ),
      ['data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": invalid JSON'],
    );
    t.strictSame(updateErrors('Secret', 'data: {}', 'type: other'), [
      'type: Invalid value: "other": field is immutable',
    ]);
  });

  t.test('cells', async (t) => {
    t.equal(
      cells('ConfigMap', decoded('ConfigMap', 'data: {a: x}\nbinaryData: {b: eA==}')).Data,
      2,
    );
    const secret = created('Secret', 'data: {a: eA==}');
    t.match(cells('Secret', secret), { Type: 'Opaque', Data: 1 });
    t.strictSame(moduleOf('Secret').selectableFields?.(secret), { type: 'Opaque' });
  });
});

t.test('node', async (t) => {
  const board = `
metadata: {name: pi4, creationTimestamp: '${CREATED}', labels: {node-role.kubernetes.io/master: "", kubernetes.io/role: edge}}
status:
  capacity: {cpu: "4", memory: 4Gi}
  conditions: [{type: Ready, status: "True"}]
  addresses: [{type: InternalIP, address: 192.168.1.4}, {type: Hostname, address: pi4}]
  nodeInfo: {machineID: a, systemUUID: b, bootID: c, kernelVersion: 6.6.1, osImage: Debian 12, containerRuntimeVersion: podman://4.3.1, kubeletVersion: v0.1.0, kubeProxyVersion: "", operatingSystem: linux, architecture: arm64}
`;
  t.strictSame(cells('Node', created('Node', board)), {
    Name: 'pi4',
    Status: 'Ready',
    Roles: 'edge,master',
    Age: '10m',
    Version: 'v0.1.0',
    'Internal-IP': '192.168.1.4',
    'External-IP': '<none>',
    'OS-Image': 'Debian 12',
    'Kernel-Version': '6.6.1',
    'Container-Runtime': 'podman://4.3.1',
  });
  t.match(created('Node', board), { status: { allocatable: { cpu: '4' } } }, 'status is kept');
  const cordoned = decoded(
    'Node',
    'spec: {unschedulable: true}\nstatus: {conditions: [{type: Ready, status: Unknown}]}',
  );
  t.match(cells('Node', cordoned), { Status: 'NotReady,SchedulingDisabled', Roles: '<none>' });
  t.equal(cells('Node', decoded('Node', '{}')).Status, 'Unknown');
  const select = (yaml: string) => moduleOf('Node').selectableFields?.(decoded('Node', yaml));
  t.strictSame(select('{}'), { 'spec.unschedulable': 'false' });
  t.strictSame(select('spec: {unschedulable: true}'), { 'spec.unschedulable': 'true' });

  t.strictSame(
    errorsOf(
      'Node',
      'spec: {taints: [{key: a, effect: Never}, {key: b, effect: NoSchedule}, {key: b, effect: NoSchedule}]}',
    ),
    [
      'spec.taints[0].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"',
      'spec.taints[2]: Duplicate value: {"key":"b","effect":"NoSchedule"}: taints must be unique by key and effect pair',
    ],
  );
  const moved = updateErrors(
    'Node',
    'spec: {podCIDR: 10.42.0.0/24}',
    'spec: {podCIDR: 10.42.1.0/24}',
  );
  t.match(moved, [/^spec\.podCIDRs: Forbidden: node updates may not change podCIDR/]);
});

t.test('namespace', async (t) => {
  const object = created('Namespace', 'metadata: {name: shop}');
  t.match(object, {
    metadata: { labels: { 'kubernetes.io/metadata.name': 'shop' } },
    spec: { finalizers: ['kubernetes'] },
    status: { phase: 'Active' },
  });
  t.strictSame(moduleOf('Namespace').selectableFields?.(object), { 'status.phase': 'Active' });
  t.match(cells('Namespace', object), { Name: 'shop', Status: 'Active' });
  const next = updated('Namespace', 'metadata: {name: shop}\nspec: {finalizers: []}', object);
  t.match(next, { spec: { finalizers: ['kubernetes'] } }, 'only /finalize changes them');
});

t.test('event', async (t) => {
  const yaml = `
metadata: {name: web.1, namespace: default}
involvedObject: {kind: Pod, name: web, namespace: default, fieldPath: 'spec.containers{a}', uid: u1}
reason: Started
type: Normal
message: "Started container a\\n"
count: 3
firstTimestamp: '2026-01-09T23:50:00Z'
lastTimestamp: '2026-01-09T23:59:00Z'
source: {component: pier-agent, host: pi4}
`;
  const object = created('Event', yaml);
  t.strictSame(cells('Event', object), {
    'Last Seen': '60s',
    Type: 'Normal',
    Reason: 'Started',
    Object: 'pod/web',
    Subobject: 'spec.containers{a}',
    Source: 'pier-agent, pi4',
    Message: 'Started container a',
    'First Seen': '10m',
    Count: 3,
    Name: 'web.1',
  });
  t.match(moduleOf('Event').selectableFields?.(object), {
    'involvedObject.uid': 'u1',
    'involvedObject.kind': 'Pod',
    reason: 'Started',
    source: 'pier-agent',
  });
  t.equal(moduleOf('Event').storage, 'memory', 'worth no write to the card');
  t.strictSame(
    errorsOf('Event', yaml.replace('namespace: default, field', 'namespace: other, field')),
    ['involvedObject.namespace: Invalid value: "other": does not match event.namespace'],
  );
});

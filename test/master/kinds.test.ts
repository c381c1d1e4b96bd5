/**
 * The kinds of the API, one by one, from the outside: a manifest goes in, defaults, errors, warnings and table cells
 * come out. One test file for all of them, because each test file costs a process.
 */
import t from 'tap';
import { KIND_MODULES } from '../../master/api/kinds/all.ts';
import { humanDuration } from '../../master/api/kinds/human-duration.ts';
import { messageSpec } from '../../protocol/kinds/table.ts';
import { decoded, errorsOf, moduleOf, NOW_MS } from './kinds/manifest.ts';
import './kinds/batch.ts';
import './kinds/csi.ts';
import './kinds/scaling.ts';
import './kinds/others.ts';
import './kinds/priority.ts';
import './kinds/pod-cells.ts';
import './kinds/pod-defaults.ts';
import './kinds/pod-rules.ts';
import './kinds/service.ts';
import './kinds/sets.ts';
import './kinds/storage.ts';
import './kinds/workloads.ts';

t.test('every kind', async (t) => {
  t.test('is in the generated table, with as many cells as columns', async (t) => {
    for (const module of KIND_MODULES) {
      t.ok(messageSpec(module.message), module.kind);
      const bare = decoded(module.kind, 'metadata: {name: x}');
      t.equal(module.row(bare, NOW_MS).length, module.columns.length, module.kind);
      module.setDefaults(bare);
      t.equal(module.row(bare, NOW_MS).length, module.columns.length, module.kind);
    }
  });

  t.test('refuses bad labels, annotations, owners and finalizers', async (t) => {
    const yaml = `
metadata:
  name: x
  labels: {"-bad": ok, good: "no space"}
  annotations: {"UPPER.example.com/Name": fine, "a/b/c": x}
  finalizers: [orphan, foregroundDeletion]
  ownerReferences:
  - {apiVersion: v1, kind: Pod, name: a, uid: "1", controller: true}
  - {apiVersion: v1, kind: Pod, name: b, uid: "", controller: true}
`;
    const errors = errorsOf('ConfigMap', yaml);
    t.match(errors[0], /^metadata\.labels: Invalid value: "-bad": name part must consist of/);
    t.match(errors[1], /^metadata\.labels: Invalid value: "no space": a valid label must be/);
    t.match(errors[2], /^metadata\.annotations: Invalid value: "a\/b\/c": a valid label key/);
    t.equal(errors[3], 'metadata.ownerReferences.uid: Required value: must not be empty');
    t.match(errors[4], /Only one reference can have Controller set to true\. Found "true" in/);
    t.match(errors[5], /finalizer orphan and foregroundDeletion cannot be both set$/);
    t.equal(errors.length, 6);
  });

  t.test('bounds annotations as a whole', async (t) => {
    const yaml = `metadata: {name: x, annotations: {a: "${'x'.repeat(256 * 1024)}"}}`;
    t.strictSame(errorsOf('ConfigMap', yaml), [
      'metadata.annotations: Too long: may not be more than 262144 bytes',
    ]);
  });

  t.test('names follow the rule of the kind', async (t) => {
    t.match(moduleOf('Namespace').validateName?.('a.b'), /must not contain dots/);
    t.match(moduleOf('Service').validateName?.('1web'), /^a DNS-1035 label must consist of/);
    t.equal(moduleOf('Service').validateName?.('web'), undefined);
    t.equal(moduleOf('Pod').validateName, undefined, 'a DNS subdomain, the rule of most kinds');
  });
});

t.test('durations for people', async (t) => {
  const second = 1000;
  const minute = 60 * second;
  const hour = 60 * minute;
  const day = 24 * hour;
  const cases: [number, string][] = [
    [-5 * second, '<invalid>'],
    [-1500, '0s'],
    [0, '0s'],
    [999, '0s'],
    [119 * second, '119s'],
    [2 * minute, '2m'],
    [5 * minute + 7 * second, '5m7s'],
    [10 * minute + 7 * second, '10m'],
    [179 * minute, '179m'],
    [3 * hour, '3h'],
    [7 * hour + 59 * minute, '7h59m'],
    [8 * hour + 59 * minute, '8h'],
    [47 * hour, '47h'],
    [2 * day, '2d'],
    [3 * day + 4 * hour, '3d4h'],
    [8 * day + 4 * hour, '8d'],
    [729 * day, '729d'],
    [730 * day, '2y'],
    [740 * day, '2y10d'],
    [8 * 365 * day + 40 * day, '8y'],
  ];
  for (const [durationMs, text] of cases) t.equal(humanDuration(durationMs), text);
});

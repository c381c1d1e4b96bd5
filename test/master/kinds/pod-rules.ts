/** Validation of pods: sentences are those of Kubernetes, because users search for them. */
import t from 'tap';
import { errorsOf, onePod, pod, updateErrors } from './manifest.ts';

t.test('pod validation names the field in the words of Kubernetes', async (t) => {
  const pods: [string, string][] = [
    [pod('{containers: []}'), 'spec.containers: Required value'],
    [pod('{containers: [{name: a}]}'), 'spec.containers[0].image: Required value'],
    [
      pod('{containers: [{name: A_b, image: x}]}'),
      `spec.containers[0].name: Invalid value: "A_b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'`,
    ],
    [
      pod('{containers: [{name: a, image: x}, {name: a, image: x}]}'),
      'spec.containers[1].name: Duplicate value: "a"',
    ],
    [
      pod('{initContainers: [{name: a, image: x}], containers: [{name: a, image: x}]}'),
      'spec.initContainers[0].name: Duplicate value: "a"',
    ],
    [
      onePod('', 'restartPolicy: Sometimes'),
      'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"',
    ],
    [
      onePod('imagePullPolicy: Often'),
      'spec.containers[0].imagePullPolicy: Unsupported value: "Often": supported values: "Always", "IfNotPresent", "Never"',
    ],
    [
      onePod('ports: [{containerPort: 70000}]'),
      'spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive',
    ],
    [
      onePod('ports: [{containerPort: 80, protocol: HTTP}]'),
      'spec.containers[0].ports[0].protocol: Unsupported value: "HTTP": supported values: "SCTP", "TCP", "UDP"',
    ],
    [
      onePod('ports: [{containerPort: 80, name: this-name-is-too-long}]'),
      'spec.containers[0].ports[0].name: Invalid value: "this-name-is-too-long": must be no more than 15 characters',
    ],
    [onePod('env: [{value: x}]'), 'spec.containers[0].env[0].name: Required value'],
    [
      onePod('env: [{name: "A=B"}]'),
      `spec.containers[0].env[0].name: Invalid value: "A=B": a valid environment variable name must consist only of printable ASCII characters other than '='`,
    ],
    [
      onePod('env: [{name: A, value: x, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]'),
      'spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty',
    ],
    [
      onePod('env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.nope}}}]'),
      'spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "spec.nope": supported values: "metadata.name"',
    ],
    [
      onePod('envFrom: [{prefix: A_}]'),
      'spec.containers[0].envFrom[0]: Invalid value: "": must specify one of: `configMapRef` or `secretRef`',
    ],
    [
      onePod('volumeMounts: [{name: nope, mountPath: /x}]'),
      'spec.containers[0].volumeMounts[0].name: Not found: "nope"',
    ],
    [
      onePod('resources: {limits: {cpu: 1}, requests: {cpu: 2}}'),
      'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
    ],
    [
      onePod('resources: {requests: {cpus: 1}}'),
      'spec.containers[0].resources.requests[cpus]: Invalid value: "cpus": must be a standard resource type or fully qualified',
    ],
    [
      onePod('resources: {requests: {memory: "-1"}}'),
      'spec.containers[0].resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0',
    ],
    [
      onePod('livenessProbe: {periodSeconds: 5}'),
      'spec.containers[0].livenessProbe: Required value: must specify a handler type',
    ],
    [
      onePod('livenessProbe: {tcpSocket: {port: 80}, successThreshold: 2}'),
      'spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1',
    ],
    [
      onePod('securityContext: {privileged: true, allowPrivilegeEscalation: false}'),
      'spec.containers[0].securityContext: Invalid value: {"privileged":true,"allowPrivilegeEscalation":false}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true',
    ],
    [
      onePod('', 'volumes: [{name: a, emptyDir: {}, hostPath: {path: /x}}]'),
      'spec.volumes[0].emptyDir: Forbidden: may not specify more than 1 volume type',
    ],
    [onePod('', 'volumes: [{name: a}, {name: a}]'), 'spec.volumes[1].name: Duplicate value: "a"'],
    [
      onePod('', 'volumes: [{name: a, hostPath: {path: /a/../b}}]'),
      `spec.volumes[0].hostPath.path: Invalid value: "/a/../b": must not contain '..'`,
    ],
    [
      onePod('', 'volumes: [{name: a, secret: {defaultMode: 420}}]'),
      'spec.volumes[0].secret.secretName: Required value',
    ],
    [
      onePod('', 'tolerations: [{key: a, effect: NoSchedule, tolerationSeconds: 5}]'),
      `spec.tolerations[0].effect: Invalid value: "NoSchedule": effect must be 'NoExecute' when \`tolerationSeconds\` is set`,
    ],
    [
      onePod('', 'tolerations: [{operator: Equal}]'),
      'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"',
    ],
    [
      onePod(
        '',
        'affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}',
      ),
      'spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term',
    ],
    [
      onePod('', 'dnsPolicy: None'),
      'spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None',
    ],
    [onePod('', 'imagePullSecrets: [{}]'), 'spec.imagePullSecrets[0].name: Required value'],
    [
      onePod('', 'hostPID: true\n  shareProcessNamespace: true'),
      'spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled',
    ],
    [
      onePod('', 'nodeName: pi4\n  schedulingGates: [{name: a}]'),
      'spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared',
    ],
    [
      onePod('', 'volumes: [{name: a, downwardAPI: {items: [{path: a}]}}]'),
      'spec.volumes[0].downwardAPI.items[0]: Required value: one of fieldRef and resourceFieldRef is required',
    ],
    [
      onePod('', 'volumes: [{name: a, configMap: {name: c, items: [{key: k, path: ../x}]}}]'),
      `spec.volumes[0].configMap.items[0].path: Invalid value: "../x": must not contain '..'`,
    ],
    [
      onePod('env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.gpu}}}]'),
      'spec.containers[0].env[0].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.gpu": supported values: "limits.cpu"',
    ],
    [
      onePod('securityContext: {seccompProfile: {type: Mine}}'),
      'spec.containers[0].securityContext.seccompProfile.type: Unsupported value: "Mine": supported values: "Localhost", "RuntimeDefault", "Unconfined"',
    ],
    [
      onePod('restartPolicy: Never'),
      'spec.containers[0].restartPolicy: Forbidden: may not be set for non-init containers',
    ],
    [
      onePod('', 'activeDeadlineSeconds: -1'),
      'spec.activeDeadlineSeconds: Invalid value: -1: must be between 1 and 2147483647, inclusive',
    ],
  ];
  for (const [yaml, expected] of pods) {
    const errors = errorsOf('Pod', yaml);
    t.ok(
      errors.length > 0 && errors.every((error) => error !== ''),
      `refused: ${expected.slice(0, 60)}`,
    );
    t.equal((errors[0] ?? '').slice(0, expected.length), expected);
  }
  t.strictSame(errorsOf('Pod', onePod('')), [], 'and a good pod has no error');
});

t.test('a pod that runs changes little', async (t) => {
  const before = onePod('command: [a]', 'tolerations: [{key: a, operator: Exists}]');
  const change = (from: string, to: string) =>
    updateErrors('Pod', before, before.replace(from, to));

  t.strictSame(change('nginx:1.27', 'nginx:1.28'), [], 'image');
  t.strictSame(
    change(
      '[{key: a, operator: Exists}]',
      '[{key: a, operator: Exists}, {key: b, operator: Exists}]',
    ),
    [],
    'more tolerations',
  );
  t.strictSame(change('tolerations', 'activeDeadlineSeconds: 5\n  tolerations'), [], 'deadline');
  const refused = change('command: [a]', 'command: [b]');
  t.match(
    refused[0],
    /^spec: Forbidden: pod updates may not change fields other than `spec\.containers\[\*\]\.image`,/,
  );
  t.match(refused[0], /changed: spec\.containers\[0\]\.command$/);
  t.match(change('tolerations', 'nodeName: other\n  tolerations')[0], /changed: spec\.nodeName$/);
  t.strictSame(change('[{key: a, operator: Exists}]', '[]'), [
    'spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds',
  ]);
  t.strictSame(change('containers:', 'containers:\n  - {name: b, image: c}'), [
    'spec.containers: Forbidden: pod updates may not add or remove containers',
  ]);
});

/** Defaults of pods, and what is warned of. */
import fc from 'fast-check';
import t from 'tap';
import { decodeObject } from '../../../protocol/kinds/decode.ts';
import type { KubeObject } from '../../../protocol/kinds/meta.ts';
import { created, deploymentYaml, moduleOf, onePod, pod, warningsOf } from './manifest.ts';

t.test('pod defaults', async (t) => {
  t.test('are those that Kubernetes documents', async (t) => {
    const yaml = onePod(`
    ports: [{containerPort: 80}]
    env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
    resources: {limits: {cpu: 500m, memory: 64Mi}, requests: {cpu: 100m}}
    livenessProbe: {httpGet: {port: 80}}
  volumes: [{name: scratch}, {name: config, configMap: {name: c}}]`);
    t.match(created('Pod', yaml), {
      spec: {
        restartPolicy: 'Always',
        dnsPolicy: 'ClusterFirst',
        terminationGracePeriodSeconds: 30,
        schedulerName: 'default-scheduler',
        securityContext: {},
        enableServiceLinks: true,
        volumes: [{ emptyDir: {} }, { configMap: { defaultMode: 420 } }],
        containers: [
          {
            imagePullPolicy: 'IfNotPresent',
            terminationMessagePath: '/dev/termination-log',
            terminationMessagePolicy: 'File',
            ports: [{ containerPort: 80, protocol: 'TCP' }],
            env: [{ valueFrom: { fieldRef: { apiVersion: 'v1' } } }],
            resources: { requests: { cpu: '100m', memory: '64Mi' } },
            livenessProbe: {
              httpGet: { path: '/', scheme: 'HTTP' },
              timeoutSeconds: 1,
              periodSeconds: 10,
              successThreshold: 1,
              failureThreshold: 3,
            },
          },
        ],
      },
      status: { phase: 'Pending', qosClass: 'Burstable' },
    });
  });

  t.test('add no tolerations: the node lifecycle controller has its own patience', async (t) => {
    t.notOk(Reflect.has(Reflect.get(created('Pod', onePod('')), 'spec'), 'tolerations'));
  });

  t.test('pull policy follows the tag', async (t) => {
    const cases: [string, string][] = [
      ['nginx', 'Always'],
      ['nginx:latest', 'Always'],
      ['nginx:1.27', 'IfNotPresent'],
      ['registry.local:5000/nginx', 'Always'],
      ['registry.local:5000/nginx:1', 'IfNotPresent'],
      [`nginx@sha256:${'a'.repeat(64)}`, 'IfNotPresent'],
    ];
    for (const [image, policy] of cases) {
      const object = created('Pod', pod(`{containers: [{name: a, image: "${image}"}]}`));
      t.match(object, { spec: { containers: [{ imagePullPolicy: policy }] } }, image);
    }
  });

  t.test(
    'host network makes container ports host ports, in pods and not in templates',
    async (t) => {
      const spec = `{hostNetwork: true, containers: [{name: a, image: b, ports: [{containerPort: 8080}]}]}`;
      t.match(created('Pod', pod(spec)), {
        spec: { containers: [{ ports: [{ hostPort: 8080 }] }] },
      });
      const deployment = created('Deployment', deploymentYaml(spec));
      t.notMatch(deployment, {
        spec: { template: { spec: { containers: [{ ports: [{ hostPort: 8080 }] }] } } },
      });
      t.strictSame(moduleOf('Deployment').validate(deployment), []);
      t.strictSame(warningsOf('Pod', pod(spec)), []);
    },
  );

  t.test('what the client says of the status is dropped', async (t) => {
    const object = created(
      'Pod',
      onePod('', '').replace('spec:', 'status: {phase: Running}\nspec:'),
    );
    t.strictSame(Reflect.get(object, 'status'), { phase: 'Pending', qosClass: 'BestEffort' });
  });

  t.test('class of service', async (t) => {
    const cases: [string, string][] = [
      ['{}', 'BestEffort'],
      ['{requests: {cpu: 100m}}', 'Burstable'],
      ['{limits: {cpu: 1}}', 'Burstable'],
      ['{limits: {cpu: 1, memory: 1Gi}}', 'Guaranteed'],
      ['{limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 1000m, memory: 1024Mi}}', 'Guaranteed'],
      ['{limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}', 'Burstable'],
    ];
    for (const [resources, qosClass] of cases) {
      const object = created('Pod', onePod(`resources: ${resources}`));
      t.match(object, { status: { qosClass } }, resources);
    }
  });

  t.test('filled twice are filled once', async (t) => {
    const name = fc.constantFrom('a', 'b', 'c');
    const container = fc.record(
      {
        name,
        image: fc.constantFrom('x', 'x:1', 'r:5/x', 'x@sha256:0'),
        ports: fc.array(fc.record({ containerPort: fc.nat(70_000) }), { maxLength: 2 }),
        resources: fc.record(
          {
            limits: fc.dictionary(fc.constantFrom('cpu', 'memory'), fc.constantFrom('1', '2Gi')),
            requests: fc.dictionary(fc.constantFrom('cpu', 'memory'), fc.constantFrom('1', '9')),
          },
          { requiredKeys: [] },
        ),
        readinessProbe: fc.record(
          { httpGet: fc.record({ port: fc.nat(9) }), periodSeconds: fc.nat(3) },
          { requiredKeys: [] },
        ),
      },
      { requiredKeys: ['name'] },
    );
    const spec = fc.record(
      {
        containers: fc.array(container, { maxLength: 3 }),
        initContainers: fc.array(container, { maxLength: 2 }),
        hostNetwork: fc.boolean(),
        volumes: fc.array(fc.record({ name }), { maxLength: 2 }),
        serviceAccount: name,
      },
      { requiredKeys: ['containers'] },
    );
    const module = moduleOf('Pod');
    fc.assert(
      fc.property(spec, (json) => {
        const { object } = decodeObject<KubeObject>(module.message, { spec: json });
        module.setDefaults(object);
        const once = JSON.stringify(object);
        const again = decodeObject<KubeObject>(module.message, JSON.parse(once)).object;
        module.setDefaults(again);
        t.strictSame(again, JSON.parse(once));
        module.validate(object);
        module.warnings?.(object);
      }),
      { numRuns: 100 },
    );
  });
});

t.test('what is stored but not honoured is named', async (t) => {
  t.strictSame(warningsOf('Pod', onePod('')), []);
  t.strictSame(
    warningsOf(
      'Pod',
      onePod(
        `livenessProbe: {tcpSocket: {port: 80}}
    lifecycle: {preStop: {exec: {command: [x]}}}
    ports: [{containerPort: 80, hostPort: 8080}, {containerPort: 81, hostPort: 8081, protocol: SCTP}]
    resources: {limits: {cpu: 1, ephemeral-storage: 1Gi, pier.local/i2c-1: 1}}`,
        `volumes: [{name: a, iscsi: {targetPortal: s, iqn: i, lun: 0}}, {name: n, nfs: {server: s, path: /}}, {name: b, emptyDir: {sizeLimit: 1Gi}}, {name: c, emptyDir: {medium: HugePages-2Mi}}]`,
      ),
    ),
    [
      'spec.volumes[0].iscsi: stored, but this version of Pier does not mount this kind of volume yet',
      'spec.volumes[3].emptyDir.medium: stored, but this version of Pier does not give huge pages yet',
      'spec.containers[0].ports[1].hostPort: stored, but this version of Pier does not forward SCTP yet',
      'spec.containers[0].resources.limits.ephemeral-storage: stored, but this version of Pier does not limit this resource yet',
    ],
  );
  t.strictSame(
    warningsOf(
      'Deployment',
      deploymentYaml('{runtimeClassName: x, containers: [{name: a, image: b}]}'),
    ),
    [
      'spec.template.spec.runtimeClassName: stored, but this version of Pier does not choose runtimes by class yet',
    ],
  );
  t.strictSame(
    warningsOf(
      'Service',
      'spec: {type: LoadBalancer, loadBalancerIP: 192.0.2.1, trafficDistribution: PreferClose, ports: [{port: 53, protocol: SCTP}]}',
    ),
    [
      'spec.trafficDistribution: stored, but this version of Pier does not prefer pods of the same zone yet',
      'spec.ports[0].protocol: stored, but this version of Pier does not forward SCTP yet',
    ],
  );
  t.strictSame(
    warningsOf(
      'Service',
      'spec: {type: LoadBalancer, sessionAffinity: ClientIP, externalIPs: [192.0.2.1], externalTrafficPolicy: Local, internalTrafficPolicy: Local, loadBalancerSourceRanges: [10.0.0.0/8], trafficDistribution: PreferSameNode, ports: [{port: 53, protocol: UDP}]}',
    ),
    [],
    'what is honoured is not warned about',
  );
});

t.test('fields as files get a version, and gated pods say why they wait', async (t) => {
  const yaml = onePod(
    '',
    `schedulingGates: [{name: example.com/wait}]
  volumes:
  - {name: a, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
  - {name: b, projected: {sources: [{downwardAPI: {items: [{path: cpu, resourceFieldRef: {containerName: web, resource: limits.cpu}}]}}]}}`,
  );
  const object = created('Pod', yaml);
  t.strictSame(moduleOf('Pod').validate(object), []);
  t.strictSame(warningsOf('Pod', yaml), []);
  t.match(object, {
    spec: {
      volumes: [
        { downwardAPI: { defaultMode: 420, items: [{ fieldRef: { apiVersion: 'v1' } }] } },
        {
          projected: {
            sources: [{ downwardAPI: { items: [{ resourceFieldRef: { divisor: '0' } }] } }],
          },
        },
      ],
    },
    status: { conditions: [{ type: 'PodScheduled', status: 'False', reason: 'SchedulingGated' }] },
  });
  const bundle = 'volumes: [{name: a, projected: {sources: [{clusterTrustBundle: {path: t}}]}}]';
  t.strictSame(warningsOf('Pod', onePod('', bundle)), [
    'spec.volumes[0].projected.sources[0].clusterTrustBundle: stored, but this version of Pier does not mount this kind of volume yet',
  ]);
});

/** HorizontalPodAutoscaler in both versions. */
import t from 'tap';
import { HORIZONTAL_POD_AUTOSCALER_V1 } from '../../../master/api/kinds/horizontal-pod-autoscaler-v1.ts';
import type { HorizontalPodAutoscaler } from '../../../protocol/kinds/types.ts';
import { CREATED, cells, created, errorsOf, warningsOf } from './manifest.ts';

const KIND = 'HorizontalPodAutoscaler';
const autoscaler = (more = '', max = 5) => `
metadata: {name: web, creationTimestamp: '${CREATED}'}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  maxReplicas: ${max}
  ${more}
`;
const cpu = (target: string) =>
  autoscaler(`metrics: [{type: Resource, resource: {name: cpu, target: ${target}}}]`);

t.test('horizontal pod autoscaler', async (t) => {
  t.test('defaults', async (t) => {
    const target = { type: 'Utilization', averageUtilization: 80 };
    t.match(created(KIND, autoscaler()), {
      spec: { minReplicas: 1, metrics: [{ type: 'Resource', resource: { name: 'cpu', target } }] },
      status: { desiredReplicas: 0 },
    });
    t.notHas(created(KIND, autoscaler()), { spec: { behavior: {} } });
    const policy = { type: 'Percent', value: 100, periodSeconds: 15 };
    const given = created(KIND, autoscaler('behavior: {scaleDown: {selectPolicy: Min}}'));
    t.match(given, {
      spec: {
        behavior: {
          scaleUp: {
            stabilizationWindowSeconds: 0,
            selectPolicy: 'Max',
            policies: [{ type: 'Pods', value: 4, periodSeconds: 15 }, policy],
          },
          scaleDown: { selectPolicy: 'Min', policies: [policy] },
        },
      },
    });
  });

  t.test('rules', async (t) => {
    const rules = (text: string) => autoscaler(`behavior: {scaleDown: ${text}}`);
    const at = 'spec.metrics[0]';
    const down = 'spec.behavior.scaleDown';
    const cases: [string, string][] = [
      [
        autoscaler('minReplicas: 0'),
        'spec.minReplicas: Invalid value: 0: must be greater than or equal to 1',
      ],
      [autoscaler('', 0), 'spec.maxReplicas: Invalid value: 0: must be greater than 0'],
      [
        autoscaler('minReplicas: 9'),
        'spec.maxReplicas: Invalid value: 5: must be greater than or equal to `minReplicas`',
      ],
      [
        autoscaler('metrics: [{type: Disk}]'),
        `${at}.type: Unsupported value: "Disk": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"`,
      ],
      [
        autoscaler('metrics: [{type: Pods}]'),
        `${at}.pods: Required value: must populate information for the given metric source`,
      ],
      [
        cpu('{type: Utilization}'),
        `${at}.resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization`,
      ],
      [
        cpu('{type: Utilization, averageUtilization: 0}'),
        `${at}.resource.target.averageUtilization: Invalid value: 0: must be greater than 0`,
      ],
      [
        cpu('{type: AverageValue, averageValue: "0"}'),
        `${at}.resource.target.averageValue: Invalid value: "0": must be positive`,
      ],
      [
        cpu('{type: Utilization, averageUtilization: 5, averageValue: 1}'),
        `${at}.resource.target.averageValue: Forbidden: may not set both a target raw value and a target utilization`,
      ],
      [
        cpu('{type: Most, averageUtilization: 5}'),
        `${at}.resource.target.type: Unsupported value: "Most": supported values: "AverageValue", "Utilization", "Value"`,
      ],
      [
        rules('{stabilizationWindowSeconds: 3601}'),
        `${down}.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600`,
      ],
      [
        rules('{selectPolicy: Most}'),
        `${down}.selectPolicy: Unsupported value: "Most": supported values: "Disabled", "Max", "Min"`,
      ],
      [
        rules('{policies: [{type: Pods, value: 0, periodSeconds: 15}]}'),
        `${down}.policies[0].value: Invalid value: 0: must be greater than zero`,
      ],
      [
        rules('{policies: [{type: Pods, value: 1, periodSeconds: 1801}]}'),
        `${down}.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800`,
      ],
      [
        rules('{policies: []}'),
        `${down}.policies: Required value: must specify at least one Policy`,
      ],
      [
        autoscaler('behavior: {scaleUp: {policies: []}}'),
        'spec.behavior.scaleUp.policies: Required value: must specify at least one Policy',
      ],
      [
        rules('{tolerance: "-1"}'),
        `${down}.tolerance: Invalid value: "-1": must be greater than or equal to 0`,
      ],
    ];
    for (const [yaml, error] of cases) t.equal(errorsOf(KIND, yaml)[0], error);
    t.match(errorsOf(KIND, 'metadata: {name: x}'), [
      /^spec\.maxReplicas/,
      /^spec\.maxReplicas/,
      'spec.scaleTargetRef.kind: Required value',
      'spec.scaleTargetRef.name: Required value',
    ]);
    t.strictSame(errorsOf(KIND, autoscaler()), []);
    t.strictSame(
      errorsOf(KIND, rules('{policies: null}')),
      [],
      'only what is absent gets a default',
    );
    const pods =
      '{type: Pods, pods: {metric: {name: rps}, target: {type: AverageValue, averageValue: 1k}}}';
    t.match(warningsOf(KIND, autoscaler(`metrics: [${pods}]`)), [/measure metrics of type Pods/]);
    t.strictSame(warningsOf(KIND, autoscaler()), []);
  });

  t.test('cells', async (t) => {
    const target = '{type: AverageValue, averageValue: 100Mi}';
    const memory = `{type: Resource, resource: {name: memory, target: ${target}}}`;
    const load =
      '{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}';
    const object = created(KIND, autoscaler(`metrics: [${load}, ${memory}, ${load}]`));
    t.strictSame(cells(KIND, object), {
      Name: 'web',
      Reference: 'Deployment/web',
      Targets: 'cpu: <unknown>/80%, memory: <unknown>/100Mi + 1 more...',
      MinPods: '1',
      MaxPods: '5',
      Replicas: 0,
      Age: '10m',
    });
    Reflect.set(object, 'status', {
      currentReplicas: 2,
      desiredReplicas: 2,
      currentMetrics: [
        { type: 'Resource', resource: { name: 'cpu', current: { averageUtilization: 42 } } },
        { type: 'Resource', resource: { name: 'memory', current: { averageValue: '7Mi' } } },
      ],
    });
    t.match(cells(KIND, object), {
      Targets: 'cpu: 42%/80%, memory: 7Mi/100Mi + 1 more...',
      Replicas: 2,
    });
  });

  t.test('is the same object in autoscaling/v1', async (t) => {
    const { view } = HORIZONTAL_POD_AUTOSCALER_V1;
    if (view === undefined) throw new Error('no view');
    const container =
      '{type: ContainerResource, containerResource: {name: cpu, container: a, target: {type: AverageValue, averageValue: 1}}}';
    const load =
      '{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}';
    const v2 = created(
      KIND,
      autoscaler(
        `metrics: [${load}, ${container}]\n  behavior: {scaleUp: {selectPolicy: Disabled}}`,
      ),
    ) as HorizontalPodAutoscaler;
    v2.status = {
      currentReplicas: 3,
      desiredReplicas: 4,
      currentMetrics: [
        {
          type: 'Resource',
          resource: { name: 'cpu', current: { averageUtilization: 42, averageValue: '21m' } },
        },
      ],
      conditions: [{ type: 'AbleToScale', status: 'True', reason: 'R', message: 'm' }],
    };
    const v1 = view.fromStored(v2);
    t.match(v1, {
      spec: { maxReplicas: 5, minReplicas: 1, targetCPUUtilizationPercentage: 60 },
      status: { currentReplicas: 3, desiredReplicas: 4, currentCPUUtilizationPercentage: 42 },
      metadata: {
        annotations: {
          'autoscaling.alpha.kubernetes.io/metrics': /"container":"a"/,
          'autoscaling.alpha.kubernetes.io/behavior': /"Disabled"/,
          'autoscaling.alpha.kubernetes.io/conditions': /"AbleToScale"/,
        },
      },
    });
    t.strictSame(view.toStored(v1), v2, 'and back without loss');
    t.strictSame(HORIZONTAL_POD_AUTOSCALER_V1.validate(v1), []);
    const annotated = (name: string, text: string) =>
      HORIZONTAL_POD_AUTOSCALER_V1.validate({
        ...v1,
        metadata: { annotations: { [`autoscaling.alpha.kubernetes.io/${name}`]: text } },
      }).map(({ field, message }) => `${field}: ${message}`);
    t.match(annotated('metrics', '['), [/annotations\[autoscaling\.alpha.*must be JSON$/]);
    t.match(annotated('behavior', '{"scaleUp":{"policies":[]}}'), [/at least one Policy/]);
    t.match(annotated('behavior', '{"up":1}'), [/unknown field "spec\.behavior\.up"/]);
    t.match(annotated('metrics', '[{"type":"Pods"}]'), [/must populate information/]);
    const bare = view.toStored({ ...v1, metadata: {}, spec: { ...v1.spec, minReplicas: 2 } });
    t.match(bare, { spec: { minReplicas: 2, metrics: [{ resource: { name: 'cpu' } }] } });
  });
});

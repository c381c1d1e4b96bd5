/** HorizontalPodAutoscaler: the examples of Kubernetes' documentation, and what happens at the edges of them. */
import t from 'tap';
import { RESOURCES } from '../../../master/api/client.ts';
import {
  type HorizontalMemory,
  type HorizontalView,
  reconcileHorizontal,
  type ScaleTarget,
} from '../../../master/controllers/horizontal.ts';
import {
  limited,
  NO_HISTORY,
  type ScaleHistory,
} from '../../../master/controllers/horizontal-behavior.ts';
import {
  type MetricQuestion,
  type PodSample,
  replicasFor,
} from '../../../master/controllers/horizontal-metrics.ts';
import { rulesOf } from '../../../master/controllers/horizontal-wish.ts';
import type {
  HorizontalPodAutoscaler,
  HorizontalPodAutoscalerSpec,
  HorizontalPodAutoscalerStatus,
  MetricSpec,
} from '../../../protocol/kinds/types.ts';
import { NOW, ofType } from './objects.ts';

const NOW_MS = 10_000_000;

interface SampleOptions {
  readonly request?: string;
  readonly phase?: string;
  readonly ageMs?: number;
  readonly readyForMs?: number | null;
  readonly wasReady?: boolean;
  readonly going?: true;
}

/** A pod that has been ready for long; `usage` undefined: nobody has measured it. */
function sample(usage: Record<string, string> | undefined, options: SampleOptions = {}): PodSample {
  const { request = '100m', phase = 'Running', ageMs = 3_600_000, readyForMs = ageMs } = options;
  const deleted = options.going === undefined ? {} : { deletionTimestamp: NOW.timestamp };
  return {
    pod: {
      metadata: { name: 'p', namespace: 'default', uid: 'p', ...deleted },
      spec: {
        containers: [
          {
            name: 'main',
            image: 'i',
            ...(request === ''
              ? {}
              : { resources: { requests: { cpu: request, memory: '64Mi' } } }),
          },
        ],
      },
      status: { phase },
    },
    firstSeenMs: NOW_MS - ageMs,
    readySinceMs: readyForMs === null ? undefined : NOW_MS - readyForMs,
    wasReady: options.wasReady ?? readyForMs !== null,
    usage:
      usage === undefined
        ? undefined
        : { receivedMs: NOW_MS - 5_000, windowMs: 10_000, containers: [{ name: 'main', usage }] },
  };
}

const cpu = (amount: string, options?: SampleOptions) => sample({ cpu: amount }, options);
const many = (count: number, one: PodSample) => Array.from({ length: count }, () => one);
const share = (percent: number) => ({ type: 'Utilization', averageUtilization: percent });
const value = (averageValue: string) => ({ type: 'AverageValue', averageValue });

function ask(samples: readonly PodSample[], more: Partial<MetricQuestion> = {}) {
  const question: MetricQuestion = {
    resource: 'cpu',
    target: share(50),
    replicas: samples.length,
    tolerance: { up: 0.1, down: 0.1 },
    ...more,
  };
  return replicasFor(question, samples, NOW_MS);
}

t.test('one metric asks for a number of pods', async (t) => {
  const nobody = sample(undefined);
  const starting = cpu('500m', { ageMs: 60_000, readyForMs: null });
  // Name, the pods, what else is asked, and the number.
  const table: [string, PodSample[], Partial<MetricQuestion>, number][] = [
    ['twice the value doubles', many(2, cpu('200m')), { target: value('100m') }, 4],
    ['half the value halves', many(4, cpu('50m')), { target: value('100m') }, 2],
    ['within a tenth nothing happens', many(3, cpu('109m')), { target: value('100m') }, 3],
    ['just above it does', many(3, cpu('111m')), { target: value('100m') }, 4],
    ['305 % of 50 % (the walkthrough)', [cpu('305m')], {}, 7],
    ['50 pods at 90 % of 75 % (the blog)', many(50, cpu('90m')), { target: share(75) }, 60],
    ['exactly what is wanted', many(5, cpu('50m')), {}, 5],
    ['no load asks for none', many(5, cpu('0')), {}, 0],
    ['no tolerance', many(50, cpu('51m')), { tolerance: { up: 0, down: 0.1 } }, 51],
    ['a wide tolerance', many(4, cpu('30m')), { tolerance: { up: 0, down: 0.5 } }, 4],
    ['memory', many(2, sample({ memory: '128Mi' })), { resource: 'memory', target: share(100) }, 4],
    [
      'memory by value',
      many(3, sample({ memory: '10Mi' })),
      { resource: 'memory', target: value('15Mi') },
      2,
    ],
    // Missing: 0 when scaling up, all of the request when scaling down.
    ['a missing one damps scaling up', [cpu('150m'), nobody], { target: share(50) }, 3],
    ['and may stop it', [cpu('60m'), nobody], { target: share(50) }, 2],
    ['a missing one damps scaling down', [...many(3, cpu('10m')), nobody], {}, 3],
    ['and may stop it, too', [cpu('10m'), nobody], {}, 2],
    ['missing ones do not matter on target', [cpu('50m'), nobody], {}, 2],
    // Not yet ready: 0 when scaling up, left out when scaling down.
    ['starting ones damp scaling up', [cpu('200m'), starting], {}, 4],
    ['starting ones are left out of scaling down', [...many(4, cpu('25m')), starting], {}, 2],
    ['a pending one is starting', [cpu('200m'), sample(undefined, { phase: 'Pending' })], {}, 4],
    [
      'memory counts from the start',
      [sample({ memory: '64Mi' }, { ageMs: 1_000, readyForMs: null })],
      { resource: 'memory', target: share(50) },
      2,
    ],
    [
      'measured before it was ready',
      [cpu('100m'), cpu('900m', { ageMs: 60_000, readyForMs: 8_000 })],
      {},
      2,
    ],
    [
      'measured after it was ready',
      [cpu('100m'), cpu('300m', { ageMs: 60_000, readyForMs: 30_000 })],
      {},
      8,
    ],
    [
      'old and never ready',
      [cpu('100m'), cpu('900m', { readyForMs: null, wasReady: false })],
      {},
      2,
    ],
    [
      'old and ready before',
      [cpu('100m'), cpu('300m', { readyForMs: null, wasReady: true })],
      {},
      8,
    ],
    [
      'pods that go or have ended do not count',
      [cpu('100m'), cpu('900m', { going: true }), cpu('900m', { phase: 'Failed' })],
      { replicas: 1 },
      2,
    ],
  ];
  for (const [name, samples, more, replicas] of table) {
    t.equal(ask(samples, more).replicas, replicas, name);
  }
  const seen = ask(many(2, cpu('30m')));
  t.match(seen, { averageUtilization: 30, averageValue: '30m' });
  const one = ask([sample({ memory: '12Mi' })], { resource: 'memory', target: value('10Mi') });
  t.equal(one.averageValue, '12Mi');
});

t.test('a container can be asked for alone', async (t) => {
  const both = sample({ cpu: '10m' });
  const [main] = both.pod.spec?.containers ?? [];
  const pod = {
    ...both.pod,
    spec: { containers: [{ name: 'side', image: 'i' }, ...(main === undefined ? [] : [main])] },
  };
  const containers = [
    { name: 'main', usage: { cpu: '150m' } },
    { name: 'side', usage: { cpu: '900m' } },
  ];
  const usage = { receivedMs: NOW_MS, windowMs: 10_000, containers };
  t.equal(ask([{ ...both, pod, usage }], { container: 'main' }).replicas, 3);
  t.throws(
    () => ask([{ ...both, pod, usage }]),
    /missing request for cpu in container side of Pod p/,
  );
  t.throws(() => ask([both], { container: 'gone' }), /container gone not found in pod p/);
});

t.test('a metric that cannot be told says why', async (t) => {
  const table: [PodSample[], RegExp][] = [
    [[], /^no pods returned by selector while calculating replica count$/],
    [[sample(undefined)], /^unable to get metrics for resource cpu: no metrics returned from/],
    [[cpu('10m', { request: '' })], /^missing request for cpu in container main of Pod p$/],
    [[cpu('10m', { request: '0' })], /^the pods request no cpu$/],
    [[cpu('1', { ageMs: 1_000, readyForMs: null })], /^did not receive metrics for targeted pods/],
  ];
  for (const [samples, message] of table) t.throws(() => ask(samples), { message });
  t.throws(() => ask([cpu('1')], { target: { type: 'Value', value: '1' } }), /neither target/);
});

const spec = (more: Partial<HorizontalPodAutoscalerSpec> = {}): HorizontalPodAutoscalerSpec => ({
  scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' },
  minReplicas: 1,
  maxReplicas: 100,
  metrics: [{ type: 'Resource', resource: { name: 'cpu', target: share(50) } }],
  ...more,
});

t.test('policies bound how fast, windows how soon', async (t) => {
  const outcome = (current: number, wish: number, history: ScaleHistory, more = {}) =>
    limited(current, wish, history, rulesOf(spec(more)), NOW_MS);
  const to = (current: number, wish: number, more = {}, history = NO_HISTORY) =>
    outcome(current, wish, history, more).replicas;
  t.equal(to(1, 50), 5, 'four more');
  t.equal(to(10, 50), 20, 'or twice as many');
  t.match(outcome(10, 50, NO_HISTORY), { limited: 'ScaleUpLimit' });
  t.match(outcome(90, 150, NO_HISTORY), { replicas: 100, limited: 'TooManyReplicas' });
  t.match(outcome(3, 0, NO_HISTORY), { replicas: 1, limited: 'TooFewReplicas' });
  t.match(outcome(3, 3, NO_HISTORY), { replicas: 3, limited: undefined, stabilized: undefined });

  // The example of the documentation: at most 10 % or 4 pods a minute, whichever is more.
  const policies = [
    { type: 'Pods', value: 4, periodSeconds: 60 },
    { type: 'Percent', value: 10, periodSeconds: 60 },
  ];
  const slow = { behavior: { scaleDown: { policies } } };
  const steps: number[] = [];
  for (let now = 80; now > 20; now = to(now, 10, slow)) steps.push(now);
  t.same(steps, [80, 72, 64, 57, 51, 45, 40, 36, 32, 28, 24]);
  const min = { behavior: { scaleDown: { policies, selectPolicy: 'Min' } } };
  t.equal(to(80, 10, min), 76, 'Min takes the smaller step');
  const off = { behavior: { scaleDown: { policies, selectPolicy: 'Disabled' } } };
  t.match(outcome(80, 10, NO_HISTORY, off), { replicas: 80, limited: 'ScaleDownLimit' });
  const done = { wishes: [], changes: [{ by: -3, atMs: NOW_MS - 30_000 }] };
  t.equal(to(20, 1, slow, done), 19, 'three of four are gone in this minute');
  const before = { wishes: [], changes: [{ by: -3, atMs: NOW_MS - 60_000 }] };
  t.equal(to(20, 1, slow, before), 16, 'that was the minute before');
  const grown = { wishes: [], changes: [{ by: 4, atMs: NOW_MS - 5_000 }] };
  t.equal(to(5, 50, {}, grown), 5, 'what was added in the period counts');

  const busy = { wishes: [{ replicas: 8, atMs: NOW_MS - 299_000 }], changes: [] };
  t.match(outcome(10, 2, busy), { replicas: 8, stabilized: 'ScaleDownStabilized' });
  const calm = { wishes: [{ replicas: 8, atMs: NOW_MS - 300_000 }], changes: [] };
  t.match(outcome(10, 2, calm), { replicas: 2, stabilized: undefined });
  const patient = { behavior: { scaleUp: { stabilizationWindowSeconds: 60 } } };
  const lower = { wishes: [{ replicas: 3, atMs: NOW_MS - 10_000 }], changes: [] };
  t.match(outcome(3, 6, lower, patient), { replicas: 3, stabilized: 'ScaleUpStabilized' });
});

const target: ScaleTarget = {
  id: RESOURCES.deployments,
  name: 'web',
  resourceVersion: '7',
  replicas: 2,
  selector: { matchLabels: { app: 'web' } },
};

function autoscaler(
  more: Partial<HorizontalPodAutoscalerSpec> = {},
  status?: HorizontalPodAutoscalerStatus,
): HorizontalPodAutoscaler {
  return {
    metadata: { name: 'web', namespace: 'default', uid: 'h', generation: 1 },
    spec: spec(more),
    ...(status === undefined ? {} : { status }),
  };
}

function look(view: Partial<HorizontalView>, memory?: HorizontalMemory, atMs = NOW_MS) {
  const result = reconcileHorizontal(
    {
      autoscaler: autoscaler(),
      target,
      samples: many(2, cpu('50m')),
      rivals: [],
      lastFailure: undefined,
      ...view,
    },
    memory,
    { ...NOW, monotonicMs: atMs },
  );
  const write = ofType(result.actions, 'updateStatus')[0];
  const next = write?.object as HorizontalPodAutoscaler | undefined;
  const [patch] = ofType(result.actions, 'patch');
  const reasons = ofType(result.actions, 'event').map(({ reason }) => reason);
  const condition = (type: string) => next?.status?.conditions?.find((one) => one.type === type);
  return { ...result, status: next?.status, patch, reasons, condition };
}

t.test('an autoscaler scales, and tells', async (t) => {
  const up = look({ samples: many(2, cpu('100m')) });
  t.match(up.patch, {
    id: RESOURCES.deployments,
    name: 'web',
    mergePatch: { metadata: { resourceVersion: '7' }, spec: { replicas: 4 } },
  });
  t.match(up.status, {
    observedGeneration: 1,
    lastScaleTime: NOW.timestamp,
    currentReplicas: 2,
    desiredReplicas: 4,
    currentMetrics: [
      { type: 'Resource', resource: { name: 'cpu', current: { averageUtilization: 100 } } },
    ],
  });
  t.match(up.condition('AbleToScale'), { status: 'True', reason: 'SucceededRescale' });
  t.match(up.condition('ScalingActive'), { status: 'True', reason: 'ValidMetricFound' });
  t.match(up.condition('ScalingLimited'), { status: 'False', reason: 'DesiredWithinRange' });
  t.same(up.reasons, ['SuccessfulRescale']);
  t.match(
    ofType(up.actions, 'event')[0]?.message,
    /^New size: 4; reason: cpu resource utilization \(perce.* above target$/,
  );
  t.same(ofType(up.actions, 'requeueAfter'), [{ type: 'requeueAfter', delayMs: 15_000 }]);

  const seen = look(
    { target: { ...target, replicas: 4 }, samples: many(4, cpu('50m')) },
    up.memory,
  );
  t.same(seen.memory?.history.changes, [{ by: 2, atMs: NOW_MS }], 'what the target shows was done');
  const lost = look({ samples: many(2, cpu('50m')) }, up.memory);
  t.same(lost.memory?.history.changes, [], 'what it does not show was not');

  const failed = look({ samples: many(2, cpu('100m')), lastFailure: 'no quota' });
  t.match(failed.condition('AbleToScale'), {
    status: 'False',
    reason: 'FailedUpdateScale',
    message: /no quota/,
  });
  t.equal(ofType(failed.actions, 'updateStatus')[0]?.evenAfterFailure, true);
});

t.test('scaling down waits for the window, also after a restart of the master', async (t) => {
  const idle = { target: { ...target, replicas: 4 }, samples: many(4, cpu('1m')) };
  let memory: HorizontalMemory | undefined;
  for (let atMs = NOW_MS; atMs < NOW_MS + 300_000; atMs += 15_000) {
    const seen = look(idle, memory, atMs);
    t.equal(seen.patch, undefined);
    memory = seen.memory;
  }
  const down = look(idle, memory, NOW_MS + 300_000);
  t.match(down.patch?.mergePatch, { spec: { replicas: 1 } });
  t.match(
    ofType(down.actions, 'event')[0]?.message,
    /^New size: 1; reason: All metrics below target$/,
  );
});

t.test('nothing is written while nothing happens', async (t) => {
  const first = look({});
  t.ok(first.status);
  const at = (amount: string) =>
    look({ autoscaler: autoscaler({}, first.status), samples: many(2, cpu(amount)) }, first.memory);
  t.equal(at('50m').status, undefined, 'the same');
  t.equal(at('48m').status, undefined, 'noise');
  t.match(at('46m').status?.currentMetrics?.[0]?.resource?.current, { averageUtilization: 46 });
});

t.test('the bounds hold whatever the metrics say', async (t) => {
  const none: MetricSpec[] = [];
  const above = look({ autoscaler: autoscaler({ maxReplicas: 1, metrics: none }) });
  t.match(above.patch?.mergePatch, { spec: { replicas: 1 } });
  const below = look({ autoscaler: autoscaler({ minReplicas: 3 }) });
  t.match(below.patch?.mergePatch, { spec: { replicas: 3 } });
  const zero = look({ target: { ...target, replicas: 0 }, samples: [] });
  t.equal(zero.patch, undefined);
  t.match(zero.condition('ScalingActive'), { status: 'False', reason: 'ScalingDisabled' });
});

t.test('what stands in the way is a condition, and told once', async (t) => {
  const custom: MetricSpec = {
    type: 'Pods',
    pods: { metric: { name: 'packets' }, target: value('1k') },
  };
  const external: MetricSpec = {
    type: 'External',
    external: { metric: { name: 'queue' }, target: value('30') },
  };
  const disk: MetricSpec = {
    type: 'Resource',
    resource: { name: 'ephemeral-storage', target: value('1') },
  };
  const missing = { missing: 'deployments.apps "web" not found' };
  const table: [string, Partial<HorizontalView>, string, RegExp][] = [
    [
      'no target',
      { target: missing },
      'AbleToScale FailedGetScale',
      /deployments\.apps "web" not found/,
    ],
    [
      'no selector',
      { target: { ...target, selector: {} } },
      'ScalingActive InvalidSelector',
      /missing a selector/,
    ],
    [
      'two of one target',
      { rivals: ['other'] },
      'ScalingActive AmbiguousSelector',
      /app=web are controlled by multiple HPAs: \[other web\]/,
    ],
    [
      'no metrics',
      { samples: many(2, sample(undefined)) },
      'ScalingActive FailedGetResourceMetric',
      /failed to get cpu utilization: unable to get metrics for resource cpu/,
    ],
    [
      'custom metrics',
      { autoscaler: autoscaler({ metrics: [custom] }) },
      'ScalingActive FailedGetPodsMetric',
      /metrics of type Pods are not available/,
    ],
    [
      'external metrics',
      { autoscaler: autoscaler({ metrics: [external] }) },
      'ScalingActive FailedGetExternalMetric',
      /type External are not available/,
    ],
    [
      'other resources',
      { autoscaler: autoscaler({ metrics: [disk] }) },
      'ScalingActive FailedGetResourceMetric',
      /CPU and memory of pods only/,
    ],
  ];
  for (const [name, view, what, message] of table) {
    const seen = look(view);
    const [type = '', reason = ''] = what.split(' ');
    t.equal(seen.patch, undefined, name);
    t.match(seen.condition(type), { status: 'False', reason, message }, name);
    t.same(seen.reasons, [reason], name);
    const own = view.autoscaler ?? autoscaler();
    const told = { ...own, status: seen.status ?? { desiredReplicas: 0 } };
    const again = look({ ...view, autoscaler: told }, seen.memory);
    t.same([again.reasons, again.status], [[], undefined], `${name}: once`);
  }

  const cpuMetric: MetricSpec = { type: 'Resource', resource: { name: 'cpu', target: share(50) } };
  const both = autoscaler({ metrics: [custom, cpuMetric] });
  const up = look({ autoscaler: both, samples: many(2, cpu('100m')) });
  t.match(up.patch?.mergePatch, { spec: { replicas: 4 } }, 'up with what is known');
  const down = look({ autoscaler: both, samples: many(2, cpu('1m')) });
  t.equal(down.patch, undefined, 'but not down');
  t.match(
    down.condition('ScalingActive')?.message,
    /invalid metrics \(1 invalid out of 2\), first error is/,
  );
  const larger = look({
    autoscaler: autoscaler({
      metrics: [cpuMetric, { type: 'Resource', resource: { name: 'cpu', target: value('20m') } }],
    }),
    samples: many(2, cpu('60m')),
  });
  t.match(larger.patch?.mergePatch, { spec: { replicas: 6 } }, 'the larger wish wins');
});

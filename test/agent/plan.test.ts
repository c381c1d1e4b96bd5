/** What to do with a pod and what to say of it, without any I/O: tables of cases and properties. */
import fc from 'fast-check';
import t from 'tap';
import { crashBackoff, growBackoff } from '../../agent/plan/backoff.ts';
import { type BoardPod, boardPod, containerHash } from '../../agent/plan/board-pod.ts';
import { containerSpec, sandboxSpec } from '../../agent/plan/container-spec.ts';
import { limitedVolumes } from '../../agent/plan/empty-dir.ts';
import { environment, expand } from '../../agent/plan/environment.ts';
import {
  EMPTY_MEMORY,
  noteFailed,
  noteFailure,
  noteImageReady,
  noteObserved,
  type PlanLimits,
  type PodMemory,
} from '../../agent/plan/memory.ts';
import { allocatePodIp, cidrContains } from '../../agent/plan/pod-ip.ts';
import {
  DEADLINE_EXCEEDED,
  EVICTED,
  type PodView,
  planPod,
  podOutcome,
  pullPolicy,
} from '../../agent/plan/pod-plan.ts';
import { podStatus } from '../../agent/plan/pod-status.ts';
import { NO_HEALTH, noteHooked, noteRunning } from '../../agent/plan/probes.ts';
import { qosClass } from '../../agent/plan/qos.ts';
import { registryLogins } from '../../agent/plan/registry-login.ts';
import { planVolumes } from '../../agent/plan/volume-plan.ts';
import type { Container, Sandbox } from '../../agent/runtime/runtime.ts';
import type { Container as KubeContainer, PodSpec } from '../../protocol/kinds/types.ts';

const LIMITS: PlanLimits = {
  crash: { firstMs: 10_000, maxMs: 300_000, resetAfterMs: 600_000 },
  pull: { firstMs: 10_000, maxMs: 300_000 },
  retry: { firstMs: 1000, maxMs: 60_000 },
};
const SANDBOX: Sandbox = {
  id: 's1',
  podUid: 'u1',
  podName: 'web',
  podNamespace: 'default',
  ip: '10.42.1.2',
  ready: true,
};
const MAIN: KubeContainer = { name: 'main', image: 'app:1' };

function pod(spec: Partial<PodSpec> = {}, grace?: number): BoardPod {
  const made = boardPod({
    metadata: {
      uid: 'u1',
      namespace: 'default',
      name: 'web',
      labels: { app: 'web' },
      ...(grace === undefined ? {} : { deletionGracePeriodSeconds: grace }),
    },
    spec: { containers: [MAIN], ...spec },
  });
  if (made === undefined) throw new Error('not a pod');
  return made;
}

function seen(state: Container['state'], more: Partial<Container> = {}): Container {
  return {
    id: `c${more.attempt ?? 0}`,
    podUid: 'u1',
    name: 'main',
    attempt: 0,
    specHash: containerHash(MAIN),
    image: 'app:1',
    imageId: 'sha256:1',
    state,
    ...(state === 'exited' ? { exitCode: 1 } : {}),
    ...more,
  };
}

function view(more: Partial<PodView> = {}): PodView {
  const one = more.pod ?? pod();
  const facts = { nowMs: 0, remembered: () => undefined };
  return {
    pod: one,
    stopGraceSeconds: undefined,
    sandboxes: [SANDBOX],
    containers: [],
    memory: EMPTY_MEMORY,
    verdict: undefined,
    health: noteRunning(NO_HEALTH, one, more.containers ?? [], facts),
    nowMs: 1000,
    ...more,
  };
}

/** The plan as one line a step, for tables. */
function says(one: PodView): string {
  const plan = planPod(one);
  const steps = plan.steps.map((step) => {
    const { type, ...rest } = step;
    return [type, ...Object.values(rest)].join(' ');
  });
  return [...steps, ...(plan.wakeAtMs === undefined ? [] : [`wake ${plan.wakeAtMs}`])].join('; ');
}

function noted(containers: readonly Container[], nowMs = 1000, memory = EMPTY_MEMORY): PodMemory {
  return noteObserved(memory, containers, LIMITS, nowMs);
}

t.test('the plan of a pod, case by case', async (t) => {
  const imageReady = noteImageReady(EMPTY_MEMORY, 'main', {
    attempt: 0,
    image: 'app:1',
    imageId: 'i1',
  });
  const ran = [seen('running')];
  const ended = [seen('exited')];
  // Crashed twice: the second end waits 10 s.
  const twice = noted([seen('exited', { attempt: 1 })], 1000, noted(ended, 500));
  const pullFailed = noteFailure(
    EMPTY_MEMORY,
    'main',
    { reason: 'ErrImagePull', message: 'no', image: 'app:1' },
    LIMITS.pull,
    1000,
  );
  const sidecar = { name: 'proxy', image: 'p:1', restartPolicy: 'Always' };
  const init = { name: 'init', image: 'i:1' };
  const initSeen = (state: Container['state'], exitCode?: number) =>
    seen(state, {
      id: 'i0',
      name: 'init',
      specHash: containerHash(init),
      ...(exitCode === undefined ? {} : { exitCode }),
    });
  const never = pod({ restartPolicy: 'Never' });
  const postStart = { exec: { command: ['greet'] } };
  const hooking = pod({ containers: [{ ...MAIN, lifecycle: { postStart } }] });
  const second = { ...MAIN, name: 'second' };
  const cases: ReadonlyArray<readonly [string, PodView, string]> = [
    ['nothing is there', view({ sandboxes: [] }), 'runSandbox'],
    [
      'a sandbox that died',
      view({ sandboxes: [{ ...SANDBOX, ready: false }] }),
      'removeSandbox s1 dead',
    ],
    [
      'a sandbox that died under a pod that must not run twice',
      view({
        pod: never,
        sandboxes: [{ ...SANDBOX, ready: false }],
        containers: [seen('exited', { exitCode: 137 })],
      }),
      '',
    ],
    ['a sandbox alone', view(), 'ensureImage main app:1 IfNotPresent 0'],
    ['its image is there', view({ memory: imageReady }), 'createContainer s1 main 0 i1'],
    ['a created container', view({ containers: [seen('created')] }), 'startContainer c0 main'],
    ['a running container, known or not', view({ containers: ran }), ''],
    [
      'a running container of another image',
      view({ pod: pod({ containers: [{ ...MAIN, image: 'app:2' }] }), containers: ran }),
      'stopContainer c0 main 30 changed',
    ],
    [
      'a first end is answered at once',
      view({ containers: ended, memory: noted(ended) }),
      'ensureImage main app:1 IfNotPresent 1',
    ],
    [
      'a second one waits',
      view({ containers: [seen('exited', { attempt: 1 }), ...ended], memory: twice }),
      'wake 11000',
    ],
    [
      'older attempts but one are removed',
      view({
        containers: [seen('running', { attempt: 2 }), seen('exited', { attempt: 1 }), ...ended],
      }),
      'removeContainer c0 main',
    ],
    ['a failed pull waits', view({ memory: pullFailed }), 'wake 11000'],
    [
      'but not for another image',
      view({ pod: pod({ containers: [{ ...MAIN, image: 'app:2' }] }), memory: pullFailed }),
      'ensureImage main app:2 IfNotPresent 0',
    ],
    ['Never does not restart', view({ pod: never, containers: ended, memory: noted(ended) }), ''],
    [
      'OnFailure does not restart a success',
      view({
        pod: pod({ restartPolicy: 'OnFailure' }),
        containers: [seen('exited', { exitCode: 0 })],
      }),
      '',
    ],
    [
      'a finished pod needs no sandbox',
      view({ pod: never, sandboxes: [{ ...SANDBOX, ready: false }], containers: ended }),
      '',
    ],
    [
      'init first',
      view({ pod: pod({ initContainers: [init] }) }),
      'ensureImage init i:1 IfNotPresent 0',
    ],
    [
      'init under way',
      view({ pod: pod({ initContainers: [init] }), containers: [initSeen('running')] }),
      '',
    ],
    [
      'init done',
      view({ pod: pod({ initContainers: [init] }), containers: [initSeen('exited', 0)] }),
      'ensureImage main app:1 IfNotPresent 0',
    ],
    [
      'a failed init of a pod that never restarts',
      view({
        pod: pod({ initContainers: [init], restartPolicy: 'Never' }),
        containers: [initSeen('exited', 1)],
      }),
      '',
    ],
    [
      'a sidecar that runs lets the others start',
      view({
        pod: pod({ initContainers: [sidecar] }),
        containers: [
          seen('running', { id: 'p0', name: 'proxy', specHash: containerHash(sidecar) }),
        ],
      }),
      'ensureImage main app:1 IfNotPresent 0',
    ],
    [
      'a pod that was ended stops, and starts nothing',
      view({ verdict: DEADLINE_EXCEEDED, containers: ran }),
      'stopContainer c0 main 30 finished',
    ],
    ['nor when it has stopped', view({ verdict: DEADLINE_EXCEEDED, containers: ended }), ''],
    ['nor without its sandbox', view({ verdict: DEADLINE_EXCEEDED, sandboxes: [] }), ''],
    [
      'going: stop',
      view({ stopGraceSeconds: 5, containers: ran }),
      'stopContainer c0 main 5 deleted',
    ],
    ['going: remove', view({ stopGraceSeconds: 5, containers: ended }), 'removeSandbox s1 deleted'],
    [
      'going: leftovers without a sandbox',
      view({ stopGraceSeconds: 5, sandboxes: [], containers: ended }),
      'removeContainer c0 main',
    ],
    ['going: gone', view({ stopGraceSeconds: 5, sandboxes: [] }), 'gone'],
    ['a postStart hook is run', view({ pod: hooking, containers: ran }), 'runPostStart c0 main'],
    [
      'a container after it waits for it',
      view({ pod: pod({ containers: [...hooking.spec.containers, second] }), containers: ran }),
      'runPostStart c0 main',
    ],
    [
      'and starts when it has run',
      view({
        pod: pod({ containers: [...hooking.spec.containers, second] }),
        containers: ran,
        health: noteHooked(view({ pod: hooking, containers: ran }).health, 'main', 'c0'),
      }),
      'ensureImage second app:1 IfNotPresent 0',
    ],
    [
      'a failed hook ends the container',
      view({
        pod: hooking,
        containers: ran,
        memory: noteFailed(EMPTY_MEMORY, 'main', 'c0'),
      }),
      'stopContainer c0 main 30 hook',
    ],
    [
      'what a probe ended is no success',
      view({
        pod: pod({ restartPolicy: 'OnFailure' }),
        containers: [seen('exited', { exitCode: 0 })],
        memory: noteFailed(EMPTY_MEMORY, 'main', 'c0'),
      }),
      'ensureImage main app:1 IfNotPresent 0',
    ],
    [
      'two sandboxes: the spare one goes',
      view({ sandboxes: [SANDBOX, { ...SANDBOX, id: 's2' }] }),
      'removeSandbox s2 dead',
    ],
  ];
  for (const [name, one, expected] of cases) t.equal(says(one), expected, name);
});

t.test('a pod that never restarts is Failed when its init container failed', async (t) => {
  const init = { name: 'init', image: 'i:1' };
  const containers = [seen('exited', { name: 'init', specHash: containerHash(init) })];
  const one = view({ pod: pod({ initContainers: [init], restartPolicy: 'Never' }), containers });
  t.equal(podOutcome(one), 'Failed');
});

t.test('whatever is seen, a plan never touches a container that runs as wanted', async () => {
  const state = fc.constantFrom<Container['state']>('created', 'running', 'exited');
  const containers = fc.array(
    fc.record({ state, attempt: fc.nat(5), name: fc.constantFrom('main', 'other') }),
    { maxLength: 6 },
  );
  fc.assert(
    fc.property(containers, fc.boolean(), fc.nat(20_000), (list, ready, nowMs) => {
      const seenList = list.map((one, index) => seen(one.state, { ...one, id: `c${index}` }));
      const newest = Math.max(
        ...seenList.filter(({ name }) => name === 'main').map((c) => c.attempt),
      );
      const sandboxes = [{ ...SANDBOX, ready }];
      const { steps } = planPod(view({ sandboxes, containers: seenList, nowMs }));
      const good = seenList.find(
        (c) => c.name === 'main' && c.attempt === newest && c.state === 'running',
      );
      const only = seenList.filter((c) => c.name === 'main' && c.attempt === newest).length === 1;
      if (good === undefined || !only || !ready) return;
      for (const step of steps) {
        if ('id' in step && step.id === good.id) throw new Error(JSON.stringify(step));
        if (step.type === 'createContainer') throw new Error('a second one');
      }
    }),
    { numRuns: 2000 },
  );
});

t.test('back-offs double to their limit and start over after a long run', async (t) => {
  let backoff = crashBackoff(undefined, LIMITS.crash, 0, 0);
  const waits = [backoff.delayMs];
  for (let index = 0; index < 7; index++) {
    backoff = crashBackoff(backoff, LIMITS.crash, 0, 1000);
    waits.push(backoff.delayMs);
  }
  t.same(waits, [0, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]);
  t.equal(crashBackoff(backoff, LIMITS.crash, 7, 600_000).delayMs, 0);
  t.same(growBackoff(undefined, LIMITS.pull, 5), { delayMs: 10_000, untilMs: 10_005 });
});

t.test('the status of a pod in the words of Kubernetes', async (t) => {
  const context = {
    runtimeScheme: 'podman',
    hostIp: '192.0.2.1',
    startTimeMs: 0,
    wallMs: 5000,
    previous: undefined,
  };
  const running = podStatus(
    view({ containers: [seen('running', { startedAtMs: 3000 })] }),
    context,
  );
  t.equal(running.phase, 'Running');
  t.match(
    running.conditions?.map(({ type, status }) => `${type} ${status}`),
    [
      'PodReadyToStartContainers True',
      'Initialized True',
      'Ready True',
      'ContainersReady True',
      'PodScheduled True',
    ],
  );
  t.match(running.containerStatuses?.[0], {
    ready: true,
    started: true,
    containerID: 'podman://c0',
    state: { running: { startedAt: '1970-01-01T00:00:03Z' } },
  });
  const ready = running.conditions?.find(({ type }) => type === 'Ready');
  t.equal(ready?.lastTransitionTime, '1970-01-01T00:00:03Z', 'known after an agent restart too');

  const ended = [seen('exited', { oomKilled: true, exitCode: 137 })];
  const memory = noted(ended, 1000, noted([seen('exited', { id: 'before' })], 500));
  const waiting = podStatus(view({ containers: ended, memory }), {
    ...context,
    wallMs: 9000,
    previous: running,
  });
  t.match(waiting.containerStatuses?.[0], {
    state: { waiting: { reason: 'CrashLoopBackOff', message: /^back-off 10s restarting failed/ } },
    lastState: { terminated: { reason: 'OOMKilled', exitCode: 137 } },
    ready: false,
  });
  t.match(
    waiting.conditions?.find(({ type }) => type === 'Ready'),
    {
      status: 'False',
      reason: 'ContainersNotReady',
      message: 'containers with unready status: [main]',
      lastTransitionTime: '1970-01-01T00:00:09Z',
    },
  );
  t.equal(
    waiting.conditions?.find(({ type }) => type === 'Initialized')?.lastTransitionTime,
    running.conditions?.find(({ type }) => type === 'Initialized')?.lastTransitionTime,
  );

  const init = { name: 'init', image: 'i:1' };
  const pending = podStatus(view({ pod: pod({ initContainers: [init] }) }), context);
  t.equal(pending.phase, 'Pending');
  t.equal(pending.initContainerStatuses?.[0]?.state?.waiting?.reason, 'PodInitializing');
  t.equal(pending.containerStatuses?.[0]?.state?.waiting?.reason, 'PodInitializing');

  const rebuilt = podStatus(view({ sandboxes: [], memory: noted([seen('running')]) }), context);
  t.equal(rebuilt.phase, 'Running', 'a pod that ran does not become Pending again');
});

t.test('quality of service', async (t) => {
  const both = { cpu: '100m', memory: '64Mi' };
  const of = (resources: KubeContainer['resources']) =>
    qosClass({ containers: [{ ...MAIN, ...(resources === undefined ? {} : { resources }) }] });
  t.equal(of(undefined), 'BestEffort');
  t.equal(of({ requests: { cpu: '1' } }), 'Burstable');
  t.equal(of({ limits: both }), 'Guaranteed');
  t.equal(of({ limits: both, requests: { cpu: '0.1', memory: '64Mi' } }), 'Guaranteed');
  t.equal(of({ limits: both, requests: { cpu: '50m' } }), 'Burstable');
});

t.test('when an image is pulled', async (t) => {
  t.equal(pullPolicy({ name: 'a', image: 'app' }), 'Always');
  t.equal(pullPolicy({ name: 'a', image: 'app:latest' }), 'Always');
  t.equal(pullPolicy({ name: 'a', image: 'registry:5000/app' }), 'Always');
  t.equal(pullPolicy({ name: 'a', image: 'registry:5000/app:1' }), 'IfNotPresent');
  t.equal(pullPolicy({ name: 'a', image: `app@sha256:${'0'.repeat(64)}` }), 'IfNotPresent');
  t.equal(pullPolicy({ name: 'a', image: 'app:1', imagePullPolicy: 'Never' }), 'Never');
});

t.test('addresses: the lowest free one, never the bridge and never the broadcast', async (t) => {
  t.equal(allocatePodIp('10.42.3.0/24', []), '10.42.3.2');
  t.equal(allocatePodIp('10.42.3.0/24', ['10.42.3.2', '10.42.3.4']), '10.42.3.3');
  const all = Array.from({ length: 253 }, (_, index) => `10.42.3.${index + 2}`);
  t.equal(allocatePodIp('10.42.3.0/24', all.slice(0, -1)), '10.42.3.254');
  t.equal(allocatePodIp('10.42.3.0/24', all), undefined);
  t.equal(allocatePodIp('nonsense', []), undefined);
  t.ok(cidrContains('10.42.3.0/24', '10.42.3.255'));
  t.notOk(cidrContains('10.42.3.0/24', '10.42.4.1'));
  t.notOk(cidrContains('10.42.3.0/24', '10.42.3'));
});

const FACTS = {
  nodeName: 'pi',
  hostIp: '192.0.2.1',
  podIp: '10.42.1.2',
  allocatable: { cpuMillis: 4000, memoryBytes: 1024 ** 3 },
};
const text = (value: string) => new TextEncoder().encode(value);
const CONFIGS = (kind: string, _: string, name: string) =>
  kind === 'configmap' && name === 'settings'
    ? { LOG: text('debug'), 'not valid!': text('x') }
    : undefined;

t.test('the environment: order, references, expansion, what is missing', async (t) => {
  const container: KubeContainer = {
    name: 'main',
    envFrom: [{ prefix: 'S_', configMapRef: { name: 'settings' } }],
    env: [
      { name: 'WHO', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
      { name: 'APP', valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
      { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
      { name: 'CPU', valueFrom: { resourceFieldRef: { resource: 'limits.cpu' } } },
      { name: 'GONE', valueFrom: { secretKeyRef: { name: 's', key: 'k', optional: true } } },
      { name: 'URL', value: 'http://$(WHO).$(S_LOG).$(LATER)/$$(WHO)' },
      { name: 'LATER', value: 'x' },
    ],
  };
  t.same(Object.fromEntries(environment(pod(), container, CONFIGS, FACTS)), {
    S_LOG: 'debug',
    WHO: 'web',
    APP: 'web',
    IP: '10.42.1.2',
    CPU: '4',
    URL: 'http://web.debug.$(LATER)/$(WHO)',
    LATER: 'x',
  });
  const of = (env: KubeContainer['env']) => () =>
    environment(pod(), { name: 'main', ...(env === undefined ? {} : { env }) }, CONFIGS, FACTS);
  t.throws(of([{ name: 'A', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }]), {
    message: 'secret "s" not found',
  });
  t.throws(of([{ name: 'A', valueFrom: { configMapKeyRef: { name: 'settings', key: 'k' } } }]), {
    message: "couldn't find key k in ConfigMap default/settings",
  });
  t.throws(of([{ name: 'A', valueFrom: { fieldRef: { fieldPath: 'spec.what' } } }]), {
    message: 'unsupported fieldPath: spec.what',
  });
  t.equal(expand('$(A) $$(A) $( $()', new Map([['A', '1']])), '1 $(A) $( $()');
  const facts = { ...FACTS, apiServer: { ip: '10.43.0.1', port: 443 } };
  const told = environment(
    pod(),
    { name: 'main', env: [{ name: 'KUBERNETES_PORT', value: 'x' }] },
    CONFIGS,
    facts,
  );
  t.equal(told.get('KUBERNETES_SERVICE_HOST'), '10.43.0.1', 'what client-go looks for');
  t.equal(told.get('KUBERNETES_SERVICE_PORT'), '443');
  t.equal(told.get('KUBERNETES_PORT'), 'x', 'the pod has its own say');
});

t.test('what the engine is told', async (t) => {
  const container: KubeContainer = {
    ...MAIN,
    command: ['serve', '--name=$(NAME)'],
    env: [{ name: 'NAME', value: 'x' }],
    resources: { limits: { cpu: '500m', memory: '64Mi' } },
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
    volumeMounts: [
      { name: 'scratch', mountPath: '/tmp' },
      { name: 'settings', mountPath: '/etc/app', subPath: 'LOG' },
    ],
  };
  const one = pod({
    containers: [container],
    securityContext: { runAsUser: 1000 },
    volumes: [
      { name: 'scratch', emptyDir: {} },
      { name: 'settings', configMap: { name: 'settings', items: [{ key: 'LOG', path: 'LOG' }] } },
    ],
  });
  const directories = { data: '/data/u1', run: '/run/u1', mounts: '/mounts/u1' };
  const volumes = planVolumes(one, { configs: CONFIGS, facts: FACTS, directories });
  const context = { configs: CONFIGS, facts: FACTS, volumes, directories };
  const input = { pod: one, container, attempt: 2, ...context };
  t.match(containerSpec(input), {
    attempt: 2,
    command: ['serve', '--name=x'],
    resources: { cpuRequestMillis: 500, cpuLimitMillis: 500, memoryLimitBytes: 64 * 1024 ** 2 },
    security: { runAsUser: 1000, dropCapabilities: ['ALL'], noNewPrivileges: true },
    mounts: [
      { hostPath: '/data/u1/volumes/scratch', containerPath: '/tmp', readOnly: false },
      { hostPath: '/data/u1/volumes/settings/LOG', containerPath: '/etc/app', readOnly: true },
      {
        hostPath: '/data/u1/termination/main/2',
        containerPath: '/dev/termination-log',
        readOnly: false,
      },
    ],
  });
  const bad = (volume: object) => () =>
    planVolumes(pod({ volumes: [{ name: 'v', ...volume }] }), {
      configs: CONFIGS,
      facts: FACTS,
      directories,
    });
  t.throws(bad({ secret: { secretName: 's' } }), {
    message: 'MountVolume.SetUp failed for volume "v" : secret "s" not found',
  });
  t.throws(bad({ iscsi: {} }), { message: /volumes of type iscsi are not/ });
  const outside = { configMap: { name: 'settings', items: [{ key: 'LOG', path: '../../etc' }] } };
  t.throws(bad(outside), { message: /"..\/..\/etc" is not a path within the volume/ });
});

t.test('names inside a pod: policies of DNS', async (t) => {
  const own = { servers: ['192.0.2.53'], searches: ['lan'], options: ['edns0'] };
  const board = { ...own, cluster: { server: '10.43.0.10', domain: 'cluster.local' } };
  const dnsOf = (spec: Partial<PodSpec>) => sandboxSpec(pod(spec), '10.42.1.2', board).dns;
  const ofCluster = {
    servers: ['10.43.0.10'],
    searches: ['default.svc.cluster.local', 'svc.cluster.local', 'cluster.local', 'lan'],
    options: ['ndots:5'],
  };
  t.same(dnsOf({}), ofCluster, 'ClusterFirst is the default');
  t.same(dnsOf({ dnsPolicy: 'ClusterFirst', hostNetwork: true }), own);
  t.same(dnsOf({ dnsPolicy: 'ClusterFirstWithHostNet', hostNetwork: true }), ofCluster);
  t.same(dnsOf({ dnsPolicy: 'Default' }), own);
  const more = {
    nameservers: ['192.0.2.1', '192.0.2.2', '192.0.2.3'],
    searches: ['lan', 'more'],
    options: [{ name: 'ndots', value: '2' }, { name: 'rotate' }],
  };
  t.same(
    dnsOf({ dnsConfig: more }),
    {
      servers: ['10.43.0.10', '192.0.2.1', '192.0.2.2'],
      searches: [...ofCluster.searches, 'more'],
      options: ['ndots:2', 'rotate'],
    },
    'dnsConfig adds, and its options count',
  );
  const none = pod({
    dnsPolicy: 'None',
    dnsConfig: { nameservers: ['192.0.2.9'], options: [{ name: 'ndots', value: '2' }] },
  });
  t.same(sandboxSpec(none, '10.42.1.2', board).dns, {
    servers: ['192.0.2.9'],
    searches: [],
    options: ['ndots:2'],
  });
  t.equal(sandboxSpec(pod({ hostNetwork: true }), '10.42.1.2', board).ip, undefined);
  const member = pod({ hostname: 'db-0', subdomain: 'db' });
  const full = 'db-0.db.default.svc.cluster.local';
  t.equal(sandboxSpec(member, '10.42.1.2', board).fullName, full);
  t.equal(sandboxSpec(pod(), '10.42.1.2', board).fullName, undefined);
});

t.test('who a container runs as: groups, root or not, seccomp', async (t) => {
  const specOf = (
    shared: NonNullable<PodSpec['securityContext']>,
    own: NonNullable<KubeContainer['securityContext']> = {},
    imageUser?: string,
  ) => {
    const container = { ...MAIN, securityContext: own };
    const one = pod({ containers: [container], securityContext: shared });
    const directories = { data: '/data/u1', run: '/run/u1', mounts: '/mounts/u1' };
    const context = { configs: CONFIGS, facts: FACTS, volumes: new Map(), directories };
    const user = imageUser === undefined ? {} : { imageUser };
    return containerSpec({ pod: one, container, attempt: 0, ...context, ...user }).security;
  };
  t.same(specOf({ supplementalGroups: [5, 6], fsGroup: 6 }), { supplementalGroups: [5, 6] });
  t.same(specOf({ fsGroup: 7 }), { supplementalGroups: [7] });
  t.same(specOf({ seccompProfile: { type: 'RuntimeDefault' } }), {});
  t.same(specOf({ seccompProfile: { type: 'Unconfined' } }), { seccomp: 'unconfined' });
  const confined = { seccompProfile: { type: 'RuntimeDefault' } };
  t.same(specOf({ seccompProfile: { type: 'Unconfined' } }, confined), {}, 'its own word wins');
  t.throws(() => specOf({ seccompProfile: { type: 'Localhost' } }), {
    message: /seccomp profiles of type Localhost are not supported/,
  });
  const nonRoot = { runAsNonRoot: true };
  const place = '(pod: "web_default(u1)", container: main)';
  for (const user of [undefined, '', '0', '0:5']) {
    t.throws(() => specOf(nonRoot, {}, user), {
      message: `container has runAsNonRoot and image will run as root ${place}`,
    });
  }
  t.throws(() => specOf(nonRoot, {}, 'nobody'), { message: /non-numeric user \(nobody\)/ });
  t.throws(() => specOf(nonRoot, { runAsUser: 0 }), { message: /breaks non-root policy/ });
  t.same(specOf(nonRoot, {}, '1000:0'), {});
  t.same(specOf(nonRoot, { runAsUser: 9 }, '0'), { runAsUser: 9 });
  t.same(specOf(nonRoot, { runAsNonRoot: false }, '0'), {}, "the container's own word wins");
  const secret = { name: 's', secret: { secretName: 'x', optional: true } };
  const host = { name: 'h', hostPath: { path: '/srv' } };
  const volumes = [{ name: 'e', emptyDir: {} }, secret, host];
  const planned = planVolumes(pod({ securityContext: { fsGroup: 7 }, volumes }), {
    configs: CONFIGS,
    facts: FACTS,
    directories: { data: '/data/u1', run: '/run/u1', mounts: '/mounts/u1' },
  });
  t.match(planned.get('e'), { type: 'directory', group: 7 });
  t.match(planned.get('s'), { type: 'files', group: 7 });
  t.notMatch(planned.get('h'), { group: 7 }, "the board's own path stays as it is");
});

t.test('pull secrets are shown to the registries that they are for', async (t) => {
  const auth = (text: string) => ({ auth: Buffer.from(text).toString('base64') });
  const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const auths = {
    'https://index.docker.io/v1/': auth('hub:a'),
    'registry.lan:5000': auth('all:b:c'),
    'registry.lan:5000/team': { username: 'team', password: 'd' },
    'https://registry.lan:5000/v2/team/app': auth('app:e'),
    '*.example.com': auth('glob:f'),
    'broken.lan': { auth: 'no colon' },
    '[.lan': auth('bad:glob'),
  };
  const secrets: Record<string, Record<string, Uint8Array>> = {
    new: { '.dockerconfigjson': encode({ auths }) },
    old: { '.dockercfg': encode({ 'old.lan': auth('old:g') }) },
    other: { password: encode('x') },
    torn: { '.dockerconfigjson': new TextEncoder().encode('{') },
  };
  const names = ['new', 'old', 'other', 'torn', 'gone'];
  const imagePullSecrets = names.map((name) => ({ name }));
  const look = (image: string) =>
    registryLogins(
      pod({ imagePullSecrets }),
      (kind, namespace, name) =>
        kind === 'secret' && namespace === 'default' ? secrets[name] : undefined,
      image,
    );
  const shown = (image: string) =>
    look(image).logins.map(({ username, password }) => `${username}:${password}`);
  t.same(shown('nginx'), ['hub:a']);
  t.same(shown('grafana/grafana:11'), ['hub:a']);
  t.same(shown('registry.lan:5000/app:1'), ['all:b:c'], 'a password may hold a colon');
  t.same(shown('registry.lan:5000/team/app@sha256:00'), ['app:e', 'team:d', 'all:b:c']);
  t.same(shown('registry.lan:5000/team/other'), ['team:d', 'all:b:c']);
  t.same(shown('registry.lan/app'), [], 'another port');
  t.same(shown('a.example.com/app'), ['glob:f']);
  t.same(shown('a.b.example.com/app'), [], 'a star is one part of the name');
  t.same(shown('old.lan/app'), ['old:g']);
  t.same(shown('broken.lan/app'), []);
  t.same(look('nginx').missing, ['other', 'torn', 'gone']);
});

t.test('volumes in memory have the size of the smallest limit there is', async (t) => {
  const facts = {
    nodeName: 'pi',
    hostIp: '192.0.2.1',
    podIp: '10.42.1.2',
    allocatable: { cpuMillis: 4000, memoryBytes: 1024 ** 3 },
  };
  const directories = { data: '/data/u1', run: '/run/u1', mounts: '/mounts/u1' };
  const sizeOf = (sizeLimit?: string, ...limits: Array<string | undefined>) => {
    const emptyDir = { medium: 'Memory', ...(sizeLimit === undefined ? {} : { sizeLimit }) };
    const containers = limits.map((memory, index) => ({
      name: `c${index}`,
      ...(memory === undefined ? {} : { resources: { limits: { memory } } }),
    }));
    const spec = { volumes: [{ name: 'cache', emptyDir }], containers };
    const planned = planVolumes(pod(spec), { configs: () => undefined, facts, directories });
    const volume = planned.get('cache');
    t.match(volume, { type: 'memory', path: '/run/u1/volumes/cache' });
    return volume?.type === 'memory' ? volume.sizeBytes : undefined;
  };
  t.equal(sizeOf(undefined, undefined), 1024 ** 3, 'what the board can give');
  t.equal(sizeOf('1Mi', undefined), 1024 ** 2);
  t.equal(sizeOf('5Gi', undefined), 1024 ** 3);
  t.equal(sizeOf('100Mi', '32Mi', '16Mi'), 48 * 1024 ** 2, 'the limit of the pod');
  t.equal(sizeOf('100Mi', '32Mi', undefined), 100 * 1024 ** 2, 'a pod without a limit');
  t.equal(sizeOf('0', '32Mi'), 32 * 1024 ** 2, 'zero is no limit');
  const onDisk = { name: 'disk', emptyDir: { sizeLimit: '2Mi' } };
  const inMemory = { name: 'memory', emptyDir: { sizeLimit: '2Mi', medium: 'Memory' } };
  const free = { name: 'free', emptyDir: {} };
  const limited = limitedVolumes(pod({ volumes: [onDisk, inMemory, free] }));
  t.same(limited, [{ name: 'disk', limitBytes: 2 * 1024 ** 2, limit: '2Mi' }]);
});

t.test('an evicted pod is stopped at once', async (t) => {
  const verdict = { reason: EVICTED, message: 'too much' };
  const plan = planPod({
    ...view({ sandboxes: [SANDBOX], containers: [seen('running')] }),
    verdict,
  });
  t.match(plan.steps, [{ type: 'stopContainer', graceSeconds: 1, why: 'finished' }]);
});

t.test('a claim is mounted where the master says that it lies', async (t) => {
  const container: KubeContainer = {
    ...MAIN,
    volumeMounts: [
      { name: 'v', mountPath: '/data', subPath: 'db' },
      { name: 'shared', mountPath: '/shared' },
    ],
  };
  const spec = {
    containers: [container],
    securityContext: { fsGroup: 7 },
    volumes: [
      { name: 'v', persistentVolumeClaim: { claimName: 'own' } },
      { name: 'shared', persistentVolumeClaim: { claimName: 'disk', readOnly: true } },
    ],
  };
  const directories = { data: '/data/u1', run: '/run/u1', mounts: '/mounts/u1' };
  const context = { configs: CONFIGS, facts: FACTS, directories };
  const claims: NonNullable<BoardPod['claims']> = {
    own: { type: 'directory', path: '/volumes/pvc-1' },
    disk: { type: 'hostPath', path: '/mnt/disk', expect: 'Directory' },
  };
  const one = { ...pod(spec), claims };
  const volumes = planVolumes(one, context);
  t.match(volumes.get('v'), {
    type: 'directory',
    path: '/volumes/pvc-1',
    persistent: true,
    group: 7,
  });
  t.match(volumes.get('shared'), { type: 'hostPath', expect: 'Directory' });
  const { mounts } = containerSpec({ pod: one, container, attempt: 0, volumes, ...context });
  t.match(mounts, [
    { hostPath: '/volumes/pvc-1/db', containerPath: '/data', readOnly: false },
    { hostPath: '/mnt/disk', containerPath: '/shared', readOnly: true },
  ]);
  const failing = (more: NonNullable<BoardPod['claims']>) => () =>
    planVolumes({ ...pod(spec), claims: more }, context);
  t.throws(failing({}), {
    message: 'MountVolume.SetUp failed for volume "v" : persistentvolumeclaim "own" not found',
  });
  t.throws(failing({ own: { type: 'problem', message: 'no luck' } }), {
    message: 'MountVolume.SetUp failed for volume "v" : no luck',
  });
});

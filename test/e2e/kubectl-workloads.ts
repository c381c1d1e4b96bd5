/** Jobs, daemons, stateful and autoscaled pods on real boards, with kubectl: claims of kubectl.test.ts. */
import type { Test } from 'tap';
import type { EndpointSlice, Job, Pod } from '../../protocol/kinds/types.ts';
import type { Lab } from '../lab/lab.ts';
import type { BoardKubectl } from '../support/board-kubectl.ts';
import { demoContainer, demoPod, spreadDeployment } from '../support/demo-manifests.ts';

interface Place {
  readonly lab: Lab;
  readonly kubectl: BoardKubectl;
}

export const WORKLOAD_CLAIMS: ReadonlyArray<
  readonly [string, (t: Test, place: Place) => Promise<void>]
> = [
  ['jobs run to their end, well or not, and on a schedule', jobs],
  ['a daemon runs on every board, is rolled and rolled back', daemons],
  ['stateful pods keep their names', stateful],
];

/** What controllers do, whichever kubectl asks. */
export const CONTROLLER_CLAIMS: typeof WORKLOAD_CLAIMS = [
  ['a deployment that asks for it goes back by itself from an image that cannot run', careful],
  ['an autoscaler sees what pods use, and a slice the pods', scaled],
];

function job(name: string, script: string, spec: object = {}, restartPolicy = 'Never'): object {
  const containers = [demoContainer('main', script)];
  const { spec: podSpec } = demoPod(name, { containers, restartPolicy });
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name },
    spec: { template: { spec: podSpec }, ...spec },
  };
}

async function jobs(t: Test, { kubectl }: Place): Promise<void> {
  const until = (condition: string, name: string) =>
    kubectl.ok('wait', `--for=condition=${condition}`, `job/${name}`, '--timeout=120s');
  const indexed = { completionMode: 'Indexed', completions: 3, parallelism: 2 };
  await kubectl.apply(job('three', 'echo part $JOB_COMPLETION_INDEX on $(hostname)', indexed));
  await until('complete', 'three');
  const table = await kubectl.ok('get', 'job', 'three');
  t.match(table, /^NAME +STATUS +COMPLETIONS +DURATION +AGE\nthree +Complete +3\/3 +\d+s +/);
  const selector = 'batch.kubernetes.io/job-completion-index=2,job-name=three';
  t.equal(await kubectl.ok('logs', '-l', selector), 'part 2 on three-2\n');
  t.match(await kubectl.ok('get', 'pods', '-l', 'job-name=three'), /0\/1 +Completed +0 /);
  t.match(await kubectl.ok('describe', 'job', 'three'), /Normal +Completed .*Job completed/);

  // Fails once: the board starts it again, in the same pod.
  const twice = 'test -e /memo/been && exit 0; touch /memo/been; exit 4';
  const volumes = [{ name: 'memo', emptyDir: {} }];
  const main = {
    ...demoContainer('main', twice),
    volumeMounts: [{ name: 'memo', mountPath: '/memo' }],
  };
  const { spec: again } = demoPod('again', {
    containers: [main],
    volumes,
    restartPolicy: 'OnFailure',
  });
  await kubectl.apply({ ...job('again', ''), spec: { template: { spec: again } } });
  await until('complete', 'again');
  const [restarted] = await kubectl.list<Pod>('pods', '-l', 'job-name=again');
  t.equal(restarted?.status?.phase, 'Succeeded');
  t.equal(restarted?.status?.containerStatuses?.[0]?.restartCount, 1);

  await kubectl.apply(job('bad', 'echo no; exit 3', { backoffLimit: 0 }));
  await until('failed', 'bad');
  const { status } = await kubectl.get<Job>('job', 'bad');
  t.match(status, {
    failed: 1,
    conditions: [{}, { type: 'Failed', reason: 'BackoffLimitExceeded' }],
  });
  const [failed] = await kubectl.list<Pod>('pods', '-l', 'job-name=bad');
  t.equal(failed?.status?.phase, 'Failed');
  t.equal(failed?.status?.containerStatuses?.[0]?.state?.terminated?.exitCode, 3);

  const image = demoContainer('main').image ?? '';
  const schedule = ['--schedule=0 3 * * *', `--image=${image}`, '--', 'echo', 'hello'];
  await kubectl.ok('create', 'cronjob', 'nightly', ...schedule);
  const row = /^nightly +0 3 \* \* \* +<none> +False +0 +<none> /m;
  t.match(await kubectl.ok('get', 'cronjobs'), row);
  const patch = '{"spec":{"schedule":"@every 1s","timeZone":"Europe/Berlin"}}';
  await kubectl.ok('patch', 'cronjob', 'nightly', '-p', patch);
  await kubectl.ok(
    'wait',
    '--for=jsonpath={.status.lastScheduleTime}',
    'cronjob/nightly',
    '--timeout=120s',
  );
  await kubectl.ok('patch', 'cronjob', 'nightly', '-p', '{"spec":{"suspend":true}}');
  await kubectl.ok('create', 'job', '--from=cronjob/nightly', 'by-hand');
  await until('complete', 'by-hand');
  await kubectl.ok('delete', 'cronjob/nightly', 'job/three', 'job/again', 'job/bad');
  await kubectl.ok('wait', '--for=delete', 'pods', '-l', 'job-name', '--timeout=120s');
  t.equal(await kubectl.ok('get', 'jobs', '-o', 'name'), '', 'its jobs went with the cron job');
}

function set(kind: string, name: string, spec: object = {}): object {
  const labels = { app: name };
  return {
    apiVersion: 'apps/v1',
    kind,
    metadata: { name },
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: demoPod(name).spec },
      ...spec,
    },
  };
}

async function rolled(kubectl: BoardKubectl, what: string): Promise<string> {
  return kubectl.ok('rollout', 'status', what, '--timeout=120s');
}

async function daemons(t: Test, { lab, kubectl }: Place): Promise<void> {
  await kubectl.apply(set('DaemonSet', 'eye'));
  t.match(await rolled(kubectl, 'ds/eye'), /daemon set "eye" successfully rolled out/);
  const { length } = lab.boards;
  const row = new RegExp(
    `^eye +${length} +${length} +${length} +${length} +${length} +<none> `,
    'm',
  );
  t.match(await kubectl.ok('get', 'ds'), row);
  const pods = await kubectl.list<Pod>('pods', '-l', 'app=eye');
  t.same(
    pods.map(({ spec }) => spec?.nodeName).sort(),
    lab.boards.map(({ name }) => name).sort(),
    'one on each',
  );
  const colours = async (): Promise<unknown[]> =>
    (await kubectl.list<Pod>('pods', '-l', 'app=eye')).map(
      ({ spec }) => spec?.containers[0]?.env?.[0]?.value,
    );
  await kubectl.ok('set', 'env', 'ds/eye', 'COLOUR=red');
  await rolled(kubectl, 'ds/eye');
  t.same(await colours(), Array(length).fill('red'));
  t.match(await kubectl.ok('rollout', 'history', 'ds/eye'), /^1 +<none>\n2 +<none>$/m);
  t.match(await kubectl.ok('rollout', 'undo', 'ds/eye'), /eye rolled back/);
  await rolled(kubectl, 'ds/eye');
  t.same(await colours(), Array(length).fill(undefined));
  await kubectl.ok('rollout', 'restart', 'ds/eye');
  await rolled(kubectl, 'ds/eye');
  await kubectl.ok('delete', 'ds/eye', '--cascade=foreground');
  t.equal(await kubectl.ok('get', 'controllerrevisions', '-l', 'app=eye', '-o', 'name'), '');
}

async function careful(t: Test, { lab, kubectl }: Place): Promise<void> {
  const deployment = set('Deployment', 'careful', { replicas: 2 });
  const annotations = { 'pier.local/auto-rollback': 'true' };
  await kubectl.apply({ ...deployment, metadata: { name: 'careful', annotations } });
  await rolled(kubectl, 'deployment/careful');
  const containers = [{ name: 'main', image: 'localhost/no-such:1' }];
  const spec = { progressDeadlineSeconds: 3, template: { spec: { containers } } };
  await kubectl.ok('patch', 'deployment/careful', '-p', JSON.stringify({ spec }));
  t.match(
    await kubectl.refused(['rollout', 'status', 'deployment/careful', '--timeout=120s']),
    /deployment "careful" exceeded its progress deadline/,
  );
  const because =
    'Rolled back to revision 1 automatically: revision 2 exceeded its progress deadline of 3 s';
  await lab.until('the history says so', async () => {
    const history = await kubectl.ok('rollout', 'history', 'deployment/careful');
    return new RegExp(`^2 +<none>\n3 +${because}$`, 'm').test(history) || history;
  });
  t.match(await rolled(kubectl, 'deployment/careful'), /"careful" successfully rolled out/);
  t.match(
    await kubectl.ok('describe', 'deployment', 'careful'),
    new RegExp(`^ +(Normal|Warning) +DeploymentRollback .*${because}`, 'm'),
  );
  await lab.until('only pods that can run are left', async () => {
    const pods = await kubectl.list<Pod>('pods', '-l', 'app=careful');
    const images = pods.map(({ spec }) => spec?.containers[0]?.image);
    return (images.length === 2 && !images.includes('localhost/no-such:1')) || images.join(' ');
  });
  await kubectl.ok('delete', 'deployment/careful');
  await kubectl.ok('wait', '--for=delete', 'pods', '-l', 'app=careful', '--timeout=120s');
}

async function stateful(t: Test, { kubectl }: Place): Promise<void> {
  await kubectl.apply(set('StatefulSet', 'db', { replicas: 2, serviceName: 'db' }));
  t.match(await rolled(kubectl, 'sts/db'), /partitioned roll out complete|rolling update complete/);
  t.match(await kubectl.ok('get', 'sts'), /^db +2\/2 /m);
  await kubectl.ok('set', 'env', 'sts/db', 'COLOUR=red');
  await rolled(kubectl, 'sts/db');
  const pods = await kubectl.list<Pod>('pods', '-l', 'app=db');
  t.same(
    pods.map(({ metadata, spec }) => [
      metadata?.name,
      spec?.hostname,
      spec?.containers[0]?.env?.[0]?.value,
    ]),
    [
      ['db-0', 'db-0', 'red'],
      ['db-1', 'db-1', 'red'],
    ],
  );
  t.match(await kubectl.ok('rollout', 'undo', 'sts/db'), /db rolled back/);
  await rolled(kubectl, 'sts/db');
  await kubectl.ok('scale', 'sts/db', '--replicas=1');
  await kubectl.ok('wait', '--for=delete', 'pod/db-1', '--timeout=120s');
  t.equal(await kubectl.ok('get', 'pods', '-l', 'app=db', '-o', 'name'), 'pod/db-0\n');
  await kubectl.ok('delete', 'sts/db');
  await kubectl.ok('wait', '--for=delete', 'pods', '-l', 'app=db', '--timeout=120s');
}

/** By memory: it is there at once, and costs nobody any CPU. */
async function scaled(t: Test, { lab, kubectl }: Place): Promise<void> {
  const app = spreadDeployment('eager', 1);
  for (const container of app.spec?.template?.spec?.containers ?? []) {
    container.resources = { requests: { memory: '16Ki' } };
  }
  await kubectl.apply(app);
  await kubectl.ok('expose', 'deployment', 'eager', '--port=80', '--target-port=8080');
  await kubectl.apply({
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: { name: 'eager' },
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'eager' },
      maxReplicas: 2,
      metrics: [
        {
          type: 'Resource',
          resource: { name: 'memory', target: { type: 'Utilization', averageUtilization: 50 } },
        },
      ],
    },
  });
  const two = '--for=jsonpath={.status.readyReplicas}=2';
  await kubectl.ok('wait', two, 'deployment/eager', '--timeout=120s');
  const limited = '--for=condition=ScalingLimited=true';
  await kubectl.ok('wait', limited, 'hpa/eager', '--timeout=120s');
  t.match(
    await kubectl.ok('get', 'hpa', 'eager'),
    /^eager +Deployment\/eager +memory: \d+%\/50% /m,
  );
  t.match(
    await kubectl.ok('describe', 'hpa', 'eager'),
    /SuccessfulRescale +.*New size: 2; reason: /,
  );
  const slices = () =>
    kubectl.list<EndpointSlice>('endpointslices', '-l', 'kubernetes.io/service-name=eager');
  const pods = await kubectl.list<Pod>('pods', '-l', 'app=eager');
  await lab.until('both pods are in the slice', async () => {
    const ready = (await slices()).flatMap(({ endpoints = [] }) =>
      endpoints.filter(({ conditions }) => conditions?.ready === true),
    );
    return ready.length === pods.length;
  });
  await kubectl.ok('delete', 'hpa/eager', 'service/eager', 'deployment/eager');
}

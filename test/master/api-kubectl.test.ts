/**
 * Unmodified kubectl of three versions against the API alone: what needs no board. Rights, tokens, quotas, the plain kinds,
 * validation, patches. (test/e2e/kubectl.test.ts has boards and pods.)
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { writeKubeconfig } from '../../master/pki/pki.ts';
import { type CommandResult, findKubectl, runCommand } from '../support/kubectl.ts';
import { base64, makeRequest, startSigning } from '../support/signing-request.ts';
import { type Fixture, startApi } from './api-fixture.ts';

interface Place {
  readonly api: Fixture;
  /** Starts kubectl and lets it run. */
  start(...args: string[]): ChildProcessWithoutNullStreams;
  /** Runs kubectl; never throws for an exit code. */
  run(...args: string[]): Promise<CommandResult>;
  /** Runs kubectl and gives what it printed; throws with what it complained about. */
  ok(...args: string[]): Promise<string>;
  file(name: string, text: string): Promise<string>;
}

t.setTimeout(300_000);

async function placeFor(t: Test, kubectl: string): Promise<Place> {
  const api = await startApi();
  t.teardown(() => api.close());
  const config = join(api.dir, 'kubeconfig');
  await writeKubeconfig(config, { pki: api.pki, server: `https://127.0.0.1:${api.port}` });
  // For `kubectl edit`, where a test has made it.
  const editor = `sh ${join(api.dir, 'editor.sh')}`;
  const env = {
    ...process.env,
    KUBECONFIG: config,
    HOME: api.dir,
    TMPDIR: api.dir,
    KUBE_EDITOR: editor,
  };
  const run = (...args: string[]) => runCommand(kubectl, args, { env, timeoutMs: 120_000 });
  return {
    api,
    run,
    start: (...args) => spawn(kubectl, args, { env }),
    async ok(...args) {
      const { code, stdout, stderr } = await run(...args);
      if (code !== 0) throw new Error(`kubectl ${args.join(' ')} ended with ${code}: ${stderr}`);
      return stdout;
    },
    async file(name, text) {
      const path = join(api.dir, name);
      await writeFile(path, text);
      return path;
    },
  };
}

async function rights(t: Test, { api, ok, run }: Place): Promise<void> {
  await ok('create', 'role', 'reader', '--verb=get,list', '--resource=configmaps');
  await ok('create', 'rolebinding', 'jane', '--role=reader', '--user=jane');
  t.match(await ok('get', 'rolebindings', '-o', 'wide'), /^jane +Role\/reader +\S+ +jane/m);
  t.match(await ok('auth', 'can-i', 'list', 'configmaps', '--as=jane'), /^yes/);
  t.match((await run('auth', 'can-i', 'list', 'secrets', '--as=jane')).stdout, /^no/);
  t.match(
    await ok('auth', 'can-i', '--list', '--as=jane'),
    /^configmaps +\[\] +\[\] +\[get list\]/m,
  );
  t.match(
    (await run('get', 'secrets', '--as=jane')).stderr,
    /Error from server \(Forbidden\): secrets is forbidden: User "jane" cannot list resource "secrets"/,
  );
  t.match(await ok('describe', 'clusterrole', 'cluster-admin'), /^ +\*\.\* +\[\] +\[\] +\[\*\]/m);
  await ok('create', 'serviceaccount', 'robot');
  const token = (await ok('create', 'token', 'robot', '--duration=20m')).trim();
  const answer = await api.call('GET', '/api/v1/namespaces/default/pods', {
    as: 'nobody',
    headers: { Authorization: `Bearer ${token}` },
  });
  t.match(answer.json, { code: 403, message: /User "system:serviceaccount:default:robot"/ });
  t.match(
    await ok('auth', 'whoami', '--as=jane', '--as-group=people'),
    /^Groups +\[people system:/m,
  );
}

async function amounts(t: Test, { ok, run }: Place): Promise<void> {
  await ok('create', 'quota', 'tight', '--hard=configmaps=1,pods=2');
  await ok('create', 'configmap', 'one', '--from-literal=a=b');
  t.match(
    (await run('create', 'configmap', 'two')).stderr,
    /"two" is forbidden: exceeded quota: tight, requested: configmaps=1, used: configmaps=1, limited: configmaps=1/,
  );
  await ok('delete', 'quota', 'tight');
  await ok('create', 'configmap', 'two');
}

async function plainKinds(t: Test, { ok, run, file }: Place): Promise<void> {
  const made = await run('create', 'ingress', 'web', '--rule=web.example/*=web:80');
  t.equal(made.code, 0, made.stderr);
  t.equal(made.stderr, '');
  t.match(await ok('get', 'ingress'), /^web +pier +web\.example +80 /m);
  const policy = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec: {podSelector: {}}
`;
  const path = await file('policy.yaml', policy);
  t.match((await run('apply', '-f', path)).stderr, /does not enforce network policies/);
  t.match(await ok('apply', '-f', path), /unchanged/);
  t.match(await ok('get', 'netpol'), /^closed +<none> /m);
  const wrong = await file('wrong.yaml', policy.replace('podSelector', 'podSelecter'));
  t.match((await run('apply', '-f', wrong)).stderr, /unknown field "spec.podSelecter"/);
  t.match(await ok('explain', 'networkpolicy', '--recursive'), /^ +policyTypes\t<\[\]string>/m);
  t.match(await ok('api-resources'), /^events +ev +events\.k8s\.io\/v1 +true +Event$/m);
}

async function storage(t: Test, { ok, run, file }: Place): Promise<void> {
  t.match(
    await ok('get', 'sc'),
    /^local-path \(default\) +pier\.local\/local-path +Delete +WaitForFirstConsumer +false /m,
  );
  const claim = await file(
    'claim.yaml',
    `apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`,
  );
  const made = await run('apply', '-f', claim);
  t.match(made.stdout, /persistentvolumeclaim\/data created/, made.stderr);
  t.notMatch(made.stderr, /Warning/, 'nothing of it is unsupported');
  t.match(await ok('apply', '-f', claim), /unchanged/);
  t.match(await ok('get', 'pvc'), /^data +Pending +local-path +<unset> +\S+$/m);
  const described = await ok('describe', 'pvc', 'data');
  t.match(described, /^StorageClass: +local-path$/m);
  t.match(described, /^Status: +Pending$/m);
  t.match(described, /^Finalizers: +\[kubernetes\.io\/pvc-protection\]$/m);
  t.match(described, /^Used By: +<none>$/m);
  const volume = await file(
    'volume.yaml',
    `apiVersion: v1
kind: PersistentVolume
metadata: {name: share}
spec:
  capacity: {storage: 5Gi}
  accessModes: [ReadWriteMany]
  storageClassName: share
  nfs: {server: nas.example, path: /export}
`,
  );
  t.equal((await run('apply', '-f', volume)).stderr, '', 'NFS is mounted');
  t.match(await ok('get', 'pv'), /^share +5Gi +RWX +Retain +Pending +share +<unset> /m);
  t.match(await ok('describe', 'pv', 'share'), /^Finalizers: +\[kubernetes\.io\/pv-protection\]$/m);
  t.match((await run('delete', 'pv', 'share', '--wait=false')).stdout, /"share" deleted/);
  t.match(await ok('get', 'pv'), /^share +5Gi +RWX +Retain +Terminating /m);
  const driver = await file(
    'driver.yaml',
    'apiVersion: storage.k8s.io/v1\nkind: CSIDriver\nmetadata: {name: csi.example}\nspec: {}\n',
  );
  t.match((await run('apply', '-f', driver)).stderr, /does not run CSI drivers/);
  t.match(await ok('apply', '-f', driver), /unchanged/);
  t.match(
    await ok('get', 'csidrivers'),
    /^csi\.example +true +false +false +<unset> +false +Persistent /m,
  );
}

async function autoscalers(t: Test, { api, ok, run }: Place): Promise<void> {
  await ok('create', 'deployment', 'busy', '--image=web:1');
  const made = await run(
    ...['autoscale', 'deployment', 'busy', '--min=1', '--max=3', '--cpu-percent=50'],
  );
  t.equal(made.code, 0, made.stderr);
  t.match(await ok('get', 'hpa'), /^busy +Deployment\/busy +cpu: <unknown>\/50% +1 +3 +0 /m);
  const path = '/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/busy/status';
  const current = { averageUtilization: 42, averageValue: '42m' };
  const condition = { type: 'ScalingActive', status: 'True', reason: 'ValidMetricFound' };
  const status = {
    currentReplicas: 2,
    desiredReplicas: 2,
    currentMetrics: [{ type: 'Resource', resource: { name: 'cpu', current } }],
    conditions: [condition],
  };
  const type = 'application/merge-patch+json';
  t.equal((await api.call('PATCH', path, { body: { status }, type })).code, 200);
  t.match(await ok('get', 'hpa', 'busy'), /^busy +Deployment\/busy +cpu: 42%\/50% +1 +3 +2 /m);
  const described = await ok('describe', 'hpa', 'busy');
  t.match(
    described,
    /^ +resource cpu on pods +\(as a percentage of request\): +42% \(42m\) \/ 50%$/m,
  );
  t.match(described, /^ +ScalingActive +True +ValidMetricFound/m);
  t.match(described, /^Deployment pods: +2 current \/ 2 desired$/m);
  const old = await ok('get', 'horizontalpodautoscalers.v1.autoscaling', 'busy', '-o', 'json');
  t.match(JSON.parse(old), {
    apiVersion: 'autoscaling/v1',
    spec: { targetCPUUtilizationPercentage: 50 },
    status: { currentCPUUtilizationPercentage: 42 },
  });
  await ok('patch', 'hpa', 'busy', '-p', '{"spec":{"maxReplicas":9}}');
  t.match(await ok('get', 'hpa', 'busy', '-o', 'jsonpath={.spec.maxReplicas}'), /^9$/);
  t.match(await ok('delete', 'hpa', 'busy'), /"busy" deleted/);
  await ok('delete', 'deployment', 'busy');
  t.match(await ok('get', 'endpointslices'), /^kubernetes +IPv4 +6443 +192\.0\.2\.1 /m);
}

/** As the page "Issue a Certificate for a Kubernetes API Client Using A CertificateSigningRequest" of Kubernetes. */
async function certificates(t: Test, { api, ok, run, file }: Place): Promise<void> {
  await startSigning(t, api.client, api.pki);
  const { request, privateKey } = await makeRequest('myuser', ['people']);
  const manifest = (name: string, signerName: string) => `apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: ${name}}
spec:
  request: ${base64(request)}
  signerName: ${signerName}
  expirationSeconds: 86400
  usages: [client auth]
---
`;
  const signer = 'kubernetes.io/kube-apiserver-client';
  const both = manifest('myuser', signer) + manifest('other', 'example.com/any');
  await ok('apply', '-f', await file('requests.yaml', both));
  const shown = await ok('get', 'csr');
  t.match(shown, /^NAME +AGE +SIGNERNAME +REQUESTOR +REQUESTEDDURATION +CONDITION$/m);
  t.match(shown, /^myuser +\S+ +kubernetes\.io\/kube-apiserver-client +pier-admin +24h +Pending$/m);
  t.match(await ok('certificate', 'approve', 'myuser'), /\/myuser approved/);
  t.match(await ok('certificate', 'deny', 'other'), /\/other denied/);
  await ok('wait', '--for=jsonpath={.status.certificate}', 'csr/myuser', '--timeout=30s');
  t.match(await ok('get', 'csr', 'myuser'), / Approved,Issued$/m);
  t.match(await ok('get', 'csr', 'other'), / Denied$/m);
  t.match((await run('certificate', 'approve', 'other')).stderr, /already Denied/);
  t.match(await ok('describe', 'csr', 'myuser'), /^Status: +Approved,Issued$/m);

  const pem = await ok('get', 'csr', 'myuser', '-o', 'jsonpath={.status.certificate}');
  const paths = [
    `--client-certificate=${await file('myuser.crt', Buffer.from(pem, 'base64').toString())}`,
    `--client-key=${await file('myuser.key', privateKey)}`,
  ];
  await ok('config', 'set-credentials', 'myuser', ...paths, '--embed-certs=true');
  await ok('config', 'set-context', 'myuser', '--cluster=pier', '--user=myuser');
  const me = ['--context=myuser'];
  t.match(await ok(...me, 'auth', 'whoami'), /^Groups +\[people system:authenticated\]$/m);
  t.match((await run(...me, 'get', 'secrets')).stderr, /User "myuser" cannot list/);
  await ok('create', 'rolebinding', 'myuser', '--clusterrole=view', '--user=myuser');
  t.match((await run(...me, 'get', 'configmaps')).code, 0);
  await ok('delete', 'csr', 'myuser', 'other');
}

/** sig-cli of Kubernetes' conformance suite (docs/CONFORMANCE.md), as far as it needs no running pod. */
async function suite(t: Test, { api, ok, run, start, file }: Place): Promise<void> {
  t.match(await ok('api-versions'), /^v1$/m);
  t.match(await ok('cluster-info'), /Kubernetes control plane.* is running at/);
  const version = await ok('version');
  for (const line of [/^Client Version: v1\./m, /^Server Version: v1\./m]) t.match(version, line);
  t.match(JSON.parse(await ok('version', '-o', 'json')), {
    clientVersion: { gitVersion: String },
    serverVersion: { major: String, minor: String, gitVersion: String },
  });

  const deployment = (image: string) => `apiVersion: apps/v1
kind: Deployment
metadata: {name: differs}
spec:
  selector: {matchLabels: {app: differs}}
  template: {metadata: {labels: {app: differs}}, spec: {containers: [{name: c, image: "${image}"}]}}
`;
  await ok('create', '-f', await file('differs.yaml', deployment('busybox:1')));
  const diff = await run('diff', '-f', await file('other.yaml', deployment('busybox:2')));
  t.match(diff, { code: 1, stdout: /^-.*busybox:1$[\s\S]*^\+.*busybox:2$/m });

  await ok('run', 'alone', '--image=web:1', '--restart=Never', '-l', 'run=alone');
  t.equal(await ok('get', 'pod', 'alone', '-o', 'jsonpath={.spec.restartPolicy}'), 'Never');
  await ok('set', 'image', 'pod/alone', 'alone=web:2', '--dry-run=server');
  const image = () => ok('get', 'pod', 'alone', '-o', 'jsonpath={.spec.containers[0].image}');
  t.equal(await image(), 'web:1', 'a dry run changes nothing');
  const pod = JSON.parse(await ok('get', 'pod', 'alone', '-o', 'json'));
  pod.spec.containers[0].image = 'web:3';
  await ok('replace', '-f', await file('alone.json', JSON.stringify(pod)));
  t.equal(await image(), 'web:3');
  await ok('label', 'pods', 'alone', 'testing-label=value');
  t.match(await ok('get', 'pod', 'alone', '-L', 'testing-label'), /^alone .* value$/m);
  await ok('label', 'pods', 'alone', 'testing-label-');
  t.notMatch(await ok('get', 'pod', 'alone', '-L', 'testing-label'), /value/);

  const controller = `apiVersion: v1
kind: ReplicationController
metadata: {name: primary}
spec:
  selector: {app: primary}
  template: {metadata: {labels: {app: primary}}, spec: {containers: [{name: c, image: web, ports: [{containerPort: 6379}]}]}}
`;
  await ok('create', '-f', await file('rc.yaml', controller));
  t.match(await ok('describe', 'rc', 'primary'), /^Replicas: +0 current \/ 1 desired$/m);
  await ok('expose', 'rc', 'primary', '--name=rm2', '--port=1234', '--target-port=6379');
  await ok('expose', 'service', 'rm2', '--name=rm3', '--port=2345', '--target-port=6379');
  t.match(await ok('get', 'service', 'rm3'), /^rm3 +ClusterIP +10\.\S+ +<none> +2345\/TCP/m);
  await ok('patch', 'pod', 'alone', '-p', '{"metadata":{"annotations":{"x":"y"}}}');
  t.match(await ok('describe', 'pod', 'alone'), /^Annotations: +x: y$/m);
  t.match(await ok('describe', 'namespace', 'default'), /^Status: +Active$/m);
  t.match(await ok('describe', 'service', 'rm2'), /^Selector: +app=primary$/m);

  const socket = join(api.dir, 'proxy.sock');
  const answers: string[] = [];
  for (const where of [['--port=0'], [`--unix-socket=${socket}`]]) {
    const child = start('proxy', '--disable-filter', ...where);
    try {
      const said = String((await once(child.stdout, 'data'))[0]);
      const url = /127\.0\.0\.1:\d+/.exec(said)?.[0];
      const to =
        url === undefined ? { socketPath: socket } : { host: '127.0.0.1', port: url.slice(10) };
      const answer = await new Promise<IncomingMessage>((resolve, reject) => {
        get({ ...to, path: '/api/' }, resolve).on('error', reject);
      });
      answers.push(await text(answer));
    } finally {
      child.kill();
      await once(child, 'close');
    }
  }
  for (const answer of answers)
    t.match(JSON.parse(answer), { kind: 'APIVersions', versions: ['v1'] });
  t.equal(answers.length, 2);
  await ok('delete', '--all', 'pods,rc,deployments', '--wait=false');
}

/** Verbs that no other test has. */
async function otherVerbs(t: Test, { api, ok, run, file }: Place): Promise<void> {
  await ok('create', 'deployment', 'shown', '--image=web:1');
  const of = (path: string) => ok('get', 'deployment', 'shown', '-o', `jsonpath={${path}}`);
  t.match(await ok('rollout', 'pause', 'deployment/shown'), /shown paused/);
  t.equal(await of('.spec.paused'), 'true');
  t.match((await run('rollout', 'restart', 'deployment/shown')).stderr, /can't restart paused/);
  t.match(await ok('rollout', 'resume', 'deployment/shown'), /shown resumed/);
  t.equal(await of('.spec.paused'), '');
  t.match((await run('rollout', 'resume', 'deployment/shown')).stderr, /is not paused/);

  await file('editor.sh', 'sed -i "s/web:1/web:2/" "$1"');
  t.match(await ok('edit', 'deployment', 'shown'), /shown edited/);
  t.equal(await of('.spec.template.spec.containers[0].image'), 'web:2');
  t.match((await run('edit', 'deployment', 'shown')).stderr, /no changes made/);
  // What was wrong stands at the head of the file when it is opened again.
  const told = join(api.dir, 'told.yaml');
  await file('editor.sh', `cp "$1" ${told}; sed -i "s/replicas: 1/replicas: -1/" "$1"`);
  t.match(
    (await run('edit', 'deployment', 'shown')).stderr,
    /deployments\.apps "shown" is invalid/,
  );
  t.match(
    await readFile(told, 'utf8'),
    /^# .*spec\.replicas: Invalid value: -1: must be greater than or equal to 0$/m,
  );
  t.equal(await of('.spec.replicas'), '1');

  await api.call('POST', '/api/v1/nodes', { body: { metadata: { name: 'pi' } } });
  t.match(await ok('taint', 'nodes', 'pi', 'disk=slow:NoSchedule'), /node\/pi tainted/);
  t.match(await ok('describe', 'node', 'pi'), /^Taints: +disk=slow:NoSchedule$/m);
  t.match(
    (await run('taint', 'nodes', 'pi', 'disk=fast:NoSchedule')).stderr,
    /already has disk taint/,
  );
  t.match(await ok('taint', 'nodes', 'pi', 'disk:NoSchedule-'), /node\/pi untainted/);
  t.match(await ok('describe', 'node', 'pi'), /^Taints: +<none>$/m);

  await file('kustomization.yaml', 'namePrefix: my-\nresources: [plain.yaml]\n');
  await file('plain.yaml', 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\n');
  t.match(await ok('kustomize', api.dir), /^ +name: my-plain$/m);
  t.match(await ok('apply', '-k', api.dir), /configmap\/my-plain created/);
  t.match(await ok('apply', '-k', api.dir), /configmap\/my-plain unchanged/);
  t.match(await ok('delete', '-k', api.dir), /"my-plain" deleted/);
  await ok('delete', 'node/pi', 'deployment/shown');
}

async function schemas(t: Test, { api, ok, run, file }: Place): Promise<void> {
  const deployment = await ok('explain', 'deployments', '--recursive');
  t.match(deployment, /^GROUP: +apps\nKIND: +Deployment\nVERSION: +v1\n/);
  t.match(deployment, /^ +containers\t<\[\]Container> -required-$/m);
  t.match(await ok('explain', 'pods.spec.containers.ports'), /^ +containerPort\t<integer>/m);
  t.match(
    await ok('explain', 'selfsubjectaccessreviews'),
    /^ +spec\t<SelfSubjectAccessReviewSpec>/m,
  );
  t.match((await run('explain', 'pods.spec.colour')).stderr, /field "colour" does not exist/);
  // What it read is kept: an answer that is asked for by its hash comes from the disk.
  t.equal(await ok('explain', 'deployments', '--recursive'), deployment);

  const manifest = (name: string) => `apiVersion: v1
kind: ConfigMap
metadata: {name: ${name}}
colour: red
data: {a: "1"}
`;
  const apply = async (mode: string) =>
    run('apply', `--validate=${mode}`, '-f', await file(`${mode}.yaml`, manifest(mode)));
  const strict = await apply('strict');
  t.match(strict, { code: 1, stderr: /unknown field "colour"/ });
  const warned = await apply('warn');
  t.match(warned, { code: 0, stderr: /Warning: unknown field "colour"/ });
  const ignored = await apply('ignore');
  t.match(ignored, { code: 0, stdout: /created/ });
  t.notMatch(ignored.stderr, /colour/);
  t.equal((await api.call('GET', '/api/v1/namespaces/default/configmaps/strict')).code, 404);
}

for (const version of ['current', '1.32'] as const) {
  const found = findKubectl(version);
  const skip = 'missing' in found ? found.missing : false;
  t.test(`kubectl ${version}`, { skip }, async (t) => {
    if ('missing' in found) return;
    t.comment(found.version);
    const place = await placeFor(t, found.path);
    await t.test('rights and tokens', (t) => rights(t, place));
    await t.test('quotas', (t) => amounts(t, place));
    await t.test('schemas and what is not in them', (t) => schemas(t, place));
    await t.test("sig-cli of Kubernetes' suite", (t) => suite(t, place));
    await t.test('edit, rollout pause and resume, taint, kustomize', (t) => otherVerbs(t, place));
    await t.test('kinds that are only stored', (t) => plainKinds(t, place));
    await t.test('claims, volumes and their classes', (t) => storage(t, place));
    await t.test('autoscalers in both versions', (t) => autoscalers(t, place));
    await t.test('certificates', (t) => certificates(t, place));
  });
}

const old = findKubectl('1.20');
t.test('kubectl 1.20', { skip: 'missing' in old ? old.missing : false }, async (t) => {
  if ('missing' in old) return;
  const { ok, run, file } = await placeFor(t, old.path);
  await ok('create', 'role', 'reader', '--verb=get', '--resource=configmaps');
  t.match(await ok('get', 'roles'), /^reader +20\d\d-/m);
  t.match((await run('get', 'configmaps', '--as=jane')).stderr, /User "jane" cannot list/);
  const path = await file('map.yaml', 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: old}\n');
  t.match(await ok('apply', '--validate=false', '-f', path), /configmap\/old created/);
  t.match(await ok('auth', 'can-i', 'delete', 'nodes'), /^yes/);
});

/**
 * Unmodified client libraries: `@kubernetes/client-node` for typed calls, watches, an informer over restarts and logs, and the Python
 * client where Debian's package is installed.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import {
  ApiException,
  AppsV1Api,
  AuthorizationV1Api,
  CoreV1Api,
  KubeConfig,
  KubernetesObjectApi,
  Log,
  makeInformer,
  PatchStrategy,
  setHeaderOptions,
  type V1ConfigMap,
  Watch,
} from '@kubernetes/client-node';
import t from 'tap';
import { writeKubeconfig } from '../../master/pki/pki.ts';
import { openMemoryStore } from '../../master/store/memory-store.ts';
import { runCommand } from '../support/kubectl.ts';
import { CONFIG_MAPS, deployment, type Fixture, PODS, pod, startApi } from './api-fixture.ts';

// A busy machine may take long; nothing here waits for a time.
t.setTimeout(120_000);

let api: Fixture;
let config: KubeConfig;
t.before(async () => {
  async function* lines(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('one\n');
    yield Buffer.from('two\n');
  }
  api = await startApi({ logs: { open: async () => lines() } });
  config = configFor(api);
});
t.teardown(() => api.close());

function configFor({ pki, port }: Fixture): KubeConfig {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const made = new KubeConfig();
  made.loadFromClusterAndUser(
    {
      name: 'pier',
      server: `https://127.0.0.1:${port}`,
      caData: base64(pki.caCertificate),
      skipTLSVerify: false,
    },
    {
      name: 'admin',
      certData: base64(pki.admin.certificate),
      keyData: base64(pki.admin.privateKey),
    },
  );
  return made;
}

const configMapOf = (name: string, data: Record<string, string> = {}) => ({
  metadata: { name },
  data,
});

const codeOf = async (promise: Promise<unknown>): Promise<number> =>
  promise.then(
    () => 200,
    (error: unknown) => (error instanceof ApiException ? error.code : -1),
  );

async function until(what: string, done: () => boolean): Promise<void> {
  const endMs = performance.now() + 30_000;
  while (!done()) {
    if (performance.now() > endMs) throw new Error(`not within 30 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

t.test('typed calls: errors are typed, objects go round', async (t) => {
  const core = config.makeApiClient(CoreV1Api);
  const apps = config.makeApiClient(AppsV1Api);
  const namespace = 'default';
  t.equal(await codeOf(core.readNamespacedConfigMap({ namespace, name: 'none' })), 404);
  const body = configMapOf('typed', { a: '1' });
  const made = await core.createNamespacedConfigMap({ namespace, body });
  t.match(made.metadata, { name: 'typed', namespace });
  t.ok(made.metadata?.creationTimestamp instanceof Date);
  t.equal(await codeOf(core.createNamespacedConfigMap({ namespace, body })), 409);
  const stale = { ...made, metadata: { ...made.metadata, resourceVersion: '1' } };
  t.equal(
    await codeOf(core.replaceNamespacedConfigMap({ namespace, name: 'typed', body: stale })),
    409,
  );
  const patched = await core.patchNamespacedConfigMap(
    { namespace, name: 'typed', body: { data: { b: '2' } } },
    setHeaderOptions('Content-Type', PatchStrategy.MergePatch),
  );
  t.same(patched.data, { a: '1', b: '2' });
  await apps.createNamespacedDeployment({ namespace, body: deployment('typed') });
  const scale = await apps.readNamespacedDeploymentScale({ namespace, name: 'typed' });
  t.equal(scale.spec?.replicas, 2);
  const grown = await apps.patchNamespacedDeployment(
    { namespace, name: 'typed', body: { spec: { replicas: 3 } } },
    setHeaderOptions('Content-Type', PatchStrategy.StrategicMergePatch),
  );
  t.equal(grown.spec?.replicas, 3);
  const page = await core.listNamespace({ limit: 1 });
  t.equal(page.items.length, 1);
  const rest = await core.listNamespace({ _continue: page.metadata?._continue ?? '' });
  t.ok(rest.items.length >= 3);
  const review = await config.makeApiClient(AuthorizationV1Api).createSelfSubjectAccessReview({
    body: { spec: { resourceAttributes: { verb: 'get', resource: 'pods' } } },
  });
  t.equal(review.status?.allowed, true);
  await core.deleteNamespacedConfigMap({ namespace, name: 'typed' });
  t.equal(await codeOf(core.readNamespacedConfigMap({ namespace, name: 'typed' })), 404);
});

t.test('objects of any kind go through the generic client', async (t) => {
  const client = KubernetesObjectApi.makeApiClient(config);
  const object = {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'Role',
    metadata: { name: 'generic', namespace: 'default' },
    rules: [{ verbs: ['get'], apiGroups: [''], resources: ['pods'] }],
  };
  const made = await client.create(object);
  t.match(made, { kind: 'Role', metadata: { name: 'generic' } });
  const read = await client.read({
    ...object,
    metadata: { name: 'generic', namespace: 'default' },
  });
  t.same(Reflect.get(read, 'rules'), object.rules);
  await client.delete(object);
  t.equal(await codeOf(client.read(object)), 404);
});

t.test('a watch gets events, and an informer lives over restarts of the master', async (t) => {
  const store = openMemoryStore();
  let one = await startApi({ store });
  const { port } = one;
  const own = configFor(one);
  const core = own.makeApiClient(CoreV1Api);
  const namespace = 'default';

  const seen: string[] = [];
  const watch = await new Watch(own).watch(
    `/api/v1/namespaces/${namespace}/configmaps`,
    {},
    (phase, object) => seen.push(`${phase} ${object.metadata.name}`),
    () => undefined,
  );
  await core.createNamespacedConfigMap({ namespace, body: configMapOf('first') });
  await until('the watch sees it', () => seen.includes('ADDED first'));
  watch.abort();

  const list = () => core.listNamespacedConfigMap({ namespace });
  const informer = makeInformer<V1ConfigMap>(
    own,
    `/api/v1/namespaces/${namespace}/configmaps`,
    list,
  );
  const names = () => informer.list().map((object) => object.metadata?.name ?? '');
  // As the documentation of the library says: after an error the informer is to be started again.
  let wanted = true;
  informer.on('error', () => {
    if (wanted) setTimeout(() => void informer.start().catch(() => undefined), 100);
  });
  await informer.start();
  await until('the informer has the first', () => names().includes('first'));
  for (const round of ['a', 'b']) {
    await one.close();
    one = await startApi({ store, port, pki: one.pki });
    await one.call('POST', CONFIG_MAPS, { body: configMapOf(`after-${round}`) });
    await one.call('DELETE', `${CONFIG_MAPS}/first`);
    await until('the informer has caught up', () => {
      return names().includes(`after-${round}`) && !names().includes('first');
    });
  }
  t.same(names().sort(), ['after-a', 'after-b']);
  wanted = false;
  await informer.stop();
  await one.close();
});

t.test('logs are streamed', async (t) => {
  await api.call('POST', PODS, { body: pod('logged') });
  await api.client.bind('default', 'logged', '', 'pi1');
  const stream = new PassThrough();
  await new Log(config).log('default', 'logged', 'c', stream, { follow: true });
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  t.equal(Buffer.concat(chunks).toString(), 'one\ntwo\n');
});

/** Debian's python3-kubernetes, where it is installed (`apt-get install python3-kubernetes`). */
function pythonMissing(): string | false {
  try {
    execFileSync('python3', ['-c', 'import kubernetes'], { stdio: 'pipe' });
    return false;
  } catch {
    return 'python3-kubernetes is not installed';
  }
}

const PYTHON = `
import sys, json
from kubernetes import client, config, watch
config.load_kube_config(sys.argv[1])
core = client.CoreV1Api()
out = {}
try:
    core.read_namespaced_config_map("none", "default")
except client.ApiException as error:
    out["missing"] = error.status
body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="snake"), data={"a": "1"})
made = core.create_namespaced_config_map("default", body)
out["uid"] = made.metadata.uid
patched = core.patch_namespaced_config_map("snake", "default", {"data": {"b": "2"}})
out["patched"] = patched.data
out["events"] = []
for event in watch.Watch().stream(core.list_namespaced_config_map, "default",
        field_selector="metadata.name=snake", timeout_seconds=1):
    out["events"].append(event["type"])
core.delete_namespaced_config_map("snake", "default")
out["left"] = [m.metadata.name for m in core.list_namespaced_config_map("default").items]
rbac = client.RbacAuthorizationV1Api()
out["role"] = rbac.read_cluster_role("cluster-admin").rules[0].verbs
print(json.dumps(out))
`;

t.test("Debian's Python client", { skip: pythonMissing() }, async (t) => {
  const path = join(api.dir, 'kubeconfig');
  await writeKubeconfig(path, { pki: api.pki, server: `https://localhost:${api.port}` });
  const { code, stdout, stderr } = await runCommand('python3', ['-c', PYTHON, path]);
  t.equal(code, 0, stderr);
  const said = JSON.parse(stdout);
  t.match(said, { missing: 404, patched: { a: '1', b: '2' }, events: ['ADDED'], role: ['*'] });
  t.notOk(said.left.includes('snake'));
});

/**
 * Unmodified client libraries: `@kubernetes/client-node` for typed calls, watches, an informer over restarts and logs, and the Python
 * client where Debian's package is installed.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
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

/** Debian's own Python, whatever stands before it on PATH: its packages are not seen by another. */
const PYTHON = '/usr/bin/python3';

/** Debian's python3-kubernetes, where it is installed (firmware-scripts/test.sh does that as root). */
function pythonMissing(): string | false {
  try {
    execFileSync(PYTHON, ['-c', 'import kubernetes'], { stdio: 'pipe' });
    return false;
  } catch {
    return 'python3-kubernetes is not installed';
  }
}

const TYPED = `
import sys, json
from kubernetes import client, config, watch, utils
config.load_kube_config(sys.argv[1])
core = client.CoreV1Api()
out = {}
def status_of(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
        return 200
    except client.ApiException as error:
        return error.status
out["missing"] = status_of(core.read_namespaced_config_map, "none", "default")
body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="snake"), data={"a": "1"})
made = core.create_namespaced_config_map("default", body)
out["again"] = status_of(core.create_namespaced_config_map, "default", body)
patched = core.patch_namespaced_config_map("snake", "default", {"data": {"b": "2"}})
out["patched"] = patched.data
made.data = {"c": "3"}
out["stale"] = status_of(core.replace_namespaced_config_map, "snake", "default", made)
patched.data = {"c": "3"}
out["replaced"] = core.replace_namespaced_config_map("snake", "default", patched).data
out["events"] = [event["type"] for event in watch.Watch().stream(
    core.list_namespaced_config_map, "default", field_selector="metadata.name=snake", timeout_seconds=1)]
core.delete_namespaced_config_map("snake", "default")
out["left"] = [m.metadata.name for m in core.list_namespaced_config_map("default").items]
out["role"] = client.RbacAuthorizationV1Api().read_cluster_role("cluster-admin").rules[0].verbs
out["log"] = core.read_namespaced_pod_log("logged-snake", "default")
out["lines"] = list(watch.Watch().stream(core.read_namespaced_pod_log, "logged-snake", "default"))
utils.create_from_yaml(client.ApiClient(), sys.argv[2])
apps = client.AppsV1Api()
scaled = apps.patch_namespaced_deployment_scale("snake", "default", {"spec": {"replicas": 3}})
out["replicas"] = [scaled.spec.replicas, apps.read_namespaced_deployment("snake", "default").spec.replicas]
print(json.dumps(out))
`;

t.test("Debian's Python client: typed calls, logs, apply", { skip: pythonMissing() }, async (t) => {
  const path = join(api.dir, 'kubeconfig');
  await writeKubeconfig(path, { pki: api.pki, server: `https://localhost:${api.port}` });
  await api.call('POST', PODS, { body: pod('logged-snake') });
  await api.client.bind('default', 'logged-snake', '', 'pi1');
  const manifest = join(api.dir, 'snake.yaml');
  const object = { apiVersion: 'apps/v1', kind: 'Deployment', ...deployment('snake') };
  await writeFile(manifest, JSON.stringify(object));
  const { code, stdout, stderr } = await runCommand(PYTHON, ['-c', TYPED, path, manifest]);
  t.equal(code, 0, stderr);
  const { left, ...said } = JSON.parse(stdout);
  t.same(said, {
    missing: 404,
    again: 409,
    patched: { a: '1', b: '2' },
    stale: 409,
    replaced: { c: '3' },
    events: ['ADDED'],
    role: ['*'],
    log: 'one\ntwo\n',
    lines: ['one', 'two'],
    replicas: [3, 3],
  });
  t.notOk(left.includes('snake'));
});

/** As an informer: lists, watches from there, and lists again when the watch breaks or is too old. Says what it has on each line. */
const INFORMER = `
import sys, json, time
from kubernetes import client, config, watch
config.load_kube_config(sys.argv[1])
core = client.CoreV1Api()
while True:
    try:
        first = core.list_namespaced_config_map("default", label_selector="of=snake")
        cache = {m.metadata.name: m.metadata.resource_version for m in first.items}
        print(json.dumps(cache), flush=True)
        for event in watch.Watch().stream(core.list_namespaced_config_map, "default",
                label_selector="of=snake", resource_version=first.metadata.resource_version):
            meta = event["object"].metadata
            if event["type"] == "DELETED":
                cache.pop(meta.name, None)
            else:
                cache[meta.name] = meta.resource_version
            print(json.dumps(cache), flush=True)
    except Exception:
        time.sleep(0.05)
`;

t.test(
  "Debian's Python client goes on when the master is back",
  { skip: pythonMissing() },
  async (t) => {
    const store = openMemoryStore();
    let one = await startApi({ store });
    t.teardown(() => one.close());
    const path = join(api.dir, 'snake.kubeconfig');
    await writeKubeconfig(path, { pki: one.pki, server: `https://localhost:${one.port}` });
    const child = spawn(PYTHON, ['-c', INFORMER, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    const closed = once(child, 'close');
    t.teardown(async () => {
      child.kill('SIGKILL');
      await closed;
    });
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    const has = (cache: Record<string, string>) => () =>
      said.trimEnd().split('\n').at(-1) === pythonJson(cache);
    const make = async (name: string): Promise<string> => {
      const body = configMapOf(name);
      Object.assign(body.metadata, { labels: { of: 'snake' } });
      return (await one.call('POST', CONFIG_MAPS, { body })).json.metadata.resourceVersion;
    };
    await until('it has listed', has({}));
    const first = await make('first');
    await until('it sees the first', has({ first }));
    for (const name of ['second', 'third']) {
      const { port, pki } = one;
      await one.close();
      one = await startApi({ store, port, pki });
      const made = await make(name);
      await until('it has caught up', has({ first, [name]: made }));
      await one.call('DELETE', `${CONFIG_MAPS}/${name}`);
      await until('it sees the end of it', has({ first }));
    }
    t.equal(child.exitCode, null, 'it runs on');
  },
);

/** As Python's json.dumps prints it. */
function pythonJson(cache: Record<string, string>): string {
  const pairs = Object.entries(cache).map(([key, value]) => `"${key}": "${value}"`);
  return `{${pairs.join(', ')}}`;
}

/**
 * `pier up`: a master and an agent on this board, and the first app on them. Shows each step; a step that fails says
 * what to do. Stays in the foreground; Ctrl-C stops agent, then master, and leaves the pods running for the next `up`.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, chown, copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { applyManifest } from '../apply.ts';
import { Client, RequestError } from '../client.ts';
import { readKubeconfig } from '../kubeconfig.ts';
import { renderTable, type Table } from '../table.ts';
import { DEMO_IMAGE, ensureDemoImage, localPodman } from './demo-image.ts';
import { type Child, startChild } from './supervise.ts';

const run = promisify(execFile);

export interface UpOptions {
  readonly home: string;
  readonly data: string;
  readonly node: string;
  readonly apiPort: number;
  readonly mqttPort: number;
  readonly demo: boolean;
  /** This board's address; absent: the one of the default route. */
  readonly address: string | undefined;
}

interface Conditions {
  readonly status?: {
    readonly conditions?: ReadonlyArray<{
      readonly type: string;
      readonly status: string;
      readonly message?: string;
    }>;
  };
}
interface NodeObject extends Conditions {
  readonly status?: Conditions['status'] & {
    readonly addresses?: ReadonlyArray<{ readonly type: string; readonly address: string }>;
  };
}
interface DeploymentObject extends Conditions {
  readonly metadata: { readonly generation?: number };
  readonly spec: { readonly replicas?: number };
  readonly status?: Conditions['status'] & {
    readonly observedGeneration?: number;
    readonly updatedReplicas?: number;
    readonly availableReplicas?: number;
    readonly replicas?: number;
  };
}

const MASTER_WAIT_MS = 60_000;
const NODE_WAIT_MS = 60_000;
const ROLLOUT_WAIT_MS = 120_000;
const STOP_GRACE_MS = 15_000;
const POLL_MS = 100;

const say = (text: string) => process.stderr.write(`pier: ${text}\n`);

/** Nodes are DNS-1123 subdomains; host names need not be. */
export function nodeNameOf(host: string): string {
  const name = host
    .toLowerCase()
    .replace(/[^a-z0-9.-]+/g, '-')
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, '');
  return name === '' ? 'board' : name.slice(0, 63);
}

export const defaultNodeName = () => nodeNameOf(hostname());

/** Resolves with the exit code. */
export async function up(options: UpOptions): Promise<number> {
  await mkdir(options.data, { recursive: true, mode: 0o755 });
  const pidFile = join(options.data, 'up.pid');
  await refuseSecondUp(pidFile);
  const children: Child[] = [];
  const interrupted = new AbortController();
  const onSignal = () => interrupted.abort();
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  let code = 0;
  try {
    await writeFile(pidFile, String(process.pid));
    await bringUp(options, children, interrupted.signal);
    const ended = await Promise.race([
      untilAborted(interrupted.signal),
      ...children.map((c) => c.ended),
    ]);
    if (ended !== undefined) {
      say(`error: ${ended}`);
      code = 1;
    }
  } catch (error) {
    if (!interrupted.signal.aborted) {
      say(`error: ${error instanceof Error ? error.message : String(error)}`);
      code = 1;
    }
  }
  // What still waits for an answer need not wait any longer.
  interrupted.abort();
  say('stopping; the pods stay and the next `up` takes them over');
  for (const child of children.reverse()) await child.stop(STOP_GRACE_MS);
  await rm(pidFile, { force: true });
  return code;
}

async function refuseSecondUp(pidFile: string): Promise<void> {
  const pid = Number(await readFile(pidFile, 'utf8').catch(() => ''));
  if (!Number.isInteger(pid) || pid <= 0 || pid === process.pid) return;
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  if (command.includes('pier')) {
    throw new Error(
      `Pier is up already (process ${pid}). Stop it with Ctrl-C there, or: sudo kill ${pid}`,
    );
  }
}

async function bringUp(options: UpOptions, children: Child[], signal: AbortSignal): Promise<void> {
  const startedAt = performance.now();
  const dist = join(options.home, 'dist');
  const masterData = join(options.data, 'master');
  const agentData = join(options.data, 'agent');
  await mkdir(agentData, { recursive: true, mode: 0o700 });

  say('starting the master');
  const master = startChild(
    'the master',
    join(dist, 'pier-master.mjs'),
    [
      'run',
      '--data',
      masterData,
      '--api-port',
      String(options.apiPort),
      '--mqtt-port',
      String(options.mqttPort),
      ...(options.address === undefined ? [] : ['--address', options.address]),
    ],
    join(options.data, 'master.log'),
    process.env,
  );
  children.push(master);
  const kubeconfig = join(masterData, 'admin.kubeconfig');
  const client = await whileRunning(master, waitForApi(kubeconfig, signal));

  const credentials = join(agentData, 'credentials.json');
  if (!existsSync(credentials)) {
    say(`making the credentials of board ${options.node}`);
    await run(process.execPath, [
      join(dist, 'pier-master.mjs'),
      'board-credentials',
      options.node,
      '--data',
      masterData,
      '--output',
      credentials,
      '--api-server',
      `https://127.0.0.1:${options.apiPort}`,
      '--broker',
      `mqtts://127.0.0.1:${options.mqttPort}`,
    ]);
  }

  say('starting the agent');
  const agent = startChild(
    'the agent',
    join(dist, 'pier-agent.mjs'),
    [
      '--data',
      agentData,
      '--credentials',
      credentials,
      ...(options.address === undefined ? [] : ['--address', options.address]),
    ],
    join(options.data, 'agent.log'),
    // The demo image is made with podman, so the pods must run there.
    { ...process.env, PIER_AGENT_RUNTIME: 'podman' },
  );
  children.push(agent);
  const running = <T>(work: Promise<T>) => whileRunning(master, whileRunning(agent, work));

  const madeImage = options.demo && (await ensureDemoImage(localPodman));
  if (madeImage) say(`made the demo image ${DEMO_IMAGE}`);
  const address = await running(waitForNode(client, options.node, signal));
  say(`board ${options.node} is Ready at ${address}`);
  const userKubeconfig = await publishKubeconfig(kubeconfig, options.data);
  if (options.demo) await running(deployHello(client, options, address, signal));
  say(`took ${((performance.now() - startedAt) / 1000).toFixed(1)} s. Now:`);
  process.stdout.write(`export KUBECONFIG=${userKubeconfig}\n`);
  say('Ctrl-C stops Pier and leaves the pods running');
  client.close();
}

async function deployHello(
  client: Client,
  options: UpOptions,
  address: string,
  signal: AbortSignal,
): Promise<void> {
  const manifest = await readFile(join(options.home, 'docs/examples/hello.yaml'), 'utf8');
  for (const { kind, name, result } of await applyManifest(client, manifest)) {
    say(`${kind.toLowerCase()}/${name} ${result}`);
  }
  await waitForRollout(client, 'hello', signal);
  const pods = await client.json<Table>(
    '/api/v1/namespaces/default/pods?labelSelector=app%3Dhello',
    {
      accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json',
    },
  );
  process.stdout.write(`${renderTable(pods, true).join('\n')}\n\n`);
  const service = await client.json<{ spec: { ports: Array<{ nodePort?: number }> } }>(
    '/api/v1/namespaces/default/services/hello',
  );
  const url = `http://${address}:${service.spec.ports[0]?.nodePort}/`;
  await waitForAnswer(url, signal);
  process.stdout.write(`URL: ${url}\n`);
}

/** The admin kubeconfig is root's; the person behind sudo gets a copy that only they can read. */
async function publishKubeconfig(source: string, data: string): Promise<string> {
  const uid = Number(process.env.SUDO_UID);
  if (!Number.isInteger(uid) || uid === 0) return source;
  const target = join(data, `kubeconfig-${uid}`);
  await copyFile(source, target);
  await chmod(target, 0o600);
  await chown(target, uid, Number(process.env.SUDO_GID ?? uid));
  return target;
}

async function whileRunning<T>(child: Child, work: Promise<T>): Promise<T> {
  const outcome = await Promise.race([
    work.then((value) => ({ value })),
    child.ended.then((sentence) => ({ sentence })),
  ]);
  if ('value' in outcome) return outcome.value;
  throw new Error(outcome.sentence);
}

async function untilAborted(signal: AbortSignal): Promise<undefined> {
  if (signal.aborted) return undefined;
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  return undefined;
}

/** Asks until `attempt` gives an answer. Its last `problem` is what the error names. */
async function poll<T>(
  what: string,
  waitMs: number,
  signal: AbortSignal,
  attempt: () => Promise<{ value: T } | { problem: string }>,
): Promise<T> {
  const deadline = performance.now() + waitMs;
  let problem = 'no answer yet';
  while (performance.now() < deadline) {
    signal.throwIfAborted();
    try {
      const outcome = await attempt();
      if ('value' in outcome) return outcome.value;
      problem = outcome.problem;
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      problem = error.message;
    }
    await sleep(POLL_MS, undefined, { signal });
  }
  throw new Error(`${what} took longer than ${waitMs / 1000} s: ${problem}`);
}

async function waitForApi(kubeconfig: string, signal: AbortSignal): Promise<Client> {
  return poll('the start of the API server', MASTER_WAIT_MS, signal, async () => {
    if (!existsSync(kubeconfig)) return { problem: 'it has not written its kubeconfig' };
    const client = new Client(readKubeconfig(kubeconfig));
    try {
      await client.text('/readyz', { signal });
      return { value: client };
    } catch (error) {
      client.close();
      throw error;
    }
  });
}

async function waitForNode(client: Client, name: string, signal: AbortSignal): Promise<string> {
  return poll(`waiting for board ${name} to be Ready`, NODE_WAIT_MS, signal, async () => {
    const node = await client.json<NodeObject>(`/api/v1/nodes/${name}`, { signal });
    const ready = node.status?.conditions?.find((c) => c.type === 'Ready');
    const address = node.status?.addresses?.find((a) => a.type === 'InternalIP')?.address;
    return ready?.status === 'True' && address !== undefined
      ? { value: address }
      : { problem: ready?.message ?? 'it has not reported yet' };
  });
}

async function waitForRollout(client: Client, name: string, signal: AbortSignal): Promise<void> {
  let shown = '';
  await poll(`the rollout of deployment ${name}`, ROLLOUT_WAIT_MS, signal, async () => {
    const { metadata, spec, status } = await client.json<DeploymentObject>(
      `/apis/apps/v1/namespaces/default/deployments/${name}`,
      { signal },
    );
    const wanted = spec.replicas ?? 1;
    const observed = (status?.observedGeneration ?? 0) >= (metadata.generation ?? 1);
    const available = observed ? (status?.availableReplicas ?? 0) : 0;
    const progress = `${available} of ${wanted} pods of ${name} are available`;
    if (progress !== shown) say(progress);
    shown = progress;
    return observed &&
      available >= wanted &&
      status?.updatedReplicas === wanted &&
      status.replicas === wanted
      ? { value: undefined }
      : { problem: `${progress}; look at: kubectl describe pods -l app=${name}` };
  });
}

async function waitForAnswer(url: string, signal: AbortSignal): Promise<void> {
  await poll(`the first answer of ${url}`, 30_000, signal, async () => {
    try {
      const answer = await fetch(url, { signal: AbortSignal.timeout(2_000) });
      await answer.text();
      return answer.ok ? { value: undefined } : { problem: `HTTP ${answer.status}` };
    } catch (error) {
      return { problem: String(error instanceof Error ? (error.cause ?? error.message) : error) };
    }
  });
}

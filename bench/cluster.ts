/** A fleet for a benchmark: boards of the lab with the built Pier, and an API client that watches. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { Client } from '../cli/client.ts';
import { DEMO_IMAGE } from '../cli/commands/demo-image.ts';
import { type Connection, readKubeconfig } from '../cli/kubeconfig.ts';
import type { Deployment, Node, Pod } from '../protocol/kinds/types.ts';
import { Lab, type LabOptions } from '../test/lab/lab.ts';
import { labMissing } from '../test/support/needs.ts';
import { say } from './benchmark.ts';
import { HOME } from './host.ts';

export interface Cluster {
  readonly lab: Lab;
  readonly client: Client;
  readonly connection: Connection;
  close(): Promise<void>;
}

export interface ClusterOptions extends Omit<LabOptions, 'connectHost'> {
  /** Boards that get an agent; the master is on board 1. */
  readonly agents: readonly number[];
  /** Flags of the master that need the lab's addresses. */
  readonly masterFlagsIn?: (lab: Lab) => readonly string[];
}

/** Builds dist/, so that what is measured is what is here. */
export function buildPier(): void {
  const build = spawnSync(process.execPath, [join(HOME, 'firmware-scripts/build.mjs')], {
    stdio: ['ignore', 2, 2],
  });
  if (build.status !== 0) throw new Error('Pier could not be built');
}

/** Master and agents run and the boards are Ready. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const missing = labMissing();
  if (missing !== false) throw new Error(`no boards on this machine: ${missing}`);
  buildPier();
  say(`switching on ${options.boards} boards`);
  const lab = await Lab.create({ ...options, connectHost: true });
  // A board outlives the process that made it.
  const interrupted = () => void lab.close().finally(() => process.exit(130));
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
  try {
    await lab.startMaster(options.masterFlagsIn?.(lab));
    // Written after the master begins to answer.
    await lab.until('there is a kubeconfig', async () => existsSync(lab.kubeconfig));
    const connection = readKubeconfig(lab.kubeconfig);
    const client = new Client(connection);
    for (const index of options.agents) await lab.startAgent(index);
    await untilNodesReady(lab, client, options.agents.length);
    const close = async () => {
      client.close();
      process.off('SIGINT', interrupted).off('SIGTERM', interrupted);
      await lab.close();
    };
    return { lab, client, connection, close };
  } catch (error) {
    await lab.close();
    throw error;
  }
}

export async function untilNodesReady(lab: Lab, client: Client, count: number): Promise<void> {
  await lab.until(
    `${count} boards are Ready`,
    async () => {
      const { items } = await client.json<{ items: Node[] }>('/api/v1/nodes');
      const ready = items.filter(isNodeReady).length;
      return ready === count || `${ready} are`;
    },
    120_000,
  );
}

export function isNodeReady(node: Node): boolean {
  return node.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ?? false;
}

export function isPodReady(pod: Pod): boolean {
  return pod.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ?? false;
}

export const DEPLOYMENTS = '/apis/apps/v1/namespaces/default/deployments';
export const PODS = '/api/v1/namespaces/default/pods';

/** The demo image, as docs/examples/hello.yaml has it, in equal parts on all boards; `app` is its label. */
export function deploymentOf(app: string, replicas: number): Deployment {
  const spread = {
    maxSkew: 1,
    topologyKey: 'kubernetes.io/hostname',
    whenUnsatisfiable: 'DoNotSchedule',
    nodeTaintsPolicy: 'Honor',
    labelSelector: { matchLabels: { app } },
  };
  const spec = { ...podSpec(), topologySpreadConstraints: [spread] };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: app, labels: { app } },
    spec: {
      replicas,
      selector: { matchLabels: { app } },
      template: { metadata: { labels: { app } }, spec },
    },
  };
}

export function podSpec(): NonNullable<Pod['spec']> {
  return {
    terminationGracePeriodSeconds: 1,
    containers: [
      {
        name: 'web',
        image: DEMO_IMAGE,
        imagePullPolicy: 'Never',
        resources: { requests: { cpu: '10m', memory: '8Mi' }, limits: { memory: '32Mi' } },
      },
    ],
  };
}

/** Creates the Deployment or scales it, and waits until all of its pods are Ready. */
export async function deploy(cluster: Cluster, app: string, replicas: number): Promise<void> {
  const { client, lab } = cluster;
  const existing = await client.json<{ items: Deployment[] }>(DEPLOYMENTS);
  if (existing.items.some((item) => item.metadata?.name === app)) {
    await client.json(`${DEPLOYMENTS}/${app}`, {
      method: 'PATCH',
      body: { spec: { replicas } },
      contentType: 'application/merge-patch+json',
    });
  } else {
    await client.json(DEPLOYMENTS, { method: 'POST', body: deploymentOf(app, replicas) });
  }
  await lab.until(
    `${replicas} pods are Ready`,
    async () => {
      const pods = await podsOf(client, app);
      const ready = pods.filter(isPodReady).length;
      return (ready === replicas && pods.length === replicas) || `${ready} of ${pods.length} are`;
    },
    180_000,
  );
}

/** Deletes the Deployment and waits until its pods are gone. */
export async function undeploy(cluster: Cluster, app: string): Promise<void> {
  await cluster.client.json(`${DEPLOYMENTS}/${app}`, { method: 'DELETE' });
  await untilNoPods(cluster, app);
}

export async function untilNoPods({ lab, client }: Cluster, app: string): Promise<void> {
  await lab.until(
    'the pods are gone',
    async () => {
      const pods = await podsOf(client, app);
      return pods.length === 0 || `${pods.length} are left`;
    },
    180_000,
  );
}

export async function podsOf(client: Client, app: string): Promise<Pod[]> {
  const { items } = await client.json<{ items: Pod[] }>(`${PODS}?labelSelector=app%3D${app}`);
  return items;
}

export interface Watch {
  close(): void;
}

/**
 * Calls `onObject` for each event; resolves when the server has accepted the watch. The server ends each watch after half an hour
 * or more: then it begins anew, with all objects there are.
 */
export function watch<T>(
  connection: Connection,
  path: string,
  onObject: (type: string, object: T) => void,
): Promise<Watch> {
  const { server, ca, cert, key, serverName } = connection;
  const url = new URL(`${path}${path.includes('?') ? '&' : '?'}watch=true`, server);
  const options = {
    ca,
    cert,
    key,
    ...(serverName === undefined ? {} : { servername: serverName }),
  };
  let isClosed = false;
  return new Promise((resolve, reject) => {
    const open = (): void => {
      let rest = '';
      const call = request(url, options, (answer) => {
        answer.setEncoding('utf8');
        answer.on('data', (text: string) => {
          const lines = (rest + text).split('\n');
          rest = lines.pop() ?? '';
          for (const line of lines) {
            const event: { type: string; object: T } = JSON.parse(line);
            onObject(event.type, event.object);
          }
        });
        answer.on('end', () => {
          if (!isClosed) open();
        });
        const close = () => {
          isClosed = true;
          call.destroy();
        };
        resolve({ close: () => closeCurrent() });
        closeCurrent = close;
      });
      call.on('error', reject);
      call.end();
    };
    let closeCurrent = (): void => {};
    open();
  });
}

/**
 * A real master with simulated boards that report and do nothing else: what reaches the data directory meanwhile? Three
 * witnesses: the files and their times, the kernel's count of bytes (`write_bytes` of /proc/PID/io) and, where strace may
 * watch, every sync of any thread.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Link } from '../../agent/link/link.ts';
import type { Client } from '../../cli/client.ts';
import { parseClusterFile } from '../../master/cluster-file.ts';
import { ensurePki, type Pki } from '../../master/pki/pki.ts';
import type { DesiredPod } from '../../protocol/messages.ts';
import { credentialsOf, facts, heartbeat, makeLink, pod, until } from '../master/fleet/fixture.ts';
import { straceMissing } from './kill-run.ts';
import { MasterProcess } from './master-process.ts';

const NODES = '/api/v1/nodes';
const PODS = '/api/v1/namespaces/default/pods';
const UP_MS = 60_000;
/** Nothing must have changed for so long before the window begins. */
const QUIET_MS = 3_000;
const STRACE_MS = 500;

export interface IdleOptions {
  readonly program: string;
  readonly data: string;
  readonly boards: number;
  readonly heartbeatMs: number;
  readonly windowMs: number;
}

/** What was seen in a window. */
export interface Seen {
  readonly heartbeats: number;
  readonly changedFiles: readonly string[];
  readonly writtenBytes: number;
  readonly revisions: number;
  /** Undefined where strace may not watch. */
  readonly syncs: number | undefined;
}

export interface IdleResult {
  readonly idle: Seen;
  /** The same witnesses over one write: what they can see. */
  readonly oneWrite: Seen;
  /** CPU of the last heartbeat of each board, as the metrics API answers: the reports did arrive. */
  readonly usages: readonly string[];
}

export async function idle(options: IdleOptions): Promise<IdleResult> {
  const master = await MasterProcess.start(options);
  const boards: Board[] = [];
  try {
    const pki = await ensurePki(join(options.data, 'pki'), {
      hostnames: [],
      addresses: ['127.0.0.1'],
    });
    const cluster = parseClusterFile(await readFile(join(options.data, 'cluster.json'), 'utf8'));
    for (let number = 1; number <= options.boards; number++) {
      boards.push(await Board.start(pki, `board${number}`, cluster.mqttPort, options.heartbeatMs));
    }
    await settle(master.client, options.boards);
    const witnesses = { master, boards, data: options.data };
    const nothing = await watch(witnesses, () => sleep(options.windowMs));
    const body = { metadata: { name: 'one' }, data: { text: 'a write' } };
    const oneWrite = await watch(witnesses, () =>
      master.client.json('/api/v1/namespaces/default/configmaps', { method: 'POST', body }),
    );
    const metrics = await master.client.json<{
      readonly items: readonly { readonly usage: { readonly cpu: string } }[];
    }>('/apis/metrics.k8s.io/v1beta1/nodes');
    return { idle: nothing, oneWrite, usages: metrics.items.map(({ usage }) => usage.cpu) };
  } finally {
    for (const board of boards) await board.stop();
    await master.stop();
  }
}

/** Ten boards and a running pod on each, and then nothing for a while. */
async function settle(client: Client, boards: number): Promise<void> {
  const ready = async () => {
    const { items } = await client.json<List>(NODES);
    return items.filter((node) =>
      node.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True'),
    ).length;
  };
  await until(async () => (await ready()) === boards, 'all boards ready', UP_MS);
  for (let number = 1; number <= boards; number++) {
    const name = `board${number}`;
    const containers = [{ name: 'c', image: 'busybox' }];
    await client.json(PODS, {
      method: 'POST',
      body: pod(name, { spec: { containers, nodeName: name } }),
    });
  }
  const running = async () =>
    (await client.json<List>(PODS)).items.filter(({ status }) => status?.phase === 'Running')
      .length;
  await until(async () => (await running()) === boards, 'all pods running', UP_MS);
  let last = -1;
  let sinceMs = performance.now();
  await until(
    async () => {
      const revision = await revisionOf(client);
      if (revision !== last) sinceMs = performance.now();
      last = revision;
      return performance.now() - sinceMs > QUIET_MS;
    },
    `no write for ${QUIET_MS} ms`,
    UP_MS,
  );
}

interface Witnesses {
  readonly master: MasterProcess;
  readonly boards: readonly Board[];
  readonly data: string;
}

async function watch(
  { master, boards, data }: Witnesses,
  during: () => Promise<unknown>,
): Promise<Seen> {
  const trace = straceMissing() === false ? new SyncTrace(master.pid) : undefined;
  if (trace !== undefined) await sleep(STRACE_MS);
  const look = async () => ({
    files: await listFiles(data),
    bytes: await writtenBytes(master.pid),
    revision: await revisionOf(master.client),
    sent: boards.reduce((sum, board) => sum + board.sent, 0),
  });
  const before = await look();
  await during();
  const after = await look();
  const syncs = await trace?.stop();
  const names = new Set([...before.files.keys(), ...after.files.keys()]);
  return {
    heartbeats: after.sent - before.sent,
    changedFiles: [...names].filter((name) => before.files.get(name) !== after.files.get(name)),
    writtenBytes: after.bytes - before.bytes,
    revisions: after.revision - before.revision,
    syncs,
  };
}

interface List {
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly {
    readonly status?: {
      readonly phase?: string;
      readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    };
  }[];
}

/** The revision of the whole durable store, which every list carries. */
async function revisionOf(client: Client): Promise<number> {
  const { metadata } = await client.json<List>('/api/v1/namespaces/default/configmaps');
  return Number(metadata.resourceVersion);
}

async function listFiles(root: string): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for (const name of await readdir(root, { recursive: true })) {
    const { size, mtimeMs, ctimeMs } = await stat(join(root, name));
    files.set(name, `${size} ${mtimeMs} ${ctimeMs}`);
  }
  return files;
}

async function writtenBytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/io`, 'utf8');
  return Number(/^write_bytes: (\d+)$/m.exec(text)?.[1] ?? Number.NaN);
}

/** Counts every sync of a process while it is watched. */
class SyncTrace {
  readonly #strace: ChildProcess;
  readonly #ended: Promise<void>;
  #syncs = 0;

  constructor(pid: number) {
    // The log is opened with O_DSYNC: each of its pwrite64 is a sync.
    const calls = 'trace=fsync,fdatasync,sync,syncfs,sync_file_range,msync,pwrite64';
    this.#strace = spawn('strace', ['-f', '-qq', '-e', calls, '-p', String(pid)], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#strace.stderr?.on('data', (text: Buffer) => {
      this.#syncs += text.toString().match(/sync\w*\(|pwrite64\(/g)?.length ?? 0;
    });
    this.#ended = new Promise((resolve) => this.#strace.once('close', () => resolve()));
  }

  async stop(): Promise<number> {
    this.#strace.kill('SIGINT');
    await this.#ended;
    return this.#syncs;
  }
}

/** The agent's own link with made-up figures behind it. */
class Board {
  sent = 0;
  readonly #link: Link;
  readonly #timer: NodeJS.Timeout;

  private constructor(link: Link, timer: NodeJS.Timeout) {
    this.#link = link;
    this.#timer = timer;
  }

  static async start(pki: Pki, name: string, port: number, heartbeatMs: number): Promise<Board> {
    const credentials = await credentialsOf(pki, name, port);
    const session = `session of ${name}`;
    const key = createPublicKey(credentials.certificate).export({ type: 'spki', format: 'der' });
    const pods = new Map<string, DesiredPod>();
    const { link } = makeLink(credentials, session, {
      handlers: {
        onConnected: () => {
          const own = { hostname: name, machineId: name, systemUuid: name, bootId: name };
          link.publishFacts(facts(session, { ...own, publicKey: new Uint8Array(key) }));
        },
        onPod: (message) => {
          pods.set(message.uid, message);
          link.publishPod(runningReport(session, pods.size, message, name));
        },
      },
    });
    const timer = setInterval(() => {
      if (!link.connected) return;
      board.sent++;
      const usage = {
        cpuNanoCores: 1e8 + board.sent * 1e6,
        memoryWorkingSetBytes: 1e8 + board.sent,
      };
      const own = [...pods.values()].map(({ uid }) => ({
        uid,
        namespace: 'default',
        name,
        containers: [{ name: 'c', ...usage }],
      }));
      link.publishHeartbeat(heartbeat(session, board.sent, { ...usage, pods: own }));
    }, heartbeatMs);
    const board = new Board(link, timer);
    link.start();
    return board;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#link.stop();
  }
}

function runningReport(session: string, sequence: number, { uid }: DesiredPod, name: string) {
  const conditions = ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map((type) => ({
    type,
    status: 'True',
  }));
  const status = {
    phase: 'Running',
    conditions,
    podIP: '10.42.0.9',
    podIPs: [{ ip: '10.42.0.9' }],
  };
  return { v: 1, session, sequence, uid, namespace: 'default', name, status, gone: false } as const;
}

/**
 * How long an endpoint change takes to every board's proxy: a built master with its store on tmpfs (`--disk`: on the disk), and of 50 boards the link,
 * desired state and service proxy of the agent, ten boards a process. From before the API is asked to write until `ServiceProxy.update`
 * has returned with the new backends in its listening sockets.
 *   --boards N (50)   --changes N (200) of each kind   --disk
 * Left out: the agents' other parts (pods, web server, DNS, routes), the LAN (all is on loopback, with TLS), and that a board has cores of its
 * own: 50 boards share the machine with the master, so what is measured is more than a fleet has.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { hostname, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Client } from '../cli/client.ts';
import { readKubeconfig } from '../cli/kubeconfig.ts';
import { parseClusterFile } from '../master/cluster-file.ts';
import { ensurePki, writeBoardCredentials } from '../master/pki/pki.ts';
import type { Node } from '../protocol/kinds/types.ts';
import { BenchMaster, cpuMsOf } from './api-master.ts';
import { type Figures, type Json, printTable, quantile, round, say } from './benchmark.ts';
import { buildPier, isNodeReady, PODS } from './cluster.ts';
import type { BoardsOrder, ProxyHas } from './endpoint-boards.ts';

export const summary = "from an endpoint change in the API to every board's proxy, 50 boards";

const BOARDS_PER_PROCESS = 10;
const WARM = 20;
const WAIT_MS = 60_000;
const PAUSE_MS = { least: 50, spread: 150 };
/** Other services, which a real fleet has. */
const FILLERS = 30;
const SERVICES = '/api/v1/namespaces/default/services';
const ENDPOINTS = '/api/v1/namespaces/default/endpoints';
const MERGE_PATCH = 'application/merge-patch+json';
const POD_IPS = ['10.42.1.2', '10.42.2.2', '10.42.3.2'];

export async function run(args: string[]): Promise<Figures> {
  const { values } = parseArgs({
    args,
    options: {
      boards: { type: 'string', default: '50' },
      changes: { type: 'string', default: '200' },
      disk: { type: 'boolean', default: false },
      'no-peers': { type: 'boolean', default: false },
    },
  });
  buildPier();
  const folder = mkdtempSync(join(values.disk ? tmpdir() : '/dev/shm', 'pier-bench-endpoints-'));
  const boardsFolder = mkdtempSync('/dev/shm/pier-bench-boards-');
  const master = await BenchMaster.start(folder, false);
  const fleet = new Fleet(
    Number(values.boards),
    new Client(readKubeconfig(join(folder, 'admin.kubeconfig'))),
  );
  try {
    await fleet.start(folder, boardsFolder);
    await fleet.makeServices();
    const changes = Number(values.changes);
    const figures: Record<string, Json> = {};
    const rows: Array<Array<string | number>> = [];
    for (const [kind, change] of [
      ['pod readiness (status patch)', (turn: number) => fleet.toggleReadiness(turn)],
      ['Endpoints written by hand', (turn: number) => fleet.writeEndpoints(turn)],
    ] as const) {
      for (let turn = 0; turn < WARM; turn++) await change(turn);
      const before = [master.cpuMs, fleet.cpuMs] as const;
      const loadBefore = round(loadavg()[0] ?? 0, 1);
      const took: Change[] = [];
      for (let turn = 0; turn < changes; turn++) took.push(await change(turn));
      const ms = took.flatMap(({ boardsMs }) => boardsMs);
      const lastMs = took.map(({ boardsMs }) => Math.max(...boardsMs));
      const writeMs = took.map((one) => one.writeMs);
      const found = {
        p50Ms: round(quantile(ms, 0.5), 1),
        p99Ms: round(quantile(ms, 0.99), 1),
        maxMs: round(Math.max(...ms), 1),
        lastBoardP50Ms: round(quantile(lastMs, 0.5), 1),
        lastBoardP99Ms: round(quantile(lastMs, 0.99), 1),
        writeP50Ms: round(quantile(writeMs, 0.5), 1),
        masterCpuMsPerChange: round((master.cpuMs - before[0]) / changes, 1),
        boardsCpuMsPerChange: round((fleet.cpuMs - before[1]) / changes, 1),
        samples: ms.length,
        loadBefore,
        loadAfter: round(loadavg()[0] ?? 0, 1),
      };
      figures[kind] = found;
      rows.push([kind, ...Object.values(found)]);
    }
    printTable([
      [
        'change',
        'p50 ms',
        'p99',
        'max',
        'last board p50',
        'p99',
        'API answers p50',
        'master CPU ms',
        'boards CPU ms',
        'n',
        'load',
        'load',
      ],
      ...rows,
    ]);
    return { figures, peers: {} };
  } finally {
    fleet.stop();
    await master.stop();
    for (const one of [folder, boardsFolder]) rmSync(one, { recursive: true, force: true });
  }
}

interface Change {
  /** Of each board. */
  readonly boardsMs: number[];
  /** Until the API had answered. */
  readonly writeMs: number;
}

class Fleet {
  readonly #count: number;
  readonly #client: Client;
  readonly #processes: ChildProcess[] = [];
  /** Board -> when it first had these backends, by "service ips". */
  readonly #has = new Map<string, Map<string, bigint>>();

  constructor(count: number, client: Client) {
    this.#count = count;
    this.#client = client;
  }

  async start(masterFolder: string, boardsFolder: string): Promise<void> {
    say(`${this.#count} boards join`);
    const cluster = parseClusterFile(await readFile(join(masterFolder, 'cluster.json'), 'utf8'));
    const { clusterId, addresses, apiPort, mqttPort } = cluster;
    const names = { hostnames: [hostname().toLowerCase()], addresses };
    const pki = await ensurePki(join(masterFolder, 'pki'), names);
    const boards: BoardsOrder['boards'][number][] = [];
    for (let index = 1; index <= this.#count; index++) {
      const node = `board${index}`;
      const credentials = await writeBoardCredentials(join(boardsFolder, `${node}.json`), {
        ...{ pki, clusterId, node },
        apiServer: `https://127.0.0.1:${apiPort}`,
        broker: `mqtts://127.0.0.1:${mqttPort}`,
      });
      boards.push({ index, credentials });
    }
    for (let first = 0; first < boards.length; first += BOARDS_PER_PROCESS) {
      const child = fork(new URL('./endpoint-boards.ts', import.meta.url));
      child.on('message', (told: ProxyHas[]) => this.#note(told));
      const part = boards.slice(first, first + BOARDS_PER_PROCESS);
      const order: BoardsOrder = { folder: boardsFolder, watched: ['web', 'manual'], boards: part };
      child.send(order);
      this.#processes.push(child);
    }
    await until('all boards are Ready', async () => {
      const { items } = await this.#client.json<{ items: Node[] }>('/api/v1/nodes');
      return items.filter((one) => isNodeReady(one) && one.spec?.podCIDR).length === this.#count;
    });
  }

  /** Of all boards together. */
  get cpuMs(): number {
    return this.#processes.reduce((sum, { pid }) => sum + cpuMsOf(pid), 0);
  }

  stop(): void {
    this.#client.close();
    for (const child of this.#processes) child.kill();
  }

  async makeServices(): Promise<void> {
    const ports = [{ port: 80 }];
    for (let number = 0; number < FILLERS; number++) {
      await this.#post(SERVICES, 'Service', `filler-${number}`, { spec: { ports } });
      const addresses = [{ ip: `10.42.4.${number + 2}` }, { ip: `10.42.5.${number + 2}` }];
      await this.#post(ENDPOINTS, 'Endpoints', `filler-${number}`, {
        subsets: [{ addresses, ports }],
      });
    }
    await this.#post(SERVICES, 'Service', 'web', { spec: { ports, selector: { app: 'web' } } });
    await this.#post(SERVICES, 'Service', 'manual', { spec: { ports } });
    await this.#post(ENDPOINTS, 'Endpoints', 'manual', { subsets: [] });
    for (const [number] of POD_IPS.entries()) {
      const spec = { nodeName: `board${number + 1}`, containers: [{ name: 'web', image: 'web' }] };
      await this.#post(PODS, 'Pod', `web-${number}`, { spec }, { app: 'web' });
      await this.#setReady(number, true);
    }
    await this.#untilAllHave('web', POD_IPS);
  }

  /** Of a service with three pods one becomes ready or is so no more. */
  toggleReadiness(turn: number): Promise<Change> {
    const number = Math.floor(turn / 2) % POD_IPS.length;
    const isReady = turn % 2 === 1;
    const wanted = POD_IPS.filter((_, index) => index !== number || isReady);
    return this.#measured('web', wanted, () => this.#setReady(number, isReady));
  }

  writeEndpoints(turn: number): Promise<Change> {
    const ips = [`10.42.6.${(turn % 200) + 2}`, `10.42.7.${(turn % 200) + 2}`];
    const addresses = ips.map((ip) => ({ ip }));
    const body = { subsets: [{ addresses, ports: [{ port: 80 }] }] };
    return this.#measured('manual', ips, () => this.#patch(`${ENDPOINTS}/manual`, body));
  }

  async #measured(
    service: string,
    ips: readonly string[],
    write: () => Promise<void>,
  ): Promise<Change> {
    await sleep(PAUSE_MS.least + Math.random() * PAUSE_MS.spread);
    this.#has.clear();
    const startNs = process.hrtime.bigint();
    await write();
    const writeMs = Number(process.hrtime.bigint() - startNs) / 1e6;
    const times = await this.#untilAllHave(service, ips);
    return { boardsMs: times.map((atNs) => Number(atNs - startNs) / 1e6), writeMs };
  }

  async #untilAllHave(service: string, ips: readonly string[]): Promise<bigint[]> {
    const key = `${service} ${ips.join()}`;
    const times = () => [...this.#has.values()].flatMap((one) => one.get(key) ?? []);
    await until(`all proxies have ${key}`, async () => times().length === this.#count);
    return times();
  }

  #note(told: readonly ProxyHas[]): void {
    for (const { board, service, ips, atNs } of told) {
      const has = this.#has.get(board) ?? new Map<string, bigint>();
      has.set(`${service} ${ips}`, BigInt(atNs));
      this.#has.set(board, has);
    }
  }

  async #setReady(number: number, isReady: boolean): Promise<void> {
    const podIP = POD_IPS[number] ?? '';
    const status = isReady ? 'True' : 'False';
    const conditions = ['Ready', 'ContainersReady'].map((type) => ({ type, status }));
    const body = { status: { phase: 'Running', podIP, podIPs: [{ ip: podIP }], conditions } };
    await this.#patch(`${PODS}/web-${number}/status`, body);
  }

  async #patch(path: string, body: object): Promise<void> {
    await this.#client.json(path, { method: 'PATCH', body, contentType: MERGE_PATCH });
  }

  async #post(path: string, kind: string, name: string, more: object, labels = {}): Promise<void> {
    const body = { apiVersion: 'v1', kind, metadata: { name, labels }, ...more };
    await this.#client.json(path, { method: 'POST', body });
  }
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + WAIT_MS;
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`not within ${WAIT_MS / 1000} s: ${what}`);
    await sleep(5);
  }
}

/**
 * The peer: Debian's docker.io with a swarm of one manager, on a board of its own, so that its processes, disk and
 * network are apart from ours and on the same machine. Spoken to over its socket, as we are over ours.
 */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DEMO_IMAGE } from '../cli/commands/demo-image.ts';
import type { Board } from '../test/lab/board.ts';

const DOCKERD = '/usr/sbin/dockerd';
/** Debian's, which fits its dockerd; others may stand before it in PATH. */
const DOCKER = '/usr/bin/docker';
const START_MS_MAX = 60_000;
const POLL_MS = 20;

/** Throws an Error that says what to do when the peer is wanted and absent. */
export function requirePeers(args: readonly string[]): boolean {
  if (args.includes('--no-peers')) return false;
  if (existsSync(DOCKERD) && existsSync(DOCKER)) return true;
  throw new Error(
    'the peer is missing: sudo apt-get install docker.io, or give --no-peers for our figures alone',
  );
}

interface SwarmNode {
  readonly ID: string;
  readonly Version: { readonly Index: number };
  readonly Spec: { readonly Role: string; readonly Availability: string };
}

interface Task {
  readonly Status: { readonly State: string };
}

/** dockerd of a board, spoken to over its socket. */
class Dockerd {
  readonly #socket: string;
  readonly #agent = new Agent({ keepAlive: true });

  private constructor(socket: string) {
    this.#socket = socket;
  }

  /** It answers and holds the demo image. */
  static async start(board: Board): Promise<Dockerd> {
    const socket = join(board.dir, 'pier/docker.sock');
    await mkdir(join(board.dir, 'docker'), { recursive: true });
    const daemon = board.spawn(DOCKERD, [
      ...['--data-root', join(board.dir, 'docker'), '--exec-root', '/run/docker'],
      ...['--pidfile', '/run/docker.pid', '--host', `unix://${socket}`],
    ]);
    let words = '';
    const hear = (chunk: Buffer) => {
      words = (words + chunk.toString('utf8')).slice(-2000);
    };
    daemon.stdout?.on('data', hear);
    daemon.stderr?.on('data', hear);
    const dockerd = new Dockerd(socket);
    const deadline = performance.now() + START_MS_MAX;
    while (!(await dockerd.#answers())) {
      if (daemon.exitCode !== null || performance.now() > deadline) {
        throw new Error(`dockerd did not start: ${words}`);
      }
      await sleep(100);
    }
    const load = `podman save -q ${DEMO_IMAGE} | ${DOCKER} -H unix://${socket} load`;
    await board.exec('sh', ['-ec', load]);
    return dockerd;
  }

  close(): void {
    this.#agent.destroy();
  }

  async #answers(): Promise<boolean> {
    return this.call('GET', '/version').then(
      () => true,
      () => false,
    );
  }

  call<T>(method: string, path: string, body?: unknown): Promise<T> {
    return new Promise((resolve, reject) => {
      const call = request(
        {
          socketPath: this.#socket,
          agent: this.#agent,
          method,
          path: `/v1.41${path}`,
          headers: body === undefined ? {} : { 'content-type': 'application/json' },
        },
        (answer) => {
          let text = '';
          answer.setEncoding('utf8');
          answer.on('data', (chunk: string) => {
            text += chunk;
          });
          answer.on('end', () => {
            if ((answer.statusCode ?? 500) >= 300) reject(new Error(`docker ${path}: ${text}`));
            else resolve(text === '' ? (undefined as T) : (JSON.parse(text) as T));
          });
        },
      );
      call.on('error', reject);
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

export class Swarm {
  readonly #manager: Dockerd;
  readonly #address: string;
  /** Where its containers run. */
  #worker: Dockerd;

  private constructor(manager: Dockerd, address: string) {
    this.#manager = manager;
    this.#worker = manager;
    this.#address = `${address}:2377`;
  }

  /** dockerd runs on this board and is manager and only worker of a swarm. */
  static async start(board: Board): Promise<Swarm> {
    const manager = await Dockerd.start(board);
    const swarm = new Swarm(manager, board.address);
    const ListenAddr = swarm.#address;
    await manager.call('POST', '/swarm/init', { ListenAddr, AdvertiseAddr: board.address });
    return swarm;
  }

  /** From now on everything runs on this board, and nothing on the manager's. */
  async moveTo(board: Board): Promise<void> {
    const { JoinTokens } = await this.#manager.call<{ JoinTokens: { Worker: string } }>(
      'GET',
      '/swarm',
    );
    this.#worker = await Dockerd.start(board);
    await this.#worker.call('POST', '/swarm/join', {
      ListenAddr: `${board.address}:2377`,
      AdvertiseAddr: board.address,
      RemoteAddrs: [this.#address],
      JoinToken: JoinTokens.Worker,
    });
    const nodes = await this.#manager.call<SwarmNode[]>('GET', '/nodes');
    const manager = nodes.find(({ Spec }) => Spec.Role === 'manager');
    if (manager === undefined) throw new Error('the swarm has no manager');
    await this.#manager.call(
      'POST',
      `/nodes/${manager.ID}/update?version=${manager.Version.Index}`,
      { ...manager.Spec, Availability: 'drain' },
    );
  }

  /** `docker service create --replicas N`: one call, as the creation of a Deployment is. */
  async create(name: string, replicas: number): Promise<void> {
    await this.#manager.call('POST', '/services/create', {
      Name: name,
      TaskTemplate: { ContainerSpec: { Image: DEMO_IMAGE, StopGracePeriod: 1_000_000_000 } },
      Mode: { Replicated: { Replicas: replicas } },
    });
  }

  /** There is no watch of tasks in Docker's API: asks every 20 ms. */
  async untilRunning(name: string, replicas: number, limitMs = 120_000): Promise<void> {
    const filters = encodeURIComponent(JSON.stringify({ service: { [name]: true } }));
    const deadline = performance.now() + limitMs;
    let seen = '';
    while (performance.now() < deadline) {
      const tasks = await this.#manager.call<Task[]>('GET', `/tasks?filters=${filters}`);
      const running = tasks.filter((task) => task.Status.State === 'running').length;
      if (running >= replicas) return;
      seen = JSON.stringify(tasks.map((task) => task.Status)).slice(0, 500);
      await sleep(POLL_MS);
    }
    throw new Error(`swarm did not start ${replicas} tasks; last seen: ${seen}`);
  }

  /** Removes the service and waits until its containers are gone. */
  async remove(name: string): Promise<void> {
    await this.#manager.call('DELETE', `/services/${name}`);
    const filters = encodeURIComponent(
      JSON.stringify({ label: { [`com.docker.swarm.service.name=${name}`]: true } }),
    );
    while (
      (await this.#worker.call<unknown[]>('GET', `/containers/json?all=1&filters=${filters}`))
        .length
    )
      await sleep(100);
  }

  close(): void {
    for (const daemon of new Set([this.#manager, this.#worker])) daemon.close();
  }
}

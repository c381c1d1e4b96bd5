/** A built master of its own for `bench/api.ts`: its start, connections to it, what it uses, and a profile of it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { connect } from 'node:tls';
import WebSocket from 'ws';
import { type Connection, readKubeconfig } from '../cli/kubeconfig.ts';
import { HOME } from './host.ts';
import { HttpConnection } from './store-client.ts';

const START_MS = 60_000;

export class BenchMaster {
  readonly #connection: Connection;
  readonly #child: ChildProcess;
  readonly #inspector: Inspector | undefined;

  private constructor(connection: Connection, child: ChildProcess, inspector?: Inspector) {
    this.#connection = connection;
    this.#child = child;
    this.#inspector = inspector;
  }

  /** Resolves when it answers. `inspect`: `profiled` may be called. */
  static async start(folder: string, inspect: boolean): Promise<BenchMaster> {
    const [api, mqtt] = [await freePort(), await freePort()];
    const program = [join(HOME, 'dist/pier-master.mjs'), 'run', '--data', folder];
    const ports = ['--api-port', String(api), '--mqtt-port', String(mqtt), '--listen', '127.0.0.1'];
    const flags = inspect ? ['--inspect=127.0.0.1:0'] : [];
    const child = spawn(process.execPath, [...flags, ...program, ...ports], {
      stdio: ['ignore', 'ignore', inspect ? 'pipe' : 'inherit'],
      // MALLOC_ARENA_MAX: as in the systemd unit.
      env: { MALLOC_ARENA_MAX: '1', ...process.env, PIER_LOG: 'error' },
    });
    const inspector = inspect ? Inspector.of(child) : undefined;
    const kubeconfig = join(folder, 'admin.kubeconfig');
    const endMs = performance.now() + START_MS;
    while (performance.now() < endMs && child.exitCode === null) {
      if (existsSync(kubeconfig)) {
        const master = new BenchMaster(readKubeconfig(kubeconfig), child, await inspector);
        const client = await master.open().catch(() => undefined);
        client?.close();
        if (client !== undefined) return master;
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    child.kill('SIGKILL');
    throw new Error('the master did not come up');
  }

  async stop(): Promise<void> {
    // Node waits for its debugger to go.
    this.#inspector?.close();
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    if (this.#child.exitCode === null && this.#child.kill('SIGTERM')) await ended;
  }

  open(): Promise<HttpConnection> {
    const { server, ca, cert, key, serverName = 'localhost' } = this.#connection;
    return new Promise((resolve, reject) => {
      const address = { host: '127.0.0.1', port: Number(server.port), servername: serverName };
      const socket = connect({ ...address, ca, cert, key }, () => {
        socket.off('error', reject);
        resolve(new HttpConnection(socket));
      });
      socket.once('error', reject);
    });
  }

  /** CPU time of all threads so far. */
  get cpuMs(): number {
    return cpuMsOf(this.#child.pid);
  }

  get rssMiB(): number {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) / 1024;
  }

  /** Runs `work`; V8's profile of the master meanwhile goes to `file`. */
  async profiled<T>(file: string, work: () => Promise<T>): Promise<T> {
    const inspector = this.#inspector;
    if (inspector === undefined) throw new Error('the master was started without its inspector');
    await inspector.send('Profiler.enable');
    await inspector.send('Profiler.start');
    const result = await work();
    const { profile } = (await inspector.send('Profiler.stop')) as { readonly profile: unknown };
    writeFileSync(file, JSON.stringify(profile));
    return result;
  }
}

/** CPU time of all threads of a process so far. */
export function cpuMsOf(pid: number | undefined): number {
  const tasks = `/proc/${pid}/task`;
  const ns = readdirSync(tasks).map((task) => {
    // Nanoseconds on a core come first; /proc/PID/stat counts in ticks of 10 ms.
    return Number(readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ')[0]);
  });
  return ns.reduce((sum, one) => sum + one, 0) / 1e6;
}

/** Node's inspector (Chrome DevTools Protocol), one question at a time. */
class Inspector {
  readonly #socket: WebSocket;
  #number = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  static async of(child: ChildProcess): Promise<Inspector> {
    const address = await new Promise<string>((resolve) => {
      child.stderr?.on('data', (text: Buffer) => {
        const found = /ws:\/\/\S+/.exec(text.toString('utf8'))?.[0];
        if (found !== undefined) resolve(found);
        else process.stderr.write(text);
      });
    });
    const socket = new WebSocket(address);
    await new Promise((resolve) => socket.once('open', resolve));
    return new Inspector(socket);
  }

  close(): void {
    this.#socket.terminate();
  }

  send(method: string): Promise<unknown> {
    this.#number += 1;
    const id = this.#number;
    return new Promise((resolve) => {
      this.#socket.once('message', (text) => {
        const answer = JSON.parse(String(text)) as { readonly result?: unknown };
        resolve(answer.result);
      });
      this.#socket.send(JSON.stringify({ id, method }));
    });
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

/** Who forwards in bench/proxy.ts, and what they forward to: each a process of its own, on loopback. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'esbuild';
import { freePort } from '../test/support/free-port.ts';
import { HOME } from './host.ts';

/** Proxies have the first core for themselves; backends and clients share the others. */
const PROXY_CORE = '0';
const LOAD_CORES = availableParallelism() > 2 ? `1-${availableParallelism() - 1}` : '1';
const STREAM_MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so';
export const HOST = '127.0.0.1';

export interface Ports {
  /** Answers small HTTP requests. */
  readonly http: number;
  /** iperf3. */
  readonly bulk: number;
}

export interface Side {
  readonly name: string;
  readonly ports: Ports;
  /** 0: nobody is between client and backend. */
  readonly pid: number;
  stop(): void;
}

/** Runs where clients and backends run. */
export function loadCommand(command: string, args: readonly string[]): readonly [string, string[]] {
  return ['taskset', ['-c', LOAD_CORES, command, ...args]];
}

export async function startBackends(folder: string): Promise<Side> {
  const ports = await freePorts();
  const config = `${nginxHead(folder, 'backend')}
http {
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  server { listen ${HOST}:${ports.http} backlog=4096; return 200 "hello"; }
}`;
  const file = join(folder, 'backend.conf');
  writeFileSync(file, config);
  const children = [
    start(...loadCommand('nginx', nginxArgs(folder, file))),
    // Silent: it complains about each connection that asks for nothing, and `answers` makes some.
    start(...loadCommand('iperf3', ['-s', '-B', HOST, '-p', String(ports.bulk)]), 'ignore'),
  ];
  await Promise.race([failed(children), answers(ports)]);
  return { name: 'direct', ports, pid: 0, stop: () => end(children) };
}

export type StartProxy = (folder: string, backends: Ports) => Promise<Side>;

/** The agent's proxy as a bundle, made as the agent's is. */
export async function bundlePier(folder: string): Promise<string> {
  const outfile = join(folder, 'proxy-server.mjs');
  await build({
    entryPoints: [join(HOME, 'bench/proxy-server.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    minify: true,
    keepNames: true,
    external: ['cbor-extract'],
    banner: { js: "import{createRequire as r}from'node:module';const require=r(import.meta.url);" },
    logLevel: 'warning',
  });
  return outfile;
}

/** `nodeArgs`: flags, and the bundle. */
export const pier =
  (name: string, nodeArgs: readonly string[]): StartProxy =>
  async (_, backends) => {
    const ports = await freePorts();
    const pairs = [ports.http, backends.http, ports.bulk, backends.bulk].map(String);
    return proxy(name, ports, process.execPath, [...nodeArgs, ...pairs]);
  };

/** Debian's, one thread, buffers of 16 KiB as it comes. */
export const haproxy: StartProxy = async (folder, backends) => {
  const ports = await freePorts();
  const listen = (name: string, port: number, backend: number) => `
listen ${name}
  bind ${HOST}:${port} backlog 4096
  server one ${HOST}:${backend}`;
  const config = `
global
  nbthread 1
  maxconn 9000
defaults
  mode tcp
  timeout connect 3s
  timeout client 10m
  timeout server 10m
${listen('http', ports.http, backends.http)}
${listen('bulk', ports.bulk, backends.bulk)}
`;
  const file = join(folder, 'haproxy.cfg');
  writeFileSync(file, config);
  return proxy('haproxy', ports, 'haproxy', ['-db', '-q', '-f', file]);
};

/** Debian's stream module, one process: buffers of 16 KiB as it comes, of 256 KiB for bulk. */
export const nginx: StartProxy = async (folder, backends) => {
  const ports = await freePorts();
  const config = `load_module ${STREAM_MODULE};
${nginxHead(folder, 'nginx')}
stream {
  proxy_timeout 10m;
  server { listen ${HOST}:${ports.http} backlog=4096; proxy_pass ${HOST}:${backends.http}; }
  server { listen ${HOST}:${ports.bulk}; proxy_pass ${HOST}:${backends.bulk}; proxy_buffer_size 256k; }
}`;
  if (!existsSync(STREAM_MODULE)) {
    throw new Error('libnginx-mod-stream is missing: install it, or give --no-peers');
  }
  const file = join(folder, 'nginx.conf');
  writeFileSync(file, config);
  return proxy('nginx', ports, 'nginx', nginxArgs(folder, file));
};

function nginxHead(folder: string, name: string): string {
  return `daemon off;
master_process off;
pid ${join(folder, name)}.pid;
error_log stderr crit;
worker_rlimit_nofile 20000;
events { worker_connections 10000; }`;
}

function nginxArgs(folder: string, file: string): string[] {
  return ['-p', folder, '-c', file, '-e', 'stderr'];
}

async function freePorts(): Promise<Ports> {
  return { http: await freePort(), bulk: await freePort() };
}

async function proxy(
  name: string,
  ports: Ports,
  command: string,
  args: readonly string[],
): Promise<Side> {
  const child = start('taskset', ['-c', PROXY_CORE, command, ...args]);
  await Promise.race([failed([child]), answers(ports)]);
  return { name, ports, pid: child.pid ?? 0, stop: () => end([child]) };
}

/** taskset becomes the command: the pid is the command's. */
function start(
  command: string,
  args: readonly string[],
  errors: 'inherit' | 'ignore' = 'inherit',
): ChildProcess {
  return spawn(command, args, { stdio: ['ignore', 'ignore', errors] });
}

function end(children: readonly ChildProcess[]): void {
  for (const child of children) child.kill('SIGKILL');
}

async function failed(children: readonly ChildProcess[]): Promise<never> {
  const first = await Promise.race(
    children.map(async (child) => {
      const [code] = await once(child, 'exit');
      return `${child.spawnargs.slice(3).join(' ')} ended (${code})`;
    }),
  );
  throw new Error(`${first}: install what is missing (bench/README.md), or give --no-peers`);
}

async function answers(ports: Ports): Promise<void> {
  for (const port of [ports.http, ports.bulk]) {
    for (let attempt = 0; !(await isOpen(port)); attempt++) {
      if (attempt === 100) throw new Error(`nobody answers on port ${port}`);
      await sleep(50);
    }
  }
}

async function isOpen(port: number): Promise<boolean> {
  const socket = net.connect(port, HOST);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

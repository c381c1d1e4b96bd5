/**
 * A board with as many open connections as it takes (10,000): what they cost the proxy, whether each of them still answers, how long
 * a new one takes meanwhile, and what befalls one too many. Clients and backend are processes of their own, on loopback.
 *   --connections N   (as many as this process' limit of open files allows, at most the board's limit)
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { LIMITS } from '../agent/config.ts';
import { type Figures, printTable, quantile, round, say } from './benchmark.ts';
import { usageOf } from './measure.ts';
import { bundlePier, HOST, pier } from './proxy-sides.ts';

export const summary = '10,000 open connections through the service proxy: memory, time, limit';

/** Of the proxy's open files that are no connections: its own sockets, files and pipes. */
const OTHER_FILES = 100;
const OPENING = 100;
const FRESH = 200;

/** Says back what it hears, and its port first. */
const BACKEND = `
const server = require('net').createServer((socket) => socket.on('error', () => {}).pipe(socket));
server.listen({ host: '${HOST}', port: 0, backlog: 4096 }, () => console.log(server.address().port));
`;

export async function run(args: string[]): Promise<Figures> {
  const { values } = parseArgs({
    args,
    options: { connections: { type: 'string' }, 'no-peers': { type: 'boolean', default: false } },
  });
  const most = connectionsPossible();
  const wanted = Math.min(Number(values.connections ?? most), most);
  const folder = mkdtempSync(join(tmpdir(), 'pier-bench-connections-'));
  const backend = spawn(process.execPath, ['-e', BACKEND], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const sockets: net.Socket[] = [];
  try {
    const port = await portOf(backend);
    const bundle = await bundlePier(folder);
    const side = await pier('pier', [bundle])(folder, { http: port, bulk: port });
    try {
      const empty = await usageOf(side.pid);
      while (sockets.length < wanted) {
        const count = Math.min(OPENING, wanted - sockets.length);
        const fresh = Array.from({ length: count }, () => talk(side.ports.http));
        sockets.push(...(await Promise.all(fresh)));
      }
      say(`${sockets.length} connections are open`);
      const full = await usageOf(side.pid);
      const freshMs = await timesOfNew(side.ports.http, wanted === LIMITS.proxy.connectionsMax);
      await Promise.all(sockets.map(echo));
      const after = await usageOf(side.pid);
      const beyond = wanted < LIMITS.proxy.connectionsMax ? null : await fate(side.ports.http);
      const figures = {
        connections: wanted,
        mib: round((full.rssKib - empty.rssKib) / 1024, 1),
        mibAfterAllTalked: round((after.rssKib - empty.rssKib) / 1024, 1),
        newP50Ms: freshMs.length === 0 ? null : round(quantile(freshMs, 0.5), 2),
        newP99Ms: freshMs.length === 0 ? null : round(quantile(freshMs, 0.99), 2),
        oneTooMany: beyond,
      };
      printTable(Object.entries(figures).map(([name, value]) => [name, String(value)]));
      return { figures, peers: {} };
    } finally {
      side.stop();
    }
  } finally {
    for (const socket of sockets) socket.destroy();
    backend.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Each costs the proxy two open files. */
function connectionsPossible(): number {
  const words = execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim();
  const files = words === 'unlimited' ? Number.POSITIVE_INFINITY : Number(words);
  return Math.min(LIMITS.proxy.connectionsMax, Math.floor((files - OTHER_FILES) / 2));
}

async function portOf({ stdout }: ChildProcess): Promise<number> {
  if (stdout === null) throw new Error('the backend says nothing');
  const [words] = await once(stdout, 'data');
  return Number(words);
}

/** A connection over which something went there and back. */
async function talk(port: number): Promise<net.Socket> {
  const socket = net.connect(port, HOST);
  await echo(socket);
  return socket;
}

async function echo(socket: net.Socket): Promise<void> {
  socket.write('hello');
  await once(socket, 'data');
}

/** Milliseconds to the first answer; one after the other, so that there is always room. */
async function timesOfNew(port: number, isFull: boolean): Promise<number[]> {
  const times: number[] = [];
  for (let count = 0; count < (isFull ? 0 : FRESH); count++) {
    const start = performance.now();
    (await talk(port)).destroy();
    times.push(performance.now() - start);
  }
  return times;
}

async function fate(port: number): Promise<string> {
  const socket = net.connect(port, HOST);
  const [error] = await once(socket, 'error');
  return String(error.code);
}

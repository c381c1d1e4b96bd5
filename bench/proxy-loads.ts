/** What bench/proxy.ts does to each side, and what it costs the proxy: wrk, iperf3 and idle connections. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { usageOf } from './measure.ts';
import { HOST, loadCommand, type Side } from './proxy-sides.ts';

const CLIENTS = 64;
const SETTLE_MS = 1000;
const OPENING = 50;
const ATTEMPTS = 5;

export interface Sample {
  /** GB, requests or connections per second of the wall clock. */
  readonly rate: number;
  /** CPU seconds of the proxy for one of those. */
  readonly cpu: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly errors: number;
}

/** `seconds` is a whole number: wrk and iperf3 take no other. */
export type Load = (side: Side, seconds: number) => Promise<Sample>;

interface WrkOptions {
  readonly folder: string;
  /** A connection for each request. */
  readonly close?: boolean;
  /** Requests per second of all clients together; without it as many as it can. */
  readonly rate?: number;
}

/** At a rate, each client waits between its requests: evenly spread from none to twice the mean. */
const WRK_SCRIPT = `
local wait = tonumber(os.getenv("WAIT_MS") or "0")
if wait > 0 then delay = function() return math.random(0, 2 * wait) end end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('\\n{"requests":%d,"micros":%d,"errors":%d,"p50Us":%d,"p99Us":%d}\\n', summary.requests,
    summary.duration, e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end`;

export const wrk =
  ({ folder, close = false, rate }: WrkOptions): Load =>
  async (side, seconds) => {
    const script = join(folder, 'wrk.lua');
    writeFileSync(script, WRK_SCRIPT);
    const waitMs = rate === undefined ? 0 : Math.round((CLIENTS / rate) * 1000);
    const args = ['-t1', `-c${CLIENTS}`, `-d${seconds}s`, '-s', script];
    if (close) args.push('-H', 'Connection: close');
    const url = `http://${HOST}:${side.ports.http}/`;
    const { cpuSeconds, stdout } = await costOf(side, 'wrk', [...args, url], String(waitMs));
    const { requests, micros, errors, p50Us, p99Us } = JSON.parse(lastLine(stdout));
    const each = cpuSeconds / Math.max(1, requests);
    return { rate: requests / (micros / 1e6), cpu: each, errors, p50Us, p99Us };
  };

export const bulk =
  (streams: number, direction: 'up' | 'down'): Load =>
  async (side, seconds) => {
    const args = ['-c', HOST, '-p', String(side.ports.bulk), '-t', String(seconds), '-J'];
    const more = ['-P', String(streams), ...(direction === 'down' ? ['-R'] : [])];
    for (let attempt = 1; ; attempt++) {
      const { cpuSeconds, stdout } = await costOf(side, 'iperf3', [...args, ...more]);
      const { error, end } = JSON.parse(stdout);
      const { bytes, seconds: took } = end?.sum_received ?? {};
      if (bytes > 0) {
        const cpu = cpuSeconds / (bytes / 1e9);
        return { rate: bytes / 1e9 / took, cpu, errors: attempt - 1, p50Us: 0, p99Us: 0 };
      }
      // Its server takes one test at a time, and may still be busy with the end of the last.
      if (attempt === ATTEMPTS) throw new Error(`iperf3 through ${side.name}: ${error ?? stdout}`);
      await sleep(SETTLE_MS);
    }
  };

/** MiB of memory that so many connections take, each of which has asked once and then waits. */
export async function idleMemory(side: Side, connections: number): Promise<number> {
  const before = await usageOf(side.pid);
  const sockets: net.Socket[] = [];
  try {
    while (sockets.length < connections) {
      sockets.push(...(await Promise.all(Array.from({ length: OPENING }, () => askOnce(side)))));
    }
    await sleep(SETTLE_MS);
    const after = await usageOf(side.pid);
    return (after.rssKib - before.rssKib) / 1024;
  } finally {
    for (const socket of sockets) socket.destroy();
  }
}

async function askOnce({ ports }: Side): Promise<net.Socket> {
  const socket = net.connect(ports.http, HOST);
  socket.write('GET / HTTP/1.1\r\nHost: bench\r\n\r\n');
  await once(socket, 'data');
  return socket;
}

async function costOf(
  { pid }: Side,
  command: string,
  args: readonly string[],
  waitMs = '0',
): Promise<{ cpuSeconds: number; stdout: string }> {
  const before = pid === 0 ? undefined : await usageOf(pid);
  const [program, all] = loadCommand(command, args);
  const options = { env: { ...process.env, WAIT_MS: waitMs }, maxBuffer: 64 * 2 ** 20 };
  // iperf3 says in its JSON what went wrong.
  const { stdout } = await promisify(execFile)(program, all, options).catch((error) => {
    if (command !== 'iperf3' || !error.stdout) throw error;
    return { stdout: String(error.stdout) };
  });
  if (before === undefined) return { cpuSeconds: 0, stdout };
  const after = await usageOf(pid);
  if (after.processes === 0) throw new Error(`the proxy is gone (pid ${pid})`);
  return { cpuSeconds: after.cpuSeconds - before.cpuSeconds, stdout };
}

function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1) ?? '';
}

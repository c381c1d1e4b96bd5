/**
 * The service proxy of the agent alone, as a process of its own for bench/proxy.ts: arguments are pairs "PORT BACKEND_PORT"
 * on loopback.
 */
import { pino } from 'pino';
import { LIMITS } from '../agent/config.ts';
import { ServiceProxy } from '../agent/proxy/service-proxy.ts';
import type { ListenerSpec } from '../agent/proxy/service-table.ts';
import { systemClock as clock } from '../protocol/clock.ts';

const ip = '127.0.0.1';
const ports = process.argv.slice(2).map(Number);
const listeners = new Map<string, ListenerSpec>();
for (let index = 0; index + 1 < ports.length; index += 2) {
  const [port = 0, backendPort = 0] = ports.slice(index, index + 2);
  listeners.set(`${ip}:${port}`, {
    ip,
    port,
    service: { namespace: 'default', name: `web${index}` },
    backends: [{ ip, port: backendPort }],
    affinity: undefined,
    sourceRanges: undefined,
  });
}
const proxy = new ServiceProxy({
  clock,
  log: pino({ level: 'silent' }),
  limits: LIMITS.proxy,
  random: Math.random,
  onProblem: ({ message }) => {
    process.stderr.write(`${message}\n`);
    process.exit(1);
  },
});
proxy.update({ listeners, udpListeners: new Map(), problems: [] });

/**
 * `npm run bench` runs all benchmarks, `npm run bench -- NAME [args]` one, `npm run bench -- --list` names them. Each
 * prints tables for people and, as its last line, one JSON object for programs. Measures; never passes or fails.
 */
import { parseArgs } from 'node:util';
import type { Benchmark } from './benchmark.ts';
import { hostFacts, loadNow } from './host.ts';

const BENCHMARKS: Readonly<Record<string, () => Promise<Benchmark>>> = {
  footprint: () => import('./footprint.ts'),
  idle: () => import('./idle.ts'),
  fleet: () => import('./fleet.ts'),
  agent: () => import('./agent.ts'),
  'pod-start': () => import('./pod-start.ts'),
  failover: () => import('./failover.ts'),
  takeover: () => import('./takeover.ts'),
  store: () => import('./store.ts'),
  dns: () => import('./dns.ts'),
  proxy: () => import('./proxy.ts'),
  connections: () => import('./connections.ts'),
  scheduler: () => import('./scheduler.ts'),
  api: () => import('./api.ts'),
  endpoints: () => import('./endpoints.ts'),
};

async function list(): Promise<void> {
  process.stdout.write('npm run bench -- NAME [args]; all of them without a name\n');
  for (const [name, load] of Object.entries(BENCHMARKS)) {
    process.stdout.write(`  ${name.padEnd(12)} ${(await load()).summary}\n`);
  }
}

async function runOne(name: string, args: string[]): Promise<void> {
  const load = BENCHMARKS[name];
  if (load === undefined) {
    const names = Object.keys(BENCHMARKS).join(', ');
    throw new Error(`there is no benchmark "${name}"; there are ${names}`);
  }
  const benchmark = await load();
  const host = await hostFacts();
  const { figures, peers } = await benchmark.run(args);
  const facts = { ...host, loadAfter: loadNow() };
  process.stdout.write(`${JSON.stringify({ bench: name, host: facts, figures, peers })}\n`);
}

async function main(): Promise<void> {
  const [name, ...args] = process.argv.slice(2);
  if (name === '--list' || name === '--help') return list();
  if (name !== undefined && !name.startsWith('-')) return runOne(name, args);
  await list();
  const { values } = parseArgs({ options: { 'no-peers': { type: 'boolean', default: false } } });
  const all = values['no-peers'] ? ['--no-peers'] : [];
  for (const each of Object.keys(BENCHMARKS)) await runOne(each, all);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`bench: error: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

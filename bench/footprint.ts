/**
 * What each dependency costs: its bytes in the bundles (esbuild's metafile) and the memory of a bare Node process after
 * importing it. The second is what a process pays that uses it alone; shared parts count in each.
 */
import { execFile, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { type Figures, printTable, quantile, round } from './benchmark.ts';
import { buildPier } from './cluster.ts';
import { HOME } from './host.ts';

export const summary = 'bytes in the bundles and memory, by dependency';

const IMPORTS_MS_MAX = 30_000;
const ENTRIES = ['pier', 'pier-master', 'pier-agent'] as const;
/** What a bundle imports where it is not the package's own name. */
const IMPORTED_AS: Readonly<Record<string, string>> = { mqtt: 'mqtt/lib/client' };

interface Output {
  readonly bytes: number;
  readonly inputs: Readonly<Record<string, { readonly bytesInOutput: number }>>;
  readonly imports: ReadonlyArray<{ readonly path: string }>;
}

interface Metafile {
  readonly outputs: Readonly<Record<string, Output>>;
}

export async function run(args: string[]): Promise<Figures> {
  const { values } = parseArgs({
    args,
    options: {
      rounds: { type: 'string', default: '5' },
      'no-peers': { type: 'boolean', default: false },
    },
  });
  buildPier();
  const meta: Metafile = JSON.parse(readFileSync(join(HOME, 'dist/meta.json'), 'utf8'));
  const bundles = Object.fromEntries(ENTRIES.map((entry) => [entry, bundleOf(meta, entry)]));
  const names = new Set(Object.values(bundles).flatMap((bundle) => Object.keys(bundle)));
  const bytesOf = (entry: string, name: string) => bundles[entry]?.[name] ?? 0;
  const total = (name: string) => ENTRIES.reduce((sum, entry) => sum + bytesOf(entry, name), 0);
  const sorted = [...names].sort((a, b) => total(b) - total(a));
  process.stdout.write('bytes in each bundle, with everything it may load later\n');
  printTable([
    ['package or room', ...ENTRIES],
    ...sorted.map((name) => [name, ...ENTRIES.map((entry) => bytesOf(entry, name))]),
    ['total', ...ENTRIES.map((entry) => sumOf(bundles[entry] ?? {}))],
  ]);
  const memory = await importCosts(Number(values.rounds));
  const nodeModules = productionBytes();
  process.stdout.write(`\nnode_modules for production: ${round(nodeModules / 2 ** 20, 1)} MiB\n`);
  return { figures: { bundles, memory, productionNodeModulesBytes: nodeModules }, peers: {} };
}

/** Bytes by package or room of everything an entry point imports, statically or later. */
function bundleOf(meta: Metafile, entry: string): Record<string, number> {
  const bytes: Record<string, number> = {};
  const seen = new Set<string>();
  const waiting = [`dist/${entry}.mjs`];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const output = meta.outputs[path];
    if (output === undefined || seen.has(path)) continue;
    seen.add(path);
    for (const [input, { bytesInOutput }] of Object.entries(output.inputs)) {
      const owner = ownerOf(input);
      bytes[owner] = (bytes[owner] ?? 0) + bytesInOutput;
    }
    waiting.push(...output.imports.map((imported) => imported.path));
  }
  return bytes;
}

function ownerOf(input: string): string {
  const match = /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
  if (match?.[1] !== undefined) return match[1];
  return input.startsWith('protocol/kinds/generated') ? 'protocol/kinds/generated' : roomOf(input);
}

function roomOf(input: string): string {
  return `${input.split('/')[0]} (ours)`;
}

function sumOf(bytes: Readonly<Record<string, number>>): number {
  return Object.values(bytes).reduce((sum, each) => sum + each, 0);
}

interface Memory {
  readonly [key: string]: number;
  readonly rssMib: number;
  readonly pssMib: number;
  readonly rssAnonMib: number;
}

async function importCosts(rounds: number): Promise<Record<string, Memory>> {
  const { dependencies = {} }: { dependencies?: Record<string, string> } = JSON.parse(
    readFileSync(join(HOME, 'package.json'), 'utf8'),
  );
  const names = ['', ...Object.keys(dependencies).filter((name) => name !== 'esbuild')];
  const costs: Record<string, Memory> = {};
  for (const name of names) costs[name] = await importCost(IMPORTED_AS[name] ?? name, rounds);
  const bare = costs[''] ?? { rssMib: 0, pssMib: 0, rssAnonMib: 0 };
  const deltas: Record<string, Memory> = { 'bare node': bare };
  for (const name of names.slice(1)) {
    const cost = costs[name] ?? bare;
    deltas[name] = {
      rssMib: round(cost.rssMib - bare.rssMib, 1),
      pssMib: round(cost.pssMib - bare.pssMib, 1),
      rssAnonMib: round(cost.rssAnonMib - bare.rssAnonMib, 1),
    };
  }
  process.stdout.write(`\nmemory of a bare Node, and what an import adds (MiB, median)\n`);
  printTable([
    ['import', 'RSS', 'PSS', 'anon'],
    ...Object.entries(deltas).map(([name, m]) => [name, m.rssMib, m.pssMib, m.rssAnonMib]),
  ]);
  return deltas;
}

async function importCost(specifier: string, rounds: number): Promise<Memory> {
  // tsyringe, which x509 brings along, wants this to be there: see master/pki/x509-library.ts.
  const known = 'getMetadata, getOwnMetadata, defineMetadata';
  const prelude = `Object.assign(Reflect, { ${known.replaceAll(/\w+/g, '$&() {}')} });`;
  const load = specifier === '' ? '' : `${prelude} await import(${JSON.stringify(specifier)});`;
  const program =
    `import { readFileSync } from 'node:fs'; ${load}` +
    `setTimeout(() => { console.log(readFileSync('/proc/self/status', 'utf8') + ` +
    `readFileSync('/proc/self/smaps_rollup', 'utf8')); process.exit(); }, 500);`;
  const samples: Memory[] = [];
  for (let n = 0; n < rounds; n += 1) {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--input-type=module', '-e', program],
      { cwd: HOME, timeout: IMPORTS_MS_MAX },
    );
    const mib = (key: string) =>
      Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(stdout)?.[1] ?? 0) / 1024;
    samples.push({ rssMib: mib('VmRSS'), pssMib: mib('Pss'), rssAnonMib: mib('RssAnon') });
  }
  const median = (pick: (sample: Memory) => number) => round(quantile(samples.map(pick), 0.5), 1);
  return {
    rssMib: median((sample) => sample.rssMib),
    pssMib: median((sample) => sample.pssMib),
    rssAnonMib: median((sample) => sample.rssAnonMib),
  };
}

/** What `npm ci --omit=dev` leaves, without esbuild, which only builds. */
function productionBytes(): number {
  const list = output('npm', ['ls', '--omit=dev', '--all', '--parseable']);
  const folders = list.filter((path) => path.includes('node_modules') && !path.includes('esbuild'));
  if (folders.length === 0) throw new Error('npm ls names no package: run npm ci');
  // Packages inside packages are in the list themselves.
  return output('du', ['-sb', '--exclude=node_modules', ...folders])
    .map((line) => Number(line.split('\t')[0]))
    .reduce((sum, bytes) => sum + bytes, 0);
}

/** The lines a command prints. npm ls ends with 1 for packages that are merely extraneous. */
function output(command: string, args: readonly string[]): string[] {
  const { stdout, error } = spawnSync(command, args, { cwd: HOME, encoding: 'utf8' });
  if (error !== undefined) throw error;
  return stdout.split('\n').filter((line) => line !== '');
}

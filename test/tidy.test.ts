/** What the style guide says and a program can hold: import directions, file sizes, purity, leftovers. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const HOME = dirname(dirname(fileURLToPath(import.meta.url)));
const ROOMS = ['protocol', 'master', 'agent', 'cli', 'test', 'bench', 'firmware-scripts'] as const;
type Room = (typeof ROOMS)[number];

const LINES_MAX = 400;
/** Room -> rooms it may import from besides itself. */
const MAY_IMPORT: Record<Room, readonly Room[]> = {
  protocol: [],
  master: ['protocol'],
  agent: ['protocol'],
  cli: ['protocol'],
  test: ['protocol', 'master', 'agent', 'cli', 'firmware-scripts'],
  bench: ['protocol', 'master', 'agent', 'cli', 'test'],
  'firmware-scripts': ['protocol'],
};
/** Decisions: no I/O, no clock, no randomness, no waiting. */
const PURE = [
  /^master\/scheduler\/(?!scheduler(-writes)?\.ts$)/,
  /^agent\/plan\//,
  /^master\/broker\/permissions\.ts$/,
  /^master\/volumes\//,
];

interface Source {
  readonly path: string;
  readonly room: Room;
  readonly text: string;
  readonly imports: readonly string[];
}

const sources: Source[] = ROOMS.flatMap((room) =>
  readdirSync(join(HOME, room), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(ts|mjs)$/.test(name))
    .map((name) => {
      const path = `${room}/${name}`;
      const text = readFileSync(join(HOME, path), 'utf8');
      return { path, room, text, imports: importsOf(text) };
    }),
);

function importsOf(text: string): string[] {
  const found = text.matchAll(
    /(?:^|\n)\s*(?:import|export)\b[^'";]*?from\s*['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]/g,
  );
  return [...found].map((match) => match[1] ?? match[2] ?? '');
}

function roomOf(source: Source, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined;
  return relative(HOME, resolve(HOME, dirname(source.path), specifier)).split('/')[0];
}

t.test('imports point one way: agent -> protocol <- master', (t) => {
  for (const source of sources) {
    for (const specifier of source.imports) {
      const to = roomOf(source, specifier);
      if (to === undefined || to === source.room) continue;
      if (!MAY_IMPORT[source.room].some((room) => room === to)) {
        t.fail(`${source.path} imports ${specifier}: ${source.room} may not lean on ${to}`);
      }
    }
  }
  t.ok(sources.length > 50, 'the sources were read');
  t.end();
});

t.test('protocol imports no node: module, so that a browser can load it', (t) => {
  // But for SPDY, which no browser speaks and both master and agent do; nothing else there may lean on it.
  const isNodeOnly = /(^|\/)spdy\//;
  const forBrowsers = (s: Source) => s.room === 'protocol' && !isNodeOnly.test(s.path);
  for (const source of sources.filter(forBrowsers)) {
    for (const specifier of source.imports) {
      if (specifier.startsWith('node:') || isNodeOnly.test(specifier))
        t.fail(`${source.path} imports ${specifier}`);
    }
  }
  t.pass();
  t.end();
});

t.test('relative imports name the file with its ending', (t) => {
  for (const source of sources) {
    for (const specifier of source.imports) {
      if (specifier.startsWith('.') && !/\.(ts|mjs|json)$/.test(specifier)) {
        t.fail(`${source.path} imports ${specifier}`);
      }
    }
  }
  t.pass();
  t.end();
});

t.test(`no file is longer than ${LINES_MAX} lines`, (t) => {
  for (const { path, text } of sources) {
    if (path.startsWith('protocol/kinds/generated/') || path === 'protocol/kinds/types.ts')
      continue;
    const lines = text.split('\n').length - 1;
    // Tests are tables: they may be twice as long.
    const max = path.startsWith('test/') ? LINES_MAX * 2 : LINES_MAX;
    if (lines > max) t.fail(`${path} has ${lines} lines: split it by concern`);
  }
  t.pass();
  t.end();
});

t.test('pure rooms use no clock, no randomness and no I/O', (t) => {
  for (const { path, text, imports } of sources.filter((s) => PURE.some((p) => p.test(s.path)))) {
    if (
      /\bDate\.now\(|Math\.random\(|\bsetTimeout\(|\bperformance\.now\(|\bnew Date\(\)/.test(text)
    ) {
      t.fail(`${path} asks the world for time or chance: take it as an argument`);
    }
    for (const specifier of imports.filter((i) => i.startsWith('node:'))) {
      t.fail(`${path} imports ${specifier}`);
    }
  }
  t.pass();
  t.end();
});

t.test(
  'every file says what it is before its first line of code, and leaves no note behind',
  (t) => {
    const leftover = new RegExp(
      ['FIX' + 'ME', 'X' + 'XX', 'HA' + 'CK'].map((w) => `\\b${w}\\b`).join('|'),
    );
    for (const { path, text } of sources) {
      if (path.startsWith('protocol/kinds/generated/')) continue;
      if (!/^(#!.*\n)?(\/\*\*|\/\/)/.test(text)) t.fail(`${path} opens without a comment`);
      if (leftover.test(text)) t.fail(`${path} holds a leftover note`);
    }
    t.pass();
    t.end();
  },
);

t.test('no file names a machine path or a registry: whose it is comes from the machine', (t) => {
  const hosts = ['npmjs\\.' + 'org', 'deb\\.' + 'debian\\.org', '/wo' + 'rk/main'];
  const forbidden = new RegExp(hosts.join('|'));
  const scripts = readdirSync(join(HOME, 'firmware-scripts')).map((n) => `firmware-scripts/${n}`);
  for (const path of [
    ...sources.map((s) => s.path),
    ...scripts,
    'package-lock.json',
    'README.md',
  ]) {
    const found = forbidden.exec(readFileSync(join(HOME, path), 'utf8'));
    if (found !== null) t.fail(`${path} names ${found[0]}`);
  }
  t.ok(scripts.length > 3, 'the scripts were read');
  t.end();
});

const analyze = (...args: string[]) => spawnSync('systemd-analyze', args, { encoding: 'utf8' });
const skip = analyze('--version').error === undefined ? false : 'systemd-analyze is not installed';

t.test('systemd accepts the units', { skip }, (t) => {
  const units = readdirSync(join(HOME, 'systemd')).map((name) => join(HOME, 'systemd', name));
  t.ok(units.length > 0, 'there are units');
  const found = analyze('verify', ...units);
  t.equal(found.stdout + found.stderr, '');
  t.equal(found.status, 0);
  t.end();
});

// `npm test`: runs tap over test/, prints a line per file (and everything of a file that failed), names what was left out and
// why, and ends with the plain closing line "N passed, N failed, N skipped" of the whole run.
// --long      the long suite (test/**/*.long.ts) instead
// --nodes     afterwards the unit tests once more on Node 22 and 24 (always in CI)
// other arguments are test files
import { spawn, spawnSync } from 'node:child_process';
import { createWriteStream, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const home = dirname(dirname(fileURLToPath(import.meta.url)));
const cache = join(home, '.cache');
const args = process.argv.slice(2);
const long = args.includes('--long');
const onOtherNodes =
  args.includes('--nodes') || (process.env.CI === 'true' && !args.includes('--no-nodes'));
const named = args.filter((arg) => !arg.startsWith('--'));
const OTHER_NODES = ['22', '24'];
const UNIT_FILE_TIMEOUT_MS = 300_000;

const totals = { pass: 0, fail: 0, skip: 0 };
const leftOut = new Map();
const failures = [];

const files =
  named.length > 0 ? named : testFiles(join(home, 'test'), long ? '.long.ts' : '.test.ts');
mkdirSync(cache, { recursive: true });
const code = await runTap(files);
if (onOtherNodes && !long && named.length === 0) {
  for (const version of OTHER_NODES) await runUnitTests(version, files.filter(isUnitTest));
}
report(code);

function testFiles(folder, ending) {
  return readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith(ending))
    .map((name) => relative(home, join(folder, name)))
    .sort();
}

/** Needs no engine, no root, no second process: what another Node version could change is in these. */
function isUnitTest(file) {
  return !/\/e2e\/|\/lab\/|\/runtime(-podman|-containerd|-docker)?\.test\./.test(file);
}

async function runTap(list) {
  const output = createWriteStream(join(cache, 'test.tap'));
  const child = spawn(
    process.execPath,
    [
      join(home, 'node_modules/tap/dist/esm/run.mjs'),
      'run',
      '--reporter=tap',
      ...(long ? ['--timeout=14400'] : []),
      ...list,
    ],
    { cwd: home, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let block = [];
  for await (const line of createInterface({ input: child.stdout })) {
    output.write(`${line}\n`);
    noteSkip(line);
    const end = /^(not )?ok \d+ - (\S+)(.*)$/.exec(line);
    block.push(line);
    if (end !== null) {
      console.log(`${end[1] === undefined ? 'ok' : 'NOT OK'} ${end[2]}${end[3] ?? ''}`);
      if (end[1] !== undefined) {
        failures.push(end[2]);
        console.log(block.join('\n'));
      }
      block = [];
    } else if (/^# Subtest: /.test(line)) {
      block = [line];
    }
    addSummary(line);
  }
  return new Promise((resolve) => {
    if (child.exitCode !== null) resolve(child.exitCode);
    else child.once('close', (exit) => resolve(exit ?? 1));
  });
}

function noteSkip(line) {
  const skip = /^\s+ok \d+ - (.*?) # SKIP ?(.*)$/i.exec(line);
  if (skip === null) return;
  const reason = skip[2] === '' ? 'no reason given' : skip[2];
  leftOut.set(reason, [...(leftOut.get(reason) ?? []), skip[1]]);
}

/** The closing line of a tap run: `# { total: 4, pass: 2, fail: 1, skip: 1 }`. */
function addSummary(line) {
  const summary = /^# \{ total: \d+(.*)\}$/.exec(line);
  if (summary === null) return false;
  for (const name of Object.keys(totals)) {
    totals[name] += Number(new RegExp(`${name}: (\\d+)`).exec(summary[1])?.[1] ?? 0);
  }
  return true;
}

async function runUnitTests(version, list) {
  const node = fetchNode(version);
  if (node === undefined) {
    leftOut.set(`Node ${version} could not be had from the npm registry`, list);
    return;
  }
  console.log(`# unit tests on Node ${version}`);
  for (const file of list) {
    const run = spawnSync(node, ['--import', 'tsx', file], {
      cwd: home,
      encoding: 'utf8',
      timeout: UNIT_FILE_TIMEOUT_MS,
      env: {
        // Of the simulated clusters a few show that they run on that Node.
        PIER_SEEDS: '20',
        ...process.env,
        // Alone, a tap file gives itself 30 s.
        TAP_TIMEOUT: String(UNIT_FILE_TIMEOUT_MS / 1000),
      },
      maxBuffer: 256 * 1024 * 1024,
    });
    const counted = (run.stdout ?? '').split('\n').filter(addSummary).length > 0;
    const good = run.status === 0 && counted;
    console.log(`${good ? 'ok' : 'NOT OK'} ${file} on Node ${version}`);
    if (good) continue;
    failures.push(`${file} on Node ${version}`);
    // A file that died before its summary is a failure that nothing counted yet.
    if (!counted) totals.fail += 1;
    console.log(`${run.stdout ?? ''}\n${run.stderr ?? ''}\n${run.error ?? ''}`);
  }
}

/** The path of a Node of that release line, fetched once into .cache, or undefined when the registry has none. */
function fetchNode(version) {
  const folder = join(cache, `node-${version}`);
  const binary = join(folder, 'node_modules/node/bin/node');
  const runs = () =>
    spawnSync(binary, ['--version'], { encoding: 'utf8' }).stdout?.startsWith(`v${version}.`);
  if (existsSync(binary) && runs()) return binary;
  mkdirSync(folder, { recursive: true });
  spawnSync(
    'npm',
    ['install', '--no-save', '--no-audit', '--no-fund', '--prefix', folder, `node@${version}`],
    {
      stdio: 'ignore',
    },
  );
  return existsSync(binary) && runs() ? binary : undefined;
}

function report(exitCode) {
  if (leftOut.size > 0) console.log('\nLeft out:');
  for (const [reason, tests] of leftOut) console.log(`  ${tests.length} tests: ${reason}`);
  for (const failure of failures) console.log(`FAILED: ${failure}`);
  if (exitCode !== 0 && totals.fail === 0) totals.fail = 1;
  if (totals.pass + totals.fail === 0) {
    console.log('no test ran');
    process.exitCode = 1;
  } else {
    process.exitCode = totals.fail === 0 ? 0 : 1;
  }
  console.log(`${totals.pass} passed, ${totals.fail} failed, ${totals.skip} skipped`);
}

/**
 * Streams into pods, and the metrics of boards, with unmodified kubectl on two boards, the current one and 1.32 (WebSockets),
 * and Debian's 1.20 (SPDY): exec, attach, cp, port-forward and debug, through master, board and podman. Needs root.
 */
import { createHash, randomFillSync } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { Lab } from '../lab/lab.ts';
import { BoardKubectl, KUBECONFIG } from '../support/board-kubectl.ts';
import { demoContainer, demoPod } from '../support/demo-manifests.ts';
import { Exposition } from '../support/exposition.ts';
import { findKubectl, type Kubectl } from '../support/kubectl.ts';
import { labMissing } from '../support/needs.ts';
import { debug } from './kubectl-debug.ts';

interface Place {
  readonly lab: Lab;
  readonly kubectl: BoardKubectl;
  readonly binary: Kubectl;
}

const current = findKubectl('current');
const skip = labMissing() || ('missing' in current ? current.missing : false);
const HOME = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const SEQUENCE = 'n=0; while [ $n -lt 50000 ]; do n=$((n+1)); echo $n; done';
const BIG_BYTES = 100 * 1024 * 1024;

t.setTimeout(600_000);

t.test('streams into pods of two boards', { skip, timeout: 600_000 }, async (t) => {
  if ('missing' in current) return;
  const lab = await Lab.create({ boards: 2 });
  t.teardown(() => lab.close());
  await lab.startMaster();
  await Promise.all([lab.startAgent(1), lab.startAgent(2, ['--allow-shell'])]);
  const kubectl = new BoardKubectl(lab.board(1), current);
  await lab.until('board 2 is Ready', async () =>
    /^board2 +Ready/m.test(await kubectl.ok('get', 'nodes')),
  );
  await makePods(kubectl);
  for (const version of ['current', '1.32', '1.20'] as const) {
    const binary = findKubectl(version);
    const missing = 'missing' in binary ? binary.missing : false;
    await t.test(`kubectl ${version}`, { skip: missing }, async (t) => {
      if ('missing' in binary) return;
      t.comment(binary.version);
      const place = { lab, kubectl: new BoardKubectl(lab.board(1), binary), binary };
      for (const [what, prove] of CLAIMS) await t.test(what, (t) => prove(t, place));
      await debug(t, place, version === '1.20');
    });
  }
  await t.test('metrics of the master and of a board', async (t) =>
    metrics(t, { lab, kubectl, binary: current }),
  );
  const noPty = await import('node-pty').then(
    () => false,
    () => 'node-pty is not compiled here (npm rebuild node-pty)',
  );
  await t.test('a shell on a board', { skip: noPty }, async (t) =>
    boardShell(t, { lab, kubectl, binary: current }),
  );
});

const CLAIMS: ReadonlyArray<readonly [string, (t: Test, place: Place) => Promise<void>]> = [
  ['exec runs a command, with its output, errors and exit code', exec],
  ['exec hands standard input on, to its end', input],
  ['exec says what is wrong', refusals],
  ['exec with a terminal knows its size', terminal],
  ['cp copies into a container and out of it, as it was', copy],
  ['port-forward reaches the pod, and says when nobody listens', forward],
  ['attach joins the streams of the container', attach],
];

/** On board 2, so that nothing works by being on the master's board. */
async function makePods(kubectl: BoardKubectl): Promise<void> {
  const second = demoContainer('second', 'sleep 100000');
  const web = demoPod('web', { nodeName: 'board2', containers: [demoContainer('main'), second] });
  const late = demoPod('late', {
    nodeName: 'board2',
    containers: [{ ...demoContainer('main'), image: 'localhost/not-there:1' }],
  });
  await kubectl.apply(web, late);
  await kubectl.ok('wait', '--for=condition=Ready', 'pod/web', '--timeout=60s');
}

async function exec(t: Test, { kubectl }: Place): Promise<void> {
  const script = 'echo out; echo err >&2; exit 7';
  const failed = await kubectl.run(['exec', 'web', '--', 'sh', '-c', script]);
  t.match(failed, { code: 7, stdout: 'out\n', stderr: /^err\n.*exit code 7/ms });
  const named = await kubectl.run(['exec', 'web', '-c', 'second', '--', 'ps']);
  t.match(named, { code: 0, stdout: /sleep 100000/ });
  const many = await kubectl.ok('exec', 'web', '--', 'sh', '-c', SEQUENCE);
  t.equal(many.length, 288_894, 'long output is whole');
  t.match(await kubectl.refused(['exec', 'web', '--', 'nonesuch']), /nonesuch/);
}

async function input(t: Test, { kubectl }: Place): Promise<void> {
  const text = `${'0123456789'.repeat(100)}\n`.repeat(500);
  const echoed = await kubectl.run(['exec', '-i', 'web', '--', 'cat'], text);
  t.equal(echoed.code, 0, echoed.stderr);
  t.ok(echoed.stdout === text, 'as it was, and cat saw the end of it');
  const unread = await kubectl.run(['exec', '-i', 'web', '--', 'sh', '-c', 'read x; exit 3'], text);
  t.equal(unread.code, 3, `input that nobody reads holds nothing up: ${unread.stderr}`);
}

async function refusals(t: Test, { kubectl }: Place): Promise<void> {
  const wrong = ['exec', 'web', '-c', 'other', '--', 'true'];
  t.match(await kubectl.refused(wrong), /container other is not valid for pod web/);
  const late = ['exec', 'late', '--', 'true'];
  t.match(await kubectl.refused(late), /container "main" of pod "late" is not running: \w+/);
  t.match(await kubectl.refused(['exec', 'nobody', '--', 'true']), /pods "nobody" not found/);
}

async function terminal(t: Test, { lab, binary }: Place): Promise<void> {
  // script gives kubectl a terminal of its own; stty sets its size before kubectl looks.
  const command = `stty rows 33 cols 101; KUBECONFIG=${KUBECONFIG} ${binary.path} exec -it web -- \
    sh -c 'sleep 1; stty size; tty; exit 4'; echo code $?`;
  const shown = await lab.board(1).exec('script', ['-q', '-c', command, '/dev/null']);
  t.match(shown, /33 101\r?\n\/dev\/pts\/\d+\r?\n/);
  t.match(shown, /code 4/);
}

async function metrics(t: Test, { lab, kubectl }: Place): Promise<void> {
  const scrape = async (path: string) => new Exposition(await kubectl.ok('get', '--raw', path));
  const board = (page: string) => scrape(`/api/v1/nodes/board2/proxy/metrics${page}`);
  const rss = async () => {
    const read = 'cat /proc/$(pgrep -o -f pier-agent.mjs)/status';
    const status = await lab.board(2).exec('sh', ['-c', read]);
    return /VmRSS:\s+(\d+)/.exec(status)?.[1];
  };
  const before = await scrape('/metrics');
  for (const name of ['m1', 'm2', 'm3']) await kubectl.ok('create', 'configmap', name);
  const after = await scrape('/metrics');
  const made = { verb: 'POST', resource: 'configmaps', code: '201' };
  const total = 'apiserver_request_total';
  t.equal(after.sum(total, made) - before.sum(total, made), 3, 'three were made');
  t.ok(after.sum('pier_store_revision') - before.sum('pier_store_revision') >= 3);
  t.ok(after.sum('pier_store_commit_duration_seconds_count') > 3);
  const controller = { name: 'node-controller' };
  t.ok(after.sum('workqueue_adds_total', controller) >= 2);
  t.equal(after.values('workqueue_depth', controller).length, 1);
  t.same(after.values('scheduler_pending_pods', { queue: 'unschedulable' }), [0]);
  const ready = { node: 'board2', condition: 'Ready', status: 'true' };
  t.same(after.values('kube_node_status_condition', ready), [1]);

  const rssBefore = await rss();
  const container = { namespace: 'default', pod: 'web', container: 'main' };
  const first = await board('/resource');
  t.comment(
    `RSS of the agent before the first scrape ${rssBefore} KiB, after it ${await rss()} KiB`,
  );
  const burn = 'n=0; while [ $n -lt 200000 ]; do n=$((n+1)); done';
  await kubectl.ok('exec', 'web', '--', 'sh', '-c', burn);
  const second = await board('/resource');
  const cpu = 'container_cpu_usage_seconds_total';
  const grown = second.sum(cpu, container) - first.sum(cpu, container);
  t.ok(grown > 0.05, `the container worked for ${grown} s`);
  const pod = { namespace: 'default', pod: 'web' };
  const sums = second.sum(cpu, pod) - second.sum('pod_cpu_usage_seconds_total', pod);
  t.ok(Math.abs(sums) < 1e-6, 'a pod is its containers');
  t.ok(second.sum('container_memory_working_set_bytes', container) > 0);
  const cpuOfNode = 'node_cpu_usage_seconds_total';
  t.ok(second.sum(cpuOfNode) > first.sum(cpuOfNode));
  const own = await board('');
  t.same(own.values('kubelet_running_pods'), [1]);
  t.same(own.values('kubelet_running_containers', { container_state: 'running' }), [2]);
  const { families } = await board('/cadvisor');
  t.ok(families.has('machine_cpu_cores') && families.has(cpu));
  const refused = await kubectl.refused(['get', '--raw', '/api/v1/nodes/board2/proxy/pods']);
  t.match(refused, /NotFound|not find/i);
}

/** `script` gives `pier shell` a terminal of its own, whose input comes through the pipe, line by line as the shell is ready. */
async function boardShell(t: Test, { lab, kubectl }: Place): Promise<void> {
  const pier = join(HOME, 'dist/pier.mjs');
  const command = `stty rows 33 cols 101; exec ${process.execPath} ${pier} shell board2`;
  const child = lab.board(1).spawn('script', ['-qec', command, '/dev/null'], {
    env: { ...process.env, KUBECONFIG, TERM: 'xterm-256color' },
    input: true,
  });
  let shown = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    shown += chunk.toString('utf8');
  });
  const code = new Promise<number | null>((resolve) => child.once('close', resolve));
  const shows = (what: RegExp) =>
    lab.until(`the terminal shows ${what}`, async () => what.test(shown) || shown);
  child.stdin?.write('echo on-$((40+2)); hostname; tty; stty size; echo $TERM\n');
  await shows(/on-42\s+board2\s+\/dev\/pts\/\d+\s+33 101\s+xterm-256color/);
  child.stdin?.write('sleep 98765\n');
  const sleeps = async () =>
    (await lab.board(2).exec('ps', ['-eo', 'args'])).includes('sleep 98765');
  await lab.until('the command runs on board 2', sleeps);
  child.stdin?.write('\x03');
  await lab.until('Ctrl-C has ended it', async () => !(await sleeps()));
  child.stdin?.write('exit 7\n');
  t.equal(await code, 7, shown);

  const gone = lab
    .board(1)
    .spawn('sh', ['-c', `echo $$; exec ${process.execPath} ${pier} shell board2`], {
      env: { ...process.env, KUBECONFIG },
      input: true,
    });
  let words = '';
  gone.stdout?.on('data', (chunk: Buffer) => {
    words += chunk.toString('utf8');
  });
  gone.stdin?.write('trap "" HUP; sleep 98765\n');
  await lab.until('the second runs', sleeps);
  const closed = new Promise((resolve) => gone.once('close', resolve));
  await lab.board(1).exec('kill', ['-9', String(Number.parseInt(words, 10))]);
  await closed;
  await lab.until(
    'nothing of it is left, though it ignored the hang-up',
    async () => !(await sleeps()),
  );

  const events = await kubectl.ok('get', 'events', '--field-selector=involvedObject.kind=Node');
  t.match(events, /ShellOpened +node\/board2 +pier-admin opened a shell on this board/);
  t.match(
    await lab.log(2, 'agent'),
    /"user":"pier-admin","msg":"a shell on this board was opened"/,
  );
  const shell = ['shell', 'board1', '--kubeconfig', KUBECONFIG];
  const refused = lab.board(1).exec(process.execPath, [pier, ...shell]);
  await t.rejects(refused, /board "board1" allows no shell.*--allow-shell/s);
}

async function copy(t: Test, { lab, kubectl, binary }: Place): Promise<void> {
  const dir = await mkdtemp(join(lab.dir, 'copy-'));
  const size = binary === current ? BIG_BYTES : BIG_BYTES / 10;
  const bytes = randomFillSync(Buffer.alloc(size));
  const sum = createHash('sha256').update(bytes).digest('hex');
  await writeFile(join(dir, 'big'), bytes);
  const startedAt = performance.now();
  await copied(kubectl, join(dir, 'big'), 'web:/tmp/big');
  const there = performance.now();
  t.match(await kubectl.ok('exec', 'web', '--', 'sha256sum', '/tmp/big'), sum);
  const back = performance.now();
  await copied(kubectl, 'web:/tmp/big', join(dir, 'back'));
  const seconds = (ms: number) => (ms / 1000).toFixed(1);
  t.comment(
    `${size / 1024 / 1024} MiB in: ${seconds(there - startedAt)} s, out: ${seconds(performance.now() - back)} s`,
  );
  const returned = await readFile(join(dir, 'back'));
  t.equal(createHash('sha256').update(returned).digest('hex'), sum);
  await kubectl.ok('exec', 'web', '--', 'rm', '/tmp/big');
  await rm(dir, { recursive: true });
}

async function copied(kubectl: BoardKubectl, from: string, to: string): Promise<void> {
  const { code, stderr } = await kubectl.run(['cp', from, to], '', 240_000);
  if (code !== 0) throw new Error(`kubectl cp ${from} ${to}: ${stderr}`);
}

async function forward(t: Test, { lab, kubectl }: Place): Promise<void> {
  const board = lab.board(1);
  const ports = ['18080:8080', '18081:81'];
  const forwarding = kubectl.start(['port-forward', 'pod/web', ...ports]);
  try {
    await lab.until(
      'kubectl listens',
      async () => /127.0.0.1:18081/.test(forwarding.words()) || forwarding.words(),
    );
    const curl = (port: number) => board.exec('curl', ['-sS', `http://127.0.0.1:${port}/`]);
    t.match(await curl(18080), /^Hello from web/);
    const all = await Promise.all(Array.from({ length: 12 }, () => curl(18080)));
    t.ok(
      all.every((text) => /^Hello from web/.test(text)),
      'twelve at once',
    );
    // A current kubectl ends with that; the older goes on.
    await t.rejects(curl(18081), 'nobody listens there');
    const said = async () => /port 81 .*refused/.test(forwarding.words()) || forwarding.words();
    await lab.until('kubectl says why', said);
  } finally {
    await forwarding.stop();
  }
}

async function attach(t: Test, { lab, kubectl }: Place): Promise<void> {
  const script = 'while read line; do echo "got $line"; done; echo bye';
  const main = { ...demoContainer('main', script), stdin: true };
  await kubectl.apply(demoPod('listener', { restartPolicy: 'Never', containers: [main] }));
  await kubectl.ok('wait', '--for=condition=Ready', 'pod/listener', '--timeout=60s');
  const attached = await kubectl.run(['attach', '-i', 'listener'], 'one\ntwo\n');
  t.match(attached.stdout, 'got one\ngot two\nbye\n');
  await lab.until('it has ended', async () =>
    /Completed/.test(await kubectl.ok('get', 'pod', 'listener')),
  );
  t.equal(await kubectl.ok('logs', 'listener'), 'got one\ngot two\nbye\n');
  t.match(await kubectl.refused(['attach', '-i', 'web']), /stdin/);
  await kubectl.ok('delete', 'pod', 'listener');
}

/**
 * Streams into pods with unmodified kubectl on two boards, the current one and 1.32 (WebSockets), and Debian's 1.20 (SPDY): exec,
 * attach, cp, port-forward and debug, through master, board and podman. Needs root.
 */
import { createHash, randomFillSync } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Lab } from '../lab/lab.ts';
import { BoardKubectl, KUBECONFIG } from '../support/board-kubectl.ts';
import { demoContainer, demoPod } from '../support/demo-manifests.ts';
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
const SEQUENCE = 'n=0; while [ $n -lt 50000 ]; do n=$((n+1)); echo $n; done';
const BIG_BYTES = 100 * 1024 * 1024;

t.setTimeout(600_000);

t.test('streams into pods of two boards', { skip, timeout: 600_000 }, async (t) => {
  if ('missing' in current) return;
  const lab = await Lab.create({ boards: 2 });
  t.teardown(() => lab.close());
  await lab.startMaster();
  await Promise.all([lab.startAgent(1), lab.startAgent(2)]);
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

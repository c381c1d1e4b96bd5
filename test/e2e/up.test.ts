/**
 * The main job, as a person does it: `up.sh` in the clone, curl, Ctrl-C, `up.sh` again, `down.sh`; on a board of its own
 * (namespaces, own container storage), with real podman. Needs root.
 */
import type { ChildProcess } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Lab } from '../lab/lab.ts';
import { labMissing } from '../support/needs.ts';

const HOME = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const UP_MS = 120_000;

interface Up {
  readonly process: ChildProcess;
  readonly output: () => string;
  readonly closed: Promise<number | null>;
}

function up(lab: Lab, ...args: string[]): Up {
  const child = lab.board(1).spawn('sh', [join(HOME, 'firmware-scripts/up.sh'), ...args]);
  let text = '';
  const add = (chunk: Buffer) => {
    text += chunk.toString('utf8');
  };
  child.stdout?.on('data', add);
  child.stderr?.on('data', add);
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
  return { process: child, output: () => text, closed };
}

async function untilUp(lab: Lab, run: Up): Promise<string> {
  let ended = false;
  void run.closed.then(() => {
    ended = true;
  });
  await lab.until(
    'up.sh prints the line that sets KUBECONFIG',
    async () => {
      if (ended) return true;
      return /^export KUBECONFIG=/m.test(run.output()) || run.output().slice(-500);
    },
    UP_MS,
  );
  return /^URL: (\S+)$/m.exec(run.output())?.[1] ?? '';
}

/** Ctrl-C reaches the whole foreground process group; `up` alone must decide what follows. */
async function ctrlC(lab: Lab, run: Up): Promise<number | null> {
  await lab.board(1).exec('pkill', ['-INT', '-f', 'pier.mjs up']);
  return run.closed;
}

async function answers(lab: Lab, url: string, times: number): Promise<Set<string>> {
  const names = new Set<string>();
  for (let n = 0; n < times; n += 1) {
    const page = await lab.board(1).exec('curl', ['-sS', '--max-time', '5', url]);
    names.add(/^Hello from (\S+)$/m.exec(page)?.[1] ?? page);
  }
  return names;
}

/** Containers of Pier with their ids and the process that runs in each. */
async function containers(lab: Lab): Promise<string> {
  const format = '{{.Id}} {{.State.Pid}} {{.State.StartedAt}} {{.RestartCount}}';
  const ids = await lab
    .board(1)
    .exec('podman', ['ps', '-q', '--no-trunc', '--filter', 'label=pier.local/managed']);
  const list = ids.split('\n').filter(Boolean).sort();
  return lab.board(1).exec('podman', ['inspect', '--format', format, ...list]);
}

t.setTimeout(600_000);

t.test('from a clone to a running app, and away again', { skip: labMissing() }, async (t) => {
  const lab = await Lab.create({ boards: 1, image: false });
  t.setTimeout(600_000);
  t.teardown(() => lab.close());

  const first = up(lab);
  const url = await untilUp(lab, first);
  t.match(url, /^http:\/\/198\.18\.\d+\.1:30080\/$/, 'the URL is the one of this board');
  t.match(first.output(), /^NAME\s+READY\s+STATUS/m, 'the pods are printed as a table');
  t.equal(first.output().match(/^hello-\S+\s+1\/1\s+Running/gm)?.length, 3, 'three pods run');
  t.equal((await answers(lab, url, 30)).size, 3, 'all three pods answer');
  const before = await containers(lab);

  t.test('a second up beside the first is refused with a sentence', async (t) => {
    const second = up(lab);
    t.equal(await second.closed, 1);
    t.match(second.output(), /Pier is up already \(process \d+\)/);
  });

  await t.test('Ctrl-C stops both processes and leaves the pods running', async (t) => {
    t.equal(await ctrlC(lab, first), 0, 'up ends without an error');
    const processes = await lab.board(1).exec('ps', ['-eo', 'args']);
    t.notMatch(processes, /pier-(master|agent)\.mjs/);
    t.equal(await containers(lab), before, 'same containers, same processes');
  });

  await t.test('the next up adopts them: same containers, no restart', async (t) => {
    const startedAt = performance.now();
    const again = up(lab);
    t.equal(await untilUp(lab, again), url);
    t.comment(`${((performance.now() - startedAt) / 1000).toFixed(1)} s to the URL`);
    t.match(again.output(), /deployment\/hello unchanged\n.*service\/hello unchanged/, 'no write');
    t.equal((await answers(lab, url, 30)).size, 3, 'all three pods answer');
    t.equal(await containers(lab), before, 'same containers, same processes, no restart');
    t.match(
      again.output(),
      /^hello-\S+\s+1\/1\s+Running\s+0 /m,
      'the API counts no restart either',
    );
    t.equal(await ctrlC(lab, again), 0);
  });

  await t.test('a busy port is a sentence and exit code 1', async (t) => {
    const holder = lab
      .board(1)
      .spawn(process.execPath, [
        '-e',
        "require('net').createServer().listen(6443, '::', () => console.log('holding'))",
      ]);
    await new Promise((resolve) => holder.stdout?.once('data', resolve));
    const startedAt = performance.now();
    const blocked = up(lab);
    t.equal(await blocked.closed, 1);
    t.ok(performance.now() - startedAt < 25_000, 'and waits for no answer of that program');
    t.match(blocked.output(), /port 6443 is in use by another program/);
    t.match(blocked.output(), /--api-port/, 'and says what to do');
    holder.kill('SIGKILL');
    t.equal(await containers(lab), before, 'nothing was damaged');
  });

  await t.test('down removes what up made', async (t) => {
    // A bind mount stands in for a file server's volume of a pod.
    const share = join(lab.board(1).dir, 'share');
    const target = '/run/pier/agent/mounts/uid/share';
    await lab.board(1).exec('mkdir', ['-p', share, target]);
    await lab.board(1).exec('touch', [join(share, 'kept')]);
    await lab.board(1).exec('mount', ['--bind', share, target]);
    await lab.board(1).exec('sh', [join(HOME, 'firmware-scripts/down.sh')]);
    t.equal((await lab.board(1).exec('podman', ['pod', 'ls', '-q'])).trim(), '', 'no pod');
    t.notMatch(await lab.board(1).exec('podman', ['network', 'ls']), /\bpier\b/, 'no network');
    t.notMatch(await lab.board(1).exec('podman', ['images']), /pier-hello/, 'no demo image');
    const routes = await lab.board(1).exec('ip', ['route', 'show', 'table', 'all']);
    t.notMatch(routes, /10\.4[23]\./, 'no route');
    t.same(readdirSync(join(lab.board(1).dir, 'pier')), [], 'no data');
    const left = await lab
      .board(1)
      .exec('sh', ['-c', 'ls /run/pier; grep -c /run/pier/ /proc/self/mountinfo || :']);
    t.notMatch(left, /agent/, 'no secrets of pods');
    t.match(left, /^0$/m, 'no mount');
    t.same(readdirSync(share), ['kept'], "the server's files stay");
  });
});

/**
 * The store from the outside, with real master processes on loopback and the commands a person types: damage, other versions,
 * two masters, a killed one, dump, backup and restore, a full disk, ten boards that report while nothing happens.
 */
import { execFileSync, spawn } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { Client, RequestError } from '../../cli/client.ts';
import { readKubeconfig } from '../../cli/kubeconfig.ts';
import { ensurePki, issueNodeCertificate } from '../../master/pki/pki.ts';
import { readBackup } from '../../master/store/backup.ts';
import { idle } from '../sim/idle-run.ts';
import { bundlePrograms, MasterProcess, runCommand } from '../sim/master-process.ts';

t.setTimeout(400_000);

const dist = mkdtempSync(join(tmpdir(), 'pier-dist-'));
t.teardown(() => rmSync(dist, { recursive: true, force: true }));
const programs = await bundlePrograms(dist);
const pier = (...args: string[]) => runCommand(programs.pier, ...args);

async function startMaster(t: Test, data: string): Promise<MasterProcess> {
  const master = await MasterProcess.start({ program: programs.master, data });
  t.teardown(() => master.kill());
  return master;
}

/** What a master says that is expected not to start. */
async function refusal(t: Test, data: string): Promise<string> {
  const master = await MasterProcess.spawn({ program: programs.master, data });
  t.teardown(() => master.kill());
  t.notOk(await master.isUp(), 'the master does not start');
  return master.words;
}

function temporary(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'pier-store-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

interface Listed {
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly { readonly metadata: { readonly name: string } }[];
}

const configMaps = '/api/v1/namespaces/default/configmaps';
const secrets = '/api/v1/namespaces/default/secrets';
const configMap = (name: string) => ({ metadata: { name }, data: { text: `of ${name}` } });
const create = (client: Client, path: string, body: object) =>
  client.json<{ metadata: { resourceVersion: string } }>(path, { method: 'POST', body });

/** Objects without the revision, which a restore may not change but a list carries. */
async function contents(client: Client, path: string): Promise<unknown> {
  const { items } = await client.json<Listed>(path);
  return items;
}

/** A store with objects a to d, its master gone; flips a byte of b in the log. */
async function damaged(t: Test): Promise<{ data: string; segment: string }> {
  const data = temporary(t);
  const master = await startMaster(t, data);
  for (const name of ['a', 'b', 'c', 'd']) await create(master.client, configMaps, configMap(name));
  await master.kill();
  const store = join(data, 'store');
  t.equal(pier('store', 'verify', data).code, 0, 'whole before');
  const segment = readdirSync(store).find((name) => name.startsWith('wal-')) ?? '';
  const bytes = readFileSync(join(store, segment));
  const at = bytes.indexOf('of b');
  bytes[at] = 0x21;
  writeFileSync(join(store, segment), bytes);
  return { data, segment };
}

t.test(
  'damage is refused with file, offset and command; repair keeps what is before',
  async (t) => {
    const { data, segment } = await damaged(t);
    const store = join(data, 'store');
    const before = readFileSync(join(store, segment));
    const words = await refusal(t, data);
    t.match(words, new RegExp(`pier-master: error: .*${store}/${segment} .*offset \\d+ on: `));
    t.match(words, `"pier store verify ${store}"`);
    t.match(words, `"pier store repair ${store}"`);

    const verified = pier('store', 'verify', data);
    t.equal(verified.code, 2);
    t.match(
      verified.stdout,
      new RegExp(`^damaged: ${store}/${segment} from offset \\d+ on: `, 'm'),
    );
    t.ok(readFileSync(join(store, segment)).equals(before), 'nothing was changed so far');

    const repaired = pier('store', 'repair', store);
    t.equal(repaired.code, 0);
    t.match(repaired.stdout, /^kept: everything up to revision \d+/m);
    t.match(repaired.stdout, /epoch 2/);
    t.ok(readFileSync(join(store, 'aside-1', segment)).equals(before), 'what was damaged is kept');
    t.equal(pier('store', 'verify', data).code, 0);
    t.match(pier('store', 'repair', data), { code: 0, stdout: /not damaged: nothing was changed/ });
    const again = await startMaster(t, data);
    t.ok(await again.client.json(`${configMaps}/a`), 'what came before the damage is there');
    await t.rejects(again.client.json(`${configMaps}/b`), { code: 404 });
  },
);

t.test('a command of the master calls itself by the name it was called by', async (t) => {
  for (const name of ['store', 'backup', 'restore']) {
    t.match(pier(name, '--help'), { code: 0, stdout: new RegExp(`^Usage: pier ${name} `) });
  }
  const data = temporary(t);
  const help = runCommand(programs.master, 'backup', '--help');
  t.match(help.stdout, /^Usage: pier-master backup /);
  const kubeconfig = join(data, 'none');
  const failed = pier('backup', join(data, 'file'), '--kubeconfig', kubeconfig);
  t.match(failed, { code: 1, stderr: /^pier: error: / });
});

t.test('an unfinished write at the end is no damage', async (t) => {
  const data = temporary(t);
  const master = await startMaster(t, data);
  await create(master.client, configMaps, configMap('whole'));
  await create(master.client, configMaps, configMap('torn'));
  await master.kill();
  const segment = join(data, 'store/wal-00000001');
  truncateSync(segment, statSync(segment).size - 10);
  const verified = pier('store', 'verify', data);
  t.match(verified, { code: 0, stdout: /\d+ bytes of an unfinished write at the end/ });
  const again = await startMaster(t, data);
  t.match(again.words, /ended in an unfinished write: \d+ bytes/);
  t.ok(await again.client.json(`${configMaps}/whole`));
});

t.test('another format version is refused with a sentence, by repair too', async (t) => {
  const data = temporary(t);
  await (await startMaster(t, data)).kill();
  const format = join(data, 'store/format');
  const text = readFileSync(format, 'utf8').replace(/\b1\b/, '99');
  writeFileSync(format, text);
  const sentence =
    /error: the store file \S+\/format cannot be read: it has format version 99, this pier reads version 1; use the pier that wrote it, or a newer one/;
  t.match(await refusal(t, data), sentence);
  t.match(pier('store', 'verify', data), { code: 1, stderr: sentence });
  t.match(pier('store', 'repair', data), { code: 1, stderr: sentence });
  t.equal(readFileSync(format, 'utf8'), text);
});

t.test('a second master is refused, the one after a kill -9 is not', async (t) => {
  const data = temporary(t);
  const first = await startMaster(t, data);
  const inUse = /is in use by process \d+; stop it first/;
  t.match(await refusal(t, data), inUse);
  for (const verb of ['verify', 'repair', 'dump']) {
    t.match(pier('store', verb, data), { code: 1, stderr: inUse });
  }
  t.ok(await first.client.json('/version'), 'the first one is not disturbed');
  const locks = () => readdirSync(join(data, 'store')).filter((name) => name.startsWith('lock-'));
  await first.kill();
  t.equal(locks().length, 1, 'the lock of the killed one is left');
  t.equal(pier('store', 'verify', data).code, 0, "and in nobody's way");
  await startMaster(t, data);
});

t.test('a dump shows objects and damage, and no Secret', async (t) => {
  const data = temporary(t);
  const master = await startMaster(t, data);
  const canary = 'canary-of-the-dump';
  await create(master.client, secrets, {
    metadata: {
      name: 'hidden',
      annotations: { 'kubectl.kubernetes.io/last-applied-configuration': canary },
    },
    stringData: { key: canary },
  });
  await create(master.client, configMaps, configMap('seen'));
  await master.kill();
  const { code, stdout } = pier('store', 'dump', data);
  t.equal(code, 0);
  t.match(stdout, /"key":"\/registry\/core\/secrets\/default\/hidden","bytes":\d+,"value":"hidden/);
  t.match(stdout, /of seen/);
  t.notMatch(stdout, canary);
  t.notMatch(stdout, Buffer.from(canary).toString('base64').slice(0, 20));
  for (const line of stdout.trimEnd().split('\n')) t.type(JSON.parse(line), 'object');
});

t.test('what cannot be done is said in a sentence', (t) => {
  const folder = temporary(t);
  const file = join(folder, 'file');
  writeFileSync(file, 'a photograph');
  const expect = (args: string[], stderr: RegExp) =>
    t.match(pier(...args), { code: 1, stderr }, args.join(' '));
  expect(['store', 'verify', join(folder, 'none')], /error: there is no directory/);
  expect(['store', 'verify', folder], /error: .* holds no store: give the data directory/);
  expect(['store', 'dump', file], /error: .*\/file is no directory/);
  expect(['store', 'mend', folder], /error: unknown command 'mend'/);
  expect(['backup', file, '--data', folder], /admin.kubeconfig is not there; the master writes it/);
  expect(
    ['restore', file, '--data', join(folder, 'new')],
    /the backup is not usable: this is not a snap/,
  );
  expect(
    ['restore', join(folder, 'none'), '--data', join(folder, 'new')],
    /error: there is no file/,
  );
  expect(['restore', file], /--data <dir>' not specified/);
  t.end();
});

t.test('a backup of a running master brings the cluster back', async (t) => {
  const folder = temporary(t);
  const data = join(folder, 'data');
  const file = join(folder, 'cluster.backup');
  const master = await startMaster(t, data);
  const { client } = master;
  for (let n = 0; n < 50; n++) await create(client, configMaps, configMap(`c-${n}`));
  await create(client, secrets, { metadata: { name: 's' }, stringData: { password: 'kept' } });
  await client.text(`${configMaps}/c-7`, { method: 'DELETE' });
  const args = ['backup', file, '--kubeconfig', master.kubeconfig, '--server', master.server];

  await t.test('it is private, whole, and replaces only a backup', async (t) => {
    t.match(pier(...args), {
      code: 0,
      stderr: /wrote .*cluster.backup: .* revision \d+, \d+ objects/,
    });
    t.equal(statSync(file).mode & 0o777, 0o600);
    t.equal(pier(...args).code, 0, 'a newer one takes its place');
    const other = join(folder, 'photographs');
    writeFileSync(other, 'no backup');
    const refused = pier('backup', other, ...args.slice(2));
    t.match(refused, { code: 1, stderr: /is there and is no backup/ });
    t.equal(readFileSync(other, 'utf8'), 'no backup');
    t.match(pier('backup', join(folder, 'no/where'), ...args.slice(2)), {
      code: 1,
      stderr: /error: there is no directory/,
    });
  });

  await t.test('only an admin may read it', async (t) => {
    const pki = await ensurePki(join(data, 'pki'), { hostnames: [], addresses: ['127.0.0.1'] });
    const board = await issueNodeCertificate(pki, 'pi4');
    const connection = {
      ...readKubeconfig(master.kubeconfig),
      server: new URL(master.server),
      cert: Buffer.from(board.certificate),
      key: Buffer.from(board.privateKey),
    };
    const asBoard = new Client(connection);
    t.teardown(() => asBoard.close());
    await t.rejects(asBoard.text('/pier/v1/backup'), { code: 403, message: /forbidden/ });
    await t.rejects(client.text('/pier/v1/backup', { method: 'POST' }), { code: 405 });
  });

  await t.test('writes go on while it is read, and it holds the state of one moment', async (t) => {
    let made = 0;
    let running = true;
    const writing = (async () => {
      for (; running; made++) await create(client, configMaps, configMap(`late-${made}`));
    })();
    const command = spawn(process.execPath, [programs.pier, ...args], { stdio: 'ignore' });
    const code = await new Promise((resolve) => command.once('close', resolve));
    running = false;
    await writing;
    t.equal(code, 0);
    const { kvs } = readBackup(readFileSync(file));
    const late = kvs.filter(({ key }) => key.includes('/late-')).map(({ key }) => key);
    const all = Array.from(late, (_, n) => `/registry/core/configmaps/default/late-${n}`);
    t.same(late, all.sort(), 'every write up to a moment, none after it');
    t.ok(late.length > 0 && late.length < made, `${late.length} of ${made}`);
  });

  const before = await contents(client, configMaps);
  const secretsBefore = await contents(client, secrets);
  t.equal(pier(...args).code, 0);
  const list = await client.json<Listed>(configMaps);
  const last = Number(list.metadata.resourceVersion);
  await create(client, configMaps, configMap('after-the-backup'));
  await master.stop();
  t.match(pier(...args), { code: 1, stderr: /cannot read from the master at .*running master/ });

  const target = join(folder, 'restored');
  await t.test('a damaged one is refused, and so is a directory in use', (t) => {
    const bytes = readFileSync(file);
    const at = bytes.indexOf('of c-3');
    bytes[at] = 0x21;
    const bad = join(folder, 'bad.backup');
    writeFileSync(bad, bytes);
    t.match(pier('restore', bad, '--data', target), {
      code: 1,
      stderr: /not usable: the block at/,
    });
    writeFileSync(bad, readFileSync(file).subarray(0, -12));
    t.match(pier('restore', bad, '--data', target), { code: 1, stderr: /before its footer/ });
    const used = pier('restore', file, '--data', data);
    t.match(used, { code: 1, stderr: /is not empty \(.*\): move what is there away/ });
    t.same(
      readdirSync(folder).filter((name) => name.includes('restor')),
      [],
      'nothing was left behind',
    );
    t.end();
  });

  await t.test('the restored master serves the same objects in a new life', async (t) => {
    mkdirSync(target);
    t.match(pier('restore', file, '--data', target), {
      code: 0,
      stderr: /epoch \d+, revision \d+/,
    });
    t.equal(statSync(target).mode & 0o777, 0o700);
    for (const name of readdirSync(join(target, 'pki'))) {
      t.equal(statSync(join(target, 'pki', name)).mode & 0o777, 0o600, name);
    }
    const ca = (directory: string) => readFileSync(join(directory, 'pki/ca.crt'), 'utf8');
    t.equal(ca(target), ca(data), 'boards trust it');
    const restored = await startMaster(t, target);
    const now = restored.client;
    t.same(await contents(now, configMaps), before);
    t.same(await contents(now, secrets), secretsBefore);
    const { metadata } = await now.json<Listed>(configMaps);
    t.ok(Number(metadata.resourceVersion) > last + 1_000_000, 'revisions go on far above');
    const watch = `${configMaps}?watch=true&resourceVersion=${last}&timeoutSeconds=1`;
    t.equal(await watchCode(now, watch), 410, 'a watch of the old life starts again with a list');
    const made = await create(now, configMaps, configMap('new-life'));
    t.ok(Number(made.metadata.resourceVersion) > Number(metadata.resourceVersion));
  });
});

/** The code a watch is refused with: of the answer, or of its first event. */
async function watchCode(client: Client, path: string): Promise<number> {
  try {
    const [first = '{}'] = (await client.text(path)).split('\n');
    const event = JSON.parse(first) as { object?: { code?: number } };
    return event.object?.code ?? 200;
  } catch (error) {
    if (error instanceof RequestError) return error.code;
    throw error;
  }
}

const noTmpfs = process.getuid?.() === 0 ? false : 'mounting a small tmpfs needs root';

t.test(
  'a full disk refuses writes, serves reads, and goes on by itself',
  { skip: noTmpfs },
  async (t) => {
    const data = temporary(t);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=0700', 'pier-test', data]);
    t.teardown(() => execFileSync('umount', ['--lazy', data]));
    const master = await startMaster(t, data);
    const { client } = master;
    const ballast = join(data, 'ballast');
    writeFileSync(ballast, Buffer.alloc(300 * 1024));

    const stored: string[] = [];
    const refusals: RequestError[] = [];
    const write = async (name: string) => {
      const body = {
        metadata: { name },
        data: { text: name.padEnd(7_000 + Math.random() * 4_000, 'x') },
      };
      try {
        await create(client, configMaps, body);
        stored.push(name);
        return true;
      } catch (error) {
        if (!(error instanceof RequestError)) throw error;
        refusals.push(error);
        return false;
      }
    };
    const names = async () => {
      const { items } = await client.json<Listed>(configMaps);
      return items
        .map((item) => item.metadata.name)
        .filter((name) => name.startsWith('f-'))
        .sort();
    };
    for (let n = 0; n < 200 && refusals.length < 20; n++) await write(`f-${n}`);
    t.ok(stored.length > 10 && refusals.length === 20, `${stored.length} stored, then refused`);
    for (const error of refusals) {
      t.ok([503, 507].includes(error.code), String(error.code));
      t.match(error.message, /disk of the master is full.*free some room/);
    }
    t.same(await names(), [...stored].sort(), 'reads go on, and show nothing that was refused');

    const watching = client.text(`${configMaps}?watch=true&timeoutSeconds=2`);
    rmSync(ballast);
    const deadline = performance.now() + 5_000;
    while (!(await write('f-again')) && performance.now() < deadline) await sleep(20);
    t.ok(stored.includes('f-again'), 'writing has resumed without a restart');
    t.match(await watching, /"f-again"/, 'and watches go on');
    t.notOk(master.hasEnded);
    await master.kill();
    t.equal(pier('store', 'verify', data).code, 0, 'no half record stays behind');
    const again = await startMaster(t, data);
    const { items } = await again.client.json<Listed>(configMaps);
    const found = items.map((item) => item.metadata.name).filter((name) => name.startsWith('f-'));
    t.same(found.sort(), stored.sort(), 'what was acknowledged is there after kill -9');
    await again.kill();
  },
);

t.test('ten boards report as often as in ten minutes, and nothing is written', async (t) => {
  // A board reports every 5 s; here 50 times as often, so that the test does not take ten minutes. They are in test/long.
  const data = temporary(t);
  const size = { boards: 10, heartbeatMs: 100, windowMs: 12_000 };
  const seen = await idle({ program: programs.master, data, ...size });
  t.comment(JSON.stringify(seen));
  t.match(seen.idle, { changedFiles: [], writtenBytes: 0, revisions: 0 });
  t.ok(seen.idle.heartbeats > 200, `${seen.idle.heartbeats} heartbeats`);
  t.equal(new Set(seen.usages).has('0'), false, 'their figures are served');
  t.equal(seen.usages.length, 10);
  t.match(seen.oneWrite, { changedFiles: ['store/wal-00000001'], revisions: 1 });
  t.ok(seen.oneWrite.writtenBytes > 0, 'the witnesses see a single write');
  if (seen.idle.syncs === undefined) return t.comment('strace may not watch: syncs not counted');
  t.equal(seen.idle.syncs, 0, 'no sync');
  t.equal(seen.oneWrite.syncs, 1, 'one write, one sync');
});

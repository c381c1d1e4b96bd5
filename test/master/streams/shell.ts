/** A shell on the board itself, over the API, with a terminal that the test plays; test/e2e/streams.test.ts has a real one. */
import t from 'tap';
import type { Pty, PtyLibrary } from '../../../agent/board-shell.ts';
import { until } from '../../support/fake-api.ts';
import { LONG, startPlace } from './harness.ts';

const PATH = '/api/v1/nodes/pi4/shell?term=xterm-256color';
const place = await startPlace(async () => 0);
const { api } = place;
t.teardown(() => place.close());
await api.call('POST', '/api/v1/nodes', { body: { metadata: { name: 'pi4' } } });

/** A terminal with a shell that the test plays. */
class FakePty implements Pty {
  readonly pid = 2 ** 30;
  readonly did: string[] = [];
  say: (data: Uint8Array) => void = () => {};
  end: (end: { exitCode: number; signal?: number }) => void = () => {};

  onData(listener: (data: Uint8Array) => void): void {
    this.say = listener;
  }
  onExit(listener: (end: { exitCode: number; signal?: number }) => void): void {
    this.end = listener;
  }
  write(data: Buffer): void {
    this.did.push(`write ${data}`);
  }
  resize(columns: number, rows: number): void {
    this.did.push(`resize ${columns}x${rows}`);
  }
  pause(): void {
    this.did.push('pause');
  }
  resume(): void {
    this.did.push('resume');
  }
  kill(signal: string): void {
    this.did.push(signal);
  }
}

function fakeLibrary(): { pty: FakePty; library: PtyLibrary; spawned: unknown[] } {
  const pty = new FakePty();
  const spawned: unknown[] = [];
  const spawn: PtyLibrary['spawn'] = (...call) => {
    spawned.push(call);
    return pty;
  };
  return { pty, library: { spawn }, spawned };
}

t.test('input, output, size and exit code of a shell', LONG, async (t) => {
  const { pty, library, spawned } = fakeLibrary();
  place.shell = { isAllowed: true, loadPty: async () => library };
  const client = place.open(PATH, { protocols: ['v5.channel.k8s.io'] });
  await client.opened;
  t.match(spawned, [[/^\/bin\//, ['-l'], { name: 'xterm-256color', encoding: null }]]);
  const env = (spawned[0] as { env: object }[] | undefined)?.[2]?.env ?? {};
  t.notOk('PIER_SEED' in env || 'npm_config_cache' in env, "nothing of the agent's environment");
  client.send(4, '{"Width":101,"Height":33}');
  client.send(0, 'ls\n');
  client.send(255, new Uint8Array([0]));
  await until('all has arrived', async () => pty.did.length === 3);
  t.same(pty.did, ['resize 101x33', 'write ls\n', 'write \x04'], 'Ctrl-D is the end of input');
  pty.say(Buffer.from('file\r\n'));
  pty.end({ exitCode: 7 });
  await client.closed;
  t.equal(client.text(1), 'file\r\n');
  t.match(JSON.parse(client.text(3)), { details: { causes: [{ message: '7' }] } });
  t.same(place.told, [
    'ShellOpened: pier-admin opened a shell on this board',
    'ShellClosed: the shell of pier-admin on this board has ended',
  ]);
  t.notOk(pty.did.includes('SIGHUP'), 'it had ended by itself');
});

t.test('a client that goes away hangs up the shell', LONG, async (t) => {
  const { pty, library } = fakeLibrary();
  place.shell = { isAllowed: true, loadPty: async () => library };
  const client = place.open(PATH, { protocols: ['v5.channel.k8s.io'] });
  await client.opened;
  client.socket.terminate();
  await until('it is hung up', async () => pty.did.includes('SIGHUP'));
  pty.end({ exitCode: 0, signal: 1 });
  await until('nothing is served', async () => place.serving() === 0);
  t.match(place.told.at(-1), /^ShellClosed/);
});

t.test('a shell that says more than its client reads is paused', LONG, async (t) => {
  const { pty, library } = fakeLibrary();
  place.shell = { isAllowed: true, loadPty: async () => library };
  const client = place.open(PATH, { protocols: ['v4.channel.k8s.io'] });
  await client.opened;
  const part = Buffer.alloc(32 * 1024, 'x');
  for (let n = 0; n < 4; n += 1) pty.say(part);
  t.ok(pty.did.includes('pause'));
  await until('it is read on', async () => pty.did.includes('resume'));
  pty.end({ exitCode: 0 });
  await client.closed;
  t.equal(client.text(1).length, 4 * part.length);
});

t.test('who may not, which board does not, and what is missing, is said in words', async (t) => {
  const refused = async (path: string, options = {}) => {
    const { code, body } = await place.open(path, options).refused;
    return `${code} ${JSON.parse(body).message}`;
  };
  place.shell = { isAllowed: false };
  t.match(await refused(PATH), /^403 board "pi4" allows no shell: .*--allow-shell/);
  const loadPty = async () => Promise.reject(new Error('Cannot find package'));
  place.shell = { isAllowed: true, loadPty };
  t.match(await refused(PATH), /^501 board "pi4" has no terminal .* build-essential .*node-pty/);
  t.match(await refused('/api/v1/nodes/nobody/shell'), /^404 nodes "nobody" not found/);
  t.match(await refused(`${PATH}%20;rm`), /^400 .* is no kind of terminal/);
  t.match((await api.call('POST', PATH)).json.message, /Upgrade request required/);

  const rbac = '/apis/rbac.authorization.k8s.io/v1';
  const bind = (name: string, role: string) =>
    api.call('POST', `${rbac}/clusterrolebindings`, {
      body: {
        metadata: { name },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
        subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name }],
      },
    });
  for (const role of ['admin', 'edit', 'system:kubelet-api-admin']) {
    await bind(`only-${role}`, role);
    const as = await api.identity(`only-${role}`, []);
    const why = await refused(PATH, { as });
    t.match(why, /^403 .*cannot create resource "nodes\/shell" in API group ""/, role);
  }
  const rules = [{ apiGroups: [''], resources: ['nodes/shell'], verbs: ['create'] }];
  await api.call('POST', `${rbac}/clusterroles`, { body: { metadata: { name: 'sh' }, rules } });
  await bind('sheller', 'sh');
  const as = await api.identity('sheller', []);
  t.match(await refused(PATH, { as }), /^501 /, 'who was given it gets as far as the board');
});

/** exec and attach from a client's socket to a fake process on the board, over WebSockets and SPDY. */
import t from 'tap';
import type { FakeExec } from '../../../agent/runtime/fake-exec.ts';
import { PODS } from '../api-fixture.ts';
import { until } from '../fleet/fixture.ts';
import { LONG, rawRequest, type StreamPlace, startPlace } from './harness.ts';
import { readHead, SpdyPeer } from './spdy-peer.ts';

const WEB = `${PODS}/web`;
const ALL = 'stdin=true&stdout=true&stderr=true';

/** What the fake processes have done, for the tests to look at. */
const seen = { produced: 0, consumed: 0, left: 0, sizes: [] as string[] };

const programs: Record<string, FakeExec> = {
  seven: async ({ print }) => {
    await print('stdout', 'out');
    await print('stderr', 'err');
    return 7;
  },
  cat: async ({ stdin, print }) => {
    for await (const data of stdin) await print('stdout', data);
    await print('stdout', '<end>');
    return 0;
  },
  flood: async ({ print }) => {
    const chunk = Buffer.alloc(64 * 1024, 'x');
    try {
      for (;;) {
        await print('stdout', chunk);
        seen.produced += chunk.length;
      }
    } catch {
      seen.left += 1;
      return 0;
    }
  },
  deaf: async ({ print }) => {
    await print('stdout', 'I do not listen');
    return new Promise(() => undefined);
  },
  terminal: async ({ stdin, print, size }) => {
    for await (const data of stdin) {
      const { columns, rows } = size() ?? { columns: 0, rows: 0 };
      await print('stderr', `${columns}x${rows} `);
      if (Buffer.from(data).toString() === 'q') return 0;
    }
    return 1;
  },
  slowExit: async ({ print }) => {
    for (let n = 0; n < 40; n += 1) await print('stdout', Buffer.alloc(100_000, 'y'));
    return 3;
  },
};

let place: StreamPlace;

t.before(async () => {
  place = await startPlace(async (process) => {
    const program = programs[process.command[0] ?? ''];
    if (program === undefined) throw new Error(`no program ${process.command[0]}`);
    return program(process);
  });
});
t.teardown(() => place.close());

const execPath = (command: string, query = ALL) => `${WEB}/exec?command=${command}&${query}`;

t.test('exec over v5: outputs, exit code, close', async (t) => {
  const client = place.open(execPath('seven'));
  t.equal(await client.closed, 1000);
  t.same([...(client.messages[0] ?? [])], [1], 'the first message says that it is connected');
  t.equal(client.text(1), 'out');
  t.equal(client.text(2), 'err');
  t.match(JSON.parse(client.text(3)), {
    status: 'Failure',
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: '7' }] },
  });
});

t.test('v5: the end of stdin reaches the process, whose output goes on', async (t) => {
  const client = place.open(execPath('cat'));
  await client.opened;
  client.send(0, 'hello ');
  client.send(0, 'world');
  client.send(255, new Uint8Array([0]));
  t.equal(await client.closed, 1000);
  t.equal(client.text(1), 'hello world<end>');
  t.match(JSON.parse(client.text(3)), { status: 'Success' });
});

t.test('v4 has no end of stdin; base64 and the oldest form work', async (t) => {
  const v4 = place.open(execPath('cat'), { protocols: ['v4.channel.k8s.io'] });
  await v4.opened;
  v4.send(255, new Uint8Array([0]));
  v4.send(0, 'still');
  await until(() => v4.text(1) === 'still', 'its echo');
  v4.socket.close();

  const base64 = place.open(execPath('cat'), { protocols: ['v4.base64.channel.k8s.io'] });
  await base64.opened;
  base64.socket.send(`0${Buffer.from('hi').toString('base64')}`);
  const echo = `1${Buffer.from('hi').toString('base64')}`;
  await until(() => base64.messages.some((one) => one.toString() === echo), 'the echo');
  base64.socket.close();

  const oldest = place.open(execPath('seven'), { protocols: [] });
  t.equal(await oldest.closed, 1000);
  t.equal(oldest.text(3), 'command terminated with non-zero exit code: exit status 7');
  await until(() => place.serving() === 0, 'the board to be let go of');
});

t.test('a terminal is resized, and has one output', async (t) => {
  const client = place.open(execPath('terminal', `${ALL}&tty=true`));
  await client.opened;
  client.send(4, '{"Width":101,"Height":33}');
  client.send(0, 'a');
  client.send(4, 'nonsense');
  client.send(4, '{"Width":50,"Height":20}');
  client.send(0, 'q');
  t.equal(await client.closed, 1000);
  t.equal(client.text(1), '101x33 50x20 ');
  t.equal(client.text(2), '');
});

t.test('what is wrong is answered with a Status before the upgrade', async (t) => {
  const refused = async (path: string, options = {}) => {
    const { code, body } = await place.open(path, options).refused;
    return { code, message: JSON.parse(body).message };
  };
  const cases: ReadonlyArray<readonly [string, number, RegExp]> = [
    [`${PODS}/nobody/exec?command=a&stdout=true`, 404, /pods "nobody" not found/],
    [execPath('cat', `${ALL}&container=x`), 400, /container x is not valid for pod web/],
    [
      execPath('cat', `${ALL}&container=d`),
      400,
      /"d" of pod "web" is not running: ImagePullBackOff/,
    ],
    [execPath('cat', ''), 400, /at least 1 of stdin, stdout, stderr/],
    [`${WEB}/exec?${ALL}`, 400, /at least one command/],
    [`${WEB}/log`, 400, /cannot be upgraded/],
    ['/version', 400, /cannot be upgraded/],
    [`${WEB}/attach?${ALL}&tty=true`, 400, /has no terminal/],
  ];
  for (const [path, code, message] of cases) t.match(await refused(path), { code, message }, path);

  const protocols = ['graphql-ws'];
  t.match(await refused(execPath('cat'), { protocols }), { code: 400, message: /graphql-ws/ });
  const foreign = await refused(execPath('cat'), { origin: 'https://evil.example' });
  t.match(foreign, { code: 403, message: /evil.example may not/ });
  const own = place.open(execPath('seven'), { origin: `https://127.0.0.1:${place.api.port}` });
  t.equal(await own.closed, 1000, 'a page of the master itself may');

  const nobody = await place.api.identity('someone', []);
  t.match(await refused(execPath('cat'), { as: nobody }), { code: 403, message: /pods\/exec/ });
  const board = await place.api.identity('system:node:pi4', ['system:nodes']);
  t.match(await refused(execPath('cat'), { as: board }), { code: 403 }, 'nor may a board');

  place.connected = false;
  t.match(await refused(execPath('cat')), { code: 503, message: /board "pi4" is not connected/ });
  place.connected = true;
  const plain = await place.api.call('GET', execPath('cat'));
  t.match(plain.json, { code: 400, message: 'Upgrade request required' });
  const unknown = await place.api.call('POST', execPath('cat'), { headers: { Upgrade: 'h2c' } });
  t.equal(unknown.code, 400);
});

t.test('a program that cannot be started is told on the error channel', async (t) => {
  const client = place.open(execPath('missing'));
  t.equal(await client.closed, 1000);
  t.match(JSON.parse(client.text(3)), { status: 'Failure', message: /no program missing/ });
});

t.test('a client that does not read stops the process, and loses nothing', LONG, async (t) => {
  const client = place.open(execPath('flood', 'stdout=true'));
  await client.opened;
  client.socket.pause();
  let before = -1;
  await until(
    async () => {
      const still = seen.produced === before;
      before = seen.produced;
      await new Promise((resolve) => setTimeout(resolve, 300));
      return still && before > 0;
    },
    'the process to stand still',
    30_000,
  );
  const megabytes = seen.produced / 1024 / 1024;
  t.ok(megabytes < 24, `${megabytes.toFixed(1)} MiB are in sockets and queues, no more`);
  client.socket.resume();
  await until(() => seen.produced > before + 4 * 1024 * 1024, 'it to go on');
  client.socket.terminate();
  await until(() => seen.left === 1, 'the process to be left');
  await until(() => place.serving() === 0, 'the board to be let go of');

  const late = place.open(execPath('slowExit', 'stdout=true'));
  await late.opened;
  late.socket.pause();
  // The process has ended long before its output is read.
  await new Promise((resolve) => setTimeout(resolve, 500));
  late.socket.resume();
  t.equal(await late.closed, 1000);
  t.equal(late.text(1).length, 4_000_000, 'all of its output');
  t.match(late.text(3), /"3"/, 'and then its exit code');
});

t.test('attach joins the container', async () => {
  const client = place.open(`${WEB}/attach?stdin=true&stdout=true&container=c`);
  await client.opened;
  client.send(0, 'typed');
  await until(() => client.text(1) === 'attached\ntyped', 'the echo');
  client.socket.close();
  await until(() => place.serving() === 0, 'the board to be let go of');
  const again = place.open(`${WEB}/attach?stdout=true`);
  await until(() => again.text(1) === 'attached\n', 'the second one');
  again.socket.close();
});

/** The headers of kubectl before 1.30. */
const upgrade = (path: string, ...more: string[]) => [
  `POST ${path} HTTP/1.1`,
  'Host: pier',
  'Connection: Upgrade',
  'Upgrade: SPDY/3.1',
  'Content-Length: 0',
  ...more,
];

t.test('exec over SPDY: streams, exit code, end of stdin, ping', async (t) => {
  const versions = ['v4', 'v3', 'v2'].map((v) => `X-Stream-Protocol-Version: ${v}.channel.k8s.io`);
  const socket = await rawRequest(place.api, upgrade(execPath('cat'), ...versions));
  const head = await readHead(socket);
  t.match(head, /^HTTP\/1.1 101 /);
  t.match(head, /X-Stream-Protocol-Version: v4.channel.k8s.io/);
  const peer = new SpdyPeer(socket);
  const error = peer.open({ streamtype: 'error' });
  const stdin = peer.open({ streamtype: 'stdin' });
  const stdout = peer.open({ streamtype: 'stdout' });
  const stderr = peer.open({ streamtype: 'stderr' });
  peer.ping(1);
  peer.send(stdin, 'over ');
  peer.send(stdin, 'SPDY', true);
  await until(() => error.state === 'ended' && stdout.state === 'ended', 'the end');
  t.equal(stdout.text, 'over SPDY<end>');
  t.equal(stderr.text, '');
  t.match(JSON.parse(error.text), { status: 'Success' });
  t.equal(peer.pongs, 1);
  socket.end();

  const old = await rawRequest(place.api, upgrade(execPath('seven'), versions[2] ?? ''));
  t.match(await readHead(old), /Version: v2.channel.k8s.io/);
  const second = new SpdyPeer(old);
  const words = second.open({ streamtype: 'error' });
  for (const streamtype of ['stdin', 'stdout', 'stderr']) second.open({ streamtype });
  await until(() => words.state === 'ended', 'its end');
  t.match(words.text, /exit status 7$/, 'in words, for who knows no Status');
  old.end();
});

t.test('a SPDY client that breaks the rules is let go of', async (t) => {
  const version = 'X-Stream-Protocol-Version: v4.channel.k8s.io';
  const start = async () => {
    const socket = await rawRequest(place.api, upgrade(execPath('cat', 'stdin=true'), version));
    await readHead(socket);
    return socket;
  };
  const gone = (socket: { readonly destroyed: boolean }) => () => socket.destroyed;
  const wrong = await start();
  new SpdyPeer(wrong).open({ streamtype: 'stdin', port: '1' });
  new SpdyPeer(wrong).open({ streamtype: 'sideways' });
  await until(gone(wrong), 'the end of who sends another zlib stream and twice the same id');
  const garbage = await start();
  garbage.resume();
  garbage.write(Buffer.alloc(100, 0x80));
  await until(gone(garbage), 'the end of who speaks no SPDY');
  const vanished = await start();
  vanished.destroy();
  await until(() => place.serving() === 0, 'the board to be let go of');

  const none = await rawRequest(place.api, upgrade(execPath('cat')));
  t.match(await readHead(none), /^HTTP\/1.1 400 /, 'no version that both know');
});

t.test('input that nobody reads is held back at the client', LONG, async (t) => {
  const client = place.open(execPath('deaf'));
  await client.opened;
  const chunk = Buffer.alloc(256 * 1024, 'z');
  let sent = 0;
  let before = -1;
  for (let n = 0; n < 400; n += 1) {
    client.socket.send(Buffer.concat([Buffer.from([0]), chunk]), () => {
      sent += chunk.length;
    });
  }
  await until(
    async () => {
      const still = sent === before;
      before = sent;
      await new Promise((resolve) => setTimeout(resolve, 300));
      return still;
    },
    'the client to be held up',
    30_000,
  );
  const megabytes = sent / 1024 / 1024;
  t.ok(megabytes < 32, `${megabytes.toFixed(1)} MiB of 100 were taken`);
  t.ok(client.socket.bufferedAmount > 50 * 1024 * 1024);
  client.socket.terminate();
});

t.test('a master that stops tells its clients and waits for none', async (t) => {
  const client = place.open(execPath('cat'));
  await client.opened;
  client.send(0, 'x');
  await until(() => client.text(1) === 'x', 'the echo');
  await place.api.server.close(500);
  await client.closed;
  t.match(JSON.parse(client.text(3)), { status: 'Failure', message: /shutting down/ });
});

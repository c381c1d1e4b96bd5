/** What of the engines needs no engine: which one is chosen, wire formats, parsers. Imported by runtime.test.ts. */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import fc from 'fast-check';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import {
  chooseRuntime,
  decideEngine,
  type RuntimeName,
  type RuntimeSettings,
} from '../../agent/runtime/choose.ts';
import { readEvent } from '../../agent/runtime/cri/events.ts';
import { isWithin, otherNetwork, writeNetwork } from '../../agent/runtime/cri/network.ts';
import { ContainerConfig, PodSandboxConfig } from '../../agent/runtime/cri/proto.ts';
import { readSetup } from '../../agent/runtime/cri/read.ts';
import { sandboxConfig } from '../../agent/runtime/cri/spec.ts';
import { dialTcp, openRemote, readExitStatus } from '../../agent/runtime/cri/streaming.ts';
import { decode, encode, type MessageTable } from '../../agent/runtime/cri/wire.ts';
import { parseJsonEntry } from '../../agent/runtime/docker/read.ts';
import { resolvFile } from '../../agent/runtime/docker/spec.ts';
import { EngineCgroups } from '../../agent/runtime/engine-cgroups.ts';
import { type EngineCalls, engineAttach, engineExec } from '../../agent/runtime/engine-exec.ts';
import { LogLines } from '../../agent/runtime/log-file.ts';
import {
  type ConmonPlace,
  startDespiteRemains,
  strayConmons,
} from '../../agent/runtime/podman-conmons.ts';
import { strayFolders } from '../../agent/runtime/podman-folders.ts';
import { strayHalfMade } from '../../agent/runtime/podman-half-made.ts';
import { strayNamespaces } from '../../agent/runtime/podman-netns.ts';
import { PodmanStrays } from '../../agent/runtime/podman-strays.ts';
import { cgroupPath } from '../../agent/runtime/process-stats.ts';
import { type ExecSession, RuntimeError } from '../../agent/runtime/runtime.ts';
import { SpdySession, type SpdyStream } from '../../protocol/spdy/session.ts';
import { sandboxSpec } from './runtime.contract.ts';

const NOTHING_ASKED = {
  name: undefined,
  criSocket: undefined,
  dockerSocket: undefined,
  podman: { socketPath: undefined, root: undefined, runroot: undefined },
};

function findings(usable: readonly RuntimeName[], remembered?: RuntimeName) {
  return {
    remembered,
    problem: async (name: RuntimeName) => (usable.includes(name) ? undefined : 'not there'),
  };
}

t.test('the engine is the asked for, else the remembered, else the first that works', async (t) => {
  const all: readonly RuntimeName[] = ['docker', 'podman', 'cri'];
  const cases: ReadonlyArray<
    readonly [string, Partial<RuntimeSettings>, ReturnType<typeof findings>, RuntimeName]
  > = [
    ['nothing works: podman says what to do', {}, findings([]), 'podman'],
    ['the order of the three', {}, findings(all), 'cri'],
    ['without containerd', {}, findings(['docker', 'podman']), 'podman'],
    ['Docker alone', {}, findings(['docker']), 'docker'],
    ['a newcomer changes nothing', {}, findings(all, 'docker'), 'docker'],
    ['one that is slow to start is waited for', {}, findings(['podman'], 'cri'), 'cri'],
    ['asked for by name', { name: 'podman' }, findings(all, 'cri'), 'podman'],
    ['asked for by its socket', { criSocket: '/a' }, findings(all, 'podman'), 'cri'],
    ['asked for by its socket', { dockerSocket: '/a' }, findings([]), 'docker'],
    [
      'a storage of its own is podman',
      { podman: { socketPath: '/s', root: '/r', runroot: '/t' } },
      findings(all),
      'podman',
    ],
  ];
  for (const [what, settings, found, name] of cases) {
    const choice = await decideEngine({ ...NOTHING_ASKED, ...settings }, found);
    t.equal(choice.name, name, what);
  }
  const { passedOver } = await decideEngine(NOTHING_ASKED, findings(['docker']));
  t.strictSame(passedOver, ['cri: not there', 'podman: not there']);
});

t.test('the choice is remembered on the disk; another one is said', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'pier-choice-'));
  t.teardown(() => rm(dir, { recursive: true }));
  const said: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => said.push(line) });
  const settings = { ...NOTHING_ASKED, dataDir: dir, stateDir: join(dir, 'state'), runDir: dir };
  const choose = async (name?: RuntimeName): Promise<string> => {
    const runtime = await chooseRuntime({ ...settings, name }, log);
    await runtime.stop();
    return runtime.name;
  };
  t.equal(await choose('docker'), 'docker');
  t.equal(await choose(), 'docker');
  t.equal(said.filter((line) => line.includes('remove them there')).length, 0);
  t.equal(await choose('cri'), 'cri');
  t.match(said.join(''), /remove them there/);
  await writeFile(join(dir, 'state/runtime'), 'nonsense');
  t.equal(await choose('docker'), 'docker');
});

const podmanRuns = existsSync('/run/podman/podman.sock') && 'podman runs as a service here';

t.test('a new board without an engine is told what to install', { skip: podmanRuns }, async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'pier-choice-'));
  t.teardown(() => rm(dir, { recursive: true }));
  const path = process.env.PATH;
  t.teardown(() => Object.assign(process.env, { PATH: path }));
  process.env.PATH = dir;
  const log = pino({ level: 'silent' });
  const stateDir = join(dir, 'state');
  const settings = { ...NOTHING_ASKED, dataDir: dir, stateDir, runDir: dir };
  const starting = chooseRuntime({ ...settings, name: 'podman' }, log);
  await t.rejects(starting, { message: /podman is not installed: "apt-get install podman/ });
  // One that has run pods goes on without it: its services must not stop.
  await mkdir(stateDir);
  await writeFile(join(stateDir, 'runtime'), 'podman');
  // Not stopped, for it was never started: that would end the podman service of this very machine.
  t.equal((await chooseRuntime(settings, log)).name, 'podman');
});

t.test('messages of protobuf: what was written is read, hostile bytes are refused', async (t) => {
  const inner = { text: [1, 'string'], yes: [2, 'bool'] } as const satisfies MessageTable;
  const table = {
    text: [1, 'string'],
    number: [2, 'int'],
    bytes: [3, 'bytes'],
    texts: [4, 'strings'],
    numbers: [7, 'ints'],
    map: [5, 'map'],
    one: [6, inner],
    many: [17, [inner]],
  } as const satisfies MessageTable;
  const plain = { noNullPrototype: true };
  const innerArbitrary = fc.record({ text: fc.string(), yes: fc.boolean() }, plain);
  fc.assert(
    fc.property(
      fc.record(
        {
          text: fc.string(),
          number: fc.integer({ min: -(2 ** 52), max: 2 ** 52 }),
          bytes: fc.uint8Array(),
          texts: fc.array(fc.string()),
          numbers: fc.array(fc.integer()),
          map: fc.dictionary(
            fc.string({ minLength: 1 }).filter((key) => key !== '__proto__'),
            fc.string(),
            plain,
          ),
          one: fc.option(innerArbitrary, { nil: undefined }),
          many: fc.array(innerArbitrary),
        },
        plain,
      ),
      (message) => {
        t.strictSame(
          { ...decode(table, encode(table, message)) },
          { ...message, map: { ...message.map } },
        );
      },
    ),
    { numRuns: 100 },
  );
  t.equal(encode(table, {}).length, 0, 'empty values are not sent');
  const packed = Uint8Array.of(0x3a, 3, 1, 0xac, 0x02);
  t.strictSame(decode(table, packed).numbers, [1, 300], 'numbers in one piece');
  t.strictSame(
    decode(
      inner,
      encode({ other: [9, 'string'], text: [1, 'string'] } as const, {
        other: 'unknown',
        text: 'known',
      }),
    ),
    { text: 'known', yes: false },
  );
  t.throws(() => decode(inner, Uint8Array.of(0x0a, 5, 65)), { message: /unexpected end/ });
});

t.test(
  'a sandbox has its address in its uid, for the plugin; dnsPolicy Default sends none',
  async (t) => {
    const place = { logDir: '/logs', cgroupParent: '/pier', seccomp: true };
    const config = (change: Parameters<typeof sandboxSpec>[2]) => {
      const made = sandboxConfig(sandboxSpec('10.42.3.0/24', 7, change), 24, place);
      return decode(PodSandboxConfig, encode(PodSandboxConfig, made));
    };
    t.match(config({}), {
      metadata: { name: 'pod-7', uid: 'uid-7;IP=10.42.3.7/24' },
      hostname: 'pod-7',
      logDirectory: '/logs/uid-7',
      dnsConfig: { servers: ['10.43.0.10'] },
      linux: { securityContext: { namespaceOptions: { network: 0, pid: 1, ipc: 0 } } },
    });
    t.match(config({ hostNetwork: true }), {
      metadata: { uid: 'uid-7' },
      hostname: '',
      linux: { securityContext: { namespaceOptions: { network: 2 } } },
    });
    t.equal(config({ dns: { servers: [], searches: [], options: [] } }).dnsConfig, undefined);
    t.throws(() => config({ podUid: 'a;IP=1.2.3.4/5' }), { message: /no uid has/ });
    t.ok(ContainerConfig.logPath, 'containers log to a file below it');
  },
);

t.test('another network in the folder is never pushed aside', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'pier-cni-'));
  t.teardown(() => rm(dir, { recursive: true }));
  t.equal(await otherNetwork(join(dir, 'none')), undefined);
  await writeFile(join(dir, '87-podman-bridge.conflist'), '{}');
  await writeNetwork(dir);
  await writeNetwork(dir);
  t.equal(await otherNetwork(dir), undefined, 'ours is the first');
  await writeFile(join(dir, '05-cilium.conflist'), '{}');
  await t.rejects(writeNetwork(dir), { message: /05-cilium.*another network.*--runtime podman/ });
  t.ok(isWithin('10.42.3.255', '10.42.3.0/24'));
  t.notOk(isWithin('10.42.4.0', '10.42.3.0/24'));
});

t.test("what an engine tells of itself, and of its containers' ends", async (t) => {
  t.strictSame(readSetup({}), {
    sandboxImage: undefined,
    cniConfDir: undefined,
    cniBinDir: undefined,
    rootDir: undefined,
    systemdCgroup: false,
  });
  const config = {
    sandboxImage: 'registry/pause:3',
    cni: { confDir: '/etc/cni/net.d', binDirs: ['/opt/cni/bin'] },
    containerdRootDir: '/var/lib/containerd',
    containerd: {
      defaultRuntimeName: 'runc',
      runtimes: { runc: { options: { SystemdCgroup: true } } },
    },
  };
  t.match(readSetup({ config: JSON.stringify(config) }), {
    sandboxImage: 'registry/pause:3',
    cniBinDir: '/opt/cni/bin',
    systemdCgroup: true,
  });
  t.match(readSetup({ config: 'not JSON' }), { sandboxImage: undefined });
  const exit = { containerId: [1, 'string'], id: [2, 'string'] } as const;
  const told = (id: string) => readEvent('/tasks/exit', encode(exit, { containerId: 'a', id }));
  t.strictSame(told('a'), { type: 'exited', id: 'a' });
  t.equal(told('some-exec'), undefined, 'the end of a program run in it is not its own');
});

t.test('cgroups are found in every layout', async (t) => {
  const hybrid = '5:memory:/pier/x\n4:cpu,cpuacct:/pier/x\n0::/pier/x\n';
  t.equal(cgroupPath(hybrid, 1), '/pier/x');
  t.equal(cgroupPath('0::/pier.slice/a:b.scope\n', 2), '/pier.slice/a:b.scope');
  t.equal(cgroupPath('0::/x\n', 1), undefined);
});

t.test("Docker's log lines, in pieces and without an end", async (t) => {
  const entry = (log: string, stream = 'stdout') =>
    `${JSON.stringify({ log, stream, time: '2026-11-23T23:10:45.05Z' })}\n`;
  const lines = new LogLines({ timestamps: true }, parseJsonEntry);
  const text = `${entry('one ')}${entry('error\n', 'stderr')}torn{\n${entry('line\n')}${entry('no end')}`;
  t.equal(
    lines.push(Buffer.from(text)).toString(),
    '2026-11-23T23:10:45.05Z error\n2026-11-23T23:10:45.05Z one line\n',
  );
  t.equal(lines.rest().toString(), '2026-11-23T23:10:45.05Z no end');
});

t.test('a pod has its own resolver file, or what Docker gives', async (t) => {
  t.equal(
    resolvFile(sandboxSpec('10.42.3.0/24', 7)),
    'nameserver 10.43.0.10\nsearch default.svc.cluster.local\noptions ndots:5\n',
  );
  t.equal(resolvFile({ dns: { servers: [], searches: [], options: [] } }), undefined);
});

/** A streaming server as containerd has it, whose "process" is a function: it resets all streams at its end. */
async function streamingServer(
  t: Test,
  run: (streams: Map<string, SpdyStream>) => Promise<object>,
  protocol = 'v4.channel.k8s.io',
): Promise<string> {
  const server = createServer((_request, response) => response.writeHead(403).end());
  server.on('upgrade', (_request, socket: Duplex) => {
    const head = ['HTTP/1.1 101 Switching Protocols', 'Connection: Upgrade', 'Upgrade: SPDY/3.1'];
    socket.write(`${[...head, `X-Stream-Protocol-Version: ${protocol}`].join('\r\n')}\r\n\r\n`);
    const session = new SpdySession(socket);
    void session.run();
    void (async () => {
      const streams = new Map<string, SpdyStream>();
      for (const _ of ['error', 'stdin', 'stdout', 'last']) {
        const stream = await session.next();
        if (stream === undefined) return;
        streams.set(stream.headers.get('streamtype') ?? '', stream);
      }
      const status = await run(streams);
      await streams.get('error')?.write(Buffer.from(JSON.stringify(status)));
      for (const stream of streams.values()) stream.refuse();
      await session.end();
    })();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening');
  return `http://127.0.0.1:${address.port}/exec/token`;
}

const ALL_STREAMS = { stdin: true, stdout: true, stderr: true, tty: false };
const SAID = 300;
const PART = 'x'.repeat(1000);

t.test('a command over the streaming server: all of its words, then how it ended', async (t) => {
  const url = await streamingServer(t, async (streams) => {
    const input: Uint8Array[] = [];
    for (let part = await streams.get('stdin')?.next(); part !== undefined; ) {
      input.push(part);
      part = await streams.get('stdin')?.next();
    }
    await streams.get('stderr')?.write(Buffer.concat(input));
    for (let n = 0; n < SAID; n += 1) await streams.get('stdout')?.write(Buffer.from(PART));
    const causes = [{ reason: 'ExitCode', message: '42' }];
    return { status: 'Failure', reason: 'NonZeroExitCode', details: { causes } };
  });
  const session = await openRemote(dialTcp, url, ALL_STREAMS, true);
  await session.write(Buffer.from('hello '));
  await session.write(Buffer.from('there'));
  session.endInput();
  // Nothing is lost of what waits when the server has closed already.
  t.equal(await session.exitCode(), 42);
  const text = { stdout: '', stderr: '' };
  for await (const { stream, data } of session.output) text[stream] += Buffer.from(data).toString();
  t.equal(text.stderr, 'hello there');
  t.ok(text.stdout === PART.repeat(SAID), `${text.stdout.length} characters`);
  await t.rejects(session.write(Buffer.from('more')), /over|gone/);
  session.close();
});

t.test('a terminal over the streaming server has a size from the start', async (t) => {
  const url = await streamingServer(t, async (streams) => {
    let sizes = '';
    while (!sizes.includes('101')) {
      sizes += Buffer.from((await streams.get('resize')?.next()) ?? '{"Width":101}').toString();
    }
    await streams.get('stdout')?.write(Buffer.from(sizes));
    return { status: 'Success' };
  });
  const session = await openRemote(
    dialTcp,
    url,
    { ...ALL_STREAMS, stderr: false, tty: true },
    true,
  );
  await session.resize({ columns: 101, rows: 33 });
  let text = '';
  for await (const { data } of session.output) text += Buffer.from(data).toString();
  t.equal(text, '{"Width":80,"Height":24}\n{"Width":101,"Height":33}\n');
  t.equal(await session.exitCode(), 0);
});

t.test('a streaming server that refuses, or speaks something else, is an error', async (t) => {
  const open = (url: string) => openRemote(dialTcp, url, ALL_STREAMS, true);
  const other = await streamingServer(t, async () => ({}), 'v1');
  await t.rejects(open(other), { name: 'RuntimeError', message: /does not speak v4/ });
  const plain = createServer((_request, response) => response.writeHead(404).end());
  plain.listen(0, '127.0.0.1');
  await once(plain, 'listening');
  const address = plain.address();
  const port = typeof address === 'object' ? address?.port : 0;
  await t.rejects(open(`http://127.0.0.1:${port}/`), { message: /answered 404/ });
  plain.close();
  await once(plain, 'close');
  await t.rejects(open(`http://127.0.0.1:${port}/`), { message: /ECONNREFUSED/ });
  await t.rejects(open('https://127.0.0.1/'), { message: /enable_tls_streaming/ });
});

t.test('how a command ended is read from its Status', async (t) => {
  t.equal(readExitStatus('{"status":"Success"}'), 0);
  const refused = '{"status":"Failure","message":"exec: \\"x\\": not found"}';
  t.throws(() => readExitStatus(refused), { name: 'RuntimeError', message: /"x": not found/ });
  t.throws(() => readExitStatus(''), { message: /told nothing/ });
  t.throws(() => readExitStatus('oops'), { message: /told "oops"/ });
});

t.test('a network namespace that podman forgot goes, once it was seen twice', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'pier-netns-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const name = (digit: string) => `netns-${digit.repeat(8)}-0000-0000-0000-000000000000`;
  for (const file of [name('1'), name('2'), name('3'), 'cni-1', 'mine']) {
    await writeFile(join(folder, file), '');
  }
  let nowMs = 0;
  let asked = 0;
  const keys = new Map([['a', name('1')]]);
  const get = async (path: string) => {
    asked += 1;
    if (path === '/containers/json') return [...keys.keys()].map((Id) => ({ Id }));
    const key = keys.get(path.split('/')[2] ?? '');
    return { NetworkSettings: { SandboxKey: `/run/netns/${key}` } };
  };
  const laters: Array<() => void> = [];
  const later = (job: () => void) => void laters.push(job);
  const netns = new PodmanStrays([strayNamespaces(get, folder)], () => nowMs, later);
  const left = async () => (await readdir(folder)).sort();
  await netns.look(1);
  t.equal((await left()).length, 5, 'podman may be about to note it');
  t.equal(laters.length, 1, 'it comes back by itself');
  keys.set('b', name('2'));
  nowMs = 60_000;
  await netns.look(1);
  t.same(await left(), ['cni-1', 'mine', name('1'), name('2')]);
  nowMs = 120_000;
  await netns.look(1);
  asked = 0;
  nowMs = 180_000;
  await netns.look(1);
  t.equal(asked, 0, 'nothing is asked before the next start of a service');
  await netns.look(2);
  const once = asked;
  t.not(once, 0);
  await netns.look(2);
  t.equal(asked, once, 'nor twice at once after the same start');
  nowMs += 30_000;
  await netns.look(2);
  t.not(asked, once, 'but for a minute, for what is half known');
  const twice = asked;
  await netns.look(3);
  t.not(asked, twice);
});

t.test('of what is in storage alone, only what we made is a stray', async (t) => {
  const inStorage = (Id: string, name: string, Image: string, by = 'storage') => ({
    ...{ Id, Names: [name], Image, State: 'storage', Command: [by] },
  });
  const pause = 'localhost/pier-pause:1';
  const get = async () => [
    { ...inStorage('known', 'k8s_main_pod_default_uid_0', 'web'), State: 'exited' },
    inStorage('container', 'k8s_main_pod_default_uid_1', 'web'),
    inStorage('infra', '0123456789ab-infra', pause),
    inStorage('infra of others', '123456789abc-infra', 'localhost/podman-pause:4.3'),
    inStorage('of others', 'web', 'web'),
    inStorage('being built', 'k8s_main', 'web', 'buildah'),
  ];
  const removed: string[] = [];
  const kind = strayHalfMade(get, async (id) => removed.push(id));
  t.same(await kind.find(), ['container', 'infra']);
  await kind.remove('infra');
  t.same(removed, ['infra']);
});

t.test('a conmon of ours whose container podman does not know is a stray', async (t) => {
  const [known, lost, others] = ['1', '2', '3'].map((digit) => digit.repeat(64));
  const [ours, theirs] = ['a', 'b'].map((digit) => digit.repeat(64));
  const conmon = (id = '') =>
    ['/usr/bin/conmon', '--api-version', '1', '-c', id, '-u', id, '-r', '/usr/bin/runc'].join('\0');
  const files: Record<string, string> = {
    '/proc/1/cmdline': conmon(known),
    '/proc/1/cgroup': `0::/libpod_parent/${ours}/conmon\n`,
    '/proc/2/cmdline': conmon(lost),
    '/proc/2/cgroup': '4:memory:/\n0::/\n',
    '/proc/2/task/2/children': '20 21 ',
    '/proc/21/cgroup': `4:memory:/libpod_parent/${ours}/libpod-${lost}\n0::/\n`,
    '/proc/3/cmdline': conmon(others),
    '/proc/3/cgroup': `0::/machine.slice/machine-libpod_pod_${theirs}.slice/libpod-conmon.scope\n`,
    '/proc/4/cmdline': `grep\0-c\0${lost}\0-r`,
    '/proc/4/cgroup': `0::/libpod_parent/${ours}/conmon\n`,
  };
  const ran: string[] = [];
  const place: ConmonPlace = {
    readText: async (path) => files[path],
    pids: async () => ['1', '2', '3', '4', '5'],
    kill: async (pid, words) => ran.push(`kill ${pid} ${words}`),
    runtime: async (program, args) => ran.push([program, ...args].join(' ')),
  };
  const get = async () => [{ Id: known }];
  const kind = strayConmons(get, async (podId) => podId === ours, place);
  t.same(await kind.find(), [lost]);
  await kind.remove(lost ?? '');
  t.same(ran, [`kill 2 ${lost}`, `/usr/bin/runc delete --force ${lost}`]);

  ran.splice(0);
  const start = async () => {
    ran.push('start');
    const words = 'runc create failed: container with given ID already exists: OCI runtime error';
    if (ran.length === 1) throw new RuntimeError(`podman: runc: ${words}`);
  };
  await startDespiteRemains(start, known ?? '', place);
  t.same(ran, ['start', `kill 1 ${known}`, `/usr/bin/runc delete --force ${known}`, 'start']);
  const broken = async () => {
    throw new RuntimeError('podman: no such file');
  };
  await t.rejects(startDespiteRemains(broken, known ?? '', place), { message: /no such file/ });
});

t.test('a folder of a container that is in no list of podman is a stray', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'pier-folders-'));
  t.teardown(() => rm(dir, { recursive: true }));
  const [known, lost] = ['1', '2'].map((digit) => digit.repeat(64));
  for (const root of ['graph', 'run']) {
    for (const name of [known, lost, 'containers.json']) {
      await mkdir(join(dir, `${root}/overlay-containers/${name}/userdata`), { recursive: true });
    }
  }
  const store = { graphRoot: join(dir, 'graph'), runRoot: join(dir, 'run') };
  const kind = strayFolders(async (path) =>
    path === '/info' ? { store: { ...store, graphDriverName: 'overlay' } } : [{ Id: known }],
  );
  const found = await kind.find();
  t.same(
    found,
    ['graph', 'run'].map((root) => join(dir, `${root}/overlay-containers/${lost}`)),
  );
  for (const folder of found) await kind.remove(folder);
  t.same(await kind.find(), []);
  t.same((await readdir(join(dir, 'graph/overlay-containers'))).sort(), [known, 'containers.json']);
});

t.test('control groups that podman left of our pods go, and those of others stay', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'pier-cgroups-'));
  t.teardown(() => rm(dir, { recursive: true }));
  const [gone, used, lives, theirs] = ['a', 'b', 'c', 'd'].map((digit) => digit.repeat(64));
  if (gone === undefined || used === undefined || lives === undefined) throw new Error('unreached');
  const hierarchies = ['libpod_parent', 'memory/libpod_parent', 'unified/libpod_parent'];
  for (const parent of hierarchies) {
    for (const pod of [gone, used, lives, theirs]) {
      await mkdir(join(dir, parent, `${pod}/libpod-1/container`), { recursive: true });
    }
  }
  // As a process in it, a file keeps the folder.
  const process = join(dir, 'memory/libpod_parent', used, 'libpod-1/file');
  await writeFile(process, '');
  const left = async () => {
    const pods = await Promise.all(hierarchies.map((parent) => readdir(join(dir, parent))));
    return [...new Set(pods.flat())].map(([digit]) => digit).sort();
  };
  const notes = join(dir, 'notes');
  const killed = new EngineCgroups(notes, 'libpod_parent', dir);
  await killed.note([gone, used, lives]);

  const cgroups = new EngineCgroups(notes, 'libpod_parent', dir);
  await cgroups.look([lives]);
  t.same(await left(), ['a', 'b', 'c', 'd'], 'they may be just being made');
  await cgroups.look([lives]);
  t.same(await left(), ['b', 'c', 'd']);
  t.same((await readdir(notes)).sort(), [used, lives]);
  await rm(process);
  await cgroups.look([lives]);
  t.same(await left(), ['c', 'd'], 'once nothing is in it');
  await cgroups.remove(lives);
  await cgroups.remove('../libpod_parent');
  t.same(await left(), ['d']);
  t.same(await readdir(notes), []);
});

t.test(
  'a command that ends before it has read all its input is an end, not an error',
  async (t) => {
    // As the kernel tells it to the one who writes (EPIPE) or reads (ECONNRESET).
    for (const code of ['EPIPE', 'ECONNRESET']) {
      const engine: EngineCalls = {
        call: async (method) => (method === 'POST' ? { Id: 'x' } : { Running: false, ExitCode: 3 }),
        hijack: async () => {
          const socket = new Duplex({ read: () => undefined });
          socket.push(Buffer.from([1, 0, 0, 0, 0, 0, 0, 2, 104, 105]));
          setImmediate(() => socket.destroy(Object.assign(new Error(code), { code })));
          return socket;
        },
        hangUp: async () => undefined,
      };
      const streams = { stdin: true, stdout: true, stderr: true, tty: false };
      const session = await engineExec(engine, 'c', { ...streams, command: ['head', '-1'] });
      t.equal(await readAll(session), 'hi');
      t.equal(await session.exitCode(), 3);
      // Of an attached container nobody tells how it ended.
      await t.rejects(readAll(await engineAttach(engine, 'c', streams)), { message: /broke off/ });
    }
  },
);

async function readAll({ output }: ExecSession): Promise<string> {
  let text = '';
  for await (const { data } of output) text += Buffer.from(data).toString();
  return text;
}

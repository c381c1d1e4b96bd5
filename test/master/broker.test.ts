/** Certificates, permissions, and the broker with real agents' links over TLS on loopback. */
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import t from 'tap';
import { Broker, startBroker } from '../../master/broker/broker.ts';
import {
  FRAME_BYTES_AFTER,
  FRAME_BYTES_BEFORE,
  FrameGuard,
} from '../../master/broker/frame-guard.ts';
import {
  mayReceive,
  nodeOf,
  refuseConnect,
  refusePublish,
  refuseSubscribe,
} from '../../master/broker/permissions.ts';
import {
  ensurePki,
  issueClientCertificate,
  issueNodeCertificate,
  writeBoardCredentials,
  writeKubeconfig,
} from '../../master/pki/pki.ts';
import { systemClock } from '../../protocol/clock.ts';
import { decodeMessage, encodeMessage } from '../../protocol/codec.ts';
import {
  type BoardCredentials,
  ClusterManifest,
  DesiredPod,
  type DesiredPod as DesiredPodMessage,
  Manifest,
  Online,
} from '../../protocol/messages.ts';
import { clusterTopics, nodeTopics } from '../../protocol/topics.ts';
import {
  credentialsOf,
  makeLink,
  recordingLog,
  startBrokerFixture,
  until,
} from './fleet/fixture.ts';

const NO_NAMES = { hostnames: [], addresses: [] };

t.test('certificates', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'pier-pki-'));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const at = join(dir, 'pki');
  const before = process.umask(0);
  const first = await ensurePki(at, { hostnames: ['Pi4', 'a_b'], addresses: ['192.0.2.7'] });
  process.umask(before);

  await t.test('are valid from 1970 on and for ever, for a board whose clock stands there', (t) => {
    for (const pem of [first.caCertificate, first.server.certificate, first.admin.certificate]) {
      const certificate = new X509Certificate(pem);
      t.equal(certificate.validFrom, 'Jan  1 00:00:00 1970 GMT');
      t.equal(certificate.validTo, 'Dec 31 23:59:59 9999 GMT');
    }
    t.end();
  });

  await t.test('name the master under all its names and addresses', (t) => {
    const server = new X509Certificate(first.server.certificate);
    const names = ['pier-master', 'localhost', 'pi4', 'kubernetes', 'kubernetes.default.svc'];
    for (const name of names) t.ok(server.checkHost(name), name);
    for (const ip of ['127.0.0.1', '::1', '10.43.0.1', '192.0.2.7']) t.ok(server.checkIP(ip), ip);
    t.notOk(server.checkHost('example.org'));
    t.match(
      new X509Certificate(first.admin.certificate).subject,
      /O=system:masters\nCN=pier-admin/,
    );
    t.end();
  });

  await t.test('lie in files that only we can read, whatever the umask', async (t) => {
    t.equal((await stat(at)).mode & 0o777, 0o700);
    const files = await readdir(at);
    t.strictSame(files.sort(), [
      'admin.crt',
      'admin.key',
      'apiserver.crt',
      'apiserver.key',
      'ca.crt',
      'ca.key',
    ]);
    for (const file of files) t.equal((await stat(join(at, file))).mode & 0o777, 0o600, file);
  });

  await t.test(
    'are read again, and made anew only where the addresses are not covered',
    async (t) => {
      const same = await ensurePki(at, { hostnames: ['pi4'], addresses: ['192.0.2.7'] });
      t.strictSame(same.notes, []);
      t.equal(same.server.certificate, first.server.certificate);
      const moved = await ensurePki(at, { hostnames: ['pi4'], addresses: ['192.0.2.8'] });
      t.match(moved.notes, [/apiserver\.crt was made anew: it did not cover 192\.0\.2\.8/]);
      t.equal(moved.caCertificate, first.caCertificate);
      t.equal(moved.server.privateKey, first.server.privateKey, 'the key stays');
      t.ok(new X509Certificate(moved.server.certificate).checkIP('192.0.2.8'));
    },
  );

  await t.test('are repaired: a lost or foreign leaf, a mode too wide', async (t) => {
    await rm(join(at, 'admin.key'));
    await writeFile(join(at, 'apiserver.crt'), 'damaged');
    await writeFile(join(at, 'ca.key'), await readFile(join(at, 'ca.key')), { mode: 0o644 });
    const { chmod } = await import('node:fs/promises');
    await chmod(join(at, 'ca.key'), 0o644);
    const { notes, admin } = await ensurePki(at, NO_NAMES);
    t.equal(notes.length, 3);
    t.match(notes.join('\n'), /ca\.key could be read by others/);
    t.match(notes.join('\n'), /admin\.crt was made anew: its key was missing/);
    t.equal((await stat(join(at, 'ca.key'))).mode & 0o777, 0o600);
    t.ok(
      new X509Certificate(admin.certificate).verify(
        new X509Certificate(first.caCertificate).publicKey,
      ),
    );
    t.strictSame((await ensurePki(at, NO_NAMES)).notes, []);
  });

  await t.test(
    'without their authority are refused with what is missing and what to do',
    async (t) => {
      const broken = join(dir, 'broken');
      await ensurePki(broken, NO_NAMES);
      const key = await readFile(join(broken, 'ca.key'));
      await rm(join(broken, 'ca.key'));
      await t.rejects(ensurePki(broken, NO_NAMES), {
        name: 'PkiError',
        message: /ca\.key is missing, but ca\.crt is there: restore ca\.key from a backup/,
      });
      await rm(join(broken, 'ca.crt'));
      await t.rejects(ensurePki(broken, NO_NAMES), {
        message: /holds apiserver\.crt, but ca\.crt/,
      });
      await writeFile(join(broken, 'ca.key'), key);
      await writeFile(join(broken, 'ca.crt'), first.caCertificate);
      await t.rejects(ensurePki(broken, NO_NAMES), { message: /do not belong together/ });
    },
  );

  await t.test('a first start that was cut off leaves nothing half done', async (t) => {
    const cut = join(dir, 'cut');
    await ensurePki(`${cut}.new`, NO_NAMES);
    await rm(join(`${cut}.new`, 'apiserver.key'));
    t.strictSame((await ensurePki(cut, NO_NAMES)).notes, []);
    t.notOk((await readdir(dir)).includes('cut.new'));
  });

  await t.test('for boards and kubectl', async (t) => {
    const pki = await ensurePki(at, NO_NAMES);
    const node = await issueNodeCertificate(pki, 'pi4');
    t.match(new X509Certificate(node.certificate).subject, 'O=system:nodes\nCN=system:node:pi4');
    await t.rejects(issueNodeCertificate(pki, 'a/b'), { message: /"a\/b" is no node name/ });
    await t.rejects(issueNodeCertificate(pki, 'a\nO=system:masters'), { name: 'PkiError' });
    const kubeconfig = join(dir, 'x', 'kubeconfig');
    await writeKubeconfig(kubeconfig, { pki, server: 'https://127.0.0.1:6443' });
    const text = await readFile(kubeconfig, 'utf8');
    t.match(text, /tls-server-name: pier-master/);
    t.match(text, /server: "https:\/\/127\.0\.0\.1:6443"/);
    t.equal((await stat(kubeconfig)).mode & 0o777, 0o600);
    const file = join(dir, 'x', 'board.json');
    const written = await writeBoardCredentials(file, {
      pki,
      clusterId: 'c1',
      node: 'pi4',
      apiServer: 'https://a:1',
      broker: 'mqtts://a:2',
    });
    t.strictSame(JSON.parse(await readFile(file, 'utf8')), written);
    t.equal((await stat(file)).mode & 0o777, 0o600);
  });
});

t.test('permissions: who a certificate is', (t) => {
  t.equal(nodeOf({ CN: 'system:node:pi4', O: 'system:nodes' }), 'pi4');
  t.equal(nodeOf({ CN: 'system:node:pi4', O: ['x', 'system:nodes'] }), 'pi4');
  const nobody = [
    undefined,
    {},
    { CN: 'pi4', O: 'system:nodes' },
    { CN: 'system:node:pi4' },
    { CN: 'system:node:pi4', O: 'system:masters' },
    { CN: ['system:node:pi4', 'system:node:b'], O: 'system:nodes' },
    { CN: 'system:node:', O: 'system:nodes' },
    { CN: 'system:node:a/b', O: 'system:nodes' },
    { CN: 'system:node:+', O: 'system:nodes' },
    { CN: 'system:node:__proto__', O: 'system:nodes' },
  ];
  for (const subject of nobody) t.equal(nodeOf(subject), undefined, JSON.stringify(subject));
  t.end();
});

t.test('permissions: connect, publish, subscribe, receive', (t) => {
  const own = nodeTopics('pi4');
  const other = nodeTopics('pi5');
  const good = {
    clientId: 'pi4',
    clean: true,
    keepaliveSeconds: 5,
    username: 's',
    will: { topic: own.online, retain: true, payloadBytes: 20 },
  };
  t.equal(refuseConnect('pi4', good), undefined);
  t.equal(refuseConnect('pi4', { ...good, will: undefined }), undefined);
  const badConnects = [
    { ...good, clientId: 'pi5' },
    { ...good, clientId: '' },
    { ...good, clientId: '__proto__' },
    { ...good, clean: false },
    { ...good, keepaliveSeconds: 0 },
    { ...good, keepaliveSeconds: 61 },
    { ...good, username: 'x'.repeat(200) },
    { ...good, will: { ...good.will, topic: other.online } },
    { ...good, will: { ...good.will, topic: own.facts } },
    { ...good, will: { ...good.will, topic: '$SYS/x' } },
    { ...good, will: { ...good.will, payloadBytes: 2_000 } },
  ];
  for (const bad of badConnects) t.type(refuseConnect('pi4', bad), 'string', JSON.stringify(bad));

  const publish = (topic: string, retain = false, qos = 1) =>
    refusePublish('pi4', { topic, retain, qos });
  const said = [own.facts, own.heartbeat, own.podStatus('u'), own.volumeStatus('v')];
  for (const topic of [...said, own.events, own.online]) {
    t.equal(publish(topic), undefined, topic);
    t.equal(publish(topic, true) === undefined, topic === own.online, `retained ${topic}`);
  }
  const badTopics = [
    own.manifest,
    own.request,
    own.pod('u'),
    own.config('secret', 'a', 'b'),
    own.ingress('a', 'b'),
    other.facts,
    other.podStatus('u'),
    other.volumeStatus('v'),
    clusterTopics.manifest,
    clusterTopics.board('pi4'),
    'pier/v1/node/pi4',
    'pier/v1/node/pi4/status/pods/u/x',
    'pier/v2/node/pi4/facts',
    '$SYS/broker/new/clients',
    '',
    'a/'.repeat(10_000),
  ];
  for (const topic of badTopics) t.type(publish(topic), 'string', topic.slice(0, 60));
  t.type(publish(own.facts, false, 2), 'string', 'QoS 2');

  for (const filter of [own.allDesired, own.request, clusterTopics.all]) {
    t.equal(refuseSubscribe('pi4', filter), undefined, filter);
  }
  const badFilters = ['#', '+/#', 'pier/#', 'pier/v1/node/+/desired/#', other.allDesired, '$SYS/#'];
  for (const filter of [...badFilters, `$share/g/${own.allDesired}`, own.facts, '']) {
    t.type(refuseSubscribe('pi4', filter), 'string', filter);
  }
  t.ok(mayReceive('pi4', own.config('secret', 'a', 'b')));
  t.ok(mayReceive('pi4', own.ingress('a', 'b')));
  t.ok(mayReceive('pi4', clusterTopics.service('a', 'b')));
  for (const topic of [
    other.config('secret', 'a', 'b'),
    other.ingress('a', 'b'),
    other.manifest,
    own.facts,
    '$SYS/x',
  ]) {
    t.notOk(mayReceive('pi4', topic), topic);
  }
  t.end();
});

t.test('the frame guard follows frames through any split and objects at the header', (t) => {
  const frame = (type: number, length: number): Buffer => {
    const bytes = [type << 4];
    let left = length;
    do {
      const more = left >= 128;
      bytes.push((left % 128) + (more ? 128 : 0));
      left = Math.floor(left / 128);
    } while (left > 0);
    return Buffer.concat([Buffer.from(bytes), Buffer.alloc(length)]);
  };
  const whole = Buffer.concat([frame(1, 300), frame(3, 0), frame(3, 60_000), frame(12, 0)]);
  for (const step of [1, 2, 7, 1_000, whole.length]) {
    const guard = new FrameGuard();
    const reasons: string[] = [];
    for (let at = 0; at < whole.length; at += step) {
      reasons.push(guard.feed(whole.subarray(at, at + step)) ?? '');
    }
    t.equal(reasons.join(''), '', `in pieces of ${step}`);
  }
  t.match(new FrameGuard().feed(frame(3, 0)), /no CONNECT/);
  t.match(new FrameGuard().feed(frame(1, FRAME_BYTES_BEFORE + 1).subarray(0, 4)), /a frame of/);
  t.match(new FrameGuard().feed(Buffer.from([0x10, 0xff, 0xff, 0xff, 0xff])), /a frame of/);
  t.match(new FrameGuard().feed(Buffer.from([0x10, 0x80, 0x80, 0x80, 0x80])), /five bytes/);
  const accepted = new FrameGuard();
  accepted.accept();
  t.equal(accepted.feed(frame(1, FRAME_BYTES_AFTER)), undefined);
  t.match(accepted.feed(frame(3, FRAME_BYTES_AFTER + 1).subarray(0, 5)), /a frame of/);
  t.end();
});

const MANIFEST: Manifest = {
  v: 1,
  clusterId: 'c1',
  epoch: 0,
  revision: 1,
  node: { name: 'pi4', uid: 'u', podCidr: '' },
  pods: [],
  configs: [],
};

const CLUSTER: ClusterManifest = {
  v: 1,
  clusterId: 'c1',
  epoch: 0,
  revision: 1,
  services: [],
  boards: [],
};

t.test('a link over real TLS', async (t) => {
  const { log, lines } = recordingLog();
  const fixture = await startBrokerFixture(log);
  t.teardown(() => fixture.close());
  const credentials = await fixture.credentials('pi4');
  const heard: { topic: string; payload: Uint8Array }[] = [];
  fixture.broker.onMessage((message) => heard.push(message));
  const wills = (): boolean[] =>
    heard
      .filter(({ topic }) => topic.endsWith('/online'))
      .map(({ payload }) => decodeMessage(Online, payload).online);

  await t.test('gets what is retained, and speaks', async (t) => {
    const bytes = encodeMessage(Manifest, MANIFEST);
    await fixture.broker.publish(nodeTopics('pi4').manifest, bytes, { retain: true });
    await fixture.broker.publish(nodeTopics('pi5').manifest, bytes, { retain: true });
    const { link, seen } = makeLink(credentials, 's1');
    link.start();
    link.publishEvent({
      v: 1,
      session: 's1',
      involved: { kind: 'Node', namespace: '', name: 'pi4', uid: '' },
      type: 'Normal',
      reason: 'Started',
      message: 'said before the connection was there',
    });
    await until(() => seen.some(({ type }) => type === 'manifest'), 'the retained manifest');
    t.strictSame(
      seen.filter(({ type }) => type === 'manifest'),
      [{ type: 'manifest', message: MANIFEST }],
    );
    await until(() => heard.some(({ topic }) => topic.endsWith('/events')), 'the event');
    t.strictSame(wills(), [true]);
    const pod: DesiredPodMessage = { v: 1, uid: 'p', digest: 'd', pod: { a: 1 } };
    const topic = nodeTopics('pi4').pod('p');
    await fixture.broker.publish(topic, encodeMessage(DesiredPod, pod), { retain: true });
    await until(() => seen.some(({ type }) => type === 'pod'), 'a live message');
    await fixture.broker.publish(topic, new Uint8Array(0), { retain: true });
    await fixture.broker.publish(topic, Buffer.from('garbage'), { retain: false });

    heard.length = 0;
    await link.stop();
    await until(() => wills().includes(false), 'the last will', 5_000);
    t.equal(seen.filter(({ type }) => type === 'pod').length, 1, 'garbage reached nobody');
  });

  await t.test('comes back after the broker was gone, each time', async (t) => {
    const { link, seen } = makeLink(credentials, 's2');
    t.teardown(() => link.stop());
    link.start();
    const connections = (): number => seen.filter(({ type }) => type === 'connected').length;
    await until(() => connections() === 1, 'the first connection');
    for (let round = 2; round <= 4; round++) {
      await fixture.restart();
      await until(() => connections() === round, `connection ${round}`);
    }
    t.equal(seen.filter(({ type }) => type === 'disconnected').length, 3);
    t.ok(link.connected);
  });

  await t.test('starts with the broker absent', async (t) => {
    const nobodyThere = { ...credentials, broker: 'mqtts://127.0.0.1:1' };
    const { link, seen } = makeLink(nobodyThere, 's3');
    link.start();
    await new Promise((resolve) => setTimeout(resolve, 300));
    t.notOk(link.connected);
    t.strictSame(seen, []);
    await link.stop();
  });

  await t.test('a second agent of the same name is refused, the first stays (F60)', async (t) => {
    const first = makeLink(credentials, 'first');
    const secondLog = recordingLog();
    const second = makeLink(credentials, 'second', { log: secondLog.log });
    t.teardown(() => Promise.all([first.link.stop(), second.link.stop()]));
    first.link.start();
    await until(() => first.link.connected, 'the first');
    second.link.start();
    await until(() => secondLog.lines().includes('another agent'), 'the refusal');
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    t.ok(first.link.connected);
    t.notOk(second.link.connected);
    t.equal(first.seen.filter(({ type }) => type === 'disconnected').length, 0, 'never kicked');
    const refusals = lines().match(/another agent is connected as/g) ?? [];
    t.equal(refusals.length, 1, 'said once, not once per attempt');
    await first.link.stop();
    await until(() => second.link.connected, 'the second, when the first is gone');
  });

  await t.test('is cut off when the master says so', async (t) => {
    const { link, seen } = makeLink(credentials, 's5');
    t.teardown(() => link.stop());
    link.start();
    await until(() => link.connected, 'the connection');
    fixture.broker.disconnect('pi4');
    await until(() => seen.some(({ type }) => type === 'disconnected'), 'the cut');
    await until(() => link.connected, 'the next connection');
  });
});

t.test('what is published before the port is open waits for the boards', async (t) => {
  const fixture = await startBrokerFixture();
  t.teardown(() => fixture.close());
  const early = new Broker({
    caCertificate: fixture.pki.caCertificate,
    ...fixture.pki.server,
    host: '127.0.0.1',
    port: 0,
    clock: systemClock,
    log: recordingLog().log,
  });
  await early.publish(clusterTopics.manifest, encodeMessage(ClusterManifest, CLUSTER), {
    retain: true,
  });
  await early.start();
  t.teardown(() => early.stop());
  const credentials = await credentialsOf(fixture.pki, 'pi4', early.port);
  const { link, seen } = makeLink(credentials, 's');
  t.teardown(() => link.stop());
  link.start();
  await until(() => seen.some(({ type }) => type === 'clusterManifest'), 'the early message');
  const { port } = early;
  const second = startBroker({
    caCertificate: fixture.pki.caCertificate,
    ...fixture.pki.server,
    host: '127.0.0.1',
    port,
    clock: systemClock,
    log: recordingLog().log,
  });
  await t.rejects(second, { message: /cannot listen on 127\.0\.0\.1 port .* choose another one/ });
});

t.test('nobody without a certificate of a board gets in', async (t) => {
  const { log, lines } = recordingLog();
  const fixture = await startBrokerFixture(log);
  t.teardown(() => fixture.close());
  const good = await fixture.credentials('pi4');
  const foreign = await startBrokerFixture();
  t.teardown(() => foreign.close());
  const outsider = await foreign.credentials('pi4');
  const { caCertificate } = good;
  const user = await issueClientCertificate(fixture.pki, 'pier-admin', ['system:masters']);
  const intruders: Record<string, BoardCredentials> = {
    'of another authority': { ...outsider, caCertificate, broker: good.broker },
    'of an administrator': { ...good, ...user },
    'of the server itself': { ...good, ...fixture.pki.server },
    'of another board': { ...(await fixture.credentials('pi5')), node: 'pi4' },
  };
  for (const [what, credentials] of Object.entries(intruders)) {
    const { link } = makeLink(credentials, 's');
    link.start();
    await new Promise((resolve) => setTimeout(resolve, 300));
    t.notOk(link.connected, what);
    await link.stop();
  }
  t.match(lines(), /refused on the broker/);
  const plain = connect({
    port: fixture.broker.port,
    host: '127.0.0.1',
    ca: caCertificate,
    servername: 'pier-master',
  });
  await closed(plain);
  t.pass('without any certificate');
  const wrongServer = makeLink({ ...good, caCertificate: foreign.pki.caCertificate }, 's');
  wrongServer.link.start();
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.notOk(wrongServer.link.connected, 'a board trusts only its own authority');
  await wrongServer.link.stop();
});

t.test('hostile frames cost the broker nothing', async (t) => {
  const fixture = await startBrokerFixture();
  t.teardown(() => fixture.close());
  const credentials = await fixture.credentials('evil');
  const innocent = makeLink(await fixture.credentials('pi4'), 's');
  innocent.link.start();
  await until(() => innocent.link.connected, 'an innocent board');
  const dial = (): Promise<TLSSocket> =>
    new Promise((resolve, reject) => {
      const socket = connect(
        {
          port: fixture.broker.port,
          host: '127.0.0.1',
          ca: credentials.caCertificate,
          cert: credentials.certificate,
          key: credentials.privateKey,
          servername: 'pier-master',
        },
        () => resolve(socket),
      );
      socket.once('error', reject);
    });
  const text = (value: string): Buffer =>
    Buffer.concat([Buffer.from([value.length >> 8, value.length & 255]), Buffer.from(value)]);
  const packet = (type: number, body: Buffer): Buffer => {
    const length: number[] = [];
    let left = body.length;
    do {
      length.push((left % 128) + (left >= 128 ? 128 : 0));
      left = Math.floor(left / 128);
    } while (left > 0);
    return Buffer.concat([Buffer.from([type, ...length]), body]);
  };
  const hello = packet(
    0x10,
    Buffer.concat([text('MQTT'), Buffer.from([4, 2, 0, 5]), text('evil')]),
  );
  const topicOfOther = packet(0x30, Buffer.concat([text('pier/v1/node/pi4/facts'), text('x')]));
  const hostile: Record<string, Buffer[]> = {
    'a CONNECT of 200 MB': [Buffer.from([0x10, 0x80, 0x80, 0xb0, 0x5f])],
    'no CONNECT first': [packet(0x30, text('a'))],
    garbage: [Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    'MQTT 5': [
      packet(0x10, Buffer.concat([text('MQTT'), Buffer.from([5, 2, 0, 5, 0]), text('evil')])),
    ],
    'a message to another board': [hello, topicOfOther],
    'a topic of 10,000 levels': [hello, packet(0x30, text('a/'.repeat(10_000)))],
    'a PUBLISH of 200 MB': [hello, Buffer.from([0x30, 0x80, 0x80, 0xb0, 0x5f])],
    'a second CONNECT': [hello, hello],
    $SYS: [hello, packet(0x30, text('$SYS/x/new/clients'))],
  };
  for (const [what, parts] of Object.entries(hostile)) {
    const socket = await dial();
    const end = closed(socket);
    for (const part of parts) {
      socket.write(part);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await end;
    t.pass(`${what} was cut off`);
  }
  const half = await dial();
  await closed(half);
  t.pass('a connection that says nothing is closed');
  t.ok(innocent.link.connected, 'all that while the innocent board stayed connected');
  t.equal(innocent.seen.filter(({ type }) => type === 'disconnected').length, 0);
  await innocent.link.stop();
});

function closed(socket: TLSSocket): Promise<void> {
  socket.on('error', () => {});
  socket.resume();
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

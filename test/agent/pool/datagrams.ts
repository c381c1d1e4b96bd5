/** Only boards of the cluster are believed, and only for what they say themselves. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DatagramCodec } from '../../../agent/pool/datagram.ts';
import type { Hello } from '../../../agent/pool/membership.ts';
import {
  ensurePki,
  issueClientCertificate,
  type Pki,
  writeBoardCredentials,
} from '../../../master/pki/pki.ts';
import type { BoardCredentials } from '../../../protocol/messages.ts';

const HELLO: Hello = {
  mark: { session: 's', atMs: 5 },
  echo: { session: 'o', atMs: 7 },
  ready: true,
  offers: ['192.0.2.240'],
  leaving: false,
};

async function cluster(
  t: Test,
): Promise<{ pki: Pki; board: (name: string) => Promise<BoardCredentials> }> {
  const dir = await mkdtemp(join(tmpdir(), 'pier-pool-'));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const pki = await ensurePki(join(dir, 'pki'), { hostnames: [], addresses: [] });
  const place = {
    clusterId: 'c',
    apiServer: 'https://192.0.2.1:6443',
    broker: 'mqtts://192.0.2.1:8883',
  };
  const board = (node: string) => writeBoardCredentials(join(dir, node), { pki, node, ...place });
  return { pki, board };
}

/** Each knows the other's certificate. */
function introduced(a: DatagramCodec, b: DatagramCodec): void {
  b.decode(a.introduce(), 0);
  a.decode(b.introduce(), 0);
}

t.test('boards know each other by their certificates alone', async (t) => {
  const { board } = await cluster(t);
  const [a, b, c] = [await board('a'), await board('b'), await board('c')].map(
    (credentials) => new DatagramCodec(credentials, 20),
  );
  if (a === undefined || b === undefined || c === undefined) throw new Error('no boards');
  t.equal(a.encode('b', HELLO), undefined, 'a board that was never heard has no key');
  t.same(b.decode(a.introduce(), 0), { node: 'a', hello: undefined });
  const answer = b.encode('a', HELLO) ?? Buffer.alloc(0);
  t.same(a.decode(answer, 0), { node: 'b', hello: HELLO }, 'and then it is told');
  t.ok(answer.length < 1400, `${answer.length} octets fit into one packet`);
  introduced(a, c);
  introduced(b, c);
  t.equal(c.decode(answer, 0), undefined, 'not meant for c');
  t.equal(b.decode(answer, 0), undefined, 'its own words, sent back');
});

t.test('nobody else is believed', async (t) => {
  const { pki, board } = await cluster(t);
  const [first, second] = [await board('a'), await board('b')];
  const [a, b] = [new DatagramCodec(first, 20), new DatagramCodec(second, 20)];
  introduced(a, b);
  const good = a.encode('b', HELLO) ?? Buffer.alloc(0);
  t.ok(b.decode(good, 0));
  for (let at = 0; at < good.length; at += 1) {
    const bad = Buffer.from(good);
    bad[at] = (bad[at] ?? 0) ^ 1;
    if (b.decode(bad, at * 1000)?.hello !== undefined) t.fail(`octet ${at} was changed`);
    if (b.decode(good.subarray(0, at), at * 1000)?.hello !== undefined) t.fail(`cut at ${at}`);
  }
  const stranger = new DatagramCodec(await (await cluster(t)).board('a'), 20);
  t.equal(b.decode(stranger.introduce(), 1e7), undefined, "another cluster's board");
  const admin = await issueClientCertificate(pki, 'system:node:a', ['people']);
  const person = new DatagramCodec({ ...first, ...admin }, 20);
  t.equal(b.decode(person.introduce(), 2e7), undefined, 'a person with the name of a board');
  const key = { ...first, privateKey: second.privateKey };
  const thief = new DatagramCodec(key, 20);
  thief.decode(b.introduce(), 0);
  const forged = thief.encode('b', HELLO) ?? Buffer.alloc(0);
  t.equal(b.decode(forged, 3e7), undefined, "a's certificate without its key");
});

t.test('a board with a new certificate is known again, whoever sends the old one', async (t) => {
  const { board } = await cluster(t);
  const [before, other] = [await board('a'), await board('b')];
  const [old, b] = [new DatagramCodec(before, 20), new DatagramCodec(other, 20)];
  introduced(old, b);
  b.decode(old.encode('b', HELLO) ?? Buffer.alloc(0), 0);
  const renewed = new DatagramCodec(await board('a'), 20);
  b.decode(renewed.introduce(), 0);
  renewed.decode(b.encode('a', HELLO) ?? Buffer.alloc(0), 0);
  const words = renewed.encode('b', HELLO) ?? Buffer.alloc(0);
  t.match(b.decode(words, 0), { node: 'a', hello: { ready: true } });
  b.decode(old.introduce(), 0);
  const answer = b.encode('a', HELLO) ?? Buffer.alloc(0);
  t.match(renewed.decode(answer, 0), { node: 'b', hello: { ready: true } }, 'the proven key stays');
});

t.test('a flood of certificates costs little', async (t) => {
  const { board } = await cluster(t);
  const b = new DatagramCodec(await board('b'), 2);
  const names = ['a', 'c', 'd'];
  const codecs: DatagramCodec[] = [];
  for (const name of names) codecs.push(new DatagramCodec(await board(name), 2));
  const seen = codecs.map((one) => b.decode(one.introduce(), 500)?.node);
  t.same(seen, ['a', 'c', undefined], 'two in a second');
  t.equal(codecs[2] && b.decode(codecs[2].introduce(), 1500)?.node, 'd', 'the next one later');
});

/** mDNS: which names a board answers for, and what is said on the LAN about them, in virtual time. */
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { type LanName, lanNames } from '../../../agent/dns/mdns/lan-names.ts';
import { MDNS_PORT } from '../../../agent/dns/mdns/packets.ts';
import {
  type Message,
  parseMessage,
  type ResourceRecord,
  TYPE,
} from '../../../agent/dns/message.ts';
import { nameOf } from '../../../agent/dns/name.ts';
import type { DesiredIngress } from '../../../protocol/ingress.ts';
import type { DesiredService } from '../../../protocol/messages.ts';
import { service as desiredService } from '../proxy/desired.ts';
import { SimLan, wordsOf } from './lan.ts';
import { behaves, hostileMdns } from './mdns-hostile.ts';

const BOARDS = ['10.0.0.1', '10.0.0.2', '10.0.0.3'];
const APP = nameOf('app.local');
const BASE: Message = parseMessage(Uint8Array.from([0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
const OWNER = { namespace: 'default', name: 'app', isIngress: true as const };

const seeded = (seed: number) => {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
};

const nameFor = (address: string, isOwn = true): LanName => ({
  text: 'app.local',
  name: APP,
  addresses: [address],
  isOwn,
  owners: [OWNER],
});

const ask = (type: number, more: Partial<Message> = {}, classOf = 1): Message => ({
  ...BASE,
  questions: [{ name: nameOf('APP.local'), type, class: classOf }],
  ...more,
});

const record = (ip: string, ttl: number, classOf = 1): ResourceRecord => ({
  name: APP,
  type: TYPE.A,
  class: classOf,
  ttl,
  data: [Uint8Array.from(ip.split('.').map(Number))],
});

/** Boards that have held their name for a while. */
function held(boards: readonly string[] = ['10.0.0.1'], vip?: string): SimLan {
  const lan = new SimLan(seeded(7));
  for (const ip of boards) lan.board(ip, [nameFor(vip ?? ip, vip === undefined)], boards);
  lan.run(10_000);
  return lan;
}

t.test('a name is probed for three times and announced twice', async (t) => {
  const lan = new SimLan(seeded(1));
  lan.board('10.0.0.1', [nameFor('10.0.0.1')], BOARDS);
  const said = lan.run(10_000);
  t.same(
    said.map(({ message }) => (message.response ? 'announce' : 'probe')),
    ['probe', 'probe', 'probe', 'announce', 'announce'],
  );
  t.ok((said[0]?.atMs ?? 0) <= 250);
  t.same(
    said.slice(1).map(({ atMs }, index) => Math.round(atMs - (said[index]?.atMs ?? 0))),
    [250, 250, 250, 1000],
  );
  t.same(said[0]?.message.authorities.length, 1);
  t.same(wordsOf(said[3] ?? { message: BASE }), [
    'A app.local. 10.0.0.1 60',
    'NSEC! app.local. 60',
  ]);
});

t.test('questions', async (t) => {
  await t.test(
    'A is answered to all after 20 to 120 ms, without the cache-flush bit',
    async (t) => {
      const lan = held();
      lan.say(ask(TYPE.A));
      const [answer, ...more] = lan.run(3_000);
      t.same(more, []);
      const delayMs = (answer?.atMs ?? 0) - 10_000;
      t.ok(delayMs >= 20 && delayMs <= 120);
      t.equal(answer?.to, undefined);
      t.same(wordsOf(answer ?? { message: BASE })[0], 'A app.local. 10.0.0.1 60');
    },
  );
  await t.test('AAAA: there is nothing but A', async (t) => {
    const lan = held();
    lan.say(ask(TYPE.AAAA));
    const [answer] = lan.run(3_000);
    t.same(wordsOf(answer ?? { message: BASE }), [
      'NSEC! app.local. 60',
      'A app.local. 10.0.0.1 60',
    ]);
    const [, types] = answer?.message.answers[0]?.data ?? [];
    t.same(types, [0, 1, 0x40]);
  });
  await t.test('what the asker knows for half of its time is not said', async (t) => {
    const lan = held();
    lan.say(ask(TYPE.A, { answers: [record('10.0.0.1', 30)] }));
    t.same(lan.run(3_000), []);
    lan.say(ask(TYPE.A, { answers: [record('10.0.0.1', 29)] }));
    t.equal(lan.run(3_000).length, 1);
    lan.say(ask(TYPE.A, { answers: [record('10.0.0.2', 60)] }));
    t.equal(lan.run(3_000).length, 1);
  });
  await t.test('more known answers may follow in another message', async (t) => {
    const lan = held();
    lan.say(ask(TYPE.A, { truncated: true }));
    lan.run(300);
    lan.say({ ...BASE, answers: [record('10.0.0.1', 60)] });
    t.same(lan.run(3_000), []);
    lan.say(ask(TYPE.A, { truncated: true }));
    t.equal(lan.run(3_000).length, 1);
  });
  await t.test('no record oftener than once a second', async (t) => {
    const lan = held();
    for (let count = 0; count < 30; count++) {
      lan.say(ask(TYPE.A));
      lan.run(100);
    }
    const times = lan.heard.filter(({ atMs }) => atMs > 9_000).map(({ atMs }) => atMs);
    t.ok(times.length >= 3 && times.length <= 4, `${times.length} answers`);
    for (const [index, atMs] of times.entries()) {
      if (index > 0) t.ok(atMs - (times[index - 1] ?? 0) >= 1_000);
    }
  });
  await t.test('who asks for it is answered alone, while others have it fresh', async (t) => {
    const lan = held();
    lan.say(ask(TYPE.A, {}, 0x8001));
    t.same(lan.run(200)[0]?.to, { ip: '10.0.0.99', port: MDNS_PORT });
    lan.run(20_000);
    lan.say(ask(TYPE.A, {}, 0x8001));
    t.equal(lan.run(200)[0]?.to, undefined);
  });
  await t.test('a resolver that knows DNS only gets what it can read', async (t) => {
    const lan = held();
    lan.say(ask(TYPE.A, { id: 4711, recursionDesired: true }), { ip: '10.0.0.99', port: 40_000 });
    const [answer] = lan.run(200);
    t.same(answer?.to, { ip: '10.0.0.99', port: 40_000 });
    t.equal(answer?.message.id, 4711);
    t.same(answer?.message.questions, [{ name: nameOf('APP.local'), type: TYPE.A, class: 1 }]);
    t.same(wordsOf(answer ?? { message: BASE }), ['A app.local. 10.0.0.1 10']);
    lan.say(ask(TYPE.AAAA), { ip: '10.0.0.99', port: 40_000 });
    t.same(wordsOf(lan.run(200)[0] ?? { message: BASE }), ['NSEC app.local. 10']);
  });
  await t.test('nothing is said of other names, classes and kinds of messages', async (t) => {
    const lan = held();
    lan.say({ ...BASE, questions: [{ name: nameOf('b.local'), type: TYPE.A, class: 1 }] });
    lan.say(ask(TYPE.A, {}, 3));
    lan.say(ask(TYPE.A, { opcode: 4 }));
    lan.say(ask(TYPE.A, { rcode: 3 }));
    t.same(lan.run(3_000), []);
  });
});

t.test('several boards answer for one name', async (t) => {
  const lan = held(BOARDS);
  const answers = () => {
    lan.say(ask(TYPE.A));
    return lan
      .run(3_000)
      .map((one) => wordsOf(one)[0])
      .sort();
  };
  t.same(
    answers(),
    BOARDS.map((ip) => `A app.local. ${ip} 60`),
  );
  t.same(
    BOARDS.flatMap((ip) => lan.board(ip, [nameFor(ip)], BOARDS).problems),
    [],
  );
  lan.pullPlug('10.0.0.2');
  t.same(answers(), ['A app.local. 10.0.0.1 60', 'A app.local. 10.0.0.3 60']);
});

t.test('an address that boards share is said by one of them', async (t) => {
  const lan = held(BOARDS, '10.0.0.240');
  lan.say(ask(TYPE.A));
  const said = lan.run(3_000).map((one) => wordsOf(one)[0]);
  t.same(said, ['A app.local. 10.0.0.240 60']);
  t.same(lan.board('10.0.0.1', [nameFor('10.0.0.240', false)], BOARDS).goodbyes(), []);
});

t.test('goodbye', async (t) => {
  const lan = held(BOARDS);
  const claims = lan.board('10.0.0.1', [nameFor('10.0.0.1')], BOARDS);
  const words = (list: ReturnType<typeof claims.goodbyes>) => list.flatMap(wordsOf);
  t.same(words(claims.goodbyes()), ['A app.local. 10.0.0.1 0'], 'when the agent stops');
  lan.board('10.0.0.1', [], BOARDS);
  t.same(lan.heard.slice(-1).flatMap(wordsOf), ['A app.local. 10.0.0.1 0'], 'when the name goes');
  lan.board('10.0.0.2', [nameFor('10.0.0.9')], BOARDS);
  t.same(lan.heard.slice(-1).flatMap(wordsOf), ['A app.local. 10.0.0.2 0'], 'when it moves');
  t.same(claims.nextMs, Number.POSITIVE_INFINITY, 'nothing is left to do');
});

t.test('names of others', async (t) => {
  /** A printer: its name is its own. */
  const printer = (heard: { message: Message }): Message | undefined =>
    heard.message.response || heard.message.questions.length === 0
      ? undefined
      : { ...BASE, response: true, answers: [record('10.0.0.99', 120, 0x8001)] };

  await t.test(
    'a name that somebody has is left to him, told, and taken when he is gone',
    async (t) => {
      const lan = new SimLan(seeded(3));
      lan.stranger = printer;
      const claims = lan.board('10.0.0.1', [nameFor('10.0.0.1')], BOARDS);
      t.same(
        lan.run(30_000).filter(({ message }) => message.response),
        [],
      );
      t.equal(claims.problems.length, 1);
      t.match(claims.problems[0], { service: OWNER, reason: 'NameConflict' });
      t.match(
        claims.problems[0]?.message,
        'app.local is held by 10.0.0.99 on the LAN and leads to 10.0.0.99, so it is not announced',
      );
      lan.stranger = undefined;
      t.ok(lan.run(62_000).some(({ message }) => message.response));
      t.same(claims.problems, []);
    },
  );
  await t.test('one who comes later is answered at once, and yielded to if he stays', async (t) => {
    const lan = held();
    lan.say(ask(TYPE.ANY, { authorities: [record('10.0.0.99', 120)] }));
    const [defence] = lan.run(1);
    t.same(wordsOf(defence ?? { message: BASE })[0], 'A app.local. 10.0.0.1 60');
    lan.stranger = printer;
    lan.say({ ...BASE, response: true, answers: [record('10.0.0.99', 120, 0x8001)] });
    lan.run(5_000);
    t.equal(lan.board('10.0.0.1', [nameFor('10.0.0.1')], BOARDS).problems.length, 1);
    lan.say(ask(TYPE.A));
    t.same(lan.run(3_000), []);
  });
  await t.test('two clusters share a name, and say so', async (t) => {
    for (let seed = 0; seed < 50; seed++) {
      const lan = new SimLan(seeded(seed));
      const clusters = ['10.0.0.1', '10.0.0.2'].map((ip) => lan.board(ip, [nameFor(ip)], [ip]));
      for (let times = 0; times < 2; times++) {
        lan.run(10_000);
        lan.say(ask(TYPE.A));
      }
      t.equal(lan.run(3_000).length, 2);
      t.match(clusters[0]?.problems[0]?.message, 'also answered for by 10.0.0.2');
      t.match(clusters[1]?.problems[0]?.message, 'also answered for by 10.0.0.1');
    }
  });
  await t.test(
    'the same data is no conflict, and no answers count that came from another port',
    async (t) => {
      const lan = held();
      lan.say({ ...BASE, response: true, answers: [record('10.0.0.1', 120, 0x8001)] });
      const foreign = { ...BASE, response: true, answers: [record('10.0.0.66', 120, 0x8001)] };
      lan.say(foreign, { ip: '10.0.0.66', port: 40_000 });
      t.same(lan.run(5_000), []);
    },
  );
  await t.test(
    'who shares it for longer is told of, and it is answered for all the same',
    async (t) => {
      const lan = held();
      const shared = { ...BASE, response: true, answers: [record('10.0.0.77', 120)] };
      lan.say(shared);
      const claims = lan.board('10.0.0.1', [nameFor('10.0.0.1')], BOARDS);
      t.same(claims.problems, [], 'a board that has just come');
      lan.run(6_000);
      lan.say(shared);
      t.match(claims.problems[0]?.message, 'app.local is also answered for by 10.0.0.99');
      lan.say(ask(TYPE.A));
      t.equal(lan.run(3_000).length, 1);
    },
  );
});

t.test('which names', async (t) => {
  const FACTS = { node: 'a', address: '10.0.0.1', clusterDomain: 'cluster.local' };
  const ingress = (name: string, ...hosts: string[]): DesiredIngress => ({
    v: 1,
    namespace: 'default',
    name,
    digest: '',
    rules: hosts.map((host) => ({ host, paths: [] })),
    tls: [],
  });
  const service = (mdns: string, more: Partial<DesiredService> = {}): DesiredService => ({
    ...desiredService({ type: 'LoadBalancer', loadBalancer: { sourceRanges: [] } }),
    mdns: { name: mdns },
    ...more,
  });
  const of = (services: DesiredService[], ingresses: DesiredIngress[] = []) => {
    const { names, problems } = lanNames({ ...FACTS, services, ingresses });
    return {
      names: names.map(({ text, addresses }) => `${text} ${addresses.join()}`),
      problems: problems.map(({ reason, message }) => `${reason} ${message}`),
    };
  };
  const good = (t: Test, have: ReturnType<typeof of>, names: string[]) =>
    t.same(have, { names, problems: [] });
  const bad = (t: Test, have: ReturnType<typeof of>, problem: RegExp) => {
    t.match(have.problems, [problem]);
    t.equal(have.problems.length, 1);
  };

  await t.test('hosts of Ingresses under .local', async (t) => {
    good(t, of([], [ingress('x', 'app.local', '', 'app.example', 'B.LOCAL', 'a.b.local')]), [
      'app.local 10.0.0.1',
      'b.local 10.0.0.1',
      'a.b.local 10.0.0.1',
    ]);
    good(t, of([], [ingress('x', 'app.local'), ingress('y', 'app.local')]), ['app.local 10.0.0.1']);
    bad(t, of([], [ingress('x', '*.app.local')]), /^InvalidName "\*\.app\.local" .* no wildcards/);
    bad(t, of([], [ingress('x', `${'a'.repeat(64)}.local`)]), /^InvalidName .* at most 63/);
    bad(t, of([], [ingress('x', 'web.cluster.local')]), /^InvalidName .* the cluster's own domain/);
  });
  await t.test('services with the annotation', async (t) => {
    good(t, of([service('Web.local.')]), ['web.local 10.0.0.1']);
    good(t, of([service('true', { name: 'web' })]), ['web.local 10.0.0.1']);
    good(t, of([service('true', { name: 'web', namespace: 'shop' })]), ['web-shop.local 10.0.0.1']);
    good(t, of([service('false')]), []);
    for (const wrong of ['', 'web', 'local', '.local', 'web.example', 'a b.local', '-a.local']) {
      bad(t, of([service(wrong)]), /^InvalidAnnotation annotation pier\.local\/mdns: /);
    }
    bad(t, of([service('a.local', { type: 'NodePort' })]), /only services of type LoadBalancer/);
  });
  await t.test('their addresses', async (t) => {
    const pool = { sourceRanges: [], address: '10.0.0.240' };
    good(t, of([service('a.local', { loadBalancer: pool })]), ['a.local 10.0.0.240']);
    const { loadBalancer: _, ...others } = service('a.local');
    good(t, of([others]), []);
    const mdns = { name: 'a.local', addresses: ['10.0.0.9', '10.0.0.8'] };
    good(t, of([{ ...others, mdns }]), ['a.local 10.0.0.9,10.0.0.8']);
    good(t, of([service('a.local', { externalTrafficLocal: true, endpoints: [] })]), []);
    const taken = of([service('app.local', { loadBalancer: pool })], [ingress('x', 'app.local')]);
    t.same(taken.names, ['app.local 10.0.0.1']);
    bad(t, taken, /^NameConflict app\.local is announced for ingress default\/x already/);
  });
});

t.test('hostile messages', async (t) => {
  fc.assert(fc.property(hostileMdns, behaves), { numRuns: 3_000 });
  t.pass();
});

/** Names of others: cache, stale answers, what is asked at the same time. With a clock that stands until it is moved. */
import t from 'tap';
import { type CacheLimits, DnsCache, secondsToKeep } from '../../../agent/dns/cache.ts';
import {
  Forwarder,
  type UpstreamAnswer,
  type UpstreamQuestion,
} from '../../../agent/dns/forwarder.ts';
import {
  CLASS_IN,
  type Message,
  parseMessage,
  RCODE,
  type ResourceRecord,
  TYPE,
} from '../../../agent/dns/message.ts';
import { nameOf } from '../../../agent/dns/name.ts';
import type { Answer } from '../../../agent/dns/reply.ts';

const CACHE: CacheLimits = {
  entriesMax: 3,
  bytesMax: 1000,
  ttlMaxSeconds: 3600,
  negativeTtlMaxSeconds: 60,
  staleSeconds: 1000,
};

function address(name: string, ttl: number): ResourceRecord {
  return {
    name: nameOf(name),
    type: TYPE.A,
    class: CLASS_IN,
    ttl,
    data: [Uint8Array.of(192, 0, 2, 1)],
  };
}

function soa(ttl: number, minimum: number): ResourceRecord {
  const numbers = Buffer.alloc(20);
  numbers.writeUInt32BE(minimum, 16);
  const data = [nameOf('ns.example'), nameOf('mail.example'), numbers];
  return { name: nameOf('example'), type: TYPE.SOA, class: CLASS_IN, ttl, data };
}

const EMPTY = parseMessage(Uint8Array.from([0, 1, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0]));

function reply(name: string, more: Partial<Message> = {}): Message {
  const questions = [{ name: nameOf(name), type: TYPE.A, class: CLASS_IN }];
  return { ...EMPTY, questions, ...more };
}

t.test('how long an answer may be kept', async (t) => {
  const seconds = (more: Partial<Message>) => secondsToKeep(reply('a.example', more), CACHE);
  const alias = { ...address('a.example', 9), type: TYPE.CNAME, data: [nameOf('b.example')] };
  const missing = RCODE.NxDomain;
  t.equal(seconds({ answers: [address('a.example', 30), address('a.example', 7)] }), 7);
  t.equal(seconds({ answers: [address('a.example', 90_000)] }), 3600, 'not for ever');
  t.equal(seconds({ answers: [address('a.example', 0)] }), 0);
  t.equal(seconds({ rcode: missing, authorities: [soa(50, 20)] }), 20, 'RFC 2308: the smaller');
  t.equal(seconds({ rcode: missing, authorities: [soa(10, 20)] }), 10);
  t.equal(seconds({ rcode: missing, authorities: [soa(5000, 5000)] }), 60);
  t.equal(seconds({ rcode: missing }), 0, 'without SOA not at all');
  t.equal(seconds({ authorities: [soa(50, 20)] }), 20, 'a name without records of the type');
  t.equal(seconds({ answers: [alias] }), 0, 'an alias to nothing');
  t.equal(seconds({ answers: [alias], authorities: [soa(50, 20)] }), 9);
  t.equal(seconds({ rcode: RCODE.ServFail, answers: [address('a.example', 30)] }), 0);
  t.equal(seconds({ truncated: true, answers: [address('a.example', 30)] }), 0);
});

t.test('the cache counts down, keeps what is stale, and is bounded', async (t) => {
  const cache = new DnsCache(CACHE);
  const put = (name: string, bytes: number, nowMs: number) =>
    cache.put(name, reply(name, { answers: [address(name, 10)] }), bytes, nowMs);
  put('a', 100, 0);
  t.equal(cache.get('a', 3999)?.message.answers[0]?.ttl, 7);
  t.equal(cache.get('a', 9999)?.fresh, true);
  t.match(cache.get('a', 10_000), { fresh: false });
  t.equal(cache.get('a', 10_000)?.message.answers[0]?.ttl, 30, 'RFC 8767');
  t.equal(cache.get('a', 10_000 + 1_000_000), undefined);
  t.equal(cache.bytes, 0);
  for (const name of ['a', 'b', 'c']) put(name, 100, 0);
  cache.get('a', 0);
  put('d', 100, 0);
  t.equal(cache.size, 3);
  t.equal(cache.get('b', 0), undefined, 'the one not asked for longest has gone');
  put('e', 900, 0);
  t.same([cache.size, cache.bytes], [2, 1000]);
  put('f', 2000, 0);
  t.equal(cache.get('f', 0), undefined, 'too large for all');
});

interface Rig {
  readonly forwarder: Forwarder;
  readonly asked: UpstreamQuestion[];
  readonly told: string[];
  readonly clock: { nowMs: number };
  readonly timers: { fire: () => void };
  answer: (index: number, answer: UpstreamAnswer | Error) => void;
}

function rig(pendingMax = 2): Rig {
  const clock = { nowMs: 0 };
  const asked: UpstreamQuestion[] = [];
  const told: string[] = [];
  const waiting: ((answer: UpstreamAnswer | Error) => void)[] = [];
  const due = new Set<() => void>();
  const forwarder = new Forwarder({
    clock: { monotonicMs: () => clock.nowMs, wallMs: () => 0 },
    limits: { cache: CACHE, pendingMax, staleAfterMs: 1800, downMs: 5000 },
    exchange: (question) => {
      asked.push(question);
      return new Promise((resolve, reject) => {
        waiting.push((answer) => (answer instanceof Error ? reject(answer) : resolve(answer)));
      });
    },
    after: (_delayMs, callback) => {
      due.add(callback);
      return () => due.delete(callback);
    },
    onDown: (reason) => told.push(reason),
  });
  return {
    forwarder,
    asked,
    told,
    clock,
    timers: {
      fire: () => {
        for (const callback of due) callback();
      },
    },
    answer: (index, answer) => waiting[index]?.(answer),
  };
}

function question(name: string): UpstreamQuestion {
  return {
    name: nameOf(name),
    type: TYPE.A,
    class: CLASS_IN,
    dnssecOk: false,
    checkingDisabled: false,
  };
}

function good(name: string): UpstreamAnswer {
  return { message: reply(name, { answers: [address(name, 10)] }), bytes: 50 };
}

const ttlOf = ({ answers }: Answer) => answers[0]?.ttl;

t.test('the same question is asked once, and then not again until its time is over', async (t) => {
  const { forwarder, asked, answer, clock } = rig();
  const both = [forwarder.ask(question('a.example')), forwarder.ask(question('A.Example'))];
  t.equal(asked.length, 1);
  answer(0, good('a.example'));
  t.same((await Promise.all(both)).map(ttlOf), [10, 10]);
  clock.nowMs = 9000;
  const kept = forwarder.ask(question('a.example'));
  t.notOk(kept instanceof Promise, 'at once');
  t.equal(ttlOf(await kept), 1);
  clock.nowMs = 10_000;
  void forwarder.ask(question('a.example'));
  t.equal(asked.length, 2);
});

t.test('when the resolvers are down, what has expired is served', async (t) => {
  const { forwarder, asked, told, answer, clock, timers } = rig();
  const first = forwarder.ask(question('a.example'));
  answer(0, good('a.example'));
  await first;
  clock.nowMs = 20_000;
  const slow = forwarder.ask(question('a.example'));
  timers.fire();
  t.equal(ttlOf(await slow), 30, 'after 1.8 s without an answer');
  answer(1, new Error('down'));
  await new Promise(setImmediate);
  t.notOk(forwarder.ask(question('a.example')) instanceof Promise, 'at once while they are down');
  t.equal(asked.length, 2, 'and they are left alone');
  const unknown = forwarder.ask(question('b.example'));
  answer(2, new Error('down'));
  t.equal((await unknown).rcode, RCODE.ServFail, 'what was never known is a failure');
  t.same(told, ['down'], 'told once');
  clock.nowMs = 26_000;
  const again = forwarder.ask(question('a.example'));
  t.equal(asked.length, 4, 'asked again after a while');
  answer(3, good('a.example'));
  t.equal(ttlOf(await again), 10);
});

t.test('a failure of the resolver is answered with what has expired', async (t) => {
  const { forwarder, answer, clock } = rig();
  const first = forwarder.ask(question('a.example'));
  answer(0, good('a.example'));
  await first;
  clock.nowMs = 20_000;
  const second = forwarder.ask(question('a.example'));
  answer(1, { message: reply('a.example', { rcode: RCODE.ServFail }), bytes: 30 });
  t.equal(ttlOf(await second), 30);
});

t.test('more questions at a time than the limit fail at once', async (t) => {
  const { forwarder, asked, answer } = rig(2);
  const [a] = ['a.example', 'b.example'].map((name) => forwarder.ask(question(name)));
  t.equal((await forwarder.ask(question('c.example'))).rcode, RCODE.ServFail);
  t.equal(asked.length, 2);
  answer(0, good('a.example'));
  await a;
  void forwarder.ask(question('c.example'));
  t.equal(asked.length, 3, 'there is room again');
});

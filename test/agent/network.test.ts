/** Pods' addresses on the way to other boards. */
import { pino } from 'pino';
import t from 'tap';
import { PodAddresses, podChain } from '../../agent/network/pod-addresses.ts';

const LOG = pino({ level: 'silent' });
const route = (node: string, podCidr: string) => ({
  v: 1 as const,
  node,
  digest: 'd',
  podCidr,
  address: '192.168.1.1',
});
const PI = route('pi', '10.42.0.0/24');
const ATTIC = route('attic', '10.42.1.0/24');
const JUMP = '-A POSTROUTING -j PIER-PODS';

/** iptables with the rules of an engine in POSTROUTING. */
function iptables(...rules: string[]) {
  const chains: string[] = [];
  const run = async (program: string, args: readonly string[], input = ''): Promise<string> => {
    if (program === 'iptables-restore') chains.push(input);
    const [, , , command, , ...rest] = args;
    if (command === '-I') rules.unshift(`-A POSTROUTING ${rest.join(' ')}`);
    if (command === '-D') rules.splice(rules.indexOf(`-A POSTROUTING ${rest.join(' ')}`), 1);
    return ['-P POSTROUTING ACCEPT', ...rules, ''].join('\n');
  };
  return { rules, chains, run };
}

t.test('pods pass as they are to the pods of every other board', (t) => {
  t.equal(podChain([], 'pi'), undefined);
  t.equal(podChain([PI], 'pi'), undefined, 'alone nothing is needed');
  t.equal(podChain([ATTIC, { ...PI, podCidr: '' }], 'pi'), undefined, 'nor without addresses');
  t.equal(
    podChain([route('shed', '10.42.2.0/24'), PI, ATTIC], 'pi'),
    '*nat\n:PIER-PODS - [0:0]\n' +
      '-A PIER-PODS -s 10.42.0.0/24 -d 10.42.1.0/24 -j ACCEPT\n' +
      '-A PIER-PODS -s 10.42.0.0/24 -d 10.42.2.0/24 -j ACCEPT\nCOMMIT\n',
  );
  t.end();
});

t.test("the chain is before the engine's, and follows the boards", async (t) => {
  const masquerade = '-A POSTROUTING -s 10.42.0.0/24 -j MASQUERADE';
  const { rules, chains, run } = iptables(masquerade);
  const addresses = new PodAddresses({ self: 'pi', log: LOG, run });
  addresses.update([PI]);
  await addresses.networkMade();
  t.same([rules, chains], [[masquerade], []], 'alone nothing is touched');

  addresses.update([PI, ATTIC]);
  await addresses.flush();
  t.same(rules, [JUMP, masquerade]);
  t.same(chains, [podChain([PI, ATTIC], 'pi')]);
  addresses.update([ATTIC, PI]);
  await addresses.flush();
  t.equal(chains.length, 1, 'the same boards in another order change nothing');

  rules.unshift('-A POSTROUTING -s 10.42.0.0/24 ! -o pier0 -j MASQUERADE');
  await addresses.networkMade();
  t.same(rules[0], JUMP, 'first again, when an engine has put its rules in front');
  t.equal(rules.filter((rule) => rule === JUMP).length, 1);
  t.equal(chains.length, 1);
});

t.test('a board without iptables says so and goes on', async (t) => {
  const said: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => void said.push(line) });
  const run = () => Promise.reject(new Error('spawn iptables-restore ENOENT'));
  const addresses = new PodAddresses({ self: 'pi', log, run });
  addresses.update([PI, ATTIC]);
  await addresses.networkMade();
  t.match(said.join(''), /spawn iptables-restore ENOENT/);
});

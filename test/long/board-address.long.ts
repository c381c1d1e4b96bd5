/**
 * A board gets another address on the LAN, as by DHCP over night: the others find its pods there. Two real boards without a container
 * engine, which their routes do not need. Needs root.
 */
import t from 'tap';
import type { Node } from '../../protocol/kinds/types.ts';
import { Lab } from '../lab/lab.ts';
import { BoardKubectl } from '../support/board-kubectl.ts';
import { findKubectl } from '../support/kubectl.ts';
import { labMissing } from '../support/needs.ts';

const kubectl = findKubectl('current');
const skip = labMissing() || ('missing' in kubectl ? kubectl.missing : false);
/** Without a link that breaks, an agent looks at its network once a minute. */
const WAIT_MS = 90_000;

t.setTimeout(300_000);

t.test('routes follow the address of a board', { skip, timeout: 300_000 }, async (t) => {
  if ('missing' in kubectl) return;
  const lab = await Lab.create({ boards: 2, image: false, agentFlags: ['--runtime', 'docker'] });
  t.teardown(() => lab.close());
  await lab.startMaster();
  for (const index of [1, 2]) await lab.startAgent(index);
  const [first, second] = [lab.board(1), lab.board(2)];
  const client = new BoardKubectl(first, kubectl);
  const podCidr = async () =>
    (await client.get<Node>('node', 'board2')).spec?.podCIDR ?? 'none yet';
  const untilVia = (address: string) =>
    lab.until(
      `board1 goes by ${address}`,
      async () => {
        const words = await first.exec('ip', ['route', 'show', 'proto', '99']);
        return words.includes(`${await podCidr()} via ${address} `) || words;
      },
      WAIT_MS,
    );
  await untilVia(second.address);
  const other = second.address.replace(/\d+$/, '102');
  const gateway = second.address.replace(/\d+$/, '254');
  const startedAt = performance.now();
  await second.exec('sh', [
    '-c',
    `ip address del ${second.address}/24 dev eth0 && ip address add ${other}/24 dev eth0 && ip route add default via ${gateway}`,
  ]);
  await untilVia(other);
  t.comment(`after ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
  const { status } = await client.get<Node>('node', 'board2');
  t.match(status?.addresses, [{ type: 'InternalIP', address: other }]);
});

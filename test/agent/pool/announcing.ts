/** When a board tells the LAN of an address, with an arping that only takes notes. */
import { pino } from 'pino';
import t from 'tap';
import { Announcer } from '../../../agent/pool/announcer.ts';
import type { ServiceProblem } from '../../../agent/proxy/service-table.ts';

const IP = '192.0.2.240';

async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
}

t.test('an address is told when it was taken, and again when the others have let go', async (t) => {
  const said: string[] = [];
  const held = new Set([IP]);
  const problems: ServiceProblem[] = [];
  const announcer = new Announcer({
    arping: {
      announce: async (ip) => void said.push(`announce ${ip}`),
      otherHolder: async (ip) => {
        said.push(`ask ${ip}`);
        return '02:00:00:00:00:01';
      },
    },
    log: pino({ level: 'silent' }),
    conflictLookMs: 20,
    isHeld: (ip) => held.has(ip),
    serviceOf: () => ({ namespace: 'default', name: 'web' }),
    onProblem: (problem) => problems.push(problem),
    onTrouble: (reason) => t.fail(reason),
  });
  t.teardown(() => announcer.stop());
  announcer.announce([IP], 'eth0', true);
  await until('it has asked', () => problems.length > 0);
  t.same(said, [`announce ${IP}`, `announce ${IP}`, `ask ${IP}`]);
  t.match(problems, [{ reason: 'AddressConflict', message: /also held by 02:00:00:00:00:01/ }]);

  // Gone before its turn came: another board has told the LAN by now.
  said.length = 0;
  held.clear();
  announcer.announce([IP, '192.0.2.241'], 'eth0', true);
  held.add('192.0.2.241');
  await until('the other one was asked for', () => said.includes('ask 192.0.2.241'));
  t.notOk(said.some((one) => one.endsWith(IP)));
});

/**
 * kill -9 of a board's agent, podman and containers at random instants, while pods come and go and the master may be off: all
 * pods are Ready again in the end, and nothing is left over. PIER_SEED repeats what was drawn. The full size is
 * test/long/agent-kill.long.ts.
 */
import t from 'tap';
import { AgentKills } from '../lab/agent-kills.ts';
import { labMissing } from '../support/needs.ts';

const seed = Number(process.env.PIER_SEED ?? Date.now() % 1_000_000);
const kills = Number(process.env.PIER_KILLS ?? 16);

t.setTimeout(300_000);

t.test(
  'kills end in the desired state, with nothing left over',
  { skip: labMissing(), timeout: 300_000 },
  async (t) => {
    t.comment(`seed ${seed}`);
    const size = {
      kills,
      killsPerBurst: 8,
      pods: 4,
      victims: ['agent', 'service', 'container'],
    } as const;
    const run = await AgentKills.start({ ...size, seed, say: (text) => t.comment(text) });
    t.teardown(() => run.close());
    await run.run();
    const { agent, service, container } = run.counts;
    t.equal(agent + service + container, kills);
  },
);

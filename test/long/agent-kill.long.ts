/**
 * The full size of test/e2e/agent-kill.test.ts: 1,000 kills with -9 of a board's agent, podman and containers (about an hour). PIER_KILLS makes it
 * shorter, PIER_SEED repeats what was drawn. Needs root and a built Pier.
 */
import t from 'tap';
import { AgentKills, type Victim } from '../lab/agent-kills.ts';
import { labMissing } from '../support/needs.ts';

const seed = Number(process.env.PIER_SEED ?? Date.now() % 1_000_000);
const kills = Number(process.env.PIER_KILLS ?? 1_000);
const VICTIMS: readonly Victim[] = ['agent', 'service', 'conmon', 'container'];
const TIME_MAX_MS = 3.5 * 3_600_000;

t.setTimeout(TIME_MAX_MS);

t.test(
  `${kills} kills end in the desired state, with nothing left over`,
  { skip: labMissing(), timeout: TIME_MAX_MS },
  async (t) => {
    t.comment(`seed ${seed}`);
    const say = (text: string) => void process.stderr.write(`agent-kill, seed ${seed}: ${text}\n`);
    const size = { kills, killsPerBurst: 10, pods: 6, victims: VICTIMS };
    const run = await AgentKills.start({ ...size, seed, say });
    t.teardown(() => run.close());
    await run.run();
    const { agent, service, conmon, container } = run.counts;
    t.comment(JSON.stringify(run.counts));
    t.equal(agent + service + conmon + container, kills);
  },
);

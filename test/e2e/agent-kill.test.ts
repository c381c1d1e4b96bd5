/**
 * kill -9 of a board's agent, engine and containers at random instants, while pods come and go and the master may be off: all
 * pods are Ready again in the end, and nothing is left over, on podman and on containerd. PIER_SEED repeats what was drawn. The full size is
 * test/long/agent-kill.long.ts.
 */
import t from 'tap';
import { AgentKills, type Victim } from '../lab/agent-kills.ts';
import { boardEngineMissing } from '../lab/board-engine.ts';
import { KILL_ENGINES } from '../lab/leftovers.ts';
import { labMissing } from '../support/needs.ts';

const seed = Number(process.env.PIER_SEED ?? Date.now() % 1_000_000);
const kills = Number(process.env.PIER_KILLS ?? 16);

const VICTIMS: readonly Victim[] = ['agent', 'engine', 'container'];

t.setTimeout(600_000);

for (const engine of KILL_ENGINES) {
  const skip = labMissing() || (boardEngineMissing(engine) ?? false);
  t.test(
    `kills on ${engine} end in the desired state, with nothing left over`,
    { skip, timeout: 300_000 },
    async (t) => {
      t.comment(`seed ${seed}`);
      const size = {
        kills,
        killsPerBurst: 8,
        pods: 4,
        // That a container ended without its conmon, podman does not tell: the agent's look at it, once a minute, finds it.
        victims: engine === 'podman' ? VICTIMS : [...VICTIMS, 'shim' as const],
      };
      const say = (text: string) => t.comment(text);
      const run = await AgentKills.start({ ...size, engine, seed, say });
      t.teardown(() => run.close());
      await run.run();
      const { agent, engine: engines, shim, container } = run.counts;
      t.equal(agent + engines + shim + container, kills);
    },
  );
}

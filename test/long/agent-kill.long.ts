/**
 * The full size of test/e2e/agent-kill.test.ts: 1,000 kills with -9 of a board's agent, engine, shims and containers (about an hour).
 * PIER_ENGINE is podman (default) or cri; PIER_KILLS makes it shorter, PIER_SEED repeats what was drawn. Needs root and a built
 * Pier.
 */
import t from 'tap';
import { AgentKills, type Victim } from '../lab/agent-kills.ts';
import { boardEngineMissing } from '../lab/board-engine.ts';
import { KILL_ENGINES } from '../lab/leftovers.ts';
import { labMissing } from '../support/needs.ts';

const seed = Number(process.env.PIER_SEED ?? Date.now() % 1_000_000);
const kills = Number(process.env.PIER_KILLS ?? 1_000);
const asked = process.env.PIER_ENGINE ?? 'podman';
const engine = KILL_ENGINES.find((name) => name === asked);
if (engine === undefined) throw new Error(`PIER_ENGINE is ${asked}, not ${KILL_ENGINES.join()}`);
const VICTIMS: readonly Victim[] = ['agent', 'engine', 'shim', 'container'];
const TIME_MAX_MS = 3.5 * 3_600_000;

t.setTimeout(TIME_MAX_MS);

t.test(
  `${kills} kills on ${engine} end in the desired state, with nothing left over`,
  { skip: labMissing() || (boardEngineMissing(engine) ?? false), timeout: TIME_MAX_MS },
  async (t) => {
    t.comment(`seed ${seed}`);
    const who = `agent-kill on ${engine}, seed ${seed}`;
    const say = (text: string) => void process.stderr.write(`${who}: ${text}\n`);
    const size = { kills, killsPerBurst: 10, pods: 6, victims: VICTIMS };
    const run = await AgentKills.start({ ...size, engine, seed, say });
    t.teardown(() => run.close());
    await run.run();
    const { agent, engine: engines, shim, container } = run.counts;
    t.comment(JSON.stringify(run.counts));
    t.equal(agent + engines + shim + container, kills);
  },
);

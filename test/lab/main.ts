/**
 * `npm run lab`: several boards on this machine, to watch pods spread and to pull plugs.
 *   --boards N   how many (default 3)
 * Commands while it runs: off N, on N (pull and give power), cut N, join N (network cable), quit.
 */
import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { applyManifest } from '../../cli/apply.ts';
import { Client } from '../../cli/client.ts';
import { readKubeconfig } from '../../cli/kubeconfig.ts';
import { Lab } from './lab.ts';

const HOME = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const say = (text: string) => process.stdout.write(`lab: ${text}\n`);

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { boards: { type: 'string', default: '3' } } });
  const boards = Number(values.boards);
  if (!Number.isInteger(boards) || boards < 1 || boards > 20) {
    throw new Error('--boards takes a whole number from 1 to 20');
  }
  if (process.getuid?.() !== 0)
    throw new Error('boards are namespaces, which need root: sudo npm run lab');
  execFileSync(process.execPath, [join(HOME, 'firmware-scripts/build.mjs')], { stdio: 'inherit' });
  say(`switching on ${boards} boards`);
  const lab = await Lab.create({ boards, connectHost: true });
  process.once('SIGINT', () => void lab.close().then(() => process.exit(130)));
  process.once('SIGTERM', () => void lab.close().then(() => process.exit(143)));
  try {
    await run(lab, boards);
  } finally {
    say('removing everything');
    await lab.close();
  }
}

async function run(lab: Lab, boards: number): Promise<void> {
  say('starting the master on board1');
  await lab.startMaster();
  for (let index = 1; index <= boards; index += 1) await lab.startAgent(index);
  const client = new Client(readKubeconfig(lab.kubeconfig));
  await lab.until(`${boards} boards are Ready`, async () => {
    const { items } = await client.json<{
      items: Array<{ status?: { conditions?: Array<{ type: string; status: string }> } }>;
    }>('/api/v1/nodes');
    const ready = items.filter((n) =>
      n.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True'),
    );
    return ready.length === boards || `${ready.length} are`;
  });
  await applyManifest(client, await readFile(join(HOME, 'docs/examples/spread.yaml'), 'utf8'));
  client.close();
  say('ready. In another terminal:');
  process.stdout.write(`export KUBECONFIG=${lab.kubeconfig}\n`);
  for (const board of lab.boards) say(`${board.name}: http://${board.address}:30080/`);
  say(`logs and cards: ${lab.dir}`);
  await converse(lab);
}

async function converse(lab: Lab): Promise<void> {
  say('commands: off N, on N (power), cut N, join N (network cable), quit');
  const lines = createInterface({ input: process.stdin, output: process.stdout });
  for await (const line of lines) {
    const [verb, number] = line.trim().split(/\s+/);
    if (verb === 'quit') break;
    try {
      await command(lab, verb ?? '', Number(number));
    } catch (error) {
      say(error instanceof Error ? error.message : String(error));
    }
  }
  lines.close();
}

async function command(lab: Lab, verb: string, index: number): Promise<void> {
  switch (verb) {
    case 'off':
      return lab.powerOff(index);
    case 'on':
      await lab.board(index).powerOn();
      if (index === 1) await lab.startMaster();
      return lab.startAgent(index);
    case 'cut':
      return lab.cable(index, false);
    case 'join':
      return lab.cable(index, true);
    default:
      throw new Error('commands: off N, on N, cut N, join N, quit');
  }
}

try {
  await main();
} catch (error) {
  process.stderr.write(`lab: error: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

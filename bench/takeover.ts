/**
 * A LoadBalancer address of the pool, held by the third of three boards; something befalls that board. A client on the LAN connects
 * every 20 ms: measured is the longest time without an answer. The backend is the client itself, so that no pod has to move.
 *   plug    cable and power are gone at once
 *   cable   the board runs on and hears nothing
 *   stop    the agent is stopped and says good-bye
 *   --rounds N (5)   --blows LIST (plug,cable,stop)
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { winnerOf } from '../agent/pool/membership.ts';
import type { Lab } from '../test/lab/lab.ts';
import { type Figures, printTable, type Spread, say, spreadOf } from './benchmark.ts';
import { type Cluster, startCluster } from './cluster.ts';

export const summary = 'how long a LAN client misses a LoadBalancer address whose board dies';

const VICTIM = 3;
/** More than any takeover takes. */
const LOOK_MS = 8_000;

/** Runs in the client's namespace: serves, and prints the time of each answer that came through the address. */
const CLIENT = `
const net = require('net');
const [, ip] = process.argv;
net.createServer((socket) => socket.on('error', () => {}).end('ok')).listen(8080);
setInterval(() => {
  const socket = net.connect(80, ip);
  socket.setTimeout(300, () => socket.destroy());
  socket.on('error', () => {});
  socket.once('data', () => { console.log(Date.now()); socket.destroy(); });
}, 20);
`;

export async function run(args: string[]): Promise<Figures> {
  const { values } = parseArgs({
    args,
    options: {
      rounds: { type: 'string', default: '5' },
      blows: { type: 'string', default: 'plug,cable,stop' },
      'no-peers': { type: 'boolean', default: false },
    },
  });
  const cluster = await startCluster({
    boards: 3,
    agents: [1, 2, 3],
    image: false,
    masterFlagsIn: (lab) => ['--load-balancer-pool', addressOf(lab)],
  });
  let client: ChildProcess | undefined;
  try {
    const ip = addressOf(cluster.lab);
    const { netns, address } = await cluster.lab.plugInClient();
    await makeService(cluster, address);
    client = spawn('nsenter', [
      ...[`--net=/run/netns/${netns}`, process.execPath, '-e', CLIENT, ip],
    ]);
    const answers: number[] = [];
    if (client.stdout !== null) {
      createInterface(client.stdout).on('line', (line) => answers.push(Number(line)));
    }
    const figures: Record<string, Spread> = {};
    for (const blow of values.blows.split(',')) {
      const gaps: number[] = [];
      for (let round = 1; round <= Number(values.rounds); round += 1) {
        const gapMs = await strike(cluster.lab, { blow, ip, answers });
        say(`round ${round}: ${blow}: ${gapMs} ms without an answer`);
        gaps.push(gapMs);
      }
      figures[blow] = spreadOf(gaps);
    }
    printTable([
      ['blow', 'ms: median', 'min', 'max'],
      ...Object.entries(figures).map(([blow, s]) => [blow, s.median, s.min, s.max]),
    ]);
    return { figures, peers: {} };
  } finally {
    client?.kill('SIGKILL');
    await cluster.close();
  }
}

/** One that the hash gives to the victim. */
function addressOf(lab: Lab): string {
  const network = lab.board(1).address.replace(/\.\d+$/, '');
  const boards = lab.boards.map(({ name }) => ({ node: name, ready: true }));
  const victim = lab.board(VICTIM).name;
  for (let last = 230; last < 250; last += 1) {
    const ip = `${network}.${last}`;
    if (winnerOf(ip, boards)?.node === victim) return ip;
  }
  throw new Error(`no address is for ${victim}`);
}

async function makeService({ client }: Cluster, backend: string): Promise<void> {
  const base = '/api/v1/namespaces/default';
  const metadata = { name: 'takeover' };
  const ports = [{ port: 80, targetPort: 8080 }];
  await client.json(`${base}/services`, {
    method: 'POST',
    body: { apiVersion: 'v1', kind: 'Service', metadata, spec: { type: 'LoadBalancer', ports } },
  });
  await client.json(`${base}/endpoints`, {
    method: 'POST',
    body: {
      apiVersion: 'v1',
      kind: 'Endpoints',
      metadata,
      subsets: [{ addresses: [{ ip: backend }], ports: [{ port: 8080 }] }],
    },
  });
}

/** The longest time without an answer, in ms, with everything as before at its end. */
async function strike(
  lab: Lab,
  { blow, ip, answers }: { blow: string; ip: string; answers: number[] },
): Promise<number> {
  await untilHeld(lab, ip);
  const startMs = Date.now();
  if (blow === 'stop') await lab.end(VICTIM, 'agent', 'SIGTERM');
  else await lab.cable(VICTIM, false);
  if (blow === 'plug') await lab.powerOff(VICTIM);
  await sleep(LOOK_MS);
  const seen = answers.filter((atMs) => atMs >= startMs - 100);
  const last = seen.at(-1) ?? 0;
  if (last < startMs + LOOK_MS - 1000) throw new Error(`${ip} is not served any more`);
  const gaps = seen.slice(1).map((atMs, index) => atMs - (seen[index] ?? atMs));
  if (blow !== 'stop') await lab.cable(VICTIM, true);
  if (blow === 'plug') await lab.board(VICTIM).powerOn();
  if (blow !== 'cable') await lab.startAgent(VICTIM);
  return Math.max(...gaps);
}

/** The victim alone has the address, and has for a while. */
async function untilHeld(lab: Lab, ip: string): Promise<void> {
  let heldSinceMs = Number.POSITIVE_INFINITY;
  await lab.until('the third board holds the address', async () => {
    const words = await Promise.all(
      lab.boards.map((board) => board.exec('ip', ['-4', 'address', 'show', 'dev', 'eth0'])),
    );
    const having = words.flatMap((text, index) => (text.includes(` ${ip}/32 `) ? [index + 1] : []));
    const isSo = having.length === 1 && having[0] === VICTIM;
    heldSinceMs = isSo ? Math.min(heldSinceMs, performance.now()) : Number.POSITIVE_INFINITY;
    return performance.now() - heldSinceMs > 3000 || having.join(' ');
  });
}

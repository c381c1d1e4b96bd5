/**
 * A rolling update while a client asks 200 times a second, through node ports, the addresses of a load balancer and the cluster IP at
 * once, on three boards: no request is lost. A claim of fleet.test.ts.
 */
import type { Test } from 'tap';
import type { Deployment, Pod, Service } from '../../protocol/kinds/types.ts';
import type { Lab } from '../lab/lab.ts';
import type { BoardKubectl } from '../support/board-kubectl.ts';
import { demoContainer, nodePortService, spreadDeployment } from '../support/demo-manifests.ts';

const PORT = 8088;
const NODE_PORT = 30_082;
const REPLICAS = 3;

/** Runs on a board until its input ends; prints how many requests it made, and what became of those that were lost. */
const CLIENT = `
const http = require('http');
const urls = process.argv.slice(1);
const lost = [];
let asked = 0;
const ask = (url) => new Promise((resolve, reject) => {
  const request = http.get(url, { agent: false, timeout: 10000 }, (answer) => {
    let text = '';
    answer.on('data', (chunk) => { text += chunk; });
    answer.on('error', reject);
    answer.on('end', () => text === 'hello\\n' ? resolve() : reject(new Error(answer.statusCode + ' ' + text)));
  });
  request.on('timeout', () => request.destroy(new Error('no answer')));
  request.on('error', reject);
});
const open = new Set();
const startedAt = performance.now();
const next = () => {
  const url = urls[asked++ % urls.length];
  const one = ask(url).catch(({ message }) => lost.push(url + ': ' + message)).finally(() => open.delete(one));
  open.add(one);
};
// A timer that comes late catches up.
const pace = setInterval(() => {
  while (asked < (performance.now() - startedAt) / 5) next();
}, 5);
process.stdin.resume().on('end', async () => {
  clearInterval(pace);
  await Promise.all(open);
  console.log(JSON.stringify({ asked, lost }));
  process.exit();
});
`;

export async function updated(
  t: Test,
  { lab, kubectl }: { readonly lab: Lab; readonly kubectl: BoardKubectl },
): Promise<void> {
  await kubectl.apply(steady(), balanced());
  const rolled = () =>
    kubectl.ok('rollout', 'status', 'deployment/steady', '--timeout=120s').then(() => true);
  await rolled();
  const addresses = lab.boards.map(({ address }) => address);
  await lab.until('its status shows the boards', async () => {
    const { status } = await kubectl.get<Service>('service', 'steady');
    const shown = (status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip);
    return shown.join() === addresses.join() || shown.join();
  });
  const { spec } = await kubectl.get<Service>('service', 'steady');
  const inside = `http://${spec?.clusterIP}:${PORT}/hello`;
  const outside = addresses.flatMap((ip) => [`${ip}:${NODE_PORT}`, `${ip}:${PORT}`]);
  const urls = outside.flatMap((place) => [`http://${place}/hello`, inside]);
  await lab.until('every way leads to it', async () => {
    for (const url of urls) await lab.board(1).exec('curl', ['-sSf', '--max-time', '5', url]);
    return true;
  });
  const before = await names(kubectl);
  const client = lab.board(1).spawn(process.execPath, ['-e', CLIENT, ...urls], { input: true });
  let words = '';
  client.stdout?.on('data', (chunk: Buffer) => {
    words += chunk.toString();
  });
  const ended = new Promise((resolve) => client.once('close', resolve));
  await kubectl.ok('rollout', 'restart', 'deployment/steady');
  await rolled();
  await lab.until('the old pods are gone', async () => {
    const left = (await names(kubectl)).filter((name) => before.includes(name));
    return left.length === 0 || left.join(' ');
  });
  client.stdin?.end();
  await ended;
  const { asked, lost }: { asked: number; lost: string[] } = JSON.parse(words);
  t.comment(`${asked} requests`);
  t.ok(asked > 0);
  t.same(lost, []);
  await kubectl.ok('delete', 'deployment/steady', 'service/steady');
  await lab.until('nothing is left of it', async () => (await names(kubectl)).length === 0);
}

/** Without a pool: at the boards' own addresses. */
function balanced(): Service {
  const service = nodePortService('steady', 'steady', NODE_PORT);
  const ports = [{ port: PORT, targetPort: 8080, nodePort: NODE_PORT }];
  return { ...service, spec: { ...service.spec, type: 'LoadBalancer', ports } };
}

/** A pod that is told to end serves on until the boards know. */
function steady(): Deployment {
  const deployment = spreadDeployment('steady', REPLICAS);
  const main = {
    ...demoContainer('main', 'echo hello >/www/hello; exec /start'),
    lifecycle: { preStop: { exec: { command: ['sleep', '2'] } } },
  };
  const { template } = deployment.spec ?? {};
  const spec = { ...template?.spec, containers: [main], terminationGracePeriodSeconds: 10 };
  return {
    ...deployment,
    spec: {
      selector: {},
      ...deployment.spec,
      template: { ...template, spec },
    },
  };
}

async function names(kubectl: BoardKubectl): Promise<string[]> {
  const pods = await kubectl.list<Pod>('pods', '-l', 'app=steady');
  return pods.map(({ metadata }) => metadata?.name ?? '');
}

/**
 * HTTP Ingress and services on two real boards: who serves, TLS and its renewal, who does not get the Secret, a port that is taken, names
 * under .local as another machine on the LAN finds them, services of every kind (services.ts), and a board that reboots without its master.
 * Real master and agents, real network, real curl; the backends are programs on the boards and no pods, so no container engine is
 * needed. Needs root.
 */
import { execFile } from 'node:child_process';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import type {
  Endpoints,
  Event,
  Ingress,
  IngressClass,
  Secret,
  Service,
} from '../../protocol/kinds/types.ts';
import type { Board } from '../lab/board.ts';
import { Lab } from '../lab/lab.ts';
import { BoardKubectl } from '../support/board-kubectl.ts';
import { findKubectl, runCommand } from '../support/kubectl.ts';
import { askLan, holdName } from '../support/lan-resolver.ts';
import { labMissing } from '../support/needs.ts';
import { asksAsAllowed, SERVICE_CLAIMS } from './services.ts';

const kubectl = findKubectl('current');
const skip = labMissing('python3') || ('missing' in kubectl ? kubectl.missing : false);
const HOST = 'app.example';
const run = promisify(execFile);

t.setTimeout(600_000);

const INGRESS: Ingress = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'Ingress',
  metadata: { name: 'app' },
  spec: {
    tls: [{ hosts: [HOST], secretName: 'app-tls' }],
    rules: [
      {
        host: HOST,
        http: {
          paths: [
            {
              path: '/',
              pathType: 'Prefix',
              backend: { service: { name: 'web', port: { number: 80 } } },
            },
          ],
        },
      },
    ],
  },
};

t.test('boards serve Ingresses', { skip, timeout: 600_000 }, async (t) => {
  if ('missing' in kubectl) return;
  // The engine is never there: the board is not Ready, and serves all the same.
  const lab = await Lab.create({ boards: 2, image: false, agentFlags: ['--runtime', 'docker'] });
  t.teardown(() => lab.close());
  for (const board of lab.boards) startBackend(board);
  const client = new BoardKubectl(lab.board(1), kubectl);
  await lab.startMaster();
  for (const index of [1, 2]) await lab.startAgent(index);
  const first = await tlsSecret(lab, 'first');
  await client.apply(...backends(lab), first, INGRESS);
  const ask = (board: Board, scheme: 'http' | 'https') => page(lab, board, scheme, 'first');
  const serves = async (board: Board): Promise<void> => {
    for (const scheme of ['http', 'https'] as const) {
      await lab.until(`${board.name} serves by ${scheme}`, async () => {
        const text = await ask(board, scheme);
        return /^Hello from web-/.test(text) || text;
      });
    }
  };

  await t.test('out of the box every board serves', async (t) => {
    for (const board of lab.boards) await serves(board);
    t.equal((await client.get<Ingress>('ingress', 'app')).spec?.ingressClassName, 'pier');
    const { spec } = await client.get<IngressClass>('ingressclass', 'pier');
    t.equal(spec?.controller, 'pier.local/ingress');
  });

  const machine = await lab.plugInClient();
  const untilLeadsTo = async (name: string, boards: readonly Board[]): Promise<void> => {
    const wanted = boards.map(({ address }) => address).sort();
    await lab.until(`${name} leads to ${wanted.join(', ')}`, async () => {
      const said = (await askLan(machine, name)).filter(({ type }) => type === 1);
      const have = [...new Set(said.map(({ value }) => value))].sort();
      return have.join() === wanted.join() || JSON.stringify(said);
    });
  };

  await t.test('names under .local are found on the LAN', async (t) => {
    await client.apply(ingressFor('shop', 'shop.local'), loadBalancer());
    for (const name of ['shop.local', 'nas.local']) await untilLeadsTo(name, lab.boards);
    const all = await askLan(machine, 'shop.local');
    const addresses = all.filter(({ type }) => type === 1);
    t.ok(addresses.every(({ hops, class: of, ttl }) => hops === 255 && of === 1 && ttl <= 60));
    t.ok(
      addresses.every(({ from, value }) => from === value),
      'each board says its own address',
    );
    await lab.until('there is no IPv6 address, says somebody', async () => {
      const said = await askLan(machine, 'shop.local', 'AAAA');
      return said.some(({ type, value }) => type === 47 && value === '000140');
    });
    await lab.until('a resolver that knows DNS only is answered', async () => {
      const said = await askLan(machine, 'shop.local', 'A', 'dns');
      return said.some(({ type, class: of, ttl }) => type === 1 && of === 1 && ttl === 10);
    });
    t.same(await askLan(machine, 'other.local'), []);
  });

  await t.test('a name that another machine has, and one that is none, are events', async () => {
    const holder = await holdName(machine, 'printer.local');
    try {
      await client.apply(ingressFor('taken', 'printer.local', '*.shop.local'));
      const events = async (): Promise<string> => {
        const list = await client.ok('get', 'events', '-o', 'json');
        const { items }: { items: Event[] } = JSON.parse(list);
        return items.map(({ reason, message }) => `${reason} ${message}`).join('\n');
      };
      await lab.until('both events are there', async () => {
        const said = await events();
        const held = `printer.local is held by ${machine.address} on the LAN`;
        const both = said.includes(held) && /InvalidName .*no wildcards/.test(said);
        return both || said;
      });
    } finally {
      holder.kill();
    }
    await client.ok('delete', 'ingress', 'taken');
  });

  for (const [what, prove] of SERVICE_CLAIMS) {
    await t.test(what, (t) => prove(t, { lab, kubectl: client, machine }));
  }

  await t.test('a renewed certificate is served without a restart', async () => {
    await client.apply(await tlsSecret(lab, 'second'));
    for (const board of lab.boards) {
      await lab.until(`${board.name} has the new certificate`, async () => {
        const text = await page(lab, board, 'https', 'second');
        return /^Hello from web-/.test(text) || text;
      });
    }
  });

  await t.test('only labelled boards serve, and only they have the Secret', async (t) => {
    const secrets = async (board: Board): Promise<number> => {
      const files = await readdir(join(board.dir, 'pier/agent'), { recursive: true });
      return files.filter((file) => /\/config-[^/]*$/.test(file)).length;
    };
    t.equal(await secrets(lab.board(1)), 1);
    await client.ok('label', 'node', 'board2', 'pier.local/ingress=true');
    await lab.until('board1 serves no more', async () => {
      const text = await ask(lab.board(1), 'http');
      return /connect to server/.test(text) || text;
    });
    await lab.until('the Secret is gone from board1', async () => {
      return (await secrets(lab.board(1))) === 0;
    });
    t.equal(await secrets(lab.board(2)), 1);
    await untilLeadsTo('shop.local', [lab.board(2)]);
    await untilLeadsTo('nas.local', lab.boards);
  });

  await t.test('a port that is taken is an event that names who has it', async () => {
    startServer(lab.board(1), 80, 'Another server\\n');
    await lab.until('the other server listens', async () => {
      const text = await ask(lab.board(1), 'http');
      return /^Another server/.test(text) || text;
    });
    await client.ok('label', 'node', 'board1', 'pier.local/ingress=true');
    await lab.until('the event is there', async () => {
      const list = await client.ok(
        'get',
        'events',
        '-o',
        'json',
        '--field-selector',
        'reason=PortConflict',
      );
      const { items }: { items: Event[] } = JSON.parse(list);
      const said = items.map(({ involvedObject, message = '' }) => [involvedObject.kind, message]);
      return (
        said.some(
          ([kind, message]) =>
            kind === 'Ingress' &&
            /^board1: port 80 of this board is held by node \(pid \d+\): stop it, or leave Ingresses/.test(
              message ?? '',
            ),
        ) || JSON.stringify(said)
      );
    });
    await client.ok('label', 'node', 'board1', 'pier.local/ingress-');
  });

  await t.test('a board that reboots without a master serves from its own card', async () => {
    // Services go to the card within two seconds: the manifest that names them is written after them.
    const desired = join(lab.board(2).dir, 'pier/agent/state/desired');
    const card = join(desired, (await readdir(desired))[0] ?? '', 'cluster');
    await lab.until('its card has the Service with its endpoints', async () => {
      const commitMs = await changedMs(join(card, 'manifest'));
      for (const file of await readdir(card)) {
        const bytes = await readFile(join(card, file));
        const isIt = bytes.includes('web') && bytes.includes(lab.board(2).address);
        if (isIt && commitMs >= (await changedMs(join(card, file)))) return true;
      }
      return false;
    });
    await lab.end(1, 'master', 'SIGKILL');
    await lab.powerOff(2);
    await lab.board(2).powerOn();
    startBackend(lab.board(2));
    await lab.startAgent(2, ['--dns-clients', `192.0.2.0/24, ${machine.address}/32`]);
    for (const scheme of ['http', 'https'] as const) {
      await lab.until(`board2 serves by ${scheme}`, async () => {
        const text = await page(lab, lab.board(2), scheme, 'second');
        return /^Hello from web-/.test(text) || text;
      });
    }
    await untilLeadsTo('shop.local', [lab.board(2)]);
    await asksAsAllowed({ lab, machine });
  });
});

const BACKEND_PORT = 8080;

async function changedMs(file: string): Promise<number> {
  return (await stat(file)).mtimeMs;
}

function startBackend(board: Board): void {
  startServer(board, BACKEND_PORT, `Hello from web-${board.name}\\n`);
}

/** On the board's own address: the cluster IP of the Service has port 80, too. */
function startServer(board: Board, port: number, words: string): void {
  const program = `require('http').createServer((_, answer) => answer.end('${words}')).listen(${port}, '${board.address}')`;
  board.spawn(process.execPath, ['-e', program]);
}

/** A Service without a selector, and its endpoints by hand. */
function backends(lab: Lab): [Service, Endpoints] {
  const metadata = { name: 'web' };
  const addresses = lab.boards.map(({ address: ip }) => ({ ip }));
  return [
    { apiVersion: 'v1', kind: 'Service', metadata, spec: { ports: [{ port: 80 }] } },
    {
      apiVersion: 'v1',
      kind: 'Endpoints',
      metadata,
      subsets: [{ addresses, ports: [{ port: BACKEND_PORT }] }],
    },
  ];
}

function ingressFor(name: string, ...hosts: string[]): Ingress {
  const backend = { service: { name: 'web', port: { number: 80 } } };
  const http = { paths: [{ path: '/', pathType: 'Prefix', backend }] };
  return {
    ...INGRESS,
    metadata: { name },
    spec: { rules: hosts.map((host) => ({ host, http })) },
  };
}

/** The boards listen for it on addresses of their own. */
function loadBalancer(): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'files', annotations: { 'pier.local/mdns': 'nas.local' } },
    spec: { type: 'LoadBalancer', ports: [{ port: 8081 }] },
  };
}

/** Made by openssl; its certificate stays in the lab's folder, for clients that trust it. */
async function tlsSecret(lab: Lab, name: string): Promise<Secret> {
  const [cert, key] = [join(lab.dir, `${name}.crt`), join(lab.dir, `${name}.key`)];
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-days', '2', '-subj', `/CN=${HOST}`, '-addext', `subjectAltName=DNS:${HOST}`],
    ...['-out', cert, '-keyout', key],
  ]);
  const base64 = async (file: string): Promise<string> => (await readFile(file)).toString('base64');
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'kubernetes.io/tls',
    metadata: { name: 'app-tls' },
    data: { 'tls.crt': await base64(cert), 'tls.key': await base64(key) },
  };
}

/** The page as a client on the LAN gets it from this board, or curl's words. */
async function page(
  lab: Lab,
  board: Board,
  scheme: 'http' | 'https',
  trusted: string,
): Promise<string> {
  const port = scheme === 'http' ? 80 : 443;
  const { stdout, stderr } = await runCommand('nsenter', [
    ...lab.board(1).enter(),
    ...['curl', '-sS', '--max-time', '5', '--cacert', join(lab.dir, `${trusted}.crt`)],
    ...['--resolve', `${HOST}:${port}:${board.address}`, `${scheme}://${HOST}/`],
  ]);
  return stdout === '' ? stderr : stdout;
}

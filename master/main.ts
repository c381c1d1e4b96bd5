/** `pier-master`: runs the master, makes credentials for boards, looks after the store's files. */
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { pino } from 'pino';
import { parseClusterFile } from './cluster-file.ts';
import { addStoreCommands } from './commands/program.ts';
import { configOf, lanAddress, type MasterFlags, type RebalanceMode } from './config.ts';

const DATA = '/var/lib/pier/master';
/** `pier backup` and its like are run by this program under that name (cli/commands/master-command.ts). */
const NAME = process.argv0 === 'pier' ? 'pier' : 'pier-master';

function wholeNumber(min: number, max: number) {
  return (text: string): number => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`give a whole number from ${min} to ${max}`);
  };
}

function scheduling(text: string): 'binpack' | 'spread' {
  if (text === 'binpack' || text === 'spread') return text;
  throw new InvalidArgumentError('give binpack or spread');
}

function rebalance(text: string): RebalanceMode {
  if (text === 'off' || text === 'propose' || text === 'move') return text;
  throw new InvalidArgumentError('give off, propose or move');
}

async function run(flags: MasterFlags): Promise<void> {
  const log = pino(
    { level: process.env.PIER_LOG ?? 'info' },
    pino.destination({ dest: 2, sync: true }),
  );
  const { startMaster } = await import('./master.ts');
  const master = await startMaster(configOf(flags), log);
  const stopped = new Promise<void>((resolve, reject) => {
    const stop = (why: string) => {
      log.info({ why }, 'stopping');
      master.stop().then(resolve, reject);
    };
    process.once('SIGTERM', () => stop('SIGTERM'));
    process.once('SIGINT', () => stop('SIGINT'));
    // Under `pier up` the channel closes when that process dies.
    process.once('disconnect', () => stop('the process that started this one is gone'));
  });
  await stopped;
  // A connection that does not end must not keep the process.
  process.exit(0);
}

interface CredentialFlags {
  readonly data: string;
  readonly output?: string;
  readonly apiServer?: string;
  readonly broker?: string;
}

async function boardCredentials(node: string, flags: CredentialFlags): Promise<void> {
  const { ensurePki, writeBoardCredentials } = await import('./pki/pki.ts');
  const cluster = parseClusterFile(await readCluster(flags.data));
  const address = lanAddress(cluster.addresses) ?? '127.0.0.1';
  const host = address.includes(':') ? `[${address}]` : address;
  const output = flags.output ?? `${node}.credentials.json`;
  await writeBoardCredentials(output, {
    pki: await ensurePki(join(flags.data, 'pki'), {
      hostnames: [hostname().toLowerCase()],
      addresses: cluster.addresses,
    }),
    clusterId: cluster.clusterId,
    node,
    apiServer: flags.apiServer ?? `https://${host}:${cluster.apiPort}`,
    broker: flags.broker ?? `mqtts://${host}:${cluster.mqttPort}`,
  });
  process.stderr.write(
    `pier: wrote ${output}. Copy it to the board, then there: ` +
      `sudo firmware-scripts/install.sh agent ${output}. Whoever holds the file is that board\n`,
  );
}

function readCluster(data: string): Promise<string> {
  return readFile(join(data, 'cluster.json'), 'utf8').catch((error: unknown) => {
    throw new Error(`${data} is no master's data directory: start the master there once`, {
      cause: error,
    });
  });
}

function program(): Command {
  const master = new Command(NAME).description(
    "Pier's master: API, store, scheduler, controllers, broker",
  );
  master
    .command('run')
    .description('run the master in the foreground')
    .option('--data <dir>', 'data directory', DATA)
    .option('--listen <ip>', 'address to listen on (:: is all)', '::')
    .option('--api-port <port>', 'port of the API (HTTPS)', wholeNumber(1, 65535), 6443)
    .option('--mqtt-port <port>', 'port of the broker (MQTT over TLS)', wholeNumber(1, 65535), 8883)
    .option('--address <ip>', "one more address of this board for the server's certificate")
    .option(
      '--pod-cidr <cidr>',
      'range of pod addresses; each board gets a /24 of it',
      '10.42.0.0/16',
    )
    .option(
      '--eviction-seconds <n>',
      'how long a pod stays bound to a board that is gone',
      wholeNumber(0, 86_400),
      10,
    )
    .option(
      '--scheduling <strategy>',
      'binpack fills boards tightly, spread uses many',
      scheduling,
      'binpack',
    )
    .option(
      '--rebalance <mode>',
      'free whole boards: propose says by events which pods would move, move evicts them, one by one',
      rebalance,
      'off',
    )
    .option(
      '--rebalance-pause <n>',
      'seconds between two moves, and after a board came or went',
      wholeNumber(1, 86_400),
      60,
    )
    .option(
      '--load-balancer-pool <ranges>',
      'free LAN addresses for services of type LoadBalancer, as in 192.168.1.240-192.168.1.250,192.168.1.224/29 (default: they have the addresses of the boards)',
    )
    .action(run);
  master
    .command('board-credentials')
    .description('make the file that lets a board join; run on the master')
    .argument('<name>', "the board's name")
    .option('--data <dir>', "the master's data directory", DATA)
    .option('--output <file>', 'where to write it (default: NAME.credentials.json)')
    .option(
      '--api-server <url>',
      'how the board reaches the API (default: first address of this board)',
    )
    .option('--broker <url>', 'how the board reaches the broker')
    .action(boardCredentials);
  addStoreCommands(master, DATA);
  return master;
}

try {
  await program().parseAsync();
} catch (error) {
  process.stderr.write(
    `${NAME}: error: ${error instanceof Error ? error.message : String(error)}\n`,
  );
  process.exit(1);
}

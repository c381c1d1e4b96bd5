/** `pier-agent`: runs this board's pods. One command; flags can also be given as PIER_AGENT_... variables. */
import { setFlagsFromString } from 'node:v8';
import { Command, InvalidArgumentError, Option } from 'commander';
import { pino } from 'pino';
import { type AgentFlags, configOf } from './config.ts';
import { collectWhenIdle } from './garbage.ts';
import { RUNTIME_NAMES } from './runtime/choose.ts';

/** As a variable it has a value: PIER_AGENT_ALLOW_SHELL=false must not allow it. */
function yesOrNo(text: string): boolean {
  if (['true', '1', 'yes'].includes(text)) return true;
  if (['false', '0', 'no', ''].includes(text)) return false;
  throw new InvalidArgumentError('give true or false');
}

function wholeNumber(min: number, max: number) {
  return (text: string): number => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`give a whole number from ${min} to ${max}`);
  };
}

/**
 * An agent idles for months. Compiling only what is called, and with the optimizing compiler only what stays busy for seconds
 * (the budget is bytes of bytecode run; it is 67,584 by default, and later V8 counts calls instead), saves it 4 MiB. The space for new
 * objects stays as small as it begins, 2 MiB, instead of growing to 32 while much is going on, and the heap is collected sooner and
 * moved together. bench/README.md, "agent memory".
 */
function useLittleMemory(): void {
  const flags = [
    '--max-lazy',
    '--no-sparkplug',
    '--semi-space-growth-factor=1',
    '--optimize-for-size',
  ];
  if (process.versions.v8.startsWith('11.')) flags.push('--interrupt-budget=8000000');
  for (const flag of flags) setFlagsFromString(flag);
}

/** Runs until SIGTERM or SIGINT; pods run on. Throws an Error whose message says what to do. */
async function run(flags: AgentFlags): Promise<void> {
  const log = pino(
    { level: process.env.PIER_LOG ?? 'info' },
    pino.destination({ dest: 2, sync: true }),
  );
  const stopped = new Promise<string>((resolve) => {
    process.once('SIGTERM', () => resolve('SIGTERM'));
    process.once('SIGINT', () => resolve('SIGINT'));
    // Under `pier up` the channel closes when that process dies.
    process.once('disconnect', () => resolve('the process that started this one is gone'));
  });
  useLittleMemory();
  const { startAgent } = await import('./agent.ts');
  const agent = await startAgent(configOf(flags), log);
  collectWhenIdle();
  log.info({ why: await stopped }, 'stopping; the pods run on');
  await agent.stop();
  // A connection that does not end must not keep the process.
  process.exit(0);
}

function program(): Command {
  const option = (flags: string, description: string, name: string) =>
    new Option(flags, description).env(`PIER_AGENT_${name}`);
  return new Command('pier-agent')
    .description("Pier's agent: runs the pods of this board, with or without a master")
    .addOption(option('--data <dir>', 'data directory', 'DATA').default('/var/lib/pier/agent'))
    .addOption(
      option(
        '--credentials <file>',
        'what the master made for this board (default: credentials.json in the data directory)',
        'CREDENTIALS',
      ),
    )
    .addOption(
      option('--run-dir <dir>', 'directory on a tmpfs, for secrets', 'RUN_DIR').default(
        '/run/pier/agent',
      ),
    )
    .addOption(option('--address <ip>', "this board's LAN address", 'ADDRESS'))
    .addOption(
      option('--service-cidr <cidr>', 'range of service addresses', 'SERVICE_CIDR').default(
        '10.43.0.0/16',
      ),
    )
    .addOption(
      option('--cluster-domain <name>', "domain of the cluster's names", 'CLUSTER_DOMAIN').default(
        'cluster.local',
      ),
    )
    .addOption(
      option(
        '--dns-clients <ranges>',
        "IPv4 ranges that may ask this board's DNS server beside its pods, with commas between them",
        'DNS_CLIENTS',
      ),
    )
    .addOption(
      option('--heartbeat-seconds <n>', 'how often to report CPU and memory', 'HEARTBEAT_SECONDS')
        .argParser(wholeNumber(1, 10))
        .default(5),
    )
    .addOption(
      option(
        '--relay-port <port>',
        "TCP port at which agents of other subnets reach this board's pods, the same on all boards; 0: the network's routers know the way",
        'RELAY_PORT',
      )
        .argParser(wholeNumber(0, 65_535))
        .default(8885),
    )
    .addOption(
      option(
        '--pin-images <names>',
        'images that are never removed when the disk is full, with commas between them',
        'PIN_IMAGES',
      ),
    )
    .addOption(
      option(
        '--allow-shell [yes]',
        'let "pier shell" of those with the right to it (create on nodes/shell) be root on this board',
        'ALLOW_SHELL',
      )
        .preset('true')
        .argParser(yesOrNo),
    )
    .addOption(
      option(
        '--runtime <name>',
        'container engine: cri (containerd, CRI-O), podman or docker (default: the one used before, else the first found)',
        'RUNTIME',
      ).choices(RUNTIME_NAMES),
    )
    .addOption(option('--cri-socket <path>', "containerd's or CRI-O's socket", 'CRI_SOCKET'))
    .addOption(option('--docker-socket <path>', "Docker's API socket", 'DOCKER_SOCKET'))
    .addOption(option('--podman-socket <path>', "podman's API socket", 'PODMAN_SOCKET'))
    .addOption(option('--podman-root <dir>', "podman's storage", 'PODMAN_ROOT'))
    .addOption(option('--podman-runroot <dir>', "podman's state", 'PODMAN_RUNROOT'))
    .action(run);
}

/** Arguments as after the program's name. Ends the process with 1 and one sentence when it cannot start. */
async function runAgent(args: readonly string[]): Promise<void> {
  try {
    await program().parseAsync([...args], { from: 'user' });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    process.stderr.write(`pier-agent: error: ${reason}\n`);
    process.exit(1);
  }
}

await runAgent(process.argv.slice(2));

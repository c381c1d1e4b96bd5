/** `pier`: Pier's own command. `master` and `agent` are handed to their own entry points, loaded only then. */
import { Command } from 'commander';
import { down } from './commands/down.ts';
import { runMasterCommand } from './commands/master-command.ts';
import { rebalance } from './commands/rebalance.ts';
import { defaultNodeName, up } from './commands/up.ts';
import { why } from './commands/why.ts';

const DATA = '/var/lib/pier';

function portOf(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw new Error(`"${text}" is no port: give a number from 1 to 65535`);
  }
  return port;
}

function program(): Command {
  const pier = new Command('pier').description(
    'Turns a shelf of single-board computers into one computer.',
  );
  pier
    .command('up')
    .description('start a master and an agent on this board, and the first app on them')
    .option('--home <dir>', 'the clone or the installed tree', process.cwd())
    .option('--data <dir>', 'where Pier keeps its data', DATA)
    .option('--node <name>', 'the name of this board', defaultNodeName())
    .option('--api-port <port>', 'port of the API', portOf, 6443)
    .option('--mqtt-port <port>', 'port of the broker', portOf, 8883)
    .option(
      '--address <ip>',
      "this board's address on the LAN (default: that of the default route)",
    )
    .option('--no-demo', 'do not deploy docs/examples/hello.yaml')
    .action(async (options) => {
      process.exitCode = await up(options);
    });
  pier
    .command('down')
    .description(
      'remove from this board what up made: processes, pods, mounts, network, image, data',
    )
    .option('--data <dir>', 'where Pier keeps its data', DATA)
    .option('--run-dir <dir>', "the agent's directory on a tmpfs", '/run/pier/agent')
    .option('--service-cidr <cidr>', 'range of service addresses', '10.43.0.0/16')
    .action(async (options) => {
      process.exitCode = await down(options);
    });
  pier
    .command('why')
    .description('for each board: whether a pod fits there, with its scores, or exactly why not')
    .argument('<pod>')
    .option('-n, --namespace <name>', 'the namespace of the pod', 'default')
    .option('--kubeconfig <file>', 'who asks, and whom (default: $KUBECONFIG, then that of --data)')
    .option('--data <dir>', 'where Pier keeps its data', DATA)
    .action(why);
  pier
    .command('rebalance')
    .description('which moves of pods would free a whole board; makes none of them')
    .option('--kubeconfig <file>', 'who asks, and whom (default: $KUBECONFIG, then that of --data)')
    .option('--data <dir>', 'where Pier keeps its data', DATA)
    .action(rebalance);
  pier
    .command('shell')
    .description('a shell on a board itself, where its agent allows it (--allow-shell)')
    .argument('<node>')
    .option('--kubeconfig <file>', 'who asks, and whom (default: $KUBECONFIG, then that of --data)')
    .option('--data <dir>', 'where Pier keeps its data', DATA)
    .action(async (node, options) => {
      const { shell } = await import('./commands/shell.ts');
      process.exitCode = await shell(node, options);
    });
  addMasterCommands(pier);
  return pier;
}

/** Their options are those of `pier-master`, which also prints their help. */
function addMasterCommands(pier: Command): void {
  const commands = {
    'store verify|repair|dump': "check, repair or show the files of the master's store",
    backup: 'write one file that is enough to bring the cluster back, from the running master',
    restore: 'make the data directory of a master from a backup',
  };
  for (const [names, description] of Object.entries(commands)) {
    const [name = ''] = names.split(' ');
    pier
      .command(name)
      .description(description)
      .argument('[args...]')
      .usage(`${names.slice(name.length + 1)} [args...]`.trim())
      .helpOption(false)
      .allowUnknownOption()
      .action(async (args: string[]) => {
        process.exitCode = await runMasterCommand([name, ...args]);
      });
  }
}

try {
  await program().parseAsync();
} catch (error) {
  process.stderr.write(`pier: error: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

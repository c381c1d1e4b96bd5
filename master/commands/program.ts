/**
 * The commands that look after the store: `store verify|repair|dump`, `backup`, `restore`. What they do is loaded only when
 * one of them is called: the master does not carry it.
 */
import type { Command } from 'commander';

/** Adds the commands. `dataDir`: the master's data directory when none is given. */
export function addStoreCommands(program: Command, dataDir: string): void {
  const store = program
    .command('store')
    .description("look after the master's store; the master must not run");
  store
    .command('verify')
    .description('check every file; changes nothing. Exit code 2 when something is damaged')
    .argument('<dir>', "the store's directory, or the master's data directory")
    .action(async (directory: string) => {
      const { verify } = await import('./store.ts');
      process.exitCode = await verify(directory);
    });
  store
    .command('repair')
    .description(
      'keep everything before the damage and put the damaged files aside; deletes nothing',
    )
    .argument('<dir>', "the store's directory, or the master's data directory")
    .action(async (directory: string) => {
      const { repair } = await import('./store.ts');
      await repair(directory);
    });
  store
    .command('dump')
    .description(
      'write what the files hold, a line of JSON for each record; Secrets are left out. Exit code 2 when something is damaged',
    )
    .argument('<dir>', "the store's directory, or the master's data directory")
    .action(async (directory: string) => {
      const { dump } = await import('./store.ts');
      process.exitCode = await dump(directory);
    });
  program
    .command('backup')
    .description('write one file that is enough to bring the cluster back, from the running master')
    .argument('<file>', 'the file; an older backup there is replaced when the new one is whole')
    .option('--data <dir>', "the master's data directory, for its admin.kubeconfig", dataDir)
    .option('--kubeconfig <file>', 'how to reach the master, for a backup from another computer')
    .option('--server <url>', "the master's address (default: that of the kubeconfig)")
    .action(
      async (file: string, options: { data: string; kubeconfig?: string; server?: string }) => {
        const { backup } = await import('./backup.ts');
        await backup(file, options);
      },
    );
  program
    .command('restore')
    .description('make the data directory of a master from a backup')
    .argument('<file>', 'what `backup` wrote')
    .requiredOption('--data <dir>', 'the directory to make; it must be empty or absent')
    .action(async (file: string, options: { data: string }) => {
      const { restore } = await import('./restore.ts');
      await restore(file, options.data);
    });
}

/** Debian's dockerd for tests. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DockerRuntime, type DockerRuntimeOptions } from '../../agent/runtime/docker.ts';
import { eventually } from '../agent/runtime.contract.ts';
import { engineMissing, TestEngine } from './engine.ts';

const ANSWER_MS_MAX = 120_000;

/** Why Docker cannot be tested here; undefined when it can. */
export function dockerMissing(): string | undefined {
  return engineMissing('dockerd', 'iptables');
}

export async function makeDocker(
  name: string,
): Promise<{ engine: TestEngine; options: DockerRuntimeOptions }> {
  const engine = await TestEngine.make(name);
  const { dir, socketPath } = engine;
  // Whatever the machine's own dockerd is set to.
  await writeFile(join(dir, 'daemon.json'), '{}');
  await engine.startOrRemove([
    'dockerd',
    ...['--data-root', join(dir, 'data'), '--exec-root', join(dir, 'exec')],
    ...['--pidfile', join(dir, 'docker.pid'), '--host', `unix://${socketPath}`],
    ...['--bridge', 'none', '--config-file', join(dir, 'daemon.json')],
  ]);
  const options: DockerRuntimeOptions = {
    socketPath,
    runDir: join(dir, 'run'),
    run: (program, args) => engine.inside(program, ...args),
  };
  await untilItAnswers(engine, options).catch(async (error: unknown) => {
    await engine.remove();
    throw error;
  });
  return { engine, options };
}

/** dockerd gives up when its own containerd is not up within 15 s, as on a busy machine: then it is started again. */
export async function untilItAnswers(
  engine: TestEngine,
  options: DockerRuntimeOptions,
): Promise<void> {
  const runtime = new DockerRuntime(options);
  try {
    await eventually(
      'dockerd to answer',
      async () => {
        if (!engine.isRunning) await engine.start();
        return (await runtime.problem()) === undefined || undefined;
      },
      ANSWER_MS_MAX,
    );
  } finally {
    await runtime.stop();
  }
}

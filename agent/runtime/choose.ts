/**
 * Which container engine the board's pods run on: what was asked for, else the one of the last time, else the first that
 * works of containerd or CRI-O, podman, Docker. The choice is remembered, because a board that changed engines by
 * itself (one was installed, or was slow to start after a boot) would run every pod twice. Only the chosen
 * engine's code is loaded.
 */
import { existsSync } from 'node:fs';
import { access, constants, mkdir, readFile, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import type { Logger } from 'pino';
import { checkPodman } from '../host/checks.ts';
import { engineEnvironment } from './engine-config.ts';
import type { Runtime } from './runtime.ts';

export const RUNTIME_NAMES = ['cri', 'podman', 'docker'] as const;
export type RuntimeName = (typeof RUNTIME_NAMES)[number];

export interface RuntimeSettings {
  /** Undefined: found out. */
  readonly name: RuntimeName | undefined;
  readonly dataDir: string;
  /** Where the choice is remembered. */
  readonly stateDir: string;
  readonly runDir: string;
  readonly criSocket: string | undefined;
  readonly dockerSocket: string | undefined;
  readonly podman: {
    readonly socketPath: string | undefined;
    readonly root: string | undefined;
    readonly runroot: string | undefined;
  };
}

const CRI_SOCKETS = ['/run/containerd/containerd.sock', '/run/crio/crio.sock'] as const;
const DOCKER_SOCKET = '/run/docker.sock';
const PODMAN_SOCKET = '/run/podman/podman.sock';
const HOW_TO_INSTALL =
  '"apt-get install podman crun netavark" installs it; or name an engine that runs here by --runtime cri or docker';
/** For a first look at an engine that may only be a socket without anybody behind it. */
const LOOK_MS = 3_000;

/** What a look at the board found. */
export interface EngineFindings {
  readonly remembered: RuntimeName | undefined;
  /** Why it cannot be used; undefined when it can. */
  readonly problem: (name: RuntimeName) => Promise<string | undefined>;
}

export interface EngineChoice {
  readonly name: RuntimeName;
  readonly why: string;
  /** What stood in the way of those that come first. */
  readonly passedOver: readonly string[];
}

/** The decision alone. With nothing usable it is podman. */
export async function decideEngine(
  settings: Pick<RuntimeSettings, 'name' | 'criSocket' | 'dockerSocket' | 'podman'>,
  { remembered, problem }: EngineFindings,
): Promise<EngineChoice> {
  const asked = settings.name ?? impliedBy(settings);
  if (asked !== undefined) return { name: asked, why: 'asked for', passedOver: [] };
  if (remembered !== undefined) {
    return { name: remembered, why: 'it was used before', passedOver: [] };
  }
  const passedOver: string[] = [];
  for (const name of RUNTIME_NAMES) {
    const reason = await problem(name);
    if (reason === undefined) return { name, why: 'found', passedOver };
    passedOver.push(`${name}: ${reason}`);
  }
  return { name: 'podman', why: 'nothing else was found', passedOver };
}

/** Who names an engine's socket or folder wants that engine. */
function impliedBy(
  settings: Pick<RuntimeSettings, 'criSocket' | 'dockerSocket' | 'podman'>,
): RuntimeName | undefined {
  const { socketPath, root, runroot } = settings.podman;
  if (socketPath !== undefined || root !== undefined || runroot !== undefined) return 'podman';
  if (settings.criSocket !== undefined) return 'cri';
  return settings.dockerSocket === undefined ? undefined : 'docker';
}

/**
 * Not started yet. Throws what the disk throws, and on a board that never had an engine an Error that says how to install one: later a
 * missing engine must not take the board's services with it (engine-start.ts).
 */
export async function chooseRuntime(settings: RuntimeSettings, log: Logger): Promise<Runtime> {
  const file = join(settings.stateDir, 'runtime');
  const remembered = await readChoice(file);
  const choice = await decideEngine(settings, {
    remembered,
    problem: (name) => problemOf(name, settings),
  });
  const { name, why, passedOver } = choice;
  if (remembered === undefined && name === 'podman' && settings.podman.socketPath === undefined) {
    const problem = await problemOf('podman', settings);
    if (problem !== undefined) throw new Error(`${problem}: ${HOW_TO_INSTALL}`);
    const lacking = (await isInPath('podman')) ? await checkPodman() : [];
    if (lacking.length > 0) throw new Error(lacking.map(({ message }) => message).join('; '));
  }
  log.info({ runtime: name, why, passedOver }, 'container engine chosen');
  if (remembered !== undefined && remembered !== name) {
    log.warn(
      { before: remembered, now: name },
      'pods of the engine used before are not known to this one: remove them there',
    );
  }
  const found = passedOver.length < RUNTIME_NAMES.length;
  if (name !== remembered && found) {
    await mkdir(settings.stateDir, { recursive: true, mode: 0o700 });
    await writeFile(file, `${name}\n`, { mode: 0o600 });
  }
  return makeRuntime(name, settings, log);
}

async function readChoice(file: string): Promise<RuntimeName | undefined> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return RUNTIME_NAMES.find((name) => name === text.trim());
}

async function problemOf(
  name: RuntimeName,
  settings: RuntimeSettings,
): Promise<string | undefined> {
  if (name === 'podman') {
    if (existsSync(PODMAN_SOCKET) || (await isInPath('podman'))) return undefined;
    return 'podman is not installed';
  }
  const socket =
    name === 'cri' ? CRI_SOCKETS.find((path) => existsSync(path)) : firstOf(DOCKER_SOCKET);
  if (socket === undefined) return 'there is no socket';
  const runtime =
    name === 'cri'
      ? await makeCri(settings, undefined, LOOK_MS)
      : await makeDocker(settings, undefined);
  try {
    return await runtime.problem();
  } finally {
    await runtime.stop();
  }
}

function firstOf(path: string): string | undefined {
  return existsSync(path) ? path : undefined;
}

async function isInPath(program: string): Promise<boolean> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const there = await access(join(folder, program), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (there) return true;
  }
  return false;
}

async function makeRuntime(
  name: RuntimeName,
  settings: RuntimeSettings,
  log: Logger,
): Promise<Runtime> {
  switch (name) {
    case 'cri':
      return makeCri(settings, log.child({ part: 'cri' }));
    case 'docker':
      return makeDocker(settings, log.child({ part: 'docker' }));
    case 'podman':
      return makePodman(settings, log);
  }
}

async function makeCri(settings: RuntimeSettings, log: Logger | undefined, connectMs?: number) {
  const { CriRuntime } = await import('./cri.ts');
  const there = CRI_SOCKETS.find((path) => existsSync(path));
  return new CriRuntime({
    socketPath: settings.criSocket ?? there ?? CRI_SOCKETS[0],
    logDir: join(settings.dataDir, 'logs'),
    runDir: settings.runDir,
    ...(connectMs === undefined ? {} : { connectMs }),
    ...(log === undefined ? {} : { log }),
  });
}

async function makePodman(settings: RuntimeSettings, log: Logger) {
  const { PodmanRuntime } = await import('./podman.ts');
  const { socketPath, root, runroot } = settings.podman;
  const { env, reasons } = await engineEnvironment(settings.dataDir, process.env);
  for (const reason of reasons) log.warn(reason);
  return new PodmanRuntime({
    ...(socketPath === undefined ? {} : { socketPath }),
    ...(root === undefined ? {} : { root }),
    ...(runroot === undefined ? {} : { runroot }),
    env,
    log: log.child({ part: 'podman' }),
  });
}

async function makeDocker(settings: RuntimeSettings, log: Logger | undefined) {
  const { DockerRuntime } = await import('./docker.ts');
  return new DockerRuntime({
    socketPath: settings.dockerSocket ?? DOCKER_SOCKET,
    runDir: settings.runDir,
    ...(log === undefined ? {} : { log }),
  });
}

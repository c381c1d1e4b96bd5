/** The container engine of a board of the lab. podman needs none: the agent starts its service; containerd and dockerd run from here on. */
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RuntimeName } from '../../agent/runtime/choose.ts';
import { DEMO_IMAGE } from '../../cli/commands/demo-image.ts';
import { engineMissing } from '../support/engine.ts';
import type { Board } from './board.ts';

const CNI_BIN = '/usr/lib/cni';
/** Where it is on a board, so that an agent finds it by itself. Their data is on the card, beside podman's. */
export const CONTAINERD_SOCKET = '/run/containerd/containerd.sock';
const DOCKER_SOCKET = '/run/docker.sock';
const CARD = '/var/lib/containers';
export const CONTAINERD_ROOT = `${CARD}/containerd`;

const CONTAINERD_CONFIG = `version = 2
root = "${CONTAINERD_ROOT}"
state = "/run/containerd"
[grpc]
  address = "${CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${CNI_BIN}"
    conf_dir = "${CARD}/cni"
[plugins."io.containerd.internal.v1.opt"]
  path = "${CARD}/opt"
`;

interface Engine {
  readonly command: readonly string[];
  /** Answers with exit code 0 once the engine does. */
  readonly look: readonly string[];
  /** Takes a file of `podman save` as its last argument. */
  readonly load: readonly string[];
}

const ENGINES: Record<Exclude<RuntimeName, 'podman'>, Engine> = {
  cri: {
    command: ['containerd', '--config', `${CARD}/containerd.toml`],
    look: ['ctr', '--address', CONTAINERD_SOCKET, 'plugins', 'ls'],
    load: ['ctr', '--address', CONTAINERD_SOCKET, '--namespace', 'k8s.io', 'images', 'import'],
  },
  docker: {
    command: [
      'dockerd',
      ...['--data-root', `${CARD}/docker`, '--host', `unix://${DOCKER_SOCKET}`],
      ...['--bridge', 'none', '--config-file', `${CARD}/daemon.json`],
    ],
    look: ['docker', '--host', `unix://${DOCKER_SOCKET}`, 'version'],
    load: ['docker', '--host', `unix://${DOCKER_SOCKET}`, 'load', '--quiet', '--input'],
  },
};

/** Why boards with this engine cannot be imitated here; undefined when they can. */
export function boardEngineMissing(name: RuntimeName): string | undefined {
  if (name === 'podman') return undefined;
  if (name === 'docker') return engineMissing('dockerd', 'docker', 'iptables');
  const hasPlugins = existsSync(`${CNI_BIN}/bridge`);
  return (
    engineMissing('containerd', 'ctr') ??
    (hasPlugins ? undefined : 'containernetworking-plugins is not installed')
  );
}

/** Starts it in the board; it ends with the board at the latest. It may not answer yet. */
export async function startBoardEngine(
  board: Board,
  name: Exclude<RuntimeName, 'podman'>,
): Promise<ChildProcess> {
  const card = join(board.dir, 'containers');
  await mkdir(join(card, 'cni'), { recursive: true });
  await writeFile(join(card, 'containerd.toml'), CONTAINERD_CONFIG);
  await writeFile(join(card, 'daemon.json'), '{}');
  const [program = '', ...args] = ENGINES[name].command;
  return board.spawn(program, args);
}

/** Resolves when it answers; rejects while it does not. */
export async function lookAtEngine(
  board: Board,
  name: Exclude<RuntimeName, 'podman'>,
): Promise<void> {
  const [program = '', ...args] = ENGINES[name].look;
  await board.exec(program, args);
}

/** The demo image, which the board's podman has, for its other engine. */
export async function copyDemoImage(
  board: Board,
  name: Exclude<RuntimeName, 'podman'>,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const file = '/run/demo-image.tar';
  await board.exec('podman', ['save', '--quiet', '--output', file, DEMO_IMAGE], { env });
  const [program = '', ...args] = ENGINES[name].load;
  await board.exec(program, [...args, file]);
  await board.exec('rm', [file]);
}

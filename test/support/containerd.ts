/** containerd for tests, set as this machine needs it, with Debian's plugins for CNI. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import type { Dial } from '../../agent/runtime/cri/streaming.ts';
import type { CriRuntimeOptions } from '../../agent/runtime/cri.ts';
import { engineMissing, TestEngine } from './engine.ts';

const CNI_BIN = '/usr/lib/cni';

/** Why containerd cannot be tested here; undefined when it can. */
export function containerdMissing(): string | undefined {
  return (
    engineMissing('containerd') ??
    (existsSync(`${CNI_BIN}/bridge`) ? undefined : 'containernetworking-plugins is not installed')
  );
}

export async function makeContainerd(
  name: string,
): Promise<{ engine: TestEngine; options: CriRuntimeOptions }> {
  const engine = await TestEngine.make(name);
  const { dir, socketPath } = engine;
  const config = join(dir, 'config.toml');
  await mkdir(join(dir, 'cni'));
  await writeFile(
    config,
    `version = 2
root = "${dir}/root"
state = "${dir}/state"
[grpc]
  address = "${socketPath}"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${CNI_BIN}"
    conf_dir = "${dir}/cni"
[plugins."io.containerd.internal.v1.opt"]
  path = "${dir}/opt"
`,
  );
  await engine.startOrRemove(['containerd', '--config', config]);
  const dial: Dial = (host, port) => dialInside(engine.netns, host, port);
  const options = { socketPath, logDir: join(dir, 'logs'), runDir: join(dir, 'run'), dial };
  return { engine, options };
}

/** A TCP connection from within another network namespace, by a program that hands the bytes on. */
function dialInside(netns: string, host: string, port: number): Duplex {
  const words = [`--net=/run/netns/${netns}`, '/bin/busybox', 'nc', host, String(port)];
  const { stdin, stdout } = spawn('nsenter', words, { stdio: ['pipe', 'pipe', 'inherit'] });
  return Duplex.from({ writable: stdin, readable: stdout });
}

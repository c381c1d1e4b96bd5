/**
 * The machine a figure was taken on: without it a figure means nothing. The disk is measured at each run, because a busy
 * disk is another disk.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { availableParallelism, cpus, loadavg, release, tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Json, quantile, round } from './benchmark.ts';

export const HOME = dirname(dirname(fileURLToPath(import.meta.url)));

const DISK_WRITES = 300;
/** As in IBM's fio line for etcd: --rw=write --fdatasync=1 --bs=2300. */
const DISK_WRITE_BYTES = 2300;
const WATCH_MS = 2000;
const GAP_MS = 1;

export async function hostFacts(): Promise<{ [key: string]: Json }> {
  return {
    date: new Date().toISOString().slice(0, 16),
    commit: firstLine('git', ['-C', HOME, 'describe', '--always', '--dirty']),
    kernel: release(),
    system: /^PRETTY_NAME="(.*)"$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'unknown',
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: round(totalmem() / 2 ** 30, 1),
    node: process.version,
    podman: firstLine('podman', ['--version']),
    runc: firstLine('runc', ['--version']),
    dockerd: firstLine('dockerd', ['--version']),
    containerd: firstLine('containerd', ['--version']),
    loadBefore: loadavg().map((load) => round(load, 1)),
    taken: coreTaken(),
    disk: await diskSyncs(tmpdir()),
  };
}

/** Load of the last 1, 5 and 15 minutes, for the end of a run. */
export function loadNow(): number[] {
  return loadavg().map((load) => round(load, 1));
}

/**
 * What a busy loop on one core is kept from running, by others on this machine or, on a virtual one, by its host: pauses of
 * a millisecond and more. They are the floor of every tail that is measured here.
 */
function coreTaken(): { [key: string]: Json } {
  const startMs = performance.now();
  const gapsMs: number[] = [];
  for (let lastMs = startMs; lastMs < startMs + WATCH_MS; ) {
    const nowMs = performance.now();
    if (nowMs - lastMs >= GAP_MS) gapsMs.push(nowMs - lastMs);
    lastMs = nowMs;
  }
  const sumMs = gapsMs.reduce((sum, gap) => sum + gap, 0);
  return {
    percent: round((sumMs / WATCH_MS) * 100, 1),
    pauses: gapsMs.length,
    longestMs: round(Math.max(0, ...gapsMs), 1),
  };
}

async function diskSyncs(folder: string): Promise<{ [key: string]: Json }> {
  const directory = mkdtempSync(join(folder, 'pier-bench-disk-'));
  try {
    const file = await open(join(directory, 'file'), 'w');
    const block = Buffer.alloc(DISK_WRITE_BYTES, 1);
    const tookMs: number[] = [];
    for (let n = 0; n < DISK_WRITES; n += 1) {
      const startMs = performance.now();
      await file.write(block);
      await file.datasync();
      tookMs.push(performance.now() - startMs);
    }
    await file.close();
    return {
      fdatasyncP50Ms: round(quantile(tookMs, 0.5), 2),
      fdatasyncP99Ms: round(quantile(tookMs, 0.99), 2),
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function firstLine(command: string, args: readonly string[]): string {
  try {
    const stdio = ['ignore', 'pipe', 'ignore'] as const;
    const text = execFileSync(command, args, { encoding: 'utf8', stdio: [...stdio] });
    return text.split('\n')[0]?.trim() ?? '';
  } catch {
    // Not installed, or not a clone: a fact too.
    return 'missing';
  }
}

/**
 * A fleet on one machine: the built Pier (dist/) on several boards of a LAN; board 1 runs the master and an agent, the
 * others an agent each. Used by `npm run lab` and by the end-to-end tests. Everything it makes, `close` removes.
 */
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { RuntimeName } from '../../agent/runtime/choose.ts';
import { engineEnvironment } from '../../agent/runtime/engine-config.ts';
import { ensureDemoImage } from '../../cli/commands/demo-image.ts';
import { Board } from './board.ts';
import { copyDemoImage, lookAtEngine, startBoardEngine } from './board-engine.ts';
import { Lan } from './lan.ts';

const HOME = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const MASTER_DATA = '/var/lib/pier/master';
const AGENT_DATA = '/var/lib/pier/agent';
const WAIT_MS = 60_000;
const ENGINE_DOWN_MS = 100;
/** Beyond all boards. */
const CLIENT = 200;

export interface LabOptions {
  readonly boards: number;
  /** Numbers of boards that are in another subnet, behind a router. */
  readonly behindRouter?: readonly number[];
  /** Let this machine itself reach the boards (`npm run lab`). */
  readonly connectHost?: boolean;
  readonly masterFlags?: readonly string[];
  readonly agentFlags?: readonly string[];
  /** Make the demo image on every board (default: yes). */
  readonly image?: boolean;
  /** What the boards run their pods on (default: podman). */
  readonly engine?: RuntimeName;
  /** How long containerd or dockerd stays away when it has ended (default: a tenth of a second, as with systemd). */
  readonly engineDownMs?: () => number;
  /** Keep the folder with cards and logs afterwards. */
  readonly keep?: boolean;
}

interface Running {
  master?: ChildProcess;
  agent?: ChildProcess;
  /** containerd or dockerd. */
  engine?: ChildProcess;
}

export class Lab {
  readonly dir: string;
  readonly boards: readonly Board[];
  readonly #lan: Lan;
  readonly #options: LabOptions;
  readonly #running = new Map<Board, Running>();
  #env: NodeJS.ProcessEnv = process.env;

  private constructor(dir: string, lan: Lan, boards: readonly Board[], options: LabOptions) {
    this.dir = dir;
    this.boards = boards;
    this.#lan = lan;
    this.#options = options;
  }

  /** Boards are on and hold the demo image; no Pier process runs yet. */
  static async create(options: LabOptions): Promise<Lab> {
    const dir = await mkdtemp(join(tmpdir(), 'pier-lab-'));
    const id = randomBytes(2).toString('hex');
    const lan = await Lan.create(id, (process.pid % 254) + 1);
    const boards: Board[] = [];
    const lab = new Lab(dir, lan, boards, options);
    try {
      if (options.connectHost === true) await lan.connectHost();
      for (let index = 1; index <= options.boards; index += 1) {
        const place = await lan.plugIn(index, options.behindRouter?.includes(index));
        const board = new Board({
          name: `board${index}`,
          dir: join(dir, `board${index}`),
          ...place,
        });
        boards.push(board);
        lab.#running.set(board, {});
        await board.powerOn();
        // What podman needs is the same on all boards.
        if (index === 1) lab.#env = (await engineEnvironment(dir, process.env, board.pid)).env;
        if (options.image !== false) await lab.makeImage(board);
      }
      return lab;
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  board(index: number): Board {
    const board = this.boards[index - 1];
    if (board === undefined) throw new Error(`the lab has no board ${index}`);
    return board;
  }

  /** For a podman that is run on a board. */
  get env(): NodeJS.ProcessEnv {
    return this.#env;
  }

  get masterUrl(): string {
    return `https://${this.board(1).address}:6443`;
  }

  /** The admin's kubeconfig as this machine sees it. */
  get kubeconfig(): string {
    return join(this.board(1).dir, 'pier/master/admin.kubeconfig');
  }

  async makeImage(board: Board): Promise<void> {
    await ensureDemoImage((args) => board.exec('podman', args, { env: this.#env }));
  }

  /** `more` flags are for this start alone. */
  async startMaster(more: readonly string[] = []): Promise<void> {
    const board = this.board(1);
    const flags = ['--address', board.address, ...(this.#options.masterFlags ?? []), ...more];
    const args = [join(HOME, 'dist/pier-master.mjs'), 'run', '--data', MASTER_DATA, ...flags];
    this.#running.set(board, {
      ...this.#running.get(board),
      master: this.#start(board, 'master', args),
    });
    await this.until('the master is ready', () => this.#apiReady());
  }

  /** And its engine, where that does not run. */
  async startAgent(index: number, flags: readonly string[] = []): Promise<void> {
    const board = this.board(index);
    await this.#startEngine(board);
    await this.#giveCredentials(board);
    const args = [
      join(HOME, 'dist/pier-agent.mjs'),
      ...['--data', AGENT_DATA, '--credentials', `${AGENT_DATA}/credentials.json`],
      ...['--runtime', this.#options.engine ?? 'podman'],
      ...(this.#options.agentFlags ?? []),
      ...flags,
    ];
    this.#running.set(board, {
      ...this.#running.get(board),
      agent: this.#start(board, 'agent', args),
    });
  }

  process(index: number, part: 'master' | 'agent'): ChildProcess {
    const child = this.#running.get(this.board(index))?.[part];
    if (child === undefined) throw new Error(`board ${index} runs no ${part}`);
    return child;
  }

  /** Ends a part with a signal and waits until it is gone. SIGTERM is asked of the process inside the board. */
  async end(index: number, part: 'master' | 'agent', signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const board = this.board(index);
    const child = this.process(index, part);
    const gone = new Promise((resolve) => child.once('close', resolve));
    // One that was started a moment ago is not in the board yet.
    await this.until(`${part} of ${board.name} gets ${signal}`, async () => {
      await board.exec('pkill', [`-${signal.slice(3)}`, '-f', `pier-${part}.mjs`]);
      return true;
    });
    await gone;
  }

  /** Pulls the plug of a board: all its processes end at once, its card stays. */
  async powerOff(index: number): Promise<void> {
    // First: an engine that ends by it is not started again.
    this.#running.set(this.board(index), {});
    await this.board(index).powerOff();
  }

  async cable(index: number, plugged: boolean): Promise<void> {
    await this.#lan.cable(index, plugged);
  }

  /** Plugs a board that is behind the router into the LAN; returns its new address. Its agent looks each minute, and when it starts. */
  async move(index: number): Promise<string> {
    return this.#lan.move(index);
  }

  /** A machine on the LAN that is no board: a network namespace (`nsenter --net=/run/netns/NETNS`). */
  async plugInClient(): Promise<{ netns: string; address: string }> {
    return this.#lan.plugIn(CLIENT);
  }

  /** Also of its engine, where it does not belong to the agent. */
  async log(index: number, part: 'master' | 'agent' | RuntimeName): Promise<string> {
    return readFile(join(this.dir, `board${index}-${part}.log`), 'utf8').catch(() => '');
  }

  /** Waits for a condition; the error names it and what the last attempt saw. */
  async until(
    what: string,
    check: () => Promise<boolean | string>,
    waitMs = WAIT_MS,
  ): Promise<void> {
    const deadline = performance.now() + waitMs;
    let seen = '';
    while (performance.now() < deadline) {
      try {
        const outcome = await check();
        if (outcome === true) return;
        seen = String(outcome);
      } catch (error) {
        seen = error instanceof Error ? error.message : String(error);
      }
      await sleep(100);
    }
    throw new Error(`not within ${waitMs / 1000} s: ${what}; last seen: ${seen}`);
  }

  async close(): Promise<void> {
    this.#running.clear();
    for (const board of this.boards) await board.powerOff();
    await this.#lan.remove();
    if (this.#options.keep !== true) await rm(this.dir, { recursive: true, force: true });
  }

  async #startEngine(board: Board): Promise<void> {
    const { engine: name = 'podman', image } = this.#options;
    if (name === 'podman' || this.#running.get(board)?.engine !== undefined) return;
    await this.#runEngine(board, name);
    await this.until(`${name} answers`, async () => {
      await lookAtEngine(board, name);
      return true;
    });
    if (image !== false) await copyDemoImage(board, name, this.#env);
  }

  /** And starts it again whenever it ends, as systemd does. */
  async #runEngine(board: Board, name: Exclude<RuntimeName, 'podman'>): Promise<void> {
    const engine = await startBoardEngine(board, name);
    this.#keepLog(board, name, engine);
    this.#running.set(board, { ...this.#running.get(board), engine });
    engine.once('exit', async () => {
      await sleep(this.#options.engineDownMs?.() ?? ENGINE_DOWN_MS);
      if (this.#running.get(board)?.engine === engine) await this.#runEngine(board, name);
    });
  }

  async #apiReady(): Promise<boolean | string> {
    const board = this.board(1);
    const answer = await board.exec('curl', [
      ...['-sS', '--max-time', '5', '--cacert', `${MASTER_DATA}/pki/ca.crt`],
      ...['--cert', `${MASTER_DATA}/pki/admin.crt`, '--key', `${MASTER_DATA}/pki/admin.key`],
      `${this.masterUrl}/readyz`,
    ]);
    return answer === 'ok' || answer;
  }

  async #giveCredentials(board: Board): Promise<void> {
    const target = join(board.dir, 'pier/agent/credentials.json');
    const present = await readFile(target, 'utf8').catch(() => undefined);
    if (present !== undefined) return;
    const first = this.board(1);
    await first.exec('mkdir', ['-p', join(board.dir, 'pier/agent')]);
    await first.exec(process.execPath, [
      join(HOME, 'dist/pier-master.mjs'),
      ...['board-credentials', board.name, '--data', MASTER_DATA, '--output', target],
      ...['--api-server', this.masterUrl, '--broker', `mqtts://${first.address}:8883`],
    ]);
  }

  #start(board: Board, part: string, args: readonly string[]): ChildProcess {
    // MALLOC_ARENA_MAX: as in the systemd units.
    const env = { MALLOC_ARENA_MAX: '1', ...this.#env };
    const child = board.spawn(process.execPath, args, { env });
    this.#keepLog(board, part, child);
    return child;
  }

  #keepLog({ name }: Board, part: string, child: ChildProcess): void {
    const log = createWriteStream(join(this.dir, `${name}-${part}.log`), { flags: 'a' });
    child.stdout?.pipe(log, { end: false });
    child.stderr?.pipe(log, { end: false });
    child.once('close', (code, signal) => log.end(`${part} ended: ${signal ?? code}\n`));
  }
}

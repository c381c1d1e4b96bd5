/** Unmodified kubectl, run inside a board of a lab as its admin would. */
import type { Board } from '../lab/board.ts';
import { type CommandResult, type Kubectl, runCommand } from './kubectl.ts';

export const KUBECONFIG = '/var/lib/pier/master/admin.kubeconfig';

export interface RunningKubectl {
  /** All that it has printed. */
  words(): string;
  stop(): Promise<void>;
}

export class BoardKubectl {
  readonly #board: Board;
  readonly #kubectl: Kubectl;

  /** `board` is the one with the master: its admin kubeconfig is used. */
  constructor(board: Board, kubectl: Kubectl) {
    this.#board = board;
    this.#kubectl = kubectl;
  }

  /** Runs it to its end, whatever its exit code is. */
  run(args: readonly string[], input = '', timeoutMs = 60_000): Promise<CommandResult> {
    const command = ['env', `KUBECONFIG=${KUBECONFIG}`, this.#kubectl.path, ...args];
    return runCommand('nsenter', [...this.#board.enter(), ...command], { input, timeoutMs });
  }

  /** Starts one that runs until it is stopped. */
  start(args: readonly string[]): RunningKubectl {
    const env = { ...process.env, KUBECONFIG };
    // It says its process id of the board first: a signal to nsenter would not reach it.
    const script = ['-c', 'echo $$; exec "$@"', 'sh', this.#kubectl.path, ...args];
    const child = this.#board.spawn('sh', script, { env });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        text += chunk.toString('utf8');
      });
    }
    const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
    const stop = async (): Promise<void> => {
      // It may have ended by itself.
      await this.#board.exec('kill', [String(Number.parseInt(text, 10))]).catch(() => undefined);
      await closed;
    };
    return { words: () => text, stop };
  }

  /** What it printed. Throws with its words when it fails. */
  async ok(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(args);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: exit code ${code}: ${stderr}`);
    return stdout;
  }

  /** What it complained about (standard error). Throws when it does not fail. */
  async refused(args: readonly string[], input = ''): Promise<string> {
    const { code, stdout, stderr } = await this.run(args, input);
    if (code === 0) throw new Error(`kubectl ${args.join(' ')} was not refused: ${stdout}`);
    return stderr;
  }

  /** Applies manifests; resolves with what it printed, warnings included. */
  async apply(...manifests: readonly object[]): Promise<string> {
    // As a list: kubectl 1.32 sometimes cannot read JSON documents with "---" between them.
    const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: manifests });
    const { code, stdout, stderr } = await this.run(['apply', '-f', '-'], input);
    if (code !== 0) throw new Error(`kubectl apply: exit code ${code}: ${stderr}`);
    return stdout + stderr;
  }

  /** One or more objects as kubectl gives them out, for example `get<Pod>('pod', 'web')`. */
  async get<T>(...args: string[]): Promise<T> {
    const answer: T = JSON.parse(await this.ok('get', ...args, '-o', 'json'));
    return answer;
  }

  /** The items of a list, for example `list<Pod>('pods', '-l', 'app=web')`. */
  async list<T>(...args: string[]): Promise<T[]> {
    return (await this.get<{ items: T[] }>(...args)).items;
  }
}

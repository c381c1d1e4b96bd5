/**
 * Pods keep their addresses on the way to pods of other boards (Kubernetes' network model: no NAT between pods). Every engine
 * translates whatever leaves the board, by iptables' MASQUERADE; a chain of ours before theirs lets pods' words to pods pass
 * as they are. A board that knows no other needs none of it, and no iptables either.
 */
import type { Logger } from 'pino';
import type { BoardRoute } from '../../protocol/messages.ts';
import { type ProgramOutput, programOutput } from '../host/program-output.ts';
import { messageOf } from '../pods/pod-steps.ts';

/** Of the table nat (iptables(8)). */
export const POD_CHAIN = 'PIER-PODS';
const JUMP = ['POSTROUTING', '-j', POD_CHAIN] as const;

/** For iptables-restore: the chain with what it lets pass, in place of what it held. Undefined without other boards. Pure. */
export function podChain(boards: readonly BoardRoute[], self: string): string | undefined {
  const own = boards.find(({ node }) => node === self)?.podCidr ?? '';
  const others = boards
    .filter(({ node, podCidr }) => node !== self && podCidr !== '')
    .map(({ podCidr }) => podCidr)
    .sort();
  if (own === '' || others.length === 0) return undefined;
  const rules = others.map((cidr) => `-A ${POD_CHAIN} -s ${own} -d ${cidr} -j ACCEPT`);
  return ['*nat', `:${POD_CHAIN} - [0:0]`, ...rules, 'COMMIT', ''].join('\n');
}

export interface PodAddressesOptions {
  readonly self: string;
  readonly log: Logger;
  /** Where the engine's network is; default: here. */
  readonly run?: ProgramOutput;
}

export class PodAddresses {
  readonly #options: PodAddressesOptions;
  readonly #run: ProgramOutput;
  #wanted: string | undefined;
  #set: string | undefined;
  #work: Promise<void> = Promise.resolve();

  constructor(options: PodAddressesOptions) {
    this.#options = options;
    this.#run = options.run ?? programOutput;
  }

  /** Follows the boards there are. */
  update(boards: readonly BoardRoute[]): void {
    const chain = podChain(boards, this.#options.self);
    if (chain === this.#wanted) return;
    this.#wanted = chain;
    void this.#apply();
  }

  /** The engine has just made its network, and may have set rules before ours. Never rejects. */
  networkMade(): Promise<void> {
    return this.#wanted === undefined ? Promise.resolve() : this.#apply();
  }

  /** Waits for changes under way. */
  async flush(): Promise<void> {
    await this.#work;
  }

  #apply(): Promise<void> {
    this.#work = this.#work
      .then(() => this.#applyNow())
      .catch((error: unknown) => {
        const reason = messageOf(error);
        this.#options.log.warn({ reason }, "pods of other boards see this board's address instead");
      });
    return this.#work;
  }

  async #applyNow(): Promise<void> {
    // The last other board has gone: the rules do no harm.
    if (this.#wanted === undefined) return;
    if (this.#wanted !== this.#set) {
      const wanted = this.#wanted;
      await this.#run('iptables-restore', ['-w', '--noflush'], wanted);
      this.#set = wanted;
    }
    const rules = (await this.#run('iptables', ['-w', '-t', 'nat', '-S', 'POSTROUTING']))
      .split('\n')
      .filter((line) => line.startsWith('-A '));
    const jump = `-A ${JUMP.join(' ')}`;
    if (rules[0] === jump) return;
    if (rules.includes(jump)) await this.#run('iptables', ['-w', '-t', 'nat', '-D', ...JUMP]);
    await this.#run('iptables', ['-w', '-t', 'nat', '-I', ...JUMP]);
  }
}

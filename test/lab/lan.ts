/**
 * The LAN of a lab: one namespace with a bridge is the switch; every board is a namespace with a cable (veth) into it. Addresses are
 * from 198.18.0.0/15, which RFC 2544 keeps for benchmarks, so they never hide a real network.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ip = (...args: string[]) => run('ip', args);

export class Lan {
  /** Short and unique: interface names have at most 15 characters. */
  readonly id: string;
  readonly #subnet: string;
  readonly #namespaces: string[] = [];
  #hostLink: string | undefined;

  private constructor(id: string, subnet: string) {
    this.id = id;
    this.#subnet = subnet;
  }

  /** `number` (0 to 255) picks the subnet 198.18.NUMBER.0/24. */
  static async create(id: string, number: number): Promise<Lan> {
    const lan = new Lan(id, `198.18.${number}`);
    await lan.#addNamespace(lan.#switch);
    await ip('-n', lan.#switch, 'link', 'add', 'lan0', 'type', 'bridge');
    await ip('-n', lan.#switch, 'addr', 'add', `${lan.#subnet}.254/24`, 'dev', 'lan0');
    await ip('-n', lan.#switch, 'link', 'set', 'lan0', 'up');
    return lan;
  }

  get #switch(): string {
    return `pier-${this.id}-lan`;
  }

  /** Plugs in board number `index` (1 to 200) and gives its namespace and address. */
  async plugIn(index: number): Promise<{ netns: string; address: string }> {
    const netns = `pier-${this.id}-b${index}`;
    const address = `${this.#subnet}.${index}`;
    await this.#addNamespace(netns);
    await ip(
      'link',
      'add',
      `b${index}`,
      'netns',
      this.#switch,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      netns,
    );
    await ip('-n', this.#switch, 'link', 'set', `b${index}`, 'master', 'lan0', 'up');
    await ip('-n', netns, 'addr', 'add', `${address}/24`, 'dev', 'eth0');
    await ip('-n', netns, 'link', 'set', 'eth0', 'up');
    await ip('-n', netns, 'route', 'add', 'default', 'via', `${this.#subnet}.254`);
    return { netns, address };
  }

  /** Pulls or plugs the cable of a board at the switch. */
  async cable(index: number, plugged: boolean): Promise<void> {
    const to = plugged ? ['master', 'lan0'] : ['nomaster'];
    await ip('-n', this.#switch, 'link', 'set', `b${index}`, ...to);
  }

  /** Lets this machine itself reach the boards (for people, not for tests). */
  async connectHost(): Promise<void> {
    const link = `pier-${this.id}`;
    await ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'host', 'netns', this.#switch);
    this.#hostLink = link;
    await ip('-n', this.#switch, 'link', 'set', 'host', 'master', 'lan0', 'up');
    await ip('addr', 'add', `${this.#subnet}.253/24`, 'dev', link);
    await ip('link', 'set', link, 'up');
  }

  async remove(): Promise<void> {
    if (this.#hostLink !== undefined)
      await ip('link', 'del', this.#hostLink).catch(() => undefined);
    for (const name of this.#namespaces.reverse())
      await ip('netns', 'del', name).catch(() => undefined);
  }

  async #addNamespace(name: string): Promise<void> {
    await ip('netns', 'add', name);
    this.#namespaces.push(name);
    await ip('-n', name, 'link', 'set', 'lo', 'up');
  }
}

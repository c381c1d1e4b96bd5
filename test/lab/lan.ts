/**
 * The LAN of a lab: one namespace with a bridge is the switch; every board is a namespace with a cable (veth) into it. It may have a
 * second bridge with another subnet, and is the router between both. Addresses are from 198.18.0.0/15, which RFC 2544 keeps for
 * benchmarks, so they never hide a real network.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ip = (...args: string[]) => run('ip', args);

/** A bridge of the switch and its subnet. */
interface Segment {
  readonly bridge: string;
  /** The first three octets. */
  readonly subnet: string;
}

export class Lan {
  /** Short and unique: interface names have at most 15 characters. */
  readonly id: string;
  readonly #near: Segment;
  readonly #far: Segment;
  #hasFar = false;
  /** By the number of the board. */
  readonly #segments = new Map<number, Segment>();
  readonly #namespaces: string[] = [];
  #hostLink: string | undefined;

  private constructor(id: string, number: number) {
    this.id = id;
    this.#near = { bridge: 'lan0', subnet: `198.18.${number}` };
    this.#far = { bridge: 'lan1', subnet: `198.19.${number}` };
  }

  /** `number` (0 to 255) picks the subnet 198.18.NUMBER.0/24; behind the router it is 198.19.NUMBER.0/24. */
  static async create(id: string, number: number): Promise<Lan> {
    const lan = new Lan(id, number);
    await lan.#addNamespace(lan.#switch);
    await lan.#addSegment(lan.#near);
    return lan;
  }

  get #switch(): string {
    return `pier-${this.id}-lan`;
  }

  /** Plugs in board number `index` (1 to 200), where asked for behind the router, and gives its namespace and address. */
  async plugIn(index: number, isBehindRouter = false): Promise<{ netns: string; address: string }> {
    if (isBehindRouter) await this.#addRouter();
    const segment = isBehindRouter ? this.#far : this.#near;
    this.#segments.set(index, segment);
    const netns = this.#netnsOf(index);
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
    await ip('-n', netns, 'link', 'set', 'eth0', 'up');
    return { netns, address: await this.#connect(index, segment) };
  }

  /** Plugs a board into the LAN that has been behind the router, and gives its new address. */
  async move(index: number): Promise<string> {
    this.#segments.set(index, this.#near);
    await ip('-n', this.#netnsOf(index), 'addr', 'flush', 'dev', 'eth0');
    return this.#connect(index, this.#near);
  }

  /** Pulls or plugs the cable of a board at the switch. */
  async cable(index: number, plugged: boolean): Promise<void> {
    const { bridge } = this.#segments.get(index) ?? this.#near;
    const to = plugged ? ['master', bridge] : ['nomaster'];
    await ip('-n', this.#switch, 'link', 'set', `b${index}`, ...to);
  }

  /** Lets this machine itself reach the boards (for people, not for tests). */
  async connectHost(): Promise<void> {
    const link = `pier-${this.id}`;
    await ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'host', 'netns', this.#switch);
    this.#hostLink = link;
    await ip('-n', this.#switch, 'link', 'set', 'host', 'master', 'lan0', 'up');
    await ip('addr', 'add', `${this.#near.subnet}.253/24`, 'dev', link);
    await ip('link', 'set', link, 'up');
  }

  async remove(): Promise<void> {
    if (this.#hostLink !== undefined)
      await ip('link', 'del', this.#hostLink).catch(() => undefined);
    for (const name of this.#namespaces.reverse())
      await ip('netns', 'del', name).catch(() => undefined);
  }

  async #connect(index: number, { bridge, subnet }: Segment): Promise<string> {
    const netns = this.#netnsOf(index);
    const address = `${subnet}.${index}`;
    await ip('-n', this.#switch, 'link', 'set', `b${index}`, 'master', bridge, 'up');
    await ip('-n', netns, 'addr', 'add', `${address}/24`, 'dev', 'eth0');
    await ip('-n', netns, 'route', 'add', 'default', 'via', `${subnet}.254`);
    return address;
  }

  #netnsOf(index: number): string {
    return `pier-${this.id}-b${index}`;
  }

  async #addSegment({ bridge, subnet }: Segment): Promise<void> {
    await ip('-n', this.#switch, 'link', 'add', bridge, 'type', 'bridge');
    await ip('-n', this.#switch, 'addr', 'add', `${subnet}.254/24`, 'dev', bridge);
    await ip('-n', this.#switch, 'link', 'set', bridge, 'up');
  }

  /** The switch becomes the router as well: it knows both subnets, and nothing of pods. */
  async #addRouter(): Promise<void> {
    if (this.#hasFar) return;
    this.#hasFar = true;
    await this.#addSegment(this.#far);
    const on = 'echo 1 > /proc/sys/net/ipv4/ip_forward';
    await run('nsenter', [`--net=/run/netns/${this.#switch}`, 'sh', '-c', on]);
  }

  async #addNamespace(name: string): Promise<void> {
    await ip('netns', 'add', name);
    this.#namespaces.push(name);
    await ip('-n', name, 'link', 'set', 'lo', 'up');
  }
}

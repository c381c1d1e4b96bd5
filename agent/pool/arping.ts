/**
 * Tells the LAN where an address is now, and asks it whether somebody else has it. Node has no raw sockets, and the kernel
 * announces an address only when its interface comes up (arp_notify), so `arping` does it: iputils' or busybox'. Spawned only when
 * an address was taken.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const execute = promisify(execFile);
const PROGRAMS: readonly (readonly [string, ...string[]])[] = [['arping'], ['busybox', 'arping']];
const WAIT_MS = 10_000;

/** Neither of them is there. */
export class ArpingMissing extends Error {
  constructor() {
    super('arping is not installed (Debian: apt-get install iputils-arping)');
    this.name = 'ArpingMissing';
  }
}

export interface Arping {
  /** Two gratuitous ARP requests, a second apart. Throws ArpingMissing, or when it cannot send. */
  announce(ip: string, device: string): Promise<void>;
  /** The MAC of another machine that says it has the address; takes 2 s. Throws ArpingMissing. */
  otherHolder(ip: string, device: string): Promise<string | undefined>;
}

export const arping: Arping = {
  async announce(ip, device) {
    await run(['-U', '-c', '2', '-I', device, '-s', ip, ip]);
  },
  async otherHolder(ip, device) {
    return macIn(await run(['-D', '-c', '2', '-w', '2', '-I', device, ip]));
  },
};

/** The MAC in what arping says of an answer: "Unicast reply from 192.168.1.240 [b8:27:eb:00:00:01] 0.9ms". Pure. */
export function macIn(words: string): string | undefined {
  return /\[([0-9a-f]{2}(?::[0-9a-f]{2}){5})\]/i.exec(words)?.[1]?.toLowerCase();
}

async function run(args: readonly string[]): Promise<string> {
  for (const [program, ...first] of PROGRAMS) {
    try {
      const { stdout } = await execute(program, [...first, ...args], { timeout: WAIT_MS });
      return stdout;
    } catch (error) {
      if (typeof error !== 'object' || error === null) throw error;
      if ('code' in error && error.code === 'ENOENT') continue;
      // Exit code 1 is an answer: somebody replied to -D, or (busybox) nobody did to the rest.
      if ('code' in error && error.code === 1 && 'stdout' in error) return String(error.stdout);
      throw error;
    }
  }
  throw new ArpingMissing();
}

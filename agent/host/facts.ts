/**
 * What a Node object says about its board and what does not change while it runs. Reading is passed in and the
 * parsers are pure; nothing here throws because a file, a sensor or a route is missing: the field is empty then.
 */
import { statfs } from 'node:fs/promises';
import {
  availableParallelism,
  hostname,
  type NetworkInterfaceInfo,
  networkInterfaces,
} from 'node:os';
import type { ReadText } from './cgroup.ts';
import { readText as realReadText } from './read-text.ts';

/** Kubernetes' default of pods per node. */
const PODS_MAX = 110;
const SYSTEM_INFORMATION_MS_MAX = 5_000;
/** Bridges and cables of container engines never carry the board's own address. */
const VIRTUAL_INTERFACE = /^(lo|pier|veth|docker|podman|cni|br-|virbr|tun|tap)/;

export interface HostFacts {
  /** As Kubernetes names it: amd64, arm64, arm. */
  readonly architecture: string;
  readonly operatingSystem: 'linux';
  readonly osImage: string;
  readonly kernelVersion: string;
  readonly machineId: string;
  readonly systemUuid: string;
  readonly bootId: string;
  readonly hostname: string;
  /** As the firmware says it; empty when unknown. */
  readonly model: string;
  readonly serial: string;
  readonly internalIp: string;
  /** Quantities. */
  readonly capacity: {
    readonly cpu: string;
    readonly memory: string;
    readonly 'ephemeral-storage': string;
    readonly pods: string;
  };
}

export interface HardwareFacts {
  readonly model: string;
  readonly serial: string;
  readonly uuid: string;
}

export interface FactSources {
  /** Its file system is the board's ephemeral storage. */
  readonly dataDir: string;
  /** Wins over what the routes say. */
  readonly internalIp?: string;
  readonly hostname?: string;
  readonly readText?: ReadText;
  readonly interfaces?: () => NodeJS.Dict<NetworkInterfaceInfo[]>;
  readonly processArch?: string;
  readonly cpus?: number;
  readonly diskBytes?: (path: string) => Promise<number>;
  /** Asked only for what the firmware's files do not tell. */
  readonly hardware?: () => Promise<HardwareFacts>;
}

/** Everything at once; called at the agent's start. */
export async function readHostFacts(sources: FactSources): Promise<HostFacts> {
  const read = sources.readText ?? realReadText;
  const text = async (path: string): Promise<string> => cleaned(await read(path));
  const [osRelease, kernelVersion, machineId, bootId, memory, routes] = await Promise.all([
    text('/etc/os-release'),
    text('/proc/sys/kernel/osrelease'),
    text('/etc/machine-id'),
    text('/proc/sys/kernel/random/boot_id'),
    text('/proc/meminfo'),
    text('/proc/net/route'),
  ]);
  const hardware = await readHardware(text, sources.hardware ?? askSystemInformation);
  const disk = await (sources.diskBytes ?? fileSystemBytes)(sources.dataDir);
  const interfaces = (sources.interfaces ?? networkInterfaces)();
  return {
    architecture: kubernetesArchitecture(sources.processArch ?? process.arch),
    operatingSystem: 'linux',
    osImage: osPrettyName(osRelease),
    kernelVersion,
    machineId,
    systemUuid: hardware.uuid === '' ? machineId : hardware.uuid.toLowerCase(),
    bootId,
    hostname: sources.hostname ?? hostname(),
    model: hardware.model,
    serial: hardware.serial,
    internalIp: sources.internalIp ?? boardAddress(routes, interfaces),
    capacity: {
      cpu: String(sources.cpus ?? availableParallelism()),
      memory: `${memoryTotalKib(memory)}Ki`,
      'ephemeral-storage': `${Math.floor(disk / 1024)}Ki`,
      pods: String(PODS_MAX),
    },
  };
}

/** From Node's `process.arch` to GOARCH, which Kubernetes uses. */
export function kubernetesArchitecture(processArch: string): string {
  const names: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' };
  return names[processArch] ?? processArch;
}

/** PRETTY_NAME of /etc/os-release, as in "Debian GNU/Linux 12 (bookworm)". */
export function osPrettyName(osRelease: string): string {
  const value = /^PRETTY_NAME=(.*)$/m.exec(osRelease)?.[1]?.trim() ?? '';
  const unquoted = /^(["'])(.*)\1$/.exec(value)?.[2] ?? value;
  return unquoted === '' ? 'Linux' : unquoted.replace(/\\(["'\\$`])/g, '$1');
}

export function memoryTotalKib(meminfo: string): number {
  return Number(/^MemTotal:\s+(\d+) kB$/m.exec(meminfo)?.[1] ?? '0');
}

/** Name of the interface of the default route with the lowest metric, from /proc/net/route. */
export function defaultRouteInterface(routes: string): string | undefined {
  const RTF_UP = 1;
  const candidates = routes
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, destination, , flags, , , , mask]) => {
      const isUp = (Number.parseInt(flags ?? '0', 16) & RTF_UP) !== 0;
      return destination === '00000000' && mask === '00000000' && isUp;
    })
    .map((fields) => ({ name: fields[0] ?? '', metric: Number(fields[6] ?? '0') }));
  candidates.sort((a, b) => a.metric - b.metric);
  return candidates[0]?.name;
}

/**
 * The board's address in its LAN: of the default route's interface; without such a route, of the first real
 * interface by name; loopback when there is none. IPv4 before IPv6, link-local never.
 */
export function boardAddress(
  routes: string,
  interfaces: NodeJS.Dict<NetworkInterfaceInfo[]>,
): string {
  const preferred = defaultRouteInterface(routes);
  const others = Object.keys(interfaces)
    .filter((name) => !VIRTUAL_INTERFACE.test(name))
    .sort();
  const names = preferred === undefined ? others : [preferred, ...others];
  const addresses = names
    .flatMap((name) => interfaces[name] ?? [])
    .filter(({ internal, address }) => !internal && !isLinkLocal(address));
  const ipv4 = addresses.filter(({ family }) => family === 'IPv4');
  // A /32 may be an address of the pool (agent/pool/), which comes and goes.
  const lasting = ipv4.find(({ netmask }) => netmask !== '255.255.255.255');
  const best = lasting ?? ipv4[0] ?? addresses[0];
  return best?.address ?? '127.0.0.1';
}

function isLinkLocal(address: string): boolean {
  return address.startsWith('169.254.') || /^fe[89ab]/i.test(address);
}

async function readHardware(
  text: (path: string) => Promise<string>,
  ask: () => Promise<HardwareFacts>,
): Promise<HardwareFacts> {
  const firstOf = async (...paths: string[]): Promise<string> => {
    for (const path of paths) {
      const value = await text(path).catch(() => '');
      if (value !== '') return value;
    }
    return '';
  };
  const files = {
    model: await firstOf('/proc/device-tree/model', '/sys/class/dmi/id/product_name'),
    serial: await firstOf('/proc/device-tree/serial-number', '/sys/class/dmi/id/product_serial'),
    uuid: await firstOf('/sys/class/dmi/id/product_uuid'),
  };
  if (files.model !== '' && files.serial !== '') return files;
  const asked = await ask();
  return {
    model: files.model || asked.model,
    serial: files.serial || asked.serial,
    uuid: files.uuid || asked.uuid,
  };
}

/** systeminformation forks programs and may hang on odd machines, so: once, loaded late, with a time limit. */
async function askSystemInformation(): Promise<HardwareFacts> {
  const unknown: HardwareFacts = { model: '', serial: '', uuid: '' };
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<HardwareFacts>((resolve) => {
    timer = setTimeout(() => resolve(unknown), SYSTEM_INFORMATION_MS_MAX);
  });
  const asked = async (): Promise<HardwareFacts> => {
    const library = await import('systeminformation/lib/system.js');
    const { model, serial, uuid } = await library.default.system();
    return { model: known(model), serial: known(serial), uuid: known(uuid) };
  };
  try {
    // Facts for people only: without them the board works the same.
    return await Promise.race([asked().catch(() => unknown), tooLate]);
  } finally {
    clearTimeout(timer);
  }
}

/** systeminformation's ways to say that it does not know. */
function known(value: string | undefined): string {
  const text = cleaned(value);
  return /^(-|unknown|not specified|default string|none)$/i.test(text) ? '' : text;
}

/** Device-tree texts end in a NUL. */
function cleaned(text: string | undefined): string {
  return (text ?? '').replaceAll('\0', '').trim();
}

async function fileSystemBytes(path: string): Promise<number> {
  const { blocks, bsize } = await statfs(path);
  return blocks * bsize;
}

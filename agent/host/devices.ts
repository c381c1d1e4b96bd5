/**
 * The devices of a board that pods may have: buses and pins by their files in /dev, USB devices by what the kernel tells
 * in /sys. Both folders are passed in. A device that goes while it is read is left out.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DEVICE_DOMAIN } from '../../protocol/messages.ts';
import type { DeviceNode, DeviceUnit } from '../plan/device-plan.ts';

export interface DeviceRoots {
  /** "/dev" on a real board. */
  readonly dev: string;
  /** "/sys". */
  readonly sys: string;
}

/** Files in /dev that are a device each. */
const SINGLE: readonly [pattern: RegExp, name: string][] = [
  [/^i2c-(\d+)$/, 'i2c-$1'],
  [/^spidev(\d+\.\d+)$/, 'spi-$1'],
  [/^video(\d+)$/, 'video$1'],
];
/** Pins cannot be told apart by files: all chips are one unit. */
const GPIO = /^gpio(chip\d+|mem\d*)$/;
/** USB classes that are never given away: hubs, and disks, which the board may run from. */
const HUB_CLASS = '09';
const DISK_CLASS = '08';

/** Everything that is there, in the order of names. */
export async function readDevices(roots: DeviceRoots): Promise<DeviceUnit[]> {
  const names = await list(roots.dev);
  const usb = await Promise.all((await usbNames(roots)).map((name) => readUsb(roots, name)));
  return [...filesAsUnits(names, roots.dev), ...usb.filter((unit) => unit !== undefined)];
}

/**
 * Another text when a device came or went: a few small reads, for looking often. (A watch on /dev would wake the agent
 * for each write to any terminal.)
 */
export async function deviceSignature(roots: DeviceRoots): Promise<string> {
  const names = (await list(roots.dev)).filter((name) => unitName(name) !== undefined);
  const usb = await Promise.all(
    // The number is new each time that something is plugged in.
    (await usbNames(roots)).map(
      async (name) => `${name}=${await attribute(roots, name, 'devnum')}`,
    ),
  );
  return [...names, ...usb].join(' ');
}

/** Pure: the units of the files with these names in /dev. */
export function filesAsUnits(names: readonly string[], dev: string): DeviceUnit[] {
  const units = new Map<string, DeviceUnit>();
  for (const name of [...names].sort(byNumber)) {
    const id = unitName(name);
    if (id === undefined) continue;
    const nodes = [...(units.get(id)?.nodes ?? []), deviceNode(name, dev)];
    units.set(id, { resource: `${DEVICE_DOMAIN}${id}`, id, nodes });
  }
  return [...units.values()];
}

function unitName(file: string): string | undefined {
  if (GPIO.test(file)) return 'gpio';
  const found = SINGLE.find(([pattern]) => pattern.test(file));
  return found === undefined ? undefined : file.replace(...found);
}

/** Addresses on the bus such as "1-1.3"; "1-1.3:1.0" is a part of that device. */
async function usbNames({ sys }: DeviceRoots): Promise<string[]> {
  const names = await list(join(sys, 'bus/usb/devices'));
  return names.filter((name) => /^\d+-\d+(\.\d+)*$/.test(name)).sort(byNumber);
}

async function readUsb(roots: DeviceRoots, id: string): Promise<DeviceUnit | undefined> {
  const [vendor, product, deviceClass] = await Promise.all(
    ['idVendor', 'idProduct', 'bDeviceClass'].map((name) => attribute(roots, id, name)),
  );
  const isNamed = /^[0-9a-f]{4}$/.test(vendor ?? '') && /^[0-9a-f]{4}$/.test(product ?? '');
  if (!isNamed || deviceClass === HUB_CLASS) return undefined;
  const files = await filesBelow(join(roots.sys, 'bus/usb/devices', id), true);
  if (files === undefined || files.length === 0) return undefined;
  const nodes = files.sort(byNumber).map((name) => deviceNode(name, roots.dev));
  return { resource: `${DEVICE_DOMAIN}usb-${vendor}-${product}`, id, nodes };
}

/** Names in /dev of what a USB device is to the kernel: itself, its terminals, cameras. Undefined for a disk. */
async function filesBelow(folder: string, isTop = false): Promise<string[] | undefined> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const has = (name: string) => entries.some((entry) => entry.name === name);
  // What is plugged into this device is a device of its own.
  if (!isTop && has('idVendor')) return [];
  const kind = has('bInterfaceClass') ? await text(join(folder, 'bInterfaceClass')) : '';
  if (kind === DISK_CLASS) return undefined;
  const own = has('uevent') ? /^DEVNAME=(.+)$/m.exec(await text(join(folder, 'uevent')))?.[1] : '';
  const files = own === undefined || own === '' ? [] : [own];
  for (const entry of entries) {
    if (!entry.isDirectory()) continue;
    const more = await filesBelow(join(folder, entry.name));
    if (more === undefined) return undefined;
    files.push(...more);
  }
  return files;
}

function attribute({ sys }: DeviceRoots, device: string, name: string): Promise<string> {
  return text(join(sys, 'bus/usb/devices', device, name));
}

function deviceNode(name: string, dev: string): DeviceNode {
  return { name, hostPath: join(dev, name) };
}

/** Empty when it cannot be read: a board without the bus, or a device that has just gone. */
async function text(path: string): Promise<string> {
  return (await readFile(path, 'utf8').catch(() => '')).trim();
}

async function list(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}

function byNumber(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}

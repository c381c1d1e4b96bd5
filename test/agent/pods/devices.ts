/** Devices: found in a made-up /dev and /sys, given to one pod at a time, remembered. Imported by pods.test.ts. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import t from 'tap';
import { deviceSignature, filesAsUnits, readDevices } from '../../../agent/host/devices.ts';
import {
  allocateDevices,
  deviceCapacity,
  heldUnits,
  unitsOfContainer,
} from '../../../agent/plan/device-plan.ts';
import type { ContainerSpec } from '../../../agent/runtime/runtime.ts';

import { board, container, pod, until } from './board.ts';

/** Files by path; an empty text is a file of /dev. */
async function made(root: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(root, name)), { recursive: true });
    await writeFile(path.join(root, name), content);
  }
}

const FTDI = 'sys/bus/usb/devices/1-1.3';
const TREE = {
  ...Object.fromEntries(
    ['i2c-1', 'i2c-10', 'spidev0.1', 'video0', 'gpiochip0', 'gpiochip10', 'gpiomem']
      .concat(['null', 'tty1', 'ttyUSB0', 'i2c', 'sda', 'bus/usb/001/004'])
      .map((name) => [`dev/${name}`, '']),
  ),
  [`${FTDI}/idVendor`]: '0403\n',
  [`${FTDI}/idProduct`]: '6001\n',
  [`${FTDI}/bDeviceClass`]: '00\n',
  [`${FTDI}/devnum`]: '4\n',
  [`${FTDI}/uevent`]: 'MAJOR=189\nDEVNAME=bus/usb/001/004\nDEVTYPE=usb_device\n',
  [`${FTDI}/1-1.3:1.0/bInterfaceClass`]: 'ff\n',
  [`${FTDI}/1-1.3:1.0/uevent`]: 'DRIVER=ftdi_sio\n',
  [`${FTDI}/1-1.3:1.0/ttyUSB0/tty/ttyUSB0/uevent`]: 'MAJOR=188\nDEVNAME=ttyUSB0\n',
  // A hub with a device in it, and a disk.
  'sys/bus/usb/devices/1-1/idVendor': '0424\n',
  'sys/bus/usb/devices/1-1/idProduct': '9514\n',
  'sys/bus/usb/devices/1-1/bDeviceClass': '09\n',
  'sys/bus/usb/devices/1-1/uevent': 'DEVNAME=bus/usb/001/002\n',
  'sys/bus/usb/devices/1-2/idVendor': '0781\n',
  'sys/bus/usb/devices/1-2/idProduct': '5567\n',
  'sys/bus/usb/devices/1-2/bDeviceClass': '00\n',
  'sys/bus/usb/devices/1-2/uevent': 'DEVNAME=bus/usb/001/005\n',
  'sys/bus/usb/devices/1-2/1-2:1.0/bInterfaceClass': '08\n',
  'sys/bus/usb/devices/usb1/idVendor': '1d6b\n',
  'sys/bus/usb/devices/1-1.3:1.0/bInterfaceClass': 'ff\n',
};

t.test('devices are found by their files and by what the kernel says of USB', async (t) => {
  const root = await mkdtemp(path.join(os.tmpdir(), 'pier-devices-'));
  t.teardown(() => rm(root, { recursive: true, force: true }));
  const roots = { dev: path.join(root, 'dev'), sys: path.join(root, 'sys') };
  t.same(await readDevices(roots), [], 'a board without any');
  await made(root, TREE);
  const units = await readDevices(roots);
  const names = units.map(({ resource, nodes }) => [resource, ...nodes.map(({ name }) => name)]);
  t.same(names, [
    ['pier.local/gpio', 'gpiochip0', 'gpiochip10', 'gpiomem'],
    ['pier.local/i2c-1', 'i2c-1'],
    ['pier.local/i2c-10', 'i2c-10'],
    ['pier.local/spi-0.1', 'spidev0.1'],
    ['pier.local/video0', 'video0'],
    ['pier.local/usb-0403-6001', 'bus/usb/001/004', 'ttyUSB0'],
  ]);
  t.equal(units.at(-1)?.id, '1-1.3', 'named by its place on the bus');
  t.equal(units.at(-1)?.nodes[1]?.hostPath, path.join(root, 'dev/ttyUSB0'));
  t.match(deviceCapacity(units), { 'pier.local/gpio': '1', 'pier.local/usb-0403-6001': '1' });

  const before = await deviceSignature(roots);
  await made(root, { 'dev/tty2': '' });
  t.equal(await deviceSignature(roots), before, 'other files are no news');
  await made(root, { [`${FTDI}/devnum`]: '5\n' });
  t.not(await deviceSignature(roots), before, 'plugged out and in again');
});

const stick = (id: string) => ({
  resource: 'pier.local/usb-0403-6001',
  id,
  nodes: [{ name: `ttyUSB${id}`, hostPath: `/dev/ttyUSB${id}` }],
});
const asks = (name: string, count: number, resource = 'usb-0403-6001') =>
  container(name, { resources: { limits: { [`pier.local/${resource}`]: String(count) } } });
const given = (...args: Parameters<typeof allocateDevices>) =>
  allocateDevices(...args).map(({ id }) => id);

t.test('units are given once, kept, and shared out among the containers of a pod', (t) => {
  const sticks = ['1', '2', '3'].map(stick);
  const one = { containers: [asks('a', 1)] };
  const two = { containers: [asks('a', 1), asks('b', 1)] };
  const held = (...ids: string[]) => ({ 'pier.local/usb-0403-6001': ids });
  t.same(given(one, {}, sticks, []), ['1'], 'the first');
  t.same(given(one, {}, sticks, [held('1')]), ['2'], 'the first that is free');
  t.same(given(one, held('3'), sticks, []), ['3'], 'the one it had');
  t.same(given(two, held('9', '1'), sticks, []), ['2', '1'], 'what is gone is replaced in place');
  t.same(given({ containers: [container('a')] }, {}, sticks, []), [], 'none');
  t.throws(() => given(two, {}, sticks, [held('1', '2')]), { message: /needs 2 .* has 1 free/ });
  t.throws(() => given(one, {}, [], []), {
    message: /this board has none now: plug the device in/,
  });
  const camera = {
    resource: 'pier.local/usb-046d-0825',
    id: '1-1',
    nodes: [{ name: 'video0', hostPath: '/dev/video0' }],
  };
  const both = [...filesAsUnits(['video0'], '/dev'), camera];
  const video = { containers: [asks('a', 1, 'video0')] };
  t.throws(() => given(video, {}, both, [heldUnits([camera])]), { message: /by its other name/ });

  const sidecar = { ...asks('side', 1), restartPolicy: 'Always' };
  const [a, b, init] = [asks('a', 1), asks('b', 1), asks('init', 2)];
  const spec = { initContainers: [sidecar, init], containers: [a, b] };
  const units = allocateDevices(spec, {}, sticks, []);
  t.same(heldUnits(units), held('1', '2', '3'), 'as many as run at the same time');
  const ids = [sidecar, init, a, b].map((each) =>
    unitsOfContainer(spec, each, units).map(({ id }) => id),
  );
  t.same(ids, [['1'], ['2', '3'], ['2'], ['3']]);
  t.end();
});

t.test(
  'a board gives its one bus to one pod, also after a restart, and tells when it goes',
  async (t) => {
    const devices: ContainerSpec['devices'][] = [];
    const program = (spec: ContainerSpec) => {
      devices.push(spec.devices);
      return {};
    };
    const pi = await board(t, { program });
    const bus = path.join(pi.directory, 'dev', 'i2c-1');
    mkdirSync(path.dirname(bus));
    writeFileSync(bus, '');
    const wants = (name: string, more: object = {}) =>
      pod(name, { containers: [asks('main', 1, 'i2c-1')], ...more });
    const waits = (name: string) =>
      until(`${name} waits`, () => {
        const state = pi.last(name)?.status.containerStatuses?.[0]?.state?.waiting;
        return /pier.local\/i2c-1, and this board has 0 free/.test(state?.message ?? '');
      });
    const manager = await pi.startAgent();
    await manager.devices.look();
    t.same(manager.devices.capacity(), { 'pier.local/i2c-1': '1' });
    pi.want([wants('first')]);
    await until('first runs', () => pi.isReady('first'));
    t.same(devices, [[{ hostPath: bus, containerPath: '/dev/i2c-1' }]]);
    pi.want([wants('first'), wants('second')]);
    await waits('second');

    await pi.stopAgent();
    pi.engine.loseEverything();
    pi.reports.length = 0;
    pi.want([wants('second'), wants('first')]);
    const next = await pi.startAgent();
    await until('first runs after the boot', () => pi.isReady('first'));
    await waits('second');

    await next.devices.look();
    rmSync(bus);
    await next.devices.look();
    t.same(next.devices.capacity(), {});
    t.match(
      pi.events.find(({ reason }) => reason === 'DeviceGone'),
      {
        name: 'first',
        message: 'device pier.local/i2c-1 (i2c-1) is not on this board any more',
      },
    );
    writeFileSync(bus, '');
    pi.want([wants('second')]);
    await until('second has it once first is gone', () => pi.isReady('second'));
  },
);

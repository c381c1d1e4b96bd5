/**
 * A machine on the LAN that asks by multicast DNS, or holds a name itself. In Python, with a reader of messages of its own, so that ours is
 * not judged by itself.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { runCommand } from './kubectl.ts';

const PROGRAM = `
import json, socket, struct, sys, time
GROUP, PORT, IP_RECVTTL = '224.0.0.251', 5353, 12
mode, own, name, more = sys.argv[1:5]

def name_at(data, at):
    labels, end = [], None
    while True:
        length = data[at]
        if length >= 192:
            end = end or at + 2
            at = (length & 63) << 8 | data[at + 1]
        elif length == 0:
            return '.'.join(labels).lower(), end or at + 1
        else:
            labels.append(data[at + 1:at + 1 + length].decode('latin1'))
            at += 1 + length

def read(data):
    _, flags, *counts = struct.unpack('>6H', data[:12])
    at, questions, records = 12, [], []
    for _ in range(counts[0]):
        asked, at = name_at(data, at)
        questions.append((asked, *struct.unpack('>HH', data[at:at + 4])))
        at += 4
    for _ in range(sum(counts[1:])):
        owner, at = name_at(data, at)
        kind, of, ttl, length = struct.unpack('>HHIH', data[at:at + 10])
        at += 10
        records.append((owner, kind, of, ttl, data[at:at + length]))
        at += length
    assert at == len(data), 'octets follow'
    return flags, questions, records

def written(text):
    return b''.join(bytes([len(one)]) + one.encode() for one in text.split('.')) + b'\\0'

link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
link.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
link.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
link.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
if mode != 'dns':
    link.bind(('', PORT))
    link.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + socket.inet_aton(own))
answer = struct.pack('>6H', 0, 0x8400, 0, 1, 0, 0) + written(name) + struct.pack('>HHIH', 1, 0x8001, 120, 4) + socket.inet_aton(own)
if mode == 'hold':
    print('ready', flush=True)
    while True:
        data, _ = link.recvfrom(9000)
        flags, questions, _ = read(data)
        if not flags & 0x8000 and any(asked == name for asked, *_ in questions):
            link.sendto(answer, (GROUP, PORT))
if mode == 'goodbye':
    print('ready', flush=True)
    link.settimeout(60)
    while True:
        data, _ = link.recvfrom(9000)
        flags, _, records = read(data)
        gone = [socket.inet_ntoa(value) for owner, kind, _, ttl, value in records if owner == name and kind == 1 and ttl == 0]
        if flags & 0x8000 and gone:
            print(json.dumps(gone))
            sys.exit()
link.sendto(struct.pack('>6H', 7, 0, 1, 0, 0, 0) + written(name) + struct.pack('>HH', int(more), 1), (GROUP, PORT))
found, end = [], time.monotonic() + 1
while time.monotonic() < end:
    link.settimeout(max(0.01, end - time.monotonic()))
    try:
        data, control, _, (ip, port) = link.recvmsg(9000, 64)
    except socket.timeout:
        break
    flags, _, records = read(data)
    if not flags & 0x8000: continue
    hops = struct.unpack('i', control[0][2])[0]
    for owner, kind, of, ttl, value in records:
        if owner == name:
            said = socket.inet_ntoa(value) if kind == 1 else value[-3:].hex()
            found.append({'from': ip, 'hops': hops, 'type': kind, 'class': of, 'ttl': ttl, 'value': said})
print(json.dumps(found))
`;

export interface LanAnswer {
  readonly from: string;
  /** The IP header's time to live, as it arrived. */
  readonly hops: number;
  readonly type: number;
  readonly class: number;
  readonly ttl: number;
  /** An address, or the last three octets in hexadecimal. */
  readonly value: string;
}

export interface LanMachine {
  readonly netns: string;
  readonly address: string;
}

/** Everything that is said of the name within a second. `how`: as a resolver of the LAN, or as one that knows DNS only. */
export async function askLan(
  machine: LanMachine,
  name: string,
  type: 'A' | 'AAAA' = 'A',
  how: 'mdns' | 'dns' = 'mdns',
): Promise<LanAnswer[]> {
  const number = type === 'A' ? '1' : '28';
  const command = ['python3', '-c', PROGRAM, how, machine.address, name, number];
  const { stdout, stderr } = await runCommand('nsenter', [...enter(machine), ...command]);
  if (stdout === '') throw new Error(`the LAN could not be asked: ${stderr}`);
  return JSON.parse(stdout);
}

/** Answers for the name with the machine's own address until it is killed. Resolves when it does. */
export async function holdName(machine: LanMachine, name: string): Promise<ChildProcess> {
  return start(machine, 'hold', name);
}

/** Resolves when it listens; `heard` with the addresses that the LAN is told to forget for the name, or fails after a minute. */
export async function hearGoodbye(
  machine: LanMachine,
  name: string,
): Promise<{ readonly heard: Promise<string[]> }> {
  const child = await start(machine, 'goodbye', name);
  let words = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    words += chunk.toString();
  });
  const heard = new Promise<string[]>((resolve, reject) => {
    child.once('close', () => {
      if (words === '') reject(new Error(`nobody said good-bye for ${name}`));
      else resolve(JSON.parse(words));
    });
  });
  // Whoever waits for it is told; who does not any more need not be.
  heard.catch(() => undefined);
  return { heard };
}

async function start(machine: LanMachine, mode: string, name: string): Promise<ChildProcess> {
  const command = ['python3', '-c', PROGRAM, mode, machine.address, name, '0'];
  const child = spawn('nsenter', [...enter(machine), ...command], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve, reject) => {
    child.stdout.once('data', resolve);
    child.once('exit', () => reject(new Error(`${name}: ${mode} failed`)));
  });
  return child;
}

function enter({ netns }: LanMachine): string[] {
  return [`--net=/run/netns/${netns}`];
}

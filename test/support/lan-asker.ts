/**
 * What machines of a lab say to each other: servers for tests, and questions over UDP and to a DNS server. All by Node's own modules
 * (its resolver is c-ares), in processes of their own, so that nothing here shares code with the agent.
 */
import type { ChildProcess } from 'node:child_process';
import type { Board } from '../lab/board.ts';
import { runCommand } from './kubectl.ts';

/** Arguments of nsenter: of a board, or of another machine on the LAN. */
type Enter = readonly string[];

/** Says "Hello from NAME" over HTTP, ends at /exit, and sends each datagram back as "NAME: ...". */
const SERVER = `
const [name, ip, tcp, udp] = process.argv.slice(1);
require('http').createServer(({ url }, answer) => {
  if (url === '/exit') process.exit();
  answer.end('Hello from ' + name + '\\n');
}).listen(Number(tcp), ip);
const socket = require('dgram').createSocket('udp4');
socket.on('message', (bytes, { port, address }) => {
  socket.send(Buffer.concat([Buffer.from(name + ': '), bytes]), port, address);
});
if (udp !== undefined) socket.bind(Number(udp), ip);
`;

/** Connected: an answer from another address than was asked is none. */
const ASK_UDP = `
const [ip, port, text, waitMs] = process.argv.slice(1);
const socket = require('dgram').createSocket('udp4');
socket.on('error', () => {});
socket.on('message', (bytes) => { console.log(String(bytes)); process.exit(); });
socket.connect(Number(port), ip, () => {
  const send = () => socket.send(text, () => {});
  send();
  setInterval(send, 200);
});
setTimeout(() => process.exit(), Number(waitMs));
`;

const ASK_DNS = `
const { Resolver } = require('dns').promises;
const [server, questions] = process.argv.slice(1);
const resolver = new Resolver({ timeout: 2000, tries: 3 });
resolver.setServers([server]);
const asked = JSON.parse(questions).map(([how, name]) => resolver[how](name).catch(({ code }) => code));
Promise.all(asked).then((answers) => console.log(JSON.stringify(answers)));
`;

/** SYNs in the names of machines that are not there: nobody takes the answer, so each connection stays half-open. */
const FLOOD = `
import random, socket, struct, sys
prefix, to, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
def checksum(data):
    total = sum(struct.unpack('>%dH' % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
target = socket.inet_aton(to)
for _ in range(count):
    source = socket.inet_aton('%s.%d' % (prefix, random.randint(201, 239)))
    tcp = struct.pack('>HHIIBBHHH', random.randint(1024, 65535), port, random.getrandbits(32), 0, 80, 2, 64240, 0, 0)
    pseudo = source + target + struct.pack('>BBH', 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack('>H', checksum(pseudo + tcp)) + tcp[18:]
    ip = struct.pack('>BBHHHBBH4s4s', 69, 0, 40, 0, 0, 64, 6, 0, source, target)
    raw.sendto(ip + tcp, (to, 0))
`;

interface Listening {
  readonly name: string;
  /** The board's own address, or all ("0.0.0.0"). */
  readonly ip: string;
  readonly tcp: number;
  readonly udp?: number;
}

/** Runs until the board goes, or is asked for /exit. */
export function startServer(board: Board, { name, ip, tcp, udp }: Listening): ChildProcess {
  const args = [name, ip, String(tcp), ...(udp === undefined ? [] : [String(udp)])];
  return board.spawn(process.execPath, ['-e', SERVER, ...args]);
}

/** The answer of the first datagram that got one; empty when none came within `waitMs`. */
export async function askUdp(
  enter: Enter,
  { ip, port, text = 'hello', waitMs = 2000 }: AskedUdp,
): Promise<string> {
  const program = [process.execPath, '-e', ASK_UDP, ip, String(port), text, String(waitMs)];
  return (await runCommand('nsenter', [...enter, ...program])).stdout.trim();
}

interface AskedUdp {
  readonly ip: string;
  readonly port: number;
  readonly text?: string;
  readonly waitMs?: number;
}

/** Sends SYNs as if from machines of the LAN `prefix` ("198.18.1") that are not there. Resolves when they are sent. */
export async function floodWithSyns(
  enter: Enter,
  { prefix, ip, port, count }: Flood,
): Promise<void> {
  const program = ['python3', '-c', FLOOD, prefix, ip, String(port), String(count)];
  const { code, stderr } = await runCommand('nsenter', [...enter, ...program]);
  if (code !== 0) throw new Error(`no flood: ${stderr}`);
}

interface Flood {
  readonly prefix: string;
  readonly ip: string;
  readonly port: number;
  readonly count: number;
}

type Method = 'resolve4' | 'resolve6' | 'resolveCname' | 'resolvePtr' | 'resolveSrv' | 'resolveTxt';

/** What Node's resolver makes of each question; a code such as "ENOTFOUND" (NXDOMAIN) or "ENODATA" where there is no answer. */
export async function askDns(
  enter: Enter,
  server: string,
  questions: ReadonlyArray<readonly [Method, string]>,
): Promise<unknown[]> {
  const program = [process.execPath, '-e', ASK_DNS, server, JSON.stringify(questions)];
  const { stdout, stderr } = await runCommand('nsenter', [...enter, ...program]);
  if (stdout === '') throw new Error(`${server} could not be asked: ${stderr}`);
  return JSON.parse(stdout);
}

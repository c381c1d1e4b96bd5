/**
 * `pier shell NODE`: a shell on a board itself, in this terminal. Exits with the shell's own code. Speaks the channels of
 * Kubernetes' exec (v5): 0 input, 1 output, 3 how it ended, 4 the size of the terminal, 255 the end of the input.
 */
import type { IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';
import { kubeconfigOf, readKubeconfig, type WhoAsks } from '../kubeconfig.ts';

const PROTOCOL = 'v5.channel.k8s.io';
const STDIN = 0;
const STDOUT = 1;
const ERROR = 3;
const CLOSE = 255;
const HANDSHAKE_MS = 40_000;
const REFUSAL_BYTES_MAX = 64 * 1024;

/** The exit code. Throws an Error whose message says what to do. */
export async function shell(node: string, options: WhoAsks): Promise<number> {
  const { server, ca, cert, key, serverName } = readKubeconfig(kubeconfigOf(options));
  const url = new URL(`/api/v1/nodes/${encodeURIComponent(node)}/shell`, server);
  url.protocol = 'wss:';
  url.searchParams.set('term', process.env.TERM || 'xterm');
  const tls = { ca, cert, key, ...(serverName === undefined ? {} : { servername: serverName }) };
  const socket = new WebSocket(url, PROTOCOL, { ...tls, handshakeTimeout: HANDSHAKE_MS });
  const status = await run(socket).finally(() => socket.terminate());
  return exitCodeOf(status);
}

/** The Status at the end, as text. */
function run(socket: WebSocket): Promise<string> {
  const { stdin, stdout } = process;
  const send = (channel: number, data: Uint8Array): void => {
    if (socket.readyState !== WebSocket.OPEN) return;
    stdin.pause();
    socket.send(Buffer.concat([Buffer.from([channel]), data]), () => stdin.resume());
  };
  const tellSize = (): void => {
    const size = { Width: stdout.columns, Height: stdout.rows };
    if (stdout.isTTY) socket.send(Buffer.from(`\x04${JSON.stringify(size)}`, 'latin1'));
  };
  return new Promise<string>((resolve, reject) => {
    let status = '';
    socket.once('unexpected-response', (_, answer) => void refusal(answer).then(reject, reject));
    socket.once('error', (cause) =>
      reject(
        new Error(`cannot reach the API server at ${socket.url}: ${cause.message}`, { cause }),
      ),
    );
    socket.once('open', () => {
      tellSize();
      stdout.on('resize', tellSize);
      if (stdin.isTTY) stdin.setRawMode(true);
      stdin.on('data', (data: Buffer) => send(STDIN, data));
      stdin.once('end', () => {
        if (socket.readyState === WebSocket.OPEN) socket.send(Buffer.from([CLOSE, STDIN]));
      });
    });
    socket.on('message', (message: Buffer) => {
      const data = message.subarray(1);
      if (message[0] === ERROR) status += data.toString('utf8');
      if (message[0] !== STDOUT || stdout.write(data)) return;
      socket.pause();
      stdout.once('drain', () => socket.resume());
    });
    socket.once('close', () => resolve(status));
  }).finally(() => {
    stdout.off('resize', tellSize);
    if (stdin.isTTY) stdin.setRawMode(false);
    stdin.destroy();
  });
}

async function refusal(answer: IncomingMessage): Promise<Error> {
  let text = '';
  for await (const chunk of answer) {
    text += String(chunk);
    if (text.length > REFUSAL_BYTES_MAX) break;
  }
  return new Error(messageOf(text) ?? `the API server answered ${answer.statusCode}`);
}

function exitCodeOf(text: string): number {
  if (text === '') throw new Error('the connection to the board broke');
  const { status, details, message } = JSON.parse(text) as {
    status?: string;
    message?: string;
    details?: { causes?: { reason?: string; message?: string }[] };
  };
  if (status === 'Success') return 0;
  const code = details?.causes?.find(({ reason }) => reason === 'ExitCode')?.message;
  if (code === undefined) throw new Error(message ?? 'the shell failed');
  return Number(code);
}

function messageOf(text: string): string | undefined {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    return typeof message === 'string' ? message : undefined;
  } catch {
    return undefined;
  }
}

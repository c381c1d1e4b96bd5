/** The tcpSocket action: a connection that opens is a success, and is closed again at once. */
import net from 'node:net';
import { dialWords } from './http-probe.ts';
import type { ProbeResult } from './probe-result.ts';

/** Never rejects. */
export function probeTcp(host: string, port: number, timeoutMs: number): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port });
    const end = (result: ProbeResult) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => {
      end({ answer: 'failure', output: `dial tcp ${host}:${port}: i/o timeout` });
    }, timeoutMs);
    socket.once('connect', () => end({ answer: 'success', output: '' }));
    socket.once('error', (error) => {
      end({ answer: 'failure', output: dialWords(error, { hostname: host, port }) });
    });
  });
}

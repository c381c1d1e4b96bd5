/**
 * A port on loopback that nothing listens on, for programs that must be told one. It is below the range from which
 * Linux takes ports for outgoing connections (net.ipv4.ip_local_port_range, from 32768), so no connection
 * of another program takes it before it is used.
 */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

const PORT_MIN = 10_000;
const PORT_MAX = 30_000;

export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(PORT_MIN, PORT_MAX);
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

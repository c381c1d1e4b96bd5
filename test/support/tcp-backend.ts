/** Programs on loopback that tests put behind a proxy. */
import { once } from 'node:events';
import net from 'node:net';
import type { Test } from 'tap';

/** Hands each client to `onClient`, and closes with the test. Returns its port on 127.0.0.1. */
export async function tcpBackend(
  t: Test,
  onClient: (socket: net.Socket) => unknown,
  options: net.ServerOpts = {},
): Promise<number> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer(options, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    onClient(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return portOf(server);
}

export function portOf(server: net.Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening');
  return address.port;
}

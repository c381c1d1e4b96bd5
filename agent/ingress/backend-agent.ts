/** Connections to the backends of Ingresses: direct ones, or through the agent of the board that the backend is on. */
import http, { type ClientRequestArgs } from 'node:http';
import net from 'node:net';
import type { Backend } from '../proxy/service-table.ts';
import type { RelayTo } from '../proxy/tcp-connection.ts';
import type { RelayedSocket } from '../relay/relayed-socket.ts';

/** Keeps connections for requests that follow. */
export class BackendAgent extends http.Agent {
  readonly dial: (backend: Backend) => net.Socket | RelayedSocket;

  constructor(relay: RelayTo | undefined, options: http.AgentOptions) {
    super(options);
    this.dial = (backend) =>
      relay?.(backend) ?? net.connect({ host: backend.ip, port: backend.port });
  }

  /** Node asks for each connection here. */
  override createConnection({ host, port }: ClientRequestArgs): net.Socket | RelayedSocket {
    return this.dial({ ip: host ?? '', port: Number(port) });
  }
}

/** Reads the parts of a kubeconfig that Pier's own commands need: one server, one client certificate. */
import { readFileSync } from 'node:fs';
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import { parse } from 'yaml';

const Kubeconfig = Type.Object({
  clusters: Type.Array(
    Type.Object({
      name: Type.String(),
      cluster: Type.Object({
        server: Type.String(),
        'certificate-authority-data': Type.String(),
        'tls-server-name': Type.Optional(Type.String()),
      }),
    }),
    { minItems: 1 },
  ),
  users: Type.Array(
    Type.Object({
      name: Type.String(),
      user: Type.Object({
        'client-certificate-data': Type.String(),
        'client-key-data': Type.String(),
      }),
    }),
    { minItems: 1 },
  ),
});
type Kubeconfig = Static<typeof Kubeconfig>;

export interface Connection {
  readonly server: URL;
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
  /** The name the server's certificate is checked against; the address may change. */
  readonly serverName: string | undefined;
}

/** Throws an Error that names the file and what is wrong with it. */
export function readKubeconfig(path: string): Connection {
  const document: unknown = parse(readFileSync(path, 'utf8'));
  if (!Value.Check(Kubeconfig, document)) {
    const first = Value.Errors(Kubeconfig, document)[0];
    throw new Error(
      `${path} is no kubeconfig of Pier: ${first?.instancePath} ${first?.message}. ` +
        `The master writes a fresh one at its start when the file is gone`,
    );
  }
  return connectionOf(document, path);
}

function connectionOf(config: Kubeconfig, path: string): Connection {
  const cluster = config.clusters[0]?.cluster;
  const user = config.users[0]?.user;
  if (cluster === undefined || user === undefined) throw new Error(`${path} is empty`);
  return {
    server: new URL(cluster.server),
    ca: Buffer.from(cluster['certificate-authority-data'], 'base64'),
    cert: Buffer.from(user['client-certificate-data'], 'base64'),
    key: Buffer.from(user['client-key-data'], 'base64'),
    serverName: cluster['tls-server-name'],
  };
}

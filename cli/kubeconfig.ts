/** Reads the parts of a kubeconfig that Pier's own commands need: one server, one client certificate. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
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

/** The options of commands that ask the master. */
export interface WhoAsks {
  /** Where Pier keeps its data. */
  readonly data: string;
  readonly kubeconfig?: string;
}

/** The given one, the one of the environment, or the first of this board that can be read. */
export function kubeconfigOf({ kubeconfig, data }: WhoAsks): string {
  const named = kubeconfig ?? process.env.KUBECONFIG;
  if (named !== undefined && named !== '') return named;
  const uid = process.getuid?.() ?? 0;
  const usual = [join(data, 'master/admin.kubeconfig'), join(data, `kubeconfig-${uid}`)];
  const found = usual.find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new Error(
    `there is no kubeconfig at ${usual.join(' or ')}: give one with --kubeconfig or KUBECONFIG`,
  );
}

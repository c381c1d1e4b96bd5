/**
 * `cluster.json` in the master's data directory: who this cluster is and how it is reached, for commands that run
 * beside a master (the store itself is locked then). Written at each start when it changed.
 */
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';

const Schema = Type.Object({
  clusterId: Type.String({ minLength: 1 }),
  apiPort: Type.Integer({ minimum: 1, maximum: 65535 }),
  mqttPort: Type.Integer({ minimum: 1, maximum: 65535 }),
  addresses: Type.Array(Type.String()),
});
export type ClusterFile = Static<typeof Schema>;

/** Throws an Error that says what is wrong with the text. */
export function parseClusterFile(text: string): ClusterFile {
  const value: unknown = JSON.parse(text);
  if (Value.Check(Schema, value)) return value;
  const first = Value.Errors(Schema, value)[0];
  throw new Error(
    `cluster.json: ${first?.instancePath} ${first?.message}; restart the master to write it anew`,
  );
}

export function formatClusterFile(cluster: ClusterFile): string {
  return `${JSON.stringify(cluster, null, 2)}\n`;
}

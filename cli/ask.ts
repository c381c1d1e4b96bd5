/** One question to the master, for commands that print its answer. */
import type { Static, TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { Client } from './client.ts';
import { kubeconfigOf, readKubeconfig, type WhoAsks } from './kubeconfig.ts';

/** GETs `path`. Throws an Error whose message says what to do. */
export async function ask<S extends TSchema>(
  options: WhoAsks,
  path: string,
  schema: S,
): Promise<Static<S>> {
  const client = new Client(readKubeconfig(kubeconfigOf(options)));
  try {
    const answer = await client.json<unknown>(path);
    if (Value.Check(schema, answer)) return answer;
    throw new Error('the answer is not what this version of pier knows: use the one of the master');
  } finally {
    client.close();
  }
}

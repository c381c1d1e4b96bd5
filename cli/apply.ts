/** Puts the objects of a manifest into the cluster: create, or merge into what is there. For Pier's own examples. */
import { parseAllDocuments } from 'yaml';
import { type Client, RequestError } from './client.ts';

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

interface Stored {
  readonly metadata: { readonly resourceVersion: string };
}

interface ApiResource {
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

export interface Applied {
  readonly kind: string;
  readonly name: string;
  readonly result: 'created' | 'configured' | 'unchanged';
}

/** Throws RequestError, or an Error that says which document of the file is no Kubernetes object. */
export async function applyManifest(client: Client, text: string): Promise<Applied[]> {
  const applied: Applied[] = [];
  for (const document of parseAllDocuments(text)) {
    const [problem] = document.errors;
    if (problem !== undefined) throw new Error(`the manifest is not YAML: ${problem.message}`);
    const object: unknown = document.toJS({ maxAliasCount: 20 });
    if (object === null) continue;
    if (!isManifest(object))
      throw new Error('a document has no apiVersion, kind and metadata.name');
    applied.push(await applyObject(client, object));
  }
  return applied;
}

function isManifest(object: unknown): object is Manifest {
  if (typeof object !== 'object' || object === null) return false;
  const { apiVersion, kind, metadata } = object as Partial<Manifest>;
  return (
    typeof apiVersion === 'string' && typeof kind === 'string' && typeof metadata?.name === 'string'
  );
}

async function applyObject(client: Client, object: Manifest): Promise<Applied> {
  const base = object.apiVersion.includes('/') ? `/apis/${object.apiVersion}` : '/api/v1';
  const { resources } = await client.json<{ resources: ApiResource[] }>(base);
  const resource = resources.find((r) => r.kind === object.kind && !r.name.includes('/'));
  if (resource === undefined) {
    throw new Error(`the server has no kind ${object.kind} in ${object.apiVersion}`);
  }
  const scope = resource.namespaced ? `/namespaces/${object.metadata.namespace ?? 'default'}` : '';
  const collection = `${base}${scope}/${resource.name}`;
  const { kind } = object;
  const { name } = object.metadata;
  // Asked first, as kubectl does: creating a Service that exists fails for its port before it fails for its name.
  const before = await find(client, `${collection}/${name}`);
  if (before === undefined) {
    await client.json(collection, { method: 'POST', body: object });
    return { kind, name, result: 'created' };
  }
  const after = await client.json<Stored>(`${collection}/${name}`, {
    method: 'PATCH',
    body: object,
    contentType: 'application/merge-patch+json',
  });
  // A write that changes nothing leaves the resource version as it was.
  const isSame = after.metadata.resourceVersion === before.metadata.resourceVersion;
  return { kind, name, result: isSame ? 'unchanged' : 'configured' };
}

async function find(client: Client, path: string): Promise<Stored | undefined> {
  try {
    return await client.json<Stored>(path);
  } catch (error) {
    if (error instanceof RequestError && error.code === 404) return undefined;
    throw error;
  }
}

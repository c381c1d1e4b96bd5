/** Names of new objects: from the client, or made from `generateName`. */
import type { KubeObject } from '../../protocol/kinds/meta.ts';
import { dnsSubdomainErrors } from '../../protocol/names.ts';
import { invalid } from '../../protocol/status.ts';
import type { Resource } from './resources.ts';

/** Kubernetes' alphabet for random names: no vowels, so that no words come out. */
const ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';
const SUFFIX_LENGTH = 5;
const NAME_LENGTH_MAX = 63;

/** `base` and five random characters, cut so that the whole is a DNS label. `fraction` is in [0, 1). */
export function generateName(base: string, fraction: () => number): string {
  let suffix = '';
  for (let i = 0; i < SUFFIX_LENGTH; i += 1) {
    suffix += ALPHABET[Math.floor(fraction() * ALPHABET.length)] ?? 'b';
  }
  return base.slice(0, NAME_LENGTH_MAX - SUFFIX_LENGTH) + suffix;
}

/** Throws 422 when the object has no name or one that its kind does not allow. */
export function checkName(resource: Resource, object: KubeObject): string {
  const { module } = resource;
  const name = object.metadata?.name ?? '';
  if (name === '') {
    throw invalid(module.group, module.kind, '', [
      {
        field: 'metadata.name',
        reason: 'FieldValueRequired',
        message: 'Required value: name or generateName is required',
      },
    ]);
  }
  const reason =
    unsafe(name) ?? (module.validateName ?? ((text: string) => dnsSubdomainErrors(text)[0]))(name);
  if (reason !== undefined) {
    throw invalid(module.group, module.kind, name, [
      {
        field: 'metadata.name',
        reason: 'FieldValueInvalid',
        message: `Invalid value: ${JSON.stringify(name)}: ${reason}`,
      },
    ]);
  }
  return name;
}

/** Whatever a kind allows: a name is one step of a path and of a key of the store. */
function unsafe(name: string): string | undefined {
  if (name === '.' || name === '..') return `may not be '${name}'`;
  if (name.includes('/')) return "may not contain '/'";
  if (name.includes('%')) return "may not contain '%'";
  // Keys of the store are printable ASCII.
  return /[^\x21-\x7e]/.test(name) ? 'must consist of printable ASCII characters' : undefined;
}

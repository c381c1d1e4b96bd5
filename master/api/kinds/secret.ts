/** Secret: as ConfigMap, for what must not be read by all. `stringData` is for writing only: it ends up in `data`. */
import type { Secret } from '../../../protocol/kinds/types.ts';
import type { FieldError } from '../../../protocol/status.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, NAME, nameCell, text } from './columns.ts';
import {
  base64Bytes,
  DATA_BYTES_MAX,
  validateImmutableUpdate,
  validateKeys,
} from './validate/config-data.ts';
import { IMMUTABLE, invalidValue, required, tooLong } from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';

const SERVICE_ACCOUNT_NAME = 'kubernetes.io/service-account.name';

/** Keys that must be there, by type. */
const KEYS_BY_TYPE: Readonly<Record<string, readonly string[]>> = {
  'kubernetes.io/dockercfg': ['.dockercfg'],
  'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
  'kubernetes.io/ssh-auth': ['ssh-privatekey'],
  'kubernetes.io/tls': ['tls.crt', 'tls.key'],
};

export const SECRET: KindModule<Secret> = {
  group: '',
  version: 'v1',
  kind: 'Secret',
  plural: 'secrets',
  singular: 'secret',
  shortNames: [],
  categories: [],
  namespaced: true,
  message: 'io.k8s.api.core.v1.Secret',
  storage: 'durable',
  subresources: {},
  hasGeneration: false,
  setDefaults(secret) {
    secret.type ||= 'Opaque';
    if (secret.stringData === undefined) return;
    const data = { ...secret.data };
    for (const [key, value] of Object.entries(secret.stringData)) {
      data[key] = Buffer.from(value, 'utf8').toString('base64');
    }
    secret.data = data;
    delete secret.stringData;
  },
  validate(secret) {
    const data = secret.data ?? {};
    const errors = [
      ...validateObjectMeta(secret.metadata),
      ...validateKeys('data', data),
      ...validateByType(secret, data),
    ];
    let bytes = 0;
    for (const value of Object.values(data)) bytes += base64Bytes(value);
    if (bytes > DATA_BYTES_MAX) errors.push(tooLong('data', DATA_BYTES_MAX));
    return errors;
  },
  validateUpdate(next, previous) {
    const errors = validateImmutableUpdate(next, previous, ['data']);
    if (next.type !== previous.type) errors.push(invalidValue('type', next.type, IMMUTABLE));
    return errors;
  },
  columns: [
    NAME,
    text('Type', 'What the data is for, as kubernetes.io/tls.'),
    text('Data', 'Number of keys.'),
    AGE,
  ],
  row: (secret, nowMs) => [
    nameCell(secret),
    secret.type ?? '',
    Object.keys(secret.data ?? {}).length,
    ageCell(secret, nowMs),
  ],
  selectableFields: (secret) => ({ type: secret.type ?? '' }),
};

function validateByType(secret: Secret, data: Record<string, string>): FieldError[] {
  const errors: FieldError[] = [];
  const type = secret.type ?? '';
  for (const key of KEYS_BY_TYPE[type] ?? []) {
    const value = data[key];
    if (value === undefined) {
      errors.push(required(`data[${key}]`));
    } else if (key.startsWith('.docker') && !isJson(value)) {
      errors.push(invalidValue(`data[${key}]`, '<secret contents redacted>', 'invalid JSON'));
    }
  }
  if (type === 'kubernetes.io/basic-auth' && !('username' in data) && !('password' in data)) {
    errors.push(required('data[username]'), required('data[password]'));
  }
  if (type === 'kubernetes.io/service-account-token') {
    if (!secret.metadata?.annotations?.[SERVICE_ACCOUNT_NAME]) {
      errors.push(required(`metadata.annotations[${SERVICE_ACCOUNT_NAME}]`));
    }
  }
  return errors;
}

function isJson(base64: string): boolean {
  try {
    JSON.parse(Buffer.from(base64, 'base64').toString('utf8'));
    return true;
  } catch {
    // The caller names the field; the parser's own words would show parts of the secret.
    return false;
  }
}

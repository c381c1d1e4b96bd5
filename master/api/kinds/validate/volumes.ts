/** Volumes of a pod: names, exactly one source each, and the fields of the sources that boards mount. */
import type {
  DownwardAPIVolumeFile,
  KeyToPath,
  NFSVolumeSource,
  ProjectedVolumeSource,
  ServiceAccountTokenProjection,
  Volume,
} from '../../../../protocol/kinds/types.ts';
import { dnsLabelErrors } from '../../../../protocol/names.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import { duplicate, eachReason, forbidden, invalidValue, oneOf, required } from './errors.ts';
import { VOLUME_FIELD_PATHS, validateFieldRef, validateResourceFieldRef } from './field-refs.ts';
import { configKeyReasons } from './names.ts';
import { validateQuantity } from './resources.ts';

const FILE_MODE_MAX = 0o777;
const TOKEN_SECONDS_MIN = 600;
const TOKEN_SECONDS_MAX = 2 ** 32;
export const HOST_PATH_TYPES: readonly string[] = [
  ...['', 'BlockDevice', 'CharDevice', 'Directory', 'DirectoryOrCreate', 'File'],
  ...['FileOrCreate', 'Socket'],
];

/** `names` are those that volume mounts may refer to. */
export function validateVolumes(
  path: string,
  volumes: readonly Volume[],
): { names: ReadonlySet<string>; errors: FieldError[] } {
  const names = new Set<string>();
  const errors: FieldError[] = [];
  for (const [index, volume] of volumes.entries()) {
    const at = `${path}[${index}]`;
    const { name } = volume;
    if (name === '') errors.push(required(`${at}.name`));
    else if (names.has(name)) errors.push(duplicate(`${at}.name`, name));
    else errors.push(...eachReason(`${at}.name`, name, dnsLabelErrors(name)));
    names.add(name);
    errors.push(...validateSource(at, volume));
  }
  return { names, errors };
}

function validateSource(path: string, volume: Volume): FieldError[] {
  const errors: FieldError[] = [];
  const sources = Object.entries(volume).filter(([key, at]) => key !== 'name' && at !== undefined);
  for (const [source] of sources.slice(1)) {
    errors.push(forbidden(`${path}.${source}`, 'may not specify more than 1 volume type'));
  }
  const { hostPath, emptyDir, configMap, secret } = volume;
  if (hostPath !== undefined) {
    const field = `${path}.hostPath`;
    if (hostPath.path === '') errors.push(required(`${field}.path`));
    else errors.push(...validateNoBacksteps(`${field}.path`, hostPath.path));
    errors.push(...oneOf(`${field}.type`, hostPath.type, HOST_PATH_TYPES));
  }
  if (emptyDir?.sizeLimit !== undefined) {
    errors.push(...validateQuantity(`${path}.emptyDir.sizeLimit`, emptyDir.sizeLimit));
  }
  if (configMap !== undefined) {
    const field = `${path}.configMap`;
    if (!configMap.name) errors.push(required(`${field}.name`));
    errors.push(...validateFiles(field, configMap.defaultMode, configMap.items ?? []));
  }
  if (secret !== undefined) {
    const field = `${path}.secret`;
    if (!secret.secretName) errors.push(required(`${field}.secretName`));
    errors.push(...validateFiles(field, secret.defaultMode, secret.items ?? []));
  }
  if (volume.downwardAPI !== undefined) {
    const { defaultMode, items = [] } = volume.downwardAPI;
    errors.push(...validateMode(`${path}.downwardAPI.defaultMode`, defaultMode));
    errors.push(...validateFieldFiles(`${path}.downwardAPI`, items));
  }
  if (volume.projected !== undefined) {
    errors.push(...validateProjected(`${path}.projected`, volume.projected));
  }
  if (volume.nfs !== undefined) errors.push(...validateNfs(`${path}.nfs`, volume.nfs));
  if (volume.persistentVolumeClaim?.claimName === '') {
    errors.push(required(`${path}.persistentVolumeClaim.claimName`));
  }
  return errors;
}

/** In a pod and in a PersistentVolume. */
export function validateNfs(path: string, nfs: NFSVolumeSource): FieldError[] {
  const errors: FieldError[] = [];
  if (nfs.server === '') errors.push(required(`${path}.server`));
  if (nfs.path === '') errors.push(required(`${path}.path`));
  if (!nfs.path.startsWith('/')) {
    errors.push(invalidValue(`${path}.path`, nfs.path, 'must be an absolute path'));
  }
  return errors;
}

function validateFiles(
  path: string,
  defaultMode: number | undefined,
  items: readonly KeyToPath[],
): FieldError[] {
  const errors = validateMode(`${path}.defaultMode`, defaultMode);
  for (const [index, item] of items.entries()) {
    const at = `${path}.items[${index}]`;
    if (item.key === '') errors.push(required(`${at}.key`));
    else errors.push(...eachReason(`${at}.key`, item.key, configKeyReasons(item.key)));
    if (item.path === '') errors.push(required(`${at}.path`));
    else errors.push(...validateLocalPath(`${at}.path`, item.path));
    errors.push(...validateMode(`${at}.mode`, item.mode));
  }
  return errors;
}

/** Files with fields of the pod in them. */
function validateFieldFiles(path: string, items: readonly DownwardAPIVolumeFile[]): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, item] of items.entries()) {
    const at = `${path}.items[${index}]`;
    const { fieldRef, resourceFieldRef } = item;
    if (item.path === '') errors.push(required(`${at}.path`));
    else errors.push(...validateLocalPath(`${at}.path`, item.path));
    if (fieldRef !== undefined && resourceFieldRef !== undefined) {
      const why = 'fieldRef and resourceFieldRef can not be specified simultaneously';
      errors.push(invalidValue(at, 'resource', why));
    } else if (fieldRef !== undefined) {
      errors.push(...validateFieldRef(`${at}.fieldRef`, fieldRef, VOLUME_FIELD_PATHS));
    } else if (resourceFieldRef !== undefined) {
      const field = `${at}.resourceFieldRef`;
      if (!resourceFieldRef.containerName) errors.push(required(`${field}.containerName`));
      errors.push(...validateResourceFieldRef(field, resourceFieldRef));
    } else {
      errors.push(required(at, 'one of fieldRef and resourceFieldRef is required'));
    }
    errors.push(...validateMode(`${at}.mode`, item.mode));
  }
  return errors;
}

/** Several sources in one directory. */
function validateProjected(path: string, projected: ProjectedVolumeSource): FieldError[] {
  const errors = validateMode(`${path}.defaultMode`, projected.defaultMode);
  for (const [index, source] of (projected.sources ?? []).entries()) {
    const at = `${path}.sources[${index}]`;
    const [first, ...others] = Object.entries(source).filter(([, one]) => one !== undefined);
    for (const [other] of others) {
      errors.push(
        forbidden(`${at}.${other}`, 'may not specify more than 1 volume type per source'),
      );
    }
    if (first === undefined) errors.push(required(at, 'must specify a volume type'));
    for (const name of ['configMap', 'secret'] as const) {
      const one = source[name];
      if (one === undefined) continue;
      if (!one.name) errors.push(required(`${at}.${name}.name`));
      errors.push(...validateFiles(`${at}.${name}`, undefined, one.items ?? []));
    }
    if (source.downwardAPI !== undefined) {
      errors.push(...validateFieldFiles(`${at}.downwardAPI`, source.downwardAPI.items ?? []));
    }
    if (source.serviceAccountToken !== undefined) {
      errors.push(...validateToken(`${at}.serviceAccountToken`, source.serviceAccountToken));
    }
  }
  return errors;
}

function validateToken(path: string, token: ServiceAccountTokenProjection): FieldError[] {
  const errors = validateTokenSeconds(`${path}.expirationSeconds`, token.expirationSeconds ?? 0);
  if (token.path === '') errors.push(required(`${path}.path`));
  else errors.push(...validateLocalPath(`${path}.path`, token.path));
  return errors;
}

/** For how long a token of a service account may hold. */
export function validateTokenSeconds(field: string, seconds: number): FieldError[] {
  if (seconds < TOKEN_SECONDS_MIN) {
    return [invalidValue(field, seconds, 'may not specify a duration less than 10 minutes')];
  }
  if (seconds > TOKEN_SECONDS_MAX) {
    return [invalidValue(field, seconds, 'may not specify a duration larger than 2^32 seconds')];
  }
  return [];
}

function validateMode(field: string, mode: number | undefined): FieldError[] {
  if (mode === undefined || (mode >= 0 && mode <= FILE_MODE_MAX)) return [];
  const why = 'must be a number between 0 and 0777 (octal), both inclusive';
  return [invalidValue(field, mode, why)];
}

/** A path inside a volume: it may not lead out of it. */
export function validateLocalPath(field: string, path: string): FieldError[] {
  if (path.startsWith('/')) return [invalidValue(field, path, 'must be a relative path')];
  return validateNoBacksteps(field, path);
}

export function validateNoBacksteps(field: string, path: string): FieldError[] {
  return path.split('/').includes('..') ? [invalidValue(field, path, "must not contain '..'")] : [];
}

/** PersistentVolumes and the claims for them, and what of both may change. Wording as in core/v1. */
import type {
  PersistentVolume,
  PersistentVolumeClaim,
  PersistentVolumeClaimSpec,
  PersistentVolumeSpec,
} from '../../../../protocol/kinds/types.ts';
import { dnsSubdomainErrors } from '../../../../protocol/names.ts';
import { parseQuantity } from '../../../../protocol/quantity.ts';
import { validateLabelSelector } from '../../../../protocol/selector.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import { deepEqual } from '../../equal.ts';
import { eachReason, forbidden, invalidValue, notSupported, required } from './errors.ts';
import { validateQuantity } from './resources.ts';
import { validateNodeSelector } from './scheduling.ts';
import { validateDriverName } from './storage.ts';
import { HOST_PATH_TYPES, validateNfs, validateNoBacksteps } from './volumes.ts';

const ACCESS_MODES = ['ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOnce', 'ReadWriteOncePod'];
const ONE_POD = 'ReadWriteOncePod';
/** Of a volume's spec: all other fields are sources. */
const NO_SOURCE: ReadonlySet<string> = new Set([
  ...['capacity', 'accessModes', 'claimRef', 'persistentVolumeReclaimPolicy', 'storageClassName'],
  ...['mountOptions', 'volumeMode', 'nodeAffinity', 'volumeAttributesClassName'],
]);

/** By name, whatever of the spec says what the storage is. */
export function volumeSources(spec: PersistentVolumeSpec): [name: string, source: unknown][] {
  return Object.entries(spec).filter(([name, one]) => !NO_SOURCE.has(name) && one !== undefined);
}

export function validateVolumeSpec(path: string, spec: PersistentVolumeSpec): FieldError[] {
  const { capacity = {}, accessModes = [], persistentVolumeReclaimPolicy: policy = '' } = spec;
  const errors = validateAccessModes(path, accessModes);
  if (Object.keys(capacity).length === 0) errors.push(required(`${path}.capacity`));
  for (const name of Object.keys(capacity)) {
    if (name !== 'storage') errors.push(notSupported(`${path}.capacity`, capacity, ['storage']));
  }
  errors.push(
    ...validateAmount(`${path}.capacity[storage]`, capacity.storage),
    ...validateSources(path, spec),
    ...validateClassName(path, spec.storageClassName),
    ...validateMode(path, spec.volumeMode),
  );
  if (policy === 'Recycle') {
    const why = 'this version of Pier does not scrub volumes: use Delete or Retain';
    errors.push(forbidden(`${path}.persistentVolumeReclaimPolicy`, why));
  } else if (policy !== 'Delete' && policy !== 'Retain') {
    const words = ['Delete', 'Retain'];
    errors.push(notSupported(`${path}.persistentVolumeReclaimPolicy`, policy, words));
  }
  return errors;
}

/** A volume without a PersistentVolume, as a VolumeAttachment may describe it: of a CSI driver, without a size. */
export function validateInlineVolumeSpec(path: string, spec: PersistentVolumeSpec): FieldError[] {
  const errors = (
    ['claimRef', 'capacity', 'persistentVolumeReclaimPolicy', 'storageClassName'] as const
  )
    .filter((name) => spec[name] !== undefined && spec[name] !== '')
    .map((name) =>
      forbidden(`${path}.${name}`, 'may not be specified in the context of inline volumes'),
    );
  if (spec.csi === undefined) {
    errors.push(required(`${path}.csi`, 'has to be specified in the context of inline volumes'));
  }
  return [
    ...errors,
    ...validateAccessModes(path, spec.accessModes ?? []),
    ...validateSources(path, spec),
  ];
}

function validateSources(path: string, spec: PersistentVolumeSpec): FieldError[] {
  const errors: FieldError[] = [];
  const [first, ...others] = volumeSources(spec);
  if (first === undefined) errors.push(required(path, 'must specify a volume type'));
  for (const [name] of others) {
    errors.push(forbidden(`${path}.${name}`, 'may not specify more than 1 volume type'));
  }
  const { hostPath, local, nfs, csi, nodeAffinity } = spec;
  if (hostPath !== undefined) {
    errors.push(...validatePath(`${path}.hostPath.path`, hostPath.path));
    const { type = '' } = hostPath;
    if (!HOST_PATH_TYPES.includes(type)) {
      errors.push(notSupported(`${path}.hostPath.type`, type, HOST_PATH_TYPES));
    }
  }
  if (local !== undefined) errors.push(...validatePath(`${path}.local.path`, local.path));
  if (nfs !== undefined) errors.push(...validateNfs(`${path}.nfs`, nfs));
  if (csi !== undefined) {
    errors.push(...validateDriverName(`${path}.csi.driver`, csi.driver));
    if (csi.volumeHandle === '') errors.push(required(`${path}.csi.volumeHandle`));
  }
  const needed = nodeAffinity?.required;
  if (nodeAffinity !== undefined && needed === undefined) {
    const why = 'must specify required node constraints';
    errors.push(required(`${path}.nodeAffinity.required`, why));
  } else if (needed !== undefined) {
    errors.push(...validateNodeSelector(`${path}.nodeAffinity.required`, needed));
  } else if (local !== undefined) {
    errors.push(required(`${path}.nodeAffinity`, 'Local volume requires node affinity'));
  }
  return errors;
}

/** Absolute, because container engines take another name for one of their own volumes. */
function validatePath(field: string, path: string): FieldError[] {
  if (path === '') return [required(field)];
  if (!path.startsWith('/')) return [invalidValue(field, path, 'must be an absolute path')];
  return validateNoBacksteps(field, path);
}

export function validateVolumeUpdate(
  next: PersistentVolume,
  previous: PersistentVolume,
): FieldError[] {
  const errors: FieldError[] = [];
  const [after, before] = [next.spec ?? {}, previous.spec ?? {}];
  if (!deepEqual(volumeSources(after), volumeSources(before))) {
    errors.push(forbidden('spec.persistentvolumesource', 'is immutable after creation'));
  }
  if (after.volumeMode !== before.volumeMode) {
    errors.push(invalidValue('spec.volumeMode', after.volumeMode, 'field is immutable'));
  }
  if (before.nodeAffinity !== undefined && !deepEqual(after.nodeAffinity, before.nodeAffinity)) {
    errors.push(invalidValue('spec.nodeAffinity', after.nodeAffinity, 'field is immutable'));
  }
  return errors;
}

export function validateClaimSpec(path: string, spec: PersistentVolumeClaimSpec): FieldError[] {
  const { accessModes = [], resources, selector } = spec;
  const wanted = resources?.requests?.storage;
  const errors = [
    ...validateAccessModes(path, accessModes),
    ...validateLabelSelector(selector ?? {}, `${path}.selector`),
    ...validateClassName(path, spec.storageClassName),
    ...validateMode(path, spec.volumeMode),
  ];
  if (wanted === undefined) errors.push(required(`${path}.resources[storage]`));
  else errors.push(...validateAmount(`${path}.resources[storage]`, wanted));
  return errors;
}

export function validateClaimUpdate(
  next: PersistentVolumeClaim,
  previous: PersistentVolumeClaim,
): FieldError[] {
  const [after, before] = [next.spec ?? {}, previous.spec ?? {}];
  if (deepEqual(after, before)) return [];
  const { resources: amount, ...rest } = after;
  const { resources: amountBefore, ...restBefore } = before;
  // The binder writes it, once.
  const name = restBefore.volumeName || rest.volumeName;
  const isSame = deepEqual(
    { ...rest, volumeName: rest.volumeName },
    { ...restBefore, volumeName: name },
  );
  if (!isSame) {
    const why =
      'spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims';
    return [forbidden('spec', why)];
  }
  if (deepEqual(amount, amountBefore)) return [];
  // No volume of this version can grow.
  const why =
    'only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize';
  return [forbidden('spec.resources', why)];
}

function validateAccessModes(path: string, modes: readonly string[]): FieldError[] {
  const field = `${path}.accessModes`;
  if (modes.length === 0) return [required(field, 'at least 1 access mode is required')];
  const errors = modes
    .filter((mode) => !ACCESS_MODES.includes(mode))
    .map((mode) => notSupported(field, mode, ACCESS_MODES));
  if (modes.includes(ONE_POD) && modes.some((mode) => mode !== ONE_POD)) {
    errors.push(forbidden(field, `may not use ${ONE_POD} with other access modes`));
  }
  return errors;
}

function validateAmount(field: string, amount: string | undefined): FieldError[] {
  if (amount === undefined) return [];
  const errors = validateQuantity(field, amount);
  if (errors.length > 0 || parseQuantity(amount).nanos > 0n) return errors;
  return [invalidValue(field, amount, 'must be greater than zero')];
}

function validateClassName(path: string, name: string | undefined): FieldError[] {
  if (name === undefined || name === '') return [];
  return eachReason(`${path}.storageClassName`, name, dnsSubdomainErrors(name));
}

function validateMode(path: string, mode: string | undefined): FieldError[] {
  const field = `${path}.volumeMode`;
  if (mode === undefined || mode === 'Filesystem') return [];
  if (mode !== 'Block') return [notSupported(field, mode, ['Block', 'Filesystem'])];
  return [forbidden(field, 'this version of Pier mounts directories, no block devices')];
}

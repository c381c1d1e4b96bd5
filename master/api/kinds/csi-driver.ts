/** CSIDriver: what a driver for storage can do and wants to be told. Stored; nothing here runs such drivers, and it says so. */
import type { CSIDriver, StorageV1TokenRequest } from '../../../protocol/kinds/types.ts';
import type { FieldError } from '../../../protocol/status.ts';
import { deepEqual } from '../equal.ts';
import type { KindModule } from '../kind.ts';
import { AGE, ageCell, flag, NAME, NONE, nameCell, text, UNSET } from './columns.ts';
import { csiWarnings } from './unsupported.ts';
import { duplicate, IMMUTABLE, invalidValue, notSupported, oneOf } from './validate/errors.ts';
import { validateObjectMeta } from './validate/meta.ts';

const MODES = ['Persistent', 'Ephemeral'];
const FS_GROUP_POLICIES = ['File', 'None', 'ReadWriteOnceWithFSType'];
const UPDATE_PERIOD_MIN_SECONDS = 10;
const TOKEN_MIN_SECONDS = 600;
const TOKEN_MAX_SECONDS = 2 ** 32;

export const CSI_DRIVER: KindModule<CSIDriver> = {
  group: 'storage.k8s.io',
  version: 'v1',
  kind: 'CSIDriver',
  plural: 'csidrivers',
  singular: 'csidriver',
  shortNames: [],
  categories: [],
  namespaced: false,
  message: 'io.k8s.api.storage.v1.CSIDriver',
  storage: 'durable',
  subresources: {},
  hasGeneration: true,
  setDefaults(driver) {
    driver.spec ??= {};
    const { spec } = driver;
    spec.attachRequired ??= true;
    spec.podInfoOnMount ??= false;
    spec.storageCapacity ??= false;
    spec.fsGroupPolicy ||= 'ReadWriteOnceWithFSType';
    spec.requiresRepublish ??= false;
    spec.seLinuxMount ??= false;
    if ((spec.volumeLifecycleModes ?? []).length === 0) spec.volumeLifecycleModes = ['Persistent'];
  },
  validate({ metadata, spec }) {
    const { tokenRequests = [], nodeAllocatableUpdatePeriodSeconds: period } = spec;
    const errors = [
      ...validateObjectMeta(metadata),
      ...oneOf('spec.fsGroupPolicy', spec.fsGroupPolicy, FS_GROUP_POLICIES),
      ...validateTokenRequests('spec.tokenRequests', tokenRequests),
    ];
    for (const mode of spec.volumeLifecycleModes ?? []) {
      if (MODES.includes(mode)) continue;
      errors.push(notSupported('spec.volumeLifecycleModes', mode, MODES));
    }
    if (period !== undefined && period < UPDATE_PERIOD_MIN_SECONDS) {
      const why = `must be greater than or equal to ${UPDATE_PERIOD_MIN_SECONDS} seconds`;
      errors.push(invalidValue('spec.nodeAllocatableUpdatePeriodSeconds', period, why));
    }
    const { serviceAccountTokenInSecrets: inSecrets } = spec;
    if (inSecrets !== undefined && tokenRequests.length === 0) {
      const why = 'serviceAccountTokenInSecrets is set but no tokenRequests are specified';
      errors.push(invalidValue('spec.serviceAccountTokenInSecrets', inSecrets, why));
    }
    return errors;
  },
  validateUpdate: (next, previous) =>
    (['attachRequired', 'volumeLifecycleModes'] as const)
      .filter((field) => !deepEqual(next.spec[field], previous.spec[field]))
      .map((field) => invalidValue(`spec.${field}`, next.spec[field], IMMUTABLE)),
  warnings: csiWarnings,
  columns: [
    NAME,
    flag('AttachRequired', 'Whether volumes are attached to a node before they are mounted.'),
    flag('PodInfoOnMount', 'Whether the driver is told of the pod when it mounts.'),
    flag('StorageCapacity', 'Whether the driver tells how much room is left.'),
    text('TokenRequests', 'For whom the driver wants service account tokens.'),
    flag('RequiresRepublish', 'Whether the driver is asked to mount again and again.'),
    text('Modes', 'Volumes with a PersistentVolume, or those that live with a pod.'),
    AGE,
  ],
  row(driver, nowMs) {
    const { spec = {} } = driver;
    const { tokenRequests, volumeLifecycleModes: modes = [] } = spec;
    return [
      nameCell(driver),
      spec.attachRequired ?? true,
      spec.podInfoOnMount ?? false,
      spec.storageCapacity ?? false,
      tokenRequests?.map(({ audience }) => audience).join(',') ?? UNSET,
      spec.requiresRepublish ?? false,
      modes.length === 0 ? NONE : modes.join(','),
      ageCell(driver, nowMs),
    ];
  },
};

function validateTokenRequests(
  path: string,
  requests: readonly StorageV1TokenRequest[],
): FieldError[] {
  const errors: FieldError[] = [];
  const audiences = new Set<string>();
  for (const [index, { audience, expirationSeconds: seconds }] of requests.entries()) {
    const at = `${path}[${index}]`;
    if (audiences.has(audience)) errors.push(duplicate(`${at}.audience`, audience));
    audiences.add(audience);
    if (seconds !== undefined && seconds < TOKEN_MIN_SECONDS) {
      const why = 'may not specify a duration less than 10 minutes';
      errors.push(invalidValue(`${at}.expirationSeconds`, seconds, why));
    }
    if (seconds !== undefined && seconds > TOKEN_MAX_SECONDS) {
      const why = 'may not specify a duration larger than 2^32 seconds';
      errors.push(invalidValue(`${at}.expirationSeconds`, seconds, why));
    }
  }
  return errors;
}

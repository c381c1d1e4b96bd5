/** Users, groups and privileges of a pod or a container. */
import type { Container, SeccompProfile } from '../../../../protocol/kinds/types.ts';
import type { FieldError } from '../../../../protocol/status.ts';
import { invalidValue, notSupported, required } from './errors.ts';
import { inclusiveRange } from './names.ts';

const ID_MAX = 2_147_483_647;
const SECCOMP_TYPES: readonly string[] = ['Localhost', 'RuntimeDefault', 'Unconfined'];

/** User and group numbers, in the context of a pod or of a container. */
export function validateIds(
  path: string,
  context: { runAsUser?: number; runAsGroup?: number; fsGroup?: number },
): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ['runAsUser', 'runAsGroup', 'fsGroup'] as const) {
    const id = context[field];
    if (id === undefined || (id >= 0 && id <= ID_MAX)) continue;
    errors.push(invalidValue(`${path}.${field}`, id, inclusiveRange(0, ID_MAX)));
  }
  return errors;
}

export function validateSecurityContext(path: string, container: Container): FieldError[] {
  const context = container.securityContext;
  if (context === undefined) return [];
  const errors = [
    ...validateIds(path, context),
    ...validateSeccomp(`${path}.seccompProfile`, context.seccompProfile),
  ];
  if (context.allowPrivilegeEscalation !== false) return errors;
  const { privileged, capabilities } = context;
  const why = 'cannot set `allowPrivilegeEscalation` to false and';
  if (privileged === true) {
    errors.push(invalidValue(path, context, `${why} \`privileged\` to true`));
  }
  if (capabilities?.add?.some((one) => one === 'CAP_SYS_ADMIN') === true) {
    errors.push(invalidValue(path, context, `${why} \`capabilities.Add\` CAP_SYS_ADMIN`));
  }
  return errors;
}

/** Which system calls are allowed: by name of the runtime's profile, a file on the board, or all. */
export function validateSeccomp(path: string, profile: SeccompProfile | undefined): FieldError[] {
  if (profile === undefined) return [];
  const { type, localhostProfile } = profile;
  if (type === '') return [required(`${path}.type`, 'type is required when seccompProfile is set')];
  if (!SECCOMP_TYPES.includes(type)) {
    return [notSupported(`${path}.type`, type, SECCOMP_TYPES)];
  }
  const field = `${path}.localhostProfile`;
  if (type === 'Localhost' && !localhostProfile) {
    return [required(field, 'must be set when seccomp type is Localhost')];
  }
  if (type !== 'Localhost' && localhostProfile !== undefined) {
    const why = 'can only be set when seccomp type is Localhost';
    return [invalidValue(field, localhostProfile, why)];
  }
  return [];
}

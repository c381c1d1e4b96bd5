/** Who is meant by the subjects of a binding, and the names by which service accounts are known as users. Pure. */
import type { Subject } from '../../../protocol/kinds/types.ts';
import type { User } from '../client.ts';

export const AUTHENTICATED = 'system:authenticated';
const ACCOUNT_PREFIX = 'system:serviceaccount:';
const ACCOUNTS = 'system:serviceaccounts';

/** `namespace`: of the RoleBinding; a ServiceAccount without a namespace of its own is in it. */
export function subjectMatches(subject: Subject, user: User, namespace: string): boolean {
  switch (subject.kind) {
    case 'User':
      return subject.name === user.name;
    case 'Group':
      return user.groups.includes(subject.name);
    case 'ServiceAccount': {
      const home = subject.namespace || namespace;
      return home !== '' && user.name === accountUserName(home, subject.name);
    }
    default:
      return false;
  }
}

/** `system:serviceaccount:NAMESPACE:NAME`. */
export function accountUserName(namespace: string, name: string): string {
  return `${ACCOUNT_PREFIX}${namespace}:${name}`;
}

/** The groups of every service account, and those of its namespace. */
export function accountGroups(namespace: string): string[] {
  return [ACCOUNTS, `${ACCOUNTS}:${namespace}`, AUTHENTICATED];
}

/** Undefined when the user is no service account. */
export function parseAccountUser(
  user: string,
): { readonly namespace: string; readonly name: string } | undefined {
  if (!user.startsWith(ACCOUNT_PREFIX)) return undefined;
  const [namespace = '', name = '', ...more] = user.slice(ACCOUNT_PREFIX.length).split(':');
  return namespace === '' || name === '' || more.length > 0 ? undefined : { namespace, name };
}

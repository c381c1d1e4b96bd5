/**
 * The roles and bindings of the cluster, and what they allow a user. Read from the store again only after one of them was
 * written, so that a request costs a walk over the bindings and nothing else.
 */
import type {
  ClusterRole,
  ClusterRoleBinding,
  PolicyRule,
  Role,
  RoleBinding,
  RoleRef,
} from '../../../protocol/kinds/types.ts';
import type { ResourceAttributes } from '../authorizer.ts';
import { RESOURCES, type User } from '../client.ts';
import type { Core } from '../core.ts';
import { Kept } from '../kept.ts';
import { effectiveRules, ruleAllows, ruleAllowsPath } from './rules.ts';
import { subjectMatches } from './subjects.ts';

export const RBAC_GROUP = 'rbac.authorization.k8s.io';

/** What a user holds. `problems`: bindings that point at roles that are not there. */
export interface Grants {
  readonly rules: readonly PolicyRule[];
  readonly problems: readonly string[];
}

export interface Verdict {
  readonly allowed: boolean;
  readonly reason: string;
}

export class RbacPolicy {
  readonly #roles: Kept<Role>;
  readonly #roleBindings: Kept<RoleBinding>;
  readonly #clusterRoles: Kept<ClusterRole>;
  readonly #clusterRoleBindings: Kept<ClusterRoleBinding>;

  constructor(core: Core) {
    this.#roles = new Kept(core, RESOURCES.roles);
    this.#roleBindings = new Kept(core, RESOURCES.roleBindings);
    this.#clusterRoles = new Kept(core, RESOURCES.clusterRoles);
    this.#clusterRoleBindings = new Kept(core, RESOURCES.clusterRoleBindings);
  }

  /** Everything the user holds in the namespace; with an empty one, in the whole cluster. */
  async grants(user: User, namespace: string): Promise<Grants> {
    const rules: PolicyRule[] = [];
    const problems: string[] = [];
    for (const binding of await this.#clusterRoleBindings.all()) {
      if (!matches(binding, user, '')) continue;
      const found = await this.rulesOf(binding.roleRef, '');
      if (found === undefined) problems.push(missing(binding.roleRef));
      else rules.push(...found);
    }
    if (namespace === '') return { rules, problems };
    for (const binding of await this.#roleBindings.in(namespace)) {
      if (!matches(binding, user, namespace)) continue;
      const found = await this.rulesOf(binding.roleRef, namespace);
      if (found === undefined) problems.push(missing(binding.roleRef));
      // A path is no matter of one namespace, whatever the ClusterRole says.
      else rules.push(...found.filter((rule) => (rule.nonResourceURLs ?? []).length === 0));
    }
    return { rules, problems };
  }

  /** Undefined when there is no such role. */
  async rulesOf(
    ref: Pick<RoleRef, 'kind' | 'name'>,
    namespace: string,
  ): Promise<PolicyRule[] | undefined> {
    if (ref.kind === 'ClusterRole') {
      const all = await this.#clusterRoles.all();
      const role = all.find((one) => one.metadata?.name === ref.name);
      return role && effectiveRules(role, all);
    }
    const role = (await this.#roles.in(namespace)).find((one) => one.metadata?.name === ref.name);
    return role && (role.rules ?? []);
  }

  async allows(user: User, what: ResourceAttributes): Promise<Verdict> {
    const { rules, problems } = await this.grants(user, what.namespace);
    return verdict(
      rules.some((rule) => ruleAllows(rule, what)),
      problems,
    );
  }

  async allowsPath(user: User, verb: string, path: string): Promise<Verdict> {
    const { rules, problems } = await this.grants(user, '');
    return verdict(
      rules.some((rule) => ruleAllowsPath(rule, verb, path)),
      problems,
    );
  }
}

function verdict(allowed: boolean, problems: readonly string[]): Verdict {
  if (allowed || problems.length === 0) return { allowed, reason: '' };
  return { allowed, reason: `RBAC: ${problems.join(', ')}` };
}

function matches(binding: RoleBinding, user: User, namespace: string): boolean {
  return (binding.subjects ?? []).some((subject) => subjectMatches(subject, user, namespace));
}

function missing({ kind, name }: RoleRef): string {
  return `${kind.toLowerCase()}.${RBAC_GROUP} ${JSON.stringify(name)} not found`;
}

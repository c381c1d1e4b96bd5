/**
 * Nobody grants what he does not hold (Kubernetes: privilege escalation prevention): to write a role one must hold all of its
 * rules or have the verb `escalate` on it; to write a binding all rules of its role, or the verb `bind` on that role.
 */
import type { KubeObject } from '../../../protocol/kinds/meta.ts';
import type { PolicyRule, Role, RoleBinding } from '../../../protocol/kinds/types.ts';
import { type AdmissionPlugin, type AdmissionRequest, refused } from '../admission.ts';
import { type Authorizer, isMaster } from '../authorizer.ts';
import { deepEqual } from '../equal.ts';
import { RBAC_GROUP, type RbacPolicy } from './policy.ts';
import { ruleText, uncovered } from './rules.ts';

export function escalationCheck(policy: RbacPolicy, authorizer: Authorizer): AdmissionPlugin {
  return {
    async review(_core, request) {
      const { module } = request.resource;
      if (module.group !== RBAC_GROUP || isMaster(request.user)) return;
      const isRole = module.plural === 'roles' || module.plural === 'clusterroles';
      const part = isRole ? rolePart : bindingPart;
      if (request.previous && deepEqual(part(request.object), part(request.previous))) return;
      const { user, namespace, name, object } = request;
      const verb = isRole ? 'escalate' : 'bind';
      const target = isRole ? { plural: module.plural, name } : roleOf(object);
      const exempt = await authorizer.authorize(user, {
        verb,
        group: RBAC_GROUP,
        resource: target.plural,
        subresource: '',
        namespace,
        name: target.name,
      });
      if (exempt.allowed) return;
      const wanted = isRole
        ? roleRules(object)
        : await policy.rulesOf((object as RoleBinding).roleRef, namespace);
      if (wanted === undefined) throw noSuchRole(request, object as RoleBinding);
      const { rules } = await policy.grants(user, namespace);
      const more = uncovered(rules, wanted);
      if (more.length > 0) throw escalating(request, more);
    },
  };
}

function rolePart(object: KubeObject): object {
  const { rules = [], aggregationRule = {} } = object as Role & { aggregationRule?: object };
  return { rules, aggregationRule };
}

function bindingPart(object: KubeObject): object {
  const { roleRef, subjects = [] } = object as RoleBinding;
  return { roleRef, subjects };
}

/** An aggregated role may come to hold anything, so only who holds everything may write one. */
function roleRules(object: KubeObject): PolicyRule[] {
  const { rules = [], aggregationRule } = object as Role & { aggregationRule?: object };
  if (aggregationRule === undefined) return rules;
  return [
    { verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
    { verbs: ['*'], nonResourceURLs: ['*'] },
  ];
}

function roleOf(object: KubeObject): { readonly plural: string; readonly name: string } {
  const { kind, name } = (object as RoleBinding).roleRef;
  return { plural: kind === 'ClusterRole' ? 'clusterroles' : 'roles', name };
}

function noSuchRole(request: AdmissionRequest, { roleRef }: RoleBinding) {
  const { plural, name } = { plural: `${roleRef.kind.toLowerCase()}s`, name: roleRef.name };
  return refused(request, `${plural}.${RBAC_GROUP} ${JSON.stringify(name)} not found`);
}

function escalating(request: AdmissionRequest, rules: readonly PolicyRule[]) {
  const { user } = request;
  const groups = user.groups.map((group) => JSON.stringify(group)).join(' ');
  const list = rules.map(ruleText).sort().join('\n');
  return refused(
    request,
    `user ${JSON.stringify(user.name)} (groups=[${groups}]) is attempting to grant RBAC permissions ` +
      `not currently held:\n${list}`,
  );
}

/**
 * What one rule of RBAC allows, and whether some rules hold all that others grant. Pure.
 *
 * Source: "Using RBAC Authorization" in the documentation of Kubernetes (rules only add; there is no deny).
 */
import type { ClusterRole, PolicyRule } from '../../../protocol/kinds/types.ts';
import { matchesLabelSelector } from '../../../protocol/selector.ts';
import type { ResourceAttributes } from '../authorizer.ts';

const ALL = '*';

export function ruleAllows(rule: PolicyRule, what: ResourceAttributes): boolean {
  const { subresource, resource, name } = what;
  const combined = subresource === '' ? resource : `${resource}/${subresource}`;
  const names = rule.resourceNames ?? [];
  return (
    has(rule.verbs, what.verb) &&
    has(rule.apiGroups, what.group) &&
    hasResource(rule.resources ?? [], combined) &&
    (names.length === 0 || (name !== '' && names.includes(name)))
  );
}

/** For paths that are no resources; a rule's path may end with `*`. */
export function ruleAllowsPath(rule: PolicyRule, verb: string, path: string): boolean {
  return has(rule.verbs, verb) && (rule.nonResourceURLs ?? []).some((url) => fits(url, path));
}

function has(allowed: readonly string[] | undefined, wanted: string): boolean {
  return allowed !== undefined && (allowed.includes(ALL) || allowed.includes(wanted));
}

function hasResource(allowed: readonly string[], wanted: string): boolean {
  if (allowed.includes(ALL) || allowed.includes(wanted)) return true;
  const slash = wanted.indexOf('/');
  return slash >= 0 && allowed.includes(`*${wanted.slice(slash)}`);
}

function fits(url: string, path: string): boolean {
  if (url === ALL || url === path) return true;
  return url.endsWith(ALL) && path.startsWith(url.slice(0, -1));
}

/** What `wanted` grants beyond `owned`, broken down to single permissions; empty when all is owned. */
export function uncovered(
  owned: readonly PolicyRule[],
  wanted: readonly PolicyRule[],
): PolicyRule[] {
  return wanted
    .flatMap(singleRules)
    .filter((single) => !owned.some((rule) => coversSingle(rule, single)));
}

/** One rule per verb and group and resource and name, or per verb and path. */
function singleRules(rule: PolicyRule): PolicyRule[] {
  const paths = rule.nonResourceURLs ?? [];
  const names = (rule.resourceNames ?? []).map((name) => ({ resourceNames: [name] }));
  return rule.verbs.flatMap((verb) => [
    ...paths.map((path) => ({ verbs: [verb], nonResourceURLs: [path] })),
    ...(rule.apiGroups ?? []).flatMap((group) =>
      (rule.resources ?? []).flatMap((resource) =>
        (names.length === 0 ? [{}] : names).map((name) => ({
          verbs: [verb],
          apiGroups: [group],
          resources: [resource],
          ...name,
        })),
      ),
    ),
  ]);
}

function coversSingle(rule: PolicyRule, single: PolicyRule): boolean {
  const [verb = ''] = single.verbs;
  const [path] = single.nonResourceURLs ?? [];
  if (path !== undefined) return ruleAllowsPath(rule, verb, path);
  const [group = ''] = single.apiGroups ?? [];
  const [resource = ''] = single.resources ?? [];
  const [name] = single.resourceNames ?? [];
  const names = rule.resourceNames ?? [];
  return (
    has(rule.verbs, verb) &&
    has(rule.apiGroups, group) &&
    hasResource(rule.resources ?? [], resource) &&
    (names.length === 0 || (name !== undefined && names.includes(name)))
  );
}

/** As Kubernetes prints a rule in the error about an escalation: `{APIGroups:["apps"], Verbs:["get"]}`. */
export function ruleText(rule: PolicyRule): string {
  const part = (name: string, values: readonly string[] | undefined): string[] => {
    if (values === undefined || values.length === 0) return [];
    return [`${name}:[${values.map((value) => JSON.stringify(value)).join(' ')}]`];
  };
  const parts = [
    ...part('APIGroups', rule.apiGroups),
    ...part('Resources', rule.resources),
    ...part('ResourceNames', rule.resourceNames),
    ...part('NonResourceURLs', rule.nonResourceURLs),
    ...part('Verbs', rule.verbs),
  ];
  return `{${parts.join(', ')}}`;
}

/** The rules of a ClusterRole; an aggregated one has those of all that its selectors match, aggregated ones included. */
export function effectiveRules(
  role: ClusterRole,
  all: readonly ClusterRole[],
  seen: ReadonlySet<ClusterRole> = new Set(),
): PolicyRule[] {
  const selectors = role.aggregationRule?.clusterRoleSelectors;
  if (selectors === undefined) return role.rules ?? [];
  const visited = new Set([...seen, role]);
  return all
    .filter((one) => !visited.has(one))
    .filter((one) => selectors.some((s) => matchesLabelSelector(s, one.metadata?.labels ?? {})))
    .flatMap((one) => effectiveRules(one, all, visited));
}

/**
 * "May I?" and "who am I?": authorization.k8s.io/v1 and authentication.k8s.io/v1, for `kubectl auth can-i` and
 * `kubectl auth whoami`, k9s and Headlamp. Answered from the authorizer, never stored.
 */
import type {
  LocalSubjectAccessReview,
  PolicyRule,
  ResourceAttributes,
  SelfSubjectAccessReview,
  SelfSubjectReview,
  SelfSubjectRulesReview,
  SubjectAccessReview,
  TokenReview,
  TokenReviewSpec,
} from '../../protocol/kinds/types.ts';
import { badRequest } from '../../protocol/status.ts';
import { type AccountTokens, TokenError } from './authn/account-tokens.ts';
import { type Authorizer, boardOf, type Decision, isMaster } from './authorizer.ts';
import type { User } from './client.ts';
import { apiVersionOf, type BodyKind, decodeInput } from './input.ts';
import type { RbacPolicy } from './rbac/policy.ts';
import type { Registry } from './registry.ts';
import type { VirtualCall, VirtualResource } from './virtual.ts';

const AUTHORIZATION = 'authorization.k8s.io';
const AUTHENTICATION = 'authentication.k8s.io';

interface Review {
  readonly group: string;
  readonly kind: string;
  readonly namespaced?: boolean;
  readonly answer: (call: VirtualCall, kind: BodyKind) => Promise<object>;
}

export function reviewResources({ authorizer, policy, tokens }: Registry): VirtualResource[] {
  const reviews: Review[] = [
    {
      group: AUTHORIZATION,
      kind: 'SelfSubjectAccessReview',
      answer: async (call, kind) => {
        const review = decode<SelfSubjectAccessReview>(call, kind);
        return reviewed(review, await decide(authorizer, call.request.user, review.spec));
      },
    },
    {
      group: AUTHORIZATION,
      kind: 'SubjectAccessReview',
      answer: async (call, kind) => {
        const review = decode<SubjectAccessReview>(call, kind);
        const user = subjectOf(review.spec);
        return reviewed(review, await decide(authorizer, user, review.spec));
      },
    },
    {
      group: AUTHORIZATION,
      kind: 'LocalSubjectAccessReview',
      namespaced: true,
      answer: async (call, kind) => {
        const review = decode<LocalSubjectAccessReview>(call, kind);
        const wanted = review.spec?.resourceAttributes?.namespace ?? '';
        if (wanted !== call.namespace) {
          throw badRequest(
            `spec.resourceAttributes.namespace must match the namespace of the path: "${call.namespace}"`,
          );
        }
        const user = subjectOf(review.spec);
        return reviewed(review, await decide(authorizer, user, review.spec));
      },
    },
    {
      group: AUTHORIZATION,
      kind: 'SelfSubjectRulesReview',
      answer: async (call, kind) => {
        const review = decode<SelfSubjectRulesReview>(call, kind);
        const namespace = review.spec?.namespace ?? '';
        return { ...review, status: await rulesOf(policy, call.request.user, namespace) };
      },
    },
    {
      group: AUTHENTICATION,
      kind: 'SelfSubjectReview',
      answer: async (call, kind) => {
        const review = decode<SelfSubjectReview>(call, kind);
        return { ...review, status: { userInfo: userInfo(call.request.user) } };
      },
    },
    {
      group: AUTHENTICATION,
      kind: 'TokenReview',
      answer: async (call, kind) => {
        const review = decode<TokenReview>(call, kind);
        return { ...review, status: await tokenStatus(tokens, review.spec) };
      },
    },
  ];
  return reviews.map(asVirtual);
}

function asVirtual(review: Review): VirtualResource {
  const { group, kind, answer } = review;
  const part = group === AUTHORIZATION ? 'authorization' : 'authentication';
  const body = { group, version: 'v1', kind, message: `io.k8s.api.${part}.v1.${kind}` };
  return {
    group,
    version: 'v1',
    kind,
    plural: `${kind.toLowerCase()}s`,
    singular: kind.toLowerCase(),
    namespaced: review.namespaced === true,
    verbs: ['create'],
    async handle(call) {
      const apiVersion = apiVersionOf(group, 'v1');
      const value = await answer(call, body);
      return { code: 201, value: Object.assign({ kind, apiVersion, metadata: {} }, value) };
    },
  };
}

function decode<T extends object>(call: VirtualCall, kind: BodyKind): T {
  return decodeInput<T>(call.body, kind, { fieldValidation: 'Ignore' });
}

interface AccessSpec {
  readonly resourceAttributes?: ResourceAttributes;
  readonly nonResourceAttributes?: { readonly path?: string; readonly verb?: string };
}

async function decide(
  authorizer: Authorizer,
  user: User,
  spec: AccessSpec | undefined,
): Promise<Decision> {
  const resource = spec?.resourceAttributes;
  const path = spec?.nonResourceAttributes;
  if ((resource === undefined) === (path === undefined)) {
    throw badRequest(
      'exactly one of spec.resourceAttributes and spec.nonResourceAttributes must be specified',
    );
  }
  if (path !== undefined) return authorizer.authorizePath(user, path.verb ?? '', path.path ?? '');
  return authorizer.authorize(user, {
    verb: resource?.verb ?? '',
    group: resource?.group ?? '',
    resource: resource?.resource ?? '',
    subresource: resource?.subresource ?? '',
    namespace: resource?.namespace ?? '',
    name: resource?.name ?? '',
  });
}

function reviewed(review: object, decision: Decision): object {
  const reason = decision.reason === '' ? {} : { reason: decision.reason };
  return { ...review, status: { allowed: decision.allowed, ...reason } };
}

function subjectOf(spec: { user?: string; groups?: readonly string[] } | undefined): User {
  const name = spec?.user ?? '';
  const groups = spec?.groups ?? [];
  if (name === '' && groups.length === 0) {
    throw badRequest('at least one of spec.user and spec.groups must be specified');
  }
  return { name, groups };
}

function userInfo({ name, groups, uid, extra }: User): object {
  const more = { ...(uid === undefined ? {} : { uid }), ...(extra === undefined ? {} : { extra }) };
  return { username: name, groups, ...more };
}

async function tokenStatus(tokens: AccountTokens, spec: TokenReviewSpec): Promise<object> {
  if (spec.token === '') throw badRequest('token is required for TokenReview in authentication');
  const wanted = spec.audiences ?? [];
  try {
    const { user, audiences } = await tokens.verify(
      spec.token,
      wanted.length === 0 ? undefined : wanted,
    );
    return { authenticated: true, user: userInfo(user), audiences };
  } catch (error) {
    if (!(error instanceof TokenError)) throw error;
    return { user: {}, error: error.message };
  }
}

/** What a user may do in the namespace, as rules. Boards' rules depend on their pods, so theirs are not whole. */
async function rulesOf(policy: RbacPolicy, user: User, namespace: string): Promise<object> {
  const { rules, problems } = await policy.grants(user, namespace);
  const all: PolicyRule[] = isMaster(user)
    ? [
        { verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
        { verbs: ['*'], nonResourceURLs: ['*'] },
      ]
    : [];
  const held = uniqueRules([...all, ...rules]);
  return {
    resourceRules: held.filter((rule) => (rule.resources ?? []).length > 0),
    nonResourceRules: held
      .filter((rule) => (rule.nonResourceURLs ?? []).length > 0)
      .map(({ verbs, nonResourceURLs }) => ({ verbs, nonResourceURLs })),
    incomplete: boardOf(user) !== undefined || problems.length > 0,
    ...(problems.length === 0 ? {} : { evaluationError: problems.join(', ') }),
  };
}

function uniqueRules(rules: readonly PolicyRule[]): PolicyRule[] {
  return [...new Map(rules.map((rule) => [JSON.stringify(rule), rule])).values()];
}

/**
 * ResourceQuota at the moment of a write (Kubernetes: ResourceQuota admission): counts what is there, refuses what would be too much,
 * and lets one write of a namespace at a time through, so that two can never take the same last place. The quota's status
 * is only for people: it is written by the quota controller afterwards.
 */
import type { KubeObject } from '../../../protocol/kinds/meta.ts';
import type { Pod, ResourceQuota } from '../../../protocol/kinds/types.ts';
import { compareQuantities } from '../../../protocol/quantity.ts';
import { type AdmissionPlugin, type AdmissionRequest, refused } from '../admission.ts';
import { RESOURCES } from '../client.ts';
import type { Core } from '../core.ts';
import type { Kept } from '../kept.ts';
import { listObjects } from '../list.ts';
import { compileSelection } from '../selection.ts';
import { type Amounts, difference, only, podAmounts, sum } from './amounts.ts';
import { type Counted, countedBy, isInScope, totalUsage, usageOf } from './usage.ts';

export function quotaGuard(quotas: Kept<ResourceQuota>): AdmissionPlugin {
  const queues = new Map<string, Promise<unknown>>();
  return {
    async guard(core, request, write) {
      const { namespace } = request;
      if (namespace === '' || !(await mayMatter(quotas, request))) return write();
      const before = queues.get(namespace) ?? Promise.resolve();
      const own = before.then(async () => {
        for (const quota of await quotas.in(namespace)) await check(core, request, quota);
        return write();
      });
      // Whoever comes next waits for the end, whatever it is.
      const end = own.catch(() => undefined);
      queues.set(namespace, end);
      try {
        return await own;
      } finally {
        if (queues.get(namespace) === end) queues.delete(namespace);
      }
    },
  };
}

async function mayMatter(
  quotas: Kept<ResourceQuota>,
  { namespace, resource, operation }: AdmissionRequest,
): Promise<boolean> {
  const { group, plural } = resource.module;
  // Of all updates only a Service's may cost more.
  if (operation === 'UPDATE' && !(group === '' && plural === 'services')) return false;
  const all = await quotas.in(namespace);
  return all.some((quota) =>
    countedBy(quota).some((one) => one.group === group && one.plural === plural),
  );
}

/** Throws Forbidden. */
async function check(core: Core, request: AdmissionRequest, quota: ResourceQuota): Promise<void> {
  const { object, previous } = request;
  const resource = request.resource.module;
  const hard = quota.spec?.hard ?? {};
  if (!isInScope(quota, resource, object)) return;
  requireAmounts(request, quota, object);
  const wanted = only(usageOf(resource, object), Object.keys(hard));
  const delta = previous === undefined ? wanted : difference(wanted, usageOf(resource, previous));
  const growing = Object.keys(wanted).filter((name) => isPositive(delta[name]));
  if (growing.length === 0) return;
  const used = totalUsage(quota, await contentOf(core, request.namespace, quota));
  const next = sum(used, only(delta, growing));
  const over = growing.filter(
    (name) => compareQuantities(next[name] ?? '0', hard[name] ?? '0') > 0,
  );
  if (over.length === 0) return;
  const part = (amounts: Amounts): string =>
    [...over]
      .sort()
      .map((name) => `${name}=${amounts[name] ?? '0'}`)
      .join(',');
  const name = quota.metadata?.name ?? '';
  throw refused(
    request,
    `exceeded quota: ${name}, requested: ${part(delta)}, used: ${part(used)}, limited: ${part(hard)}`,
  );
}

function isPositive(quantity: string | undefined): boolean {
  return quantity !== undefined && compareQuantities(quantity, '0') > 0;
}

async function contentOf(core: Core, namespace: string, quota: ResourceQuota) {
  const content: { resource: Counted; objects: KubeObject[] }[] = [];
  for (const resource of countedBy(quota)) {
    const found = core.table.all.find(
      ({ module }) => module.group === resource.group && module.plural === resource.plural,
    );
    if (found === undefined) continue;
    const list = await listObjects(core, compileSelection(found, { namespace }));
    content.push({ resource, objects: list.items.map((item) => core.storage.scanned(item)) });
  }
  return content;
}

/** Who limits the cpu of a namespace wants every pod to say how much it takes. */
function requireAmounts(request: AdmissionRequest, quota: ResourceQuota, object: KubeObject): void {
  const { group, plural } = request.resource.module;
  if (group !== '' || plural !== RESOURCES.pods.resource) return;
  const spec = (object as Pod).spec ?? { containers: [] };
  const missing: string[] = [];
  for (const name of Object.keys(quota.spec?.hard ?? {}).sort()) {
    const [, part = 'requests', plain = ''] =
      /^(?:(requests|limits)\.)?(cpu|memory|ephemeral-storage)$/.exec(name) ?? [];
    if (plain === '') continue;
    const kind = part === 'limits' ? 'limits' : 'requests';
    if (podAmounts(spec, kind)[plain] === undefined || !everyContainer(spec, kind, plain)) {
      const without = spec.containers
        .filter((container) => container.resources?.[kind]?.[plain] === undefined)
        .map((container) => container.name);
      missing.push(`${name} for: ${without.join(',')}`);
    }
  }
  if (missing.length === 0) return;
  const quotaName = quota.metadata?.name ?? '';
  throw refused(request, `failed quota: ${quotaName}: must specify ${missing.join('; ')}`);
}

function everyContainer(
  spec: NonNullable<Pod['spec']>,
  kind: 'requests' | 'limits',
  name: string,
): boolean {
  if (spec.resources?.[kind]?.[name] !== undefined) return true;
  return spec.containers.every((one) => one.resources?.[kind]?.[name] !== undefined);
}

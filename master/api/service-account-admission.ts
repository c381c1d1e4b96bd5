/**
 * Kubernetes' admission plugin ServiceAccount: each pod has an account, which must be there ("default" where it names none), and
 * unless pod or account decline, its containers find a token of the account, the authority of the API server and their namespace
 * in one directory, where client libraries look for them. (The account's imagePullSecrets: pull-secrets.ts.)
 */
import type {
  Container,
  Pod,
  PodSpec,
  ServiceAccount,
  Volume,
} from '../../protocol/kinds/types.ts';
import { pause } from '../informer/timers.ts';
import { type AdmissionPlugin, refused } from './admission.ts';
import type { Core } from './core.ts';
import type { Kept } from './kept.ts';
import { generateName } from './names.ts';

const DEFAULT_ACCOUNT = 'default';
const MOUNT_PATH = '/var/run/secrets/kubernetes.io/serviceaccount';
/** Kubernetes: an hour, and seven seconds to tell these tokens from others. */
const TOKEN_SECONDS = 3607;
/** A controller makes the default account of a namespace a moment after the namespace. */
const DEFAULT_TRIES = 10;
const TRY_AGAIN_MS = 100;

export function serviceAccounts(accounts: Kept<ServiceAccount>): AdmissionPlugin {
  return {
    async mutate(core, request) {
      const { operation, resource, namespace, object } = request;
      const { group, plural } = resource.module;
      if (operation !== 'CREATE' || group !== '' || plural !== 'pods') return;
      const { spec }: Pod = object;
      if (spec === undefined) return;
      const name = spec.serviceAccountName || DEFAULT_ACCOUNT;
      spec.serviceAccountName = name;
      spec.serviceAccount = name;
      const account = await find(core, accounts, namespace, name);
      if (account === undefined) {
        const why = `serviceaccount ${JSON.stringify(name)} not found`;
        throw refused(request, `error looking up service account ${namespace}/${name}: ${why}`);
      }
      const isWanted =
        spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true;
      if (isWanted) mountToken(spec, () => core.random.fraction());
    },
  };
}

async function find(
  core: Core,
  accounts: Kept<ServiceAccount>,
  namespace: string,
  name: string,
): Promise<ServiceAccount | undefined> {
  for (let tries = name === DEFAULT_ACCOUNT ? DEFAULT_TRIES : 1; ; tries -= 1) {
    const known = await accounts.in(namespace);
    const account = known.find(({ metadata }) => metadata?.name === name);
    if (account !== undefined || tries <= 1) return account;
    await pause(core.timers, TRY_AGAIN_MS, new AbortController().signal);
  }
}

/** A container that has something at the path keeps it; without any other the volume is left out. */
function mountToken(spec: PodSpec, fraction: () => number): void {
  const all: Container[] = [...(spec.initContainers ?? []), ...spec.containers];
  const containers = all.filter(
    ({ volumeMounts = [] }) => !volumeMounts.some(({ mountPath }) => mountPath === MOUNT_PATH),
  );
  if (containers.length === 0) return;
  const taken = new Set((spec.volumes ?? []).map(({ name }) => name));
  let name: string;
  do name = generateName('kube-api-access-', fraction);
  while (taken.has(name));
  for (const container of containers) {
    const mount = { name, readOnly: true, mountPath: MOUNT_PATH };
    container.volumeMounts = [...(container.volumeMounts ?? []), mount];
  }
  spec.volumes = [...(spec.volumes ?? []), tokenVolume(name)];
}

function tokenVolume(name: string): Volume {
  const fieldRef = { apiVersion: 'v1', fieldPath: 'metadata.namespace' };
  return {
    name,
    projected: {
      defaultMode: 0o644,
      sources: [
        { serviceAccountToken: { expirationSeconds: TOKEN_SECONDS, path: 'token' } },
        { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
        { downwardAPI: { items: [{ path: 'namespace', fieldRef }] } },
      ],
    },
  };
}

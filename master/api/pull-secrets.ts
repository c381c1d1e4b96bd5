/**
 * A pod that names no imagePullSecrets gets those of its service account when it is created (Kubernetes: admission plugin
 * ServiceAccount). Which account is "default" where the pod names none.
 */
import type { Pod, ServiceAccount } from '../../protocol/kinds/types.ts';
import type { AdmissionPlugin } from './admission.ts';
import type { Kept } from './kept.ts';

export function pullSecrets(accounts: Kept<ServiceAccount>): AdmissionPlugin {
  return {
    async mutate(_core, { operation, resource, namespace, object }) {
      const { group, plural } = resource.module;
      if (operation !== 'CREATE' || group !== '' || plural !== 'pods') return;
      const { spec }: Pod = object;
      if (spec === undefined || (spec.imagePullSecrets ?? []).length > 0) return;
      const name = spec.serviceAccountName || 'default';
      const account = (await accounts.in(namespace)).find(
        ({ metadata }) => metadata?.name === name,
      );
      const secrets = account?.imagePullSecrets ?? [];
      if (secrets.length > 0) spec.imagePullSecrets = secrets.map((secret) => ({ ...secret }));
    },
  };
}

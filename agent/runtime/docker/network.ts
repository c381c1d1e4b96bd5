/** The board's pod network in Docker: one bridge with one subnet, reachable from the other boards. */
import type { Logger } from 'pino';
import type { ProgramOutput } from '../../host/program-output.ts';
import { asArray, asObject, asText } from '../json-read.ts';
import { type CallOptions, EngineHttpError } from '../podman-http.ts';
import { gatewayOf } from '../podman-network.ts';
import { NETWORK } from '../podman-spec.ts';
import { RuntimeError } from '../runtime.ts';
import { networkBody } from './spec.ts';

type Call = (method: string, path: string, options?: CallOptions) => Promise<unknown>;

/** Idempotent. Another subnet is replaced when no pod uses it, and refused otherwise. */
export async function ensureDockerNetwork(call: Call, podCidr: string): Promise<void> {
  const gateway = gatewayOf(podCidr);
  const have = await subnetOf(call);
  if (have === podCidr) return;
  if (have !== undefined) {
    try {
      await call('DELETE', `/networks/${NETWORK}`);
    } catch (cause) {
      throw new RuntimeError(
        `the pod network is ${have}, but ${podCidr} is wanted, and pods still use it: remove them first`,
        { cause },
      );
    }
  }
  await call('POST', '/networks/create', { body: networkBody(podCidr, gateway) });
}

async function subnetOf(call: Call): Promise<string | undefined> {
  try {
    const { IPAM } = asObject(await call('GET', `/networks/${NETWORK}`));
    return asText(asObject(asArray(asObject(IPAM).Config)[0]).Subnet);
  } catch (error) {
    if (error instanceof EngineHttpError && error.status === 404) return undefined;
    throw error;
  }
}

/** Docker's chain for rules of others: its own ones would drop what comes from other boards. */
const CHAIN = 'DOCKER-USER';

/** Idempotent. Where there is no iptables, Docker has set none either. */
export async function letOthersIn(
  podCidr: string,
  run: ProgramOutput,
  log?: Logger,
): Promise<void> {
  for (const side of ['-s', '-d']) {
    const rule = [CHAIN, side, podCidr, '-j', 'ACCEPT'];
    try {
      const isThere = await run('iptables', ['-w', '-C', ...rule]).then(
        () => true,
        () => false,
      );
      if (!isThere) await run('iptables', ['-w', '-I', ...rule]);
    } catch (error) {
      log?.warn({ err: error }, 'pods may not be reachable from other boards: no rule was set');
    }
  }
}

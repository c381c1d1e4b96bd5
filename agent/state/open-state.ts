/** The agent's state on its own disk, put together from its settings. */
import { createPrivateKey } from 'node:crypto';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { BoardCredentials } from '../../protocol/messages.ts';
import { open, secretContext, tokenContext } from '../../protocol/seal.ts';
import type { AgentConfig } from '../config.ts';
import { DesiredState } from './desired-state.ts';
import { PodRecords } from './pod-records.ts';
import { PodTokens } from './pod-tokens.ts';
import { PullNotes } from './pull-notes.ts';
import { StateDirectory } from './state-file.ts';

/** What the master wants of this board; Secrets are opened with the board's own key. */
export function desiredState(
  config: AgentConfig,
  { clusterId, node, privateKey: pem }: BoardCredentials,
  log: Logger,
  onRefused: (reason: string) => void,
): DesiredState {
  const exported = createPrivateKey(pem).export({ type: 'pkcs8', format: 'der' });
  const privateKey = new Uint8Array(exported);
  return new DesiredState({
    directory: join(config.stateDir, 'desired'),
    clusterId,
    node,
    log: log.child({ part: 'state' }),
    ...config.limits.state,
    openSecret: (namespace, name, sealed) =>
      open(privateKey, sealed, secretContext(node, namespace, name)),
    tokens: new PodTokens({
      file: join(config.runDir, 'tokens.cbor'),
      open: (uid, sealed) => open(privateKey, sealed, tokenContext(node, uid)),
      log,
    }),
    onRefused,
  });
}

export function podRecords(config: AgentConfig, log: Logger): PodRecords {
  return new PodRecords(directory(config, 'board', log), (error) =>
    log.error({ err: error }, 'addresses of pods not written; they are also with the engine'),
  );
}

export function pullNotes(config: AgentConfig, log: Logger): PullNotes {
  return new PullNotes(directory(config, 'images', log), (error) =>
    log.error(
      { err: error },
      'pulls of images not noted; one that a power cut ends may stay broken',
    ),
  );
}

function directory({ stateDir }: AgentConfig, name: string, log: Logger): StateDirectory {
  return new StateDirectory(join(stateDir, name), (file, error) =>
    log.error({ file, err: error }, 'state file damaged; set aside'),
  );
}

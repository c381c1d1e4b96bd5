/**
 * Claims and volumes as the runner drives them: which changes touch which keys, and how a view is gathered from the caches.
 * The decisions are in volumes.ts. One worker: what one claim gets the next must see.
 */
import type { PersistentVolume, PersistentVolumeClaim } from '../../protocol/kinds/types.ts';
import { ApiError } from '../../protocol/status.ts';
import { type ApiClient, RESOURCES } from '../api/client.ts';
import { joinKey, keyOf } from '../informer/informer.ts';
import { BY_CLAIM, type SharedInformers } from '../informer/shared.ts';
import { boardOf, claimNames } from '../volumes/binding.ts';
import { isReachableFrom } from '../volumes/local-path.ts';
import type { Action } from './actions.ts';
import { versionsOf } from './keys.ts';
import { type Controller, watchOf } from './runner.ts';
import { reconcileClaim, reconcileVolume } from './volumes.ts';

const CLAIM = 'claim ';
const VOLUME = 'volume ';

const claimKey = (namespace: string, name: string): string => `${CLAIM}${joinKey(namespace, name)}`;

export function volumeController(informers: SharedInformers, client: ApiClient): Controller {
  const { persistentVolumeClaims: claims, persistentVolumes: volumes } = informers;
  const { storageClasses, pods, nodes } = informers;

  const openClaims = (): string[] =>
    claims
      .list()
      .filter(({ spec, status }) => (spec?.volumeName ?? '') === '' || status?.phase !== 'Bound')
      .map((claim) => `${CLAIM}${keyOf(claim)}`);

  const keysOfVolume = (volume: PersistentVolume): string[] => {
    const { namespace = '', name = '' } = volume.spec?.claimRef ?? {};
    const own = `${VOLUME}${keyOf(volume)}`;
    return name === '' ? [own] : [own, claimKey(namespace, name)];
  };

  const keysOfClaim = (claim: PersistentVolumeClaim): string[] => {
    const name = claim.spec?.volumeName ?? '';
    const own = `${CLAIM}${keyOf(claim)}`;
    return name === '' ? [own] : [own, `${VOLUME}${name}`];
  };

  async function ofVolume(key: string): Promise<Action[]> {
    const volume = volumes.getByKey(key);
    if (volume === undefined) return [];
    const { namespace = '', name = '', uid = '' } = volume.spec?.claimRef ?? {};
    const claim = claims.get(namespace, name);
    const isSeen = claim?.metadata?.uid === uid;
    const isDecided = volume.status?.phase === 'Released' || volume.status?.phase === 'Failed';
    const isClaimGone =
      uid !== '' && !isSeen && (isDecided || (await isGone(client, namespace, name, uid)));
    const hasBoard = nodes.list().some((node) => isReachableFrom(volume, boardOf(node)));
    return reconcileVolume({ volume, claim, isClaimGone, hasBoard });
  }

  function ofClaim(key: string): Action[] {
    const claim = claims.getByKey(key);
    if (claim === undefined) return [];
    const users = pods.byIndex(BY_CLAIM, key);
    return reconcileClaim({
      claim,
      volumes: volumes.list(),
      storage: storageClasses.get('', claim.spec?.storageClassName ?? ''),
      users,
      node: (name) => nodes.get('', name),
    });
  }

  return {
    name: 'persistentvolume-controller',
    workers: 1,
    watches: [
      watchOf(claims, (change) => versionsOf(change).flatMap(keysOfClaim)),
      watchOf(volumes, (change) => {
        const keys = versionsOf(change).flatMap(keysOfVolume);
        // One that is free may be what any open claim waits for; one that went, whose it was.
        return [...keys, ...openClaims(), ...namedBy(claims.list(), change.object)];
      }),
      watchOf(storageClasses, openClaims),
      watchOf(nodes, ({ type }) =>
        type === 'deleted' ? volumes.list().flatMap(keysOfVolume) : openClaims(),
      ),
      watchOf(pods, ({ object }) =>
        claimNames(object.spec?.volumes).map((name) =>
          claimKey(object.metadata?.namespace ?? '', name),
        ),
      ),
    ],
    reconcile: (key) =>
      key.startsWith(CLAIM) ? ofClaim(key.slice(CLAIM.length)) : ofVolume(key.slice(VOLUME.length)),
  };
}

function namedBy(
  claims: readonly PersistentVolumeClaim[],
  { metadata }: PersistentVolume,
): string[] {
  return claims
    .filter(({ spec }) => spec?.volumeName === metadata?.name)
    .map((claim) => `${CLAIM}${keyOf(claim)}`);
}

/** Asked of the store itself: a cache that lags is no reason to take a claim for gone. */
async function isGone(
  client: ApiClient,
  namespace: string,
  name: string,
  uid: string,
): Promise<boolean> {
  try {
    const claim = await client.get(RESOURCES.persistentVolumeClaims, namespace, name);
    return claim.metadata?.uid !== uid;
  } catch (error) {
    if (error instanceof ApiError && error.reason === 'NotFound') return true;
    throw error;
  }
}

/**
 * What the scheduler knows of persistent storage: claims, volumes and classes, and which placed pods use which claim. Pure
 * state, part of the snapshot.
 */
import type {
  PersistentVolume,
  PersistentVolumeClaim,
  StorageClass,
} from '../../protocol/kinds/types.ts';
import type { SharedInformers } from '../informer/shared.ts';
import type { PodInfo } from './pod-info.ts';

const NOBODY: ReadonlyMap<string, string> = new Map();

export class VolumeCatalog {
  readonly #claims = new Map<string, PersistentVolumeClaim>();
  readonly #volumes = new Map<string, PersistentVolume>();
  readonly #classes = new Map<string, StorageClass>();
  readonly #users = new Map<string, Map<string, string>>();

  setClaim(claim: PersistentVolumeClaim): void {
    this.#claims.set(keyOf(claim), claim);
  }

  removeClaim(claim: PersistentVolumeClaim): void {
    this.#claims.delete(keyOf(claim));
  }

  setVolume(volume: PersistentVolume): void {
    this.#volumes.set(volume.metadata?.name ?? '', volume);
  }

  removeVolume(name: string): void {
    this.#volumes.delete(name);
  }

  setClass(storage: StorageClass): void {
    this.#classes.set(storage.metadata?.name ?? '', storage);
  }

  removeClass(name: string): void {
    this.#classes.delete(name);
  }

  claim(namespace: string, name: string): PersistentVolumeClaim | undefined {
    return this.#claims.get(`${namespace}/${name}`);
  }

  volume(name: string): PersistentVolume | undefined {
    return this.#volumes.get(name);
  }

  volumes(): PersistentVolume[] {
    return [...this.#volumes.values()];
  }

  storageClass(name: string): StorageClass | undefined {
    return this.#classes.get(name);
  }

  /** Placed pods with the claim: their boards by their uids. */
  usersOf(namespace: string, name: string): ReadonlyMap<string, string> {
    return this.#users.get(`${namespace}/${name}`) ?? NOBODY;
  }

  placed(pod: PodInfo, node: string): void {
    for (const name of pod.claims) {
      const key = `${pod.namespace}/${name}`;
      const users = this.#users.get(key) ?? new Map<string, string>();
      users.set(pod.uid, node);
      this.#users.set(key, users);
    }
  }

  unplaced(pod: PodInfo): void {
    for (const name of pod.claims) {
      const key = `${pod.namespace}/${name}`;
      const users = this.#users.get(key);
      users?.delete(pod.uid);
      if (users?.size === 0) this.#users.delete(key);
    }
  }
}

function keyOf({ metadata }: PersistentVolumeClaim): string {
  return `${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`;
}

type StorageInformers = Pick<
  SharedInformers,
  'persistentVolumeClaims' | 'persistentVolumes' | 'storageClasses'
>;

/** Keeps the catalog as the informers say; `onChange` after each change. Returns what ends it. */
export function followVolumes(
  { persistentVolumeClaims, persistentVolumes, storageClasses }: StorageInformers,
  catalog: VolumeCatalog,
  onChange: () => void,
): (() => void)[] {
  return [
    persistentVolumeClaims.onChange(({ type, object }) => {
      if (type === 'deleted') catalog.removeClaim(object);
      else catalog.setClaim(object);
      onChange();
    }),
    persistentVolumes.onChange(({ type, object }) => {
      if (type === 'deleted') catalog.removeVolume(object.metadata?.name ?? '');
      else catalog.setVolume(object);
      onChange();
    }),
    storageClasses.onChange(({ type, object }) => {
      if (type === 'deleted') catalog.removeClass(object.metadata?.name ?? '');
      else catalog.setClass(object);
      onChange();
    }),
  ];
}

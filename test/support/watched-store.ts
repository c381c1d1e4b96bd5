/** A store in memory that tells when the first of its watches has been closed by who reads it. */
import { openMemoryStore } from '../../master/store/memory-store.ts';
import type { Store, StoreWatch, WatchRequest } from '../../master/store/store.ts';

export function openWatchedStore(): { readonly store: Store; readonly closed: Promise<void> } {
  const store = openMemoryStore();
  const watch = store.watch.bind(store);
  const closed = new Promise<void>((resolve) => {
    Object.assign(store, {
      watch: (request: WatchRequest): StoreWatch => {
        const opened = watch(request);
        return {
          [Symbol.asyncIterator]: () => opened[Symbol.asyncIterator](),
          requestProgress: () => opened.requestProgress(),
          close: () => {
            opened.close();
            resolve();
          },
        };
      },
    });
  });
  return { store, closed };
}

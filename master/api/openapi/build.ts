/** Run by firmware-scripts/build.mjs: writes the OpenAPI documents of this version of Pier, so that no board has to make them. */
import { openMemoryStore } from '../../store/memory-store.ts';
import { apiEntries } from '../entries.ts';
import { KIND_MODULES } from '../kinds/all.ts';
import { metricsResources } from '../metrics.ts';
import { createRegistry } from '../registry.ts';
import { reviewResources } from '../reviews.ts';
import { openApiOf, writeOpenApi } from './source.ts';

export async function buildOpenApi(folder: string): Promise<void> {
  const store = openMemoryStore();
  // The reviews want a registry to answer from; nothing is asked of this one.
  const registry = await createRegistry({ store, memoryStore: store, modules: KIND_MODULES });
  const metrics = metricsResources({ nodes: () => [], pods: () => [] });
  const entries = apiEntries(KIND_MODULES, [...reviewResources(registry), ...metrics]);
  await writeOpenApi(folder, openApiOf(entries));
  await store.close();
}

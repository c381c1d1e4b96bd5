/**
 * Loads @peculiar/x509, once and only when asked for.
 *
 * Its dependency tsyringe refuses to load where no Reflect metadata API (a retired TC39 proposal) exists. The
 * library registers its algorithms without decorators, so nothing is ever stored there: three functions
 * that know nothing satisfy the check, and spare a dependency.
 */
const METADATA_API = {
  getMetadata: () => undefined,
  getOwnMetadata: () => undefined,
  defineMetadata: () => undefined,
};

export async function loadX509(): Promise<typeof import('@peculiar/x509')> {
  if (!('getMetadata' in Reflect)) Object.assign(Reflect, METADATA_API);
  // The package is CommonJS. A split bundle gives only the default export, Node itself gives both.
  const library = await import('@peculiar/x509');
  return library.default;
}

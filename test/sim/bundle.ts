/**
 * Bundles the program of a worker thread: without tap's hooks, which cost half of the speed, and possibly with a bug planted in
 * the sources, which shows whether a harness finds it.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';

/** In `file`, as seen from the top of the repository, `to` stands in place of `from`. */
export interface Planted {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

/** pino and others are CommonJS and require modules of Node. */
const BANNER = `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);`;
const TOP = new URL('../../', import.meta.url);

/** Throws when a file does not have what is to be changed exactly once. */
export async function bundle(
  entry: URL,
  outfile: string,
  planted: readonly Planted[] = [],
): Promise<void> {
  const changed = new Map<string, string>();
  for (const { file, from, to } of planted) {
    const path = fileURLToPath(new URL(file, TOP));
    const code = changed.get(path) ?? (await readFile(path, 'utf8'));
    if (code.split(from).length !== 2) {
      throw new Error(`${file} must have once what the planted bug changes: ${from}`);
    }
    changed.set(
      path,
      code.replace(from, () => to),
    );
  }
  await build({
    entryPoints: [fileURLToPath(entry)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    banner: { js: BANNER },
    logLevel: 'error',
    plugins: changed.size === 0 ? [] : [plant(changed)],
  });
}

function plant(changed: ReadonlyMap<string, string>): Plugin {
  return {
    name: 'plant',
    setup: (builder) =>
      builder.onLoad({ filter: /\.ts$/ }, ({ path }) => {
        const contents = changed.get(path);
        return contents === undefined ? undefined : { contents, loader: 'ts' };
      }),
  };
}

/**
 * Which images can run on a board's processor. Pure. Architectures have the names of Go, as in Kubernetes and in
 * images: amd64, arm64, arm. Variants (arm v6, v7) are left to the engine, which picks by them.
 */

/** Processors that run the code of another one by themselves. Some arm64 boards cannot: they find out by trying. */
const ALSO_RUNS: Readonly<Record<string, readonly string[]>> = { amd64: ['386'], arm64: ['arm'] };

/** What the makers of images write, and QEMU, where it is not Go's name. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  i386: '386',
  x86_64: 'amd64',
  'x86-64': 'amd64',
  aarch64: 'arm64',
  armhf: 'arm',
  armel: 'arm',
  loongarch64: 'loong64',
  mips64el: 'mips64le',
  mipsel: 'mipsle',
};

/** How podman, Docker and containerd say that an image of several architectures has not the board's. */
const NOT_IN_IMAGE =
  /no image found in (image index|manifest list) for architecture|no matching manifest for|no match for platform/i;

export function runsOn(board: string, image: string, emulated: readonly string[] = []): boolean {
  const name = goName(image);
  return name === board || (ALSO_RUNS[board] ?? []).includes(name) || emulated.includes(name);
}

function goName(architecture: string): string {
  return OTHER_NAMES[architecture] ?? architecture;
}

/** True when the engine's words say that the image is not made for its board. */
export function tellsOfArchitecture(words: string): boolean {
  return NOT_IN_IMAGE.test(words);
}

/**
 * What QEMU runs for the kernel (binfmt_misc), from the files in its folder. Only with flag F does it do so within
 * containers, too.
 */
export function emulatedArchitectures(files: ReadonlyMap<string, string>): string[] {
  return [...files].flatMap(([name, text]) => {
    const [, processor] = /^qemu-(.+)$/.exec(name) ?? [];
    const works = /^enabled$/m.test(text) && /^flags:.*F/m.test(text);
    return processor === undefined || !works ? [] : [goName(processor)];
  });
}

/** What to do about it; `builtFor` is undefined when the engine does not tell. */
export function foreignImageWords(image: string, board: string, builtFor?: string): string {
  const [what, where] =
    builtFor === undefined
      ? [`is not built for ${board}`, 'an architecture that it is built for']
      : [`is built for ${goName(builtFor)}`, goName(builtFor)];
  return (
    `the image "${image}" ${what}, and this board is ${board}: build it for ${board}, too, or keep its pods ` +
    `on boards of ${where} by the label kubernetes.io/arch`
  );
}

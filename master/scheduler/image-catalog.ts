/**
 * Which images have no programs for which boards, as far as boards have found out: nobody else opens images. A board
 * tells it with its heartbeats for a while after it refused one. What one board cannot run, its equals cannot either:
 * those of the same architecture with the same emulators. Pure state.
 */
import { fullImageName } from '../../protocol/image-name.ts';

type Labels = Readonly<Record<string, string>>;

const NOTHING: ReadonlyMap<string, string> = new Map();

/** Boards with the same answer run the same images. */
export function processorOf(labels: Labels): string {
  return `${labels['kubernetes.io/arch'] ?? ''} ${labels['pier.local/emulates'] ?? ''}`;
}

export class ImageCatalog {
  readonly #labelsOf: (node: string) => Labels | undefined;
  readonly #refused = new Map<string, readonly string[]>();
  /** By full name, the processors that it is not built for. Made when it is asked for. */
  #byImage: Map<string, Set<string>> | undefined;

  constructor(labelsOf: (node: string) => Labels | undefined) {
    this.#labelsOf = labelsOf;
  }

  /** By full name; what the board said before is forgotten. True when an image is not refused any more. */
  setRefused(node: string, images: readonly string[]): boolean {
    const before = this.#refused.get(node) ?? [];
    if (before.length === 0 && images.length === 0) return false;
    if (images.length === 0) this.#refused.delete(node);
    else this.#refused.set(node, images);
    this.#byImage = undefined;
    return before.some((image) => !images.includes(image));
  }

  /** Labels of some board have changed. */
  forgetProcessors(): void {
    this.#byImage = undefined;
  }

  /** Of a pod with these images: by processor, the first of them that is not built for it. */
  foreignTo(images: readonly string[]): ReadonlyMap<string, string> {
    // Nearly always: the scheduler pays nothing.
    if (this.#refused.size === 0) return NOTHING;
    this.#byImage ??= this.#collect();
    const foreign = new Map<string, string>();
    for (const image of images) {
      for (const processor of this.#byImage.get(fullImageName(image)) ?? []) {
        if (!foreign.has(processor)) foreign.set(processor, image);
      }
    }
    return foreign;
  }

  #collect(): Map<string, Set<string>> {
    const byImage = new Map<string, Set<string>>();
    for (const [node, images] of this.#refused) {
      const labels = this.#labelsOf(node);
      if (labels === undefined) continue;
      for (const image of images) {
        const processors = byImage.get(image) ?? new Set();
        byImage.set(image, processors.add(processorOf(labels)));
      }
    }
    return byImage;
  }
}

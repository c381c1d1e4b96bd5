/**
 * Domain names: labels in a message, with compression (RFC 1035, section 4.1.4), and as text. Pure.
 *
 * A name is its labels without the root; each character of a label is one octet, so that every name of the wire
 * can be held. Names compare without regard to the case of ASCII letters (RFC 4343) and are kept as they came.
 */

export type Name = readonly string[];

/** The bytes are no DNS message. */
export class DnsFormatError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'DnsFormatError';
  }
}

/** RFC 1035, section 2.3.4: with all length octets and the root. */
export const NAME_OCTETS_MAX = 255;
const LABEL_OCTETS_MAX = 63;
const POINTER = 0xc0;
/** Pointers have 14 bits. */
const POINTER_MAX = 0x3fff;

/** "web.default.svc" to labels; a final dot changes nothing. Throws DnsFormatError for what no name can be. */
export function nameOf(text: string): Name {
  const labels = text.replace(/\.$/, '').split('.');
  const name = labels.length === 1 && labels[0] === '' ? [] : labels;
  if (!isName(name)) throw new DnsFormatError(`"${text}" is no domain name`);
  return name;
}

/** Whether labels and name keep the limits of RFC 1035. */
export function isName(labels: readonly string[]): boolean {
  let octets = 1;
  for (const label of labels) {
    if (label.length === 0 || label.length > LABEL_OCTETS_MAX) return false;
    octets += label.length + 1;
  }
  return octets <= NAME_OCTETS_MAX;
}

/** The same for names that mean the same; good as a key. Labels may hold dots, so those are told apart. */
export function nameKey(name: Name): string {
  return name
    .map((label) => (label.includes('.') ? label.replaceAll('.', '\\.') : label))
    .join('.')
    .toLowerCase();
}

/** For people: with dots, and what cannot be printed as \DDD (RFC 1035, section 5.1). */
export function nameText(name: Name): string {
  const labels = name.map((label) =>
    label.replace(/[^!-~]|[.\\]/g, (char) => {
      const code = char.charCodeAt(0);
      return code > 0x20 && code < 0x7f ? `\\${char}` : `\\${String(code).padStart(3, '0')}`;
    }),
  );
  return `${labels.join('.')}.`;
}

/** Reads the names of one message. */
export class NameReader {
  readonly #buffer: Buffer;
  /** Labels that may still be unpacked: pointers let a few octets stand for many labels. */
  #labelsLeft: number;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
    this.#labelsLeft = 256 + buffer.length * 4;
  }

  /** The name at `start`, and where the next field begins. Throws DnsFormatError. */
  read(start: number): { readonly name: Name; readonly next: number } {
    const buffer = this.#buffer;
    const name: string[] = [];
    let octets = 1;
    let at = start;
    let next: number | undefined;
    // Each pointer must lead before the place where its part began: so there is an end.
    let partStart = start;
    for (;;) {
      const length = buffer[at];
      if (length === undefined) throw new DnsFormatError('a name is cut off');
      if (length === 0) return { name, next: next ?? at + 1 };
      if (length >= POINTER) {
        const low = buffer[at + 1];
        if (low === undefined) throw new DnsFormatError('a name is cut off');
        const target = ((length & 0x3f) << 8) | low;
        if (target >= partStart) throw new DnsFormatError('a name points forward');
        next ??= at + 2;
        at = target;
        partStart = target;
        continue;
      }
      if (length > LABEL_OCTETS_MAX) throw new DnsFormatError('a label of an unknown kind');
      const end = at + 1 + length;
      if (end > buffer.length) throw new DnsFormatError('a name is cut off');
      octets += length + 1;
      if (octets > NAME_OCTETS_MAX) throw new DnsFormatError('a name is too long');
      this.#labelsLeft--;
      if (this.#labelsLeft < 0) throw new DnsFormatError('the names unpack to too much');
      name.push(buffer.toString('latin1', at + 1, end));
      at = end;
    }
  }
}

/** Writes the names of one message, each tail of a name only once. */
export class NameWriter {
  readonly #buffer: Buffer;
  readonly #offsets = new Map<string, number>();

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  /** Returns where the next field begins. Without `compress` no pointer is written, but others may point here. */
  write(name: Name, start: number, compress: boolean): number {
    let at = start;
    for (let index = 0; index < name.length; index++) {
      const label = name[index] ?? '';
      // Octets end at 0xff: this character is in no label.
      const tail = name.slice(index).join('\u0100');
      const known = this.#offsets.get(tail);
      if (known !== undefined && compress) {
        return this.#buffer.writeUInt16BE((POINTER << 8) | known, at);
      }
      if (known === undefined && at <= POINTER_MAX) this.#offsets.set(tail, at);
      this.#buffer[at] = label.length;
      this.#buffer.write(label, at + 1, 'latin1');
      at += 1 + label.length;
    }
    this.#buffer[at] = 0;
    return at + 1;
  }

  /** What was written from `start` on is taken back. */
  forgetFrom(start: number): void {
    for (const [tail, at] of this.#offsets) if (at >= start) this.#offsets.delete(tail);
  }
}

/**
 * CRC-32C (Castagnoli, reflected polynomial 0x82f63b78, RFC 3720 appendix B.4), eight bytes a step.
 * `node:zlib` has no CRC-32C (and Node 20 has no CRC at all), so the tables are here. A seed lets a
 * checksum depend on something that is not in the data, such as the salt of a log segment.
 */
const TABLES = makeTables();

function makeTables(): Int32Array {
  const tables = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
    tables[byte] = crc;
  }
  for (let at = 256; at < tables.length; at++) {
    const crc = tables[at - 256] as number;
    tables[at] = (crc >>> 8) ^ (tables[crc & 0xff] as number);
  }
  return tables;
}

/** The checksum of `data[start, end)` as an unsigned 32-bit number. `seed` may be an earlier checksum. */
export function crc32c(data: Uint8Array, start = 0, end = data.length, seed = 0): number {
  const t = TABLES;
  let crc = ~seed;
  let at = start;
  for (const last = end - 8; at <= last; at += 8) {
    crc ^=
      (data[at] as number) |
      ((data[at + 1] as number) << 8) |
      ((data[at + 2] as number) << 16) |
      ((data[at + 3] as number) << 24);
    crc =
      (t[0x700 + (crc & 0xff)] as number) ^
      (t[0x600 + ((crc >>> 8) & 0xff)] as number) ^
      (t[0x500 + ((crc >>> 16) & 0xff)] as number) ^
      (t[0x400 + (crc >>> 24)] as number) ^
      (t[0x300 + (data[at + 4] as number)] as number) ^
      (t[0x200 + (data[at + 5] as number)] as number) ^
      (t[0x100 + (data[at + 6] as number)] as number) ^
      (t[data[at + 7] as number] as number);
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ (t[(crc ^ (data[at] as number)) & 0xff] as number);
  return ~crc >>> 0;
}

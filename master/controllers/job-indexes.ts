/**
 * Completion indexes of an Indexed Job. Pure. The text form is the one of `status.completedIndexes`: numbers and
 * ranges, ascending, as in "1,3-5,7" (two in a row are "1,2", as Kubernetes writes them).
 */

/** Bad or out-of-range parts are left out: the status may stem from a Job with more completions. */
export function parseIndexes(text: string | undefined, completions: number): Set<number> {
  const indexes = new Set<number>();
  for (const part of (text ?? '').split(',')) {
    const range = /^(\d+)(?:-(\d+))?$/.exec(part);
    if (range === null) continue;
    const first = Number(range[1]);
    const last = Math.min(Number(range[2] ?? range[1]), completions - 1);
    for (let index = first; index <= last; index += 1) indexes.add(index);
  }
  return indexes;
}

export function formatIndexes(indexes: ReadonlySet<number>): string {
  const sorted = [...indexes].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let at = 0; at < sorted.length; ) {
    let end = at;
    while (sorted[end + 1] === (sorted[end] ?? 0) + 1) end += 1;
    const separator = end > at + 1 ? '-' : ',';
    parts.push(end === at ? `${sorted[at]}` : `${sorted[at]}${separator}${sorted[end]}`);
    at = end + 1;
  }
  return parts.join(',');
}

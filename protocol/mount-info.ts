/** What Linux tells of mounts: the text of /proc/self/mountinfo (proc(5)). Pure. */

/** Mount points in the order in which they were mounted, all or those in the directory and below it. */
export function mountPoints(mountInfo: string, directory = '/'): string[] {
  const below = directory.endsWith('/') ? directory : `${directory}/`;
  return mountInfo.split('\n').flatMap((line) => {
    const path = line.split(' ')[4];
    if (path === undefined) return [];
    const plain = path.replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    return plain === directory || plain.startsWith(below) ? [plain] : [];
  });
}
